package port

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dssn/internal/need"
	"dssn/perf/wire"
)

// The frames that come out are exactly those that the seed decides, and every
// frame is accounted for.
func TestTheSameSeedDropsTheSameFramesOnARealLink(t *testing.T) {
	const settings = "delay=3ms loss=5% burst=1%/25% duplicate=2% seed=42"
	const frames, length = 2000, 14 + 40 + 8 + 200
	s, _ := wire.Parse(settings)
	for round := range 2 {
		w := between(t, settings, 1500, round == 1)
		w.neighbours(t)
		stop := make(chan struct{})
		out := w.listen(t, stop)
		fd := socket(t, w.a, "fd00:77::1", 0)
		// What the kernel says by itself (multicast reports) has its numbers too,
		// so the twin sees all frames and the datagrams tell which they are.
		var mu sync.Mutex
		var want []uint64
		twin := wire.NewLine(0, s)
		next := uint64(0)
		err := w.Tap(func(f Seen) {
			if f.Direction != 0 {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for ; next < f.Number; next++ {
				twin.Arrive(0, length)
			}
			next++
			v := twin.Arrive(0, len(f.Frame))
			if v.Why != f.Verdict.Why || v.Copies != f.Verdict.Copies {
				t.Errorf("round %d: the wire decided %+v, the seed says %+v", round, f.Verdict, v)
			}
			for range v.Copies {
				if len(f.Frame) == length {
					want = append(want, binary.BigEndian.Uint64(f.Frame[62:]))
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint64(frames) {
			if err := unix.Sendto(fd, datagram(i, 200), 0, toB); err != nil {
				t.Fatal(err)
			}
			if i%20 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		stats := w.drained(t)
		time.Sleep(100 * time.Millisecond) // the receiver's own time
		close(stop)
		var got []uint64
		for _, a := range <-out {
			got = append(got, a.number)
		}
		mu.Lock()
		if !slices.Equal(got, want) {
			t.Errorf("round %d: %d datagrams came out, the seed says %d:\n%v\n%v", round, len(got), len(want), got, want)
		}
		mu.Unlock()
		c := stats[0].Counters
		if c.In+c.Duplicated != c.Out+c.Lost() || c.Dropped[wire.Lost] == 0 || c.Dropped[wire.LostBurst] == 0 || c.Duplicated == 0 || c.In < frames/2 {
			t.Errorf("round %d: counters %+v", round, c)
		}
	}
}

// A wire of 20 ms answers a ping after 40 ms, and frames that it corrupts are
// found by their checksums.
func TestDelayAndCorruptionAsAHostSeesThem(t *testing.T) {
	need.Tool(t, "ping")
	w := between(t, "delay=20ms", 1500, false)
	out, err := w.a.Output("ping", "-c", "5", "-i", "0.05", "-W", "2", "fd00:77::2")
	if err != nil {
		t.Fatalf("ping: %v\n%s", err, out)
	}
	_, rtt, _ := strings.Cut(string(out), "min/avg/max/mdev = ")
	least, _, _ := strings.Cut(rtt, "/")
	if d, err := time.ParseDuration(least + "ms"); err != nil || d < 40*time.Millisecond || d > 60*time.Millisecond {
		t.Errorf("the least round trip is %v, want 40 ms and a little\n%s", d, out)
	}
	w.neighbours(t) // who could otherwise not be asked for
	s, _ := wire.Parse("corrupt=100%")
	if err := w.Change(0, s); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	arrivals := w.listen(t, stop)
	fd := socket(t, w.a, "fd00:77::1", 0)
	for i := range uint64(300) {
		unix.Sendto(fd, datagram(i, 1000), 0, toB)
	}
	stats := w.drained(t)
	time.Sleep(50 * time.Millisecond)
	close(stop)
	if got := len(<-arrivals); got > 3 {
		t.Errorf("%d of 300 corrupted datagrams were delivered: checksums are not real", got)
	}
	if stats[0].Counters.Corrupted < 290 {
		t.Errorf("only %d frames were corrupted", stats[0].Counters.Corrupted)
	}
}

// Settings change while frames flow, a line that goes down loses what is on it,
// and the law of conservation holds throughout.
func TestNothingIsLostUncountedWhileSettingsChange(t *testing.T) {
	w := between(t, "delay=2ms", 1500, true)
	w.neighbours(t)
	fd := socket(t, w.a, "fd00:77::1", 0)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range uint64(3000) {
		unix.Sendto(fd, datagram(i, 60+rng.IntN(1400)), 0, toB)
		if i%50 == 0 {
			s, err := wire.Parse([]string{"delay=1ms loss=10%", "delay=5ms jitter=4ms order=free", "rate=20M queue=10p delay=1ms", "line=down", "delay=1ms reorder=20%/3ms duplicate=10%", ""}[rng.IntN(6)])
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Change(0, s); err != nil {
				t.Fatal(err)
			}
			stats, err := w.Stats()
			if err != nil {
				t.Fatal(err)
			}
			if c := stats[0].Counters; c.In+c.Duplicated != c.Out+c.Lost()+uint64(stats[0].Held) {
				t.Fatalf("after frame %d: %+v with %d held", i, c, stats[0].Held)
			}
		}
	}
	if c := w.drained(t)[0].Counters; c.In+c.Duplicated != c.Out+c.Lost() || c.Dropped[wire.LineDown] == 0 || c.Dropped[wire.QueueFull] == 0 {
		t.Errorf("at the end: %+v", c)
	}
}

func TestASlabGivesBackWhatWasPut(t *testing.T) {
	s := newSlab(1514)
	rng := rand.New(rand.NewPCG(2, 2))
	kept := map[uint32]string{}
	for range 20000 {
		if rng.IntN(2) == 0 || len(kept) == 0 {
			f := make([]byte, 14+rng.IntN(1501))
			for i := range f {
				f[i] = byte(rng.Uint32())
			}
			slot := s.put(f)
			if _, twice := kept[slot]; twice {
				t.Fatalf("slot %x was given twice", slot)
			}
			kept[slot] = string(f)
			continue
		}
		for slot, f := range kept {
			if got := string(s.frame(slot)); got != f {
				t.Fatalf("slot %x holds another frame", slot)
			}
			s.release(slot)
			delete(kept, slot)
			break
		}
	}
	if n := s.bytes(); n > 3<<20 {
		t.Errorf("%d bytes for at most a few hundred frames", n)
	}
}

func TestOpenRefusesWhatItCannotCarry(t *testing.T) {
	if _, err := Open(Options{MTU: 9000}); err == nil || !strings.Contains(err.Error(), "3492") {
		t.Errorf("an MTU of 9000: %v", err)
	}
	if _, err := Open(Options{Settings: [2]wire.Settings{{Loss: 2}}}); err == nil {
		t.Error("a loss of 200 % was taken")
	}
	need.Root(t)
	if _, err := Open(Options{Interfaces: [2]string{"no-such", "no-such"}}); err == nil || !strings.Contains(err.Error(), "no-such") {
		t.Errorf("an interface that is not there: %v", err)
	}
}
