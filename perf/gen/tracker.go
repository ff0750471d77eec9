package gen

import (
	"time"

	"dssn/xdp"
)

// Tracker accounts for the frames of one stream as they arrive. It remembers the
// last 65,472 numbers, so that a frame that is seen twice is a duplicate and one
// that comes after a higher number is reordered (RFC 4737); what is older than
// that is only late. It is the twin of the kernel's program `count`. The zero
// value is ready.
type Tracker struct {
	xdp.TrafficReceived
	// Delay and Variation (RFC 3393, without sign) are of frames that are neither
	// duplicates nor late.
	Delay, Variation Histogram

	seen    [1024]uint64
	transit int64
	jitter  int64
}

// Arrive takes a frame of size bytes that arrived at now, CLOCK_TAI; clock is the
// tag of the clock that says so.
func (t *Tracker) Arrive(s Signature, size int, now uint64, clock uint16) {
	word := &t.seen[s.Number>>6&1023]
	bit := uint64(1) << (s.Number & 63)
	switch {
	case s.Number >= t.Next:
		from, to := (t.Next+63)>>6, s.Number>>6
		if int64(to-from) >= 1024 {
			from = to - 1023
		}
		for w := from; w <= to; w++ {
			t.seen[w&1023] = 0
		}
		t.Next = s.Number + 1
	case t.Next-s.Number > xdp.TrafficWindow:
		t.Late++
		return
	case *word&bit != 0:
		t.Duplicates++
		return
	default:
		t.Reordered++
	}
	*word |= bit
	t.Frames++
	t.Bytes += uint64(size)
	t.Last = now
	transit := int64(now - s.Time)
	if transit < 0 {
		t.Negative++
	}
	if s.Clock != clock {
		t.OtherClock++
	}
	t.Delay.Record(time.Duration(max(transit, 0)))
	if t.Frames == 1 {
		t.First = now
	} else {
		varied := transit - t.transit
		if varied < 0 {
			varied = -varied
		}
		t.Variation.Record(time.Duration(varied))
		t.jitter += varied - t.jitter>>4
	}
	t.transit = transit
	t.Jitter = time.Duration(t.jitter >> 4)
}

// Lost is how many of sent frames neither arrived nor may have arrived late.
func Lost(sent uint64, r xdp.TrafficReceived) uint64 {
	return sent - min(sent, r.Frames+r.Late)
}
