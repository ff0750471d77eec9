package softport

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestOnlyAQueueThatStandsIsShortened simulates a buffer in virtual time: bursts,
// and a thread that now and then does not run, lose nothing; a sender that is
// always faster meets a short queue.
func TestOnlyAQueueThatStandsIsShortened(t *testing.T) {
	const capacity, call = 2 * socketBuf, 256 << 10
	type world struct {
		standing
		size, queue int
		now         time.Duration
		lost        int
	}
	arrive := func(w *world, n int) {
		room := max(w.size-w.queue, 0)
		w.queue += min(n, room)
		w.lost += n - min(n, room)
	}
	take := func(w *world) {
		n := min(call, w.queue)
		w.queue -= n
		if size := w.received(w.now, n, n < call); size != 0 {
			w.size = 2 * size
		}
		w.now += 500 * time.Microsecond // 4 Gbit/s
	}
	r := rand.New(rand.NewPCG(1, 1))
	bursts := &world{size: capacity}
	for range 2000 {
		arrive(bursts, r.IntN(standingBytes/2-call))
		for bursts.queue >= call { // meanwhile half of what is taken comes
			arrive(bursts, call/2)
			take(bursts)
		}
		take(bursts)
	}
	if bursts.lost > 0 || bursts.small {
		t.Errorf("bursts that fit: %d bytes lost, buffer small %v", bursts.lost, bursts.small)
	}
	flood := &world{size: capacity}
	for flood.now < 200*time.Millisecond {
		arrive(flood, call*6/5)
		take(flood)
	}
	if flood.queue > 2*smallBuf {
		t.Errorf("after %v of more than can be taken, %d bytes wait", flood.now, flood.queue)
	}
	for end := flood.now + 2*calmFor; flood.now < end; {
		arrive(flood, call/2)
		take(flood)
	}
	if flood.small || flood.size != capacity {
		t.Error("the buffer stays small for good")
	}
}
