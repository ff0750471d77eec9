package wire

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"dssn"
)

// decision is what chance alone decides about a frame.
type decision struct {
	lost      Reason
	copies    int
	flip      int
	reordered bool
}

// decide is the slow twin of a line's chance: the whole history of frame i,
// computed from nothing but seed, direction and i.
func decide(s Settings, direction uint8, i uint64, length int) decision {
	c := newChance(s.Seed, direction)
	yes := func(p purpose, i uint64, share float64) bool {
		return share >= 1 || float64(c.at(p, i)) < share*18446744073709551616
	}
	bad := false
	for k := uint64(0); k <= i; k++ {
		if share := map[bool]float64{false: s.Enter, true: s.Leave}[bad]; s.Enter > 0 && yes(forBurst, k, share) {
			bad = !bad
		}
	}
	d := decision{copies: 1, flip: -1}
	switch {
	case bad && yes(forBurstLoss, i, s.BurstLoss):
		d.lost = LostBurst
	case yes(forLoss, i, s.Loss):
		d.lost = Lost
	}
	if d.lost != Kept {
		d.copies = 0
		return d
	}
	if yes(forDuplicate, i, s.Duplicate) {
		d.copies = 2
	}
	if yes(forCorrupt, i, s.Corrupt) {
		d.flip = 112 + int(c.at(forBit, i)%uint64(8*length-112))
	}
	d.reordered = yes(forReorder, i, s.Reorder)
	return d
}

func TestChanceIsAFunctionOfSeedDirectionAndIndex(t *testing.T) {
	s, err := Parse("loss=3% burst=1%/20% burst-loss=70% reorder=2%/5ms duplicate=4% corrupt=5% delay=1ms jitter=3ms law=exponential seed=99")
	if err != nil {
		t.Fatal(err)
	}
	for direction := range uint8(2) {
		// Two lines of the same seed meet frames at different times, one of them
		// with a rate and a queue that drops.
		quick, busy := NewLine(direction, s), NewLine(direction, s)
		slow := s
		slow.Rate, slow.QueuePackets = 10*dssn.Mbps, 5
		busy.Change(direction, slow)
		rng := rand.New(rand.NewPCG(1, uint64(direction)))
		now, full := int64(0), 0
		for i := range uint64(1500) {
			now += rng.Int64N(2_000_000)
			length := 60 + rng.IntN(1400)
			want := decide(s, direction, i, length)
			before, _ := quick.Counters()
			a := quick.Arrive(int64(i), length)
			after, _ := quick.Counters()
			if got := (decision{a.Why, a.Copies, a.Flip, after.Reordered > before.Reordered}); got != want {
				t.Fatalf("direction %d frame %d: got %+v, want %+v", direction, i, got, want)
			}
			if b := busy.Arrive(now, length); b.Why == QueueFull {
				full++
			} else if b.Why != want.lost || b.Copies != want.copies || b.Flip != want.flip {
				t.Fatalf("direction %d frame %d on a slow line: got %+v, want %+v", direction, i, b, want)
			}
		}
		if full == 0 {
			t.Error("the slow line's queue never filled: the test shows nothing")
		}
	}
	one, two := NewLine(0, s), NewLine(1, s)
	other := s
	other.Seed++
	three := NewLine(0, other)
	same := [2]int{}
	for i := range int64(10000) {
		v := one.Arrive(i, 100)
		for k, l := range []*Line{two, three} {
			if w := l.Arrive(i, 100); w.Why == v.Why && v.Why != Kept {
				same[k]++
			}
		}
	}
	for k, n := range same { // independent lines lose the same frame about 60 times of 10000
		if n > 200 {
			t.Errorf("lines %d share %d losses: chance is not separate", k, n)
		}
	}
}

func TestAChangedSeedBeginsAnewAndOtherChangesGoOn(t *testing.T) {
	s := Settings{Loss: 0.5, Seed: 1}
	l, twin := NewLine(0, s), NewLine(0, s)
	for range 100 {
		l.Arrive(0, 100)
		twin.Arrive(0, 100)
	}
	s.Delay = time.Millisecond
	l.Change(0, s)
	for i := range 100 {
		if a, b := l.Arrive(0, 100), twin.Arrive(0, 100); a.Why != b.Why {
			t.Fatalf("frame %d after a change of the delay: %v, want %v", i, a.Why, b.Why)
		}
	}
	s.Seed = 2
	l.Change(0, s)
	fresh := NewLine(0, s)
	for i := range 100 {
		if a, b := l.Arrive(0, 100), fresh.Arrive(0, 100); a.Why != b.Why {
			t.Fatalf("frame %d after a new seed: %v, want %v", i, a.Why, b.Why)
		}
	}
}

// slowQueue is the twin of a line's queue: every frame's interval on the line,
// kept for ever, in exact rational time (nanoseconds times the rate).
type slowQueue struct {
	ends    []dssn.ByteCount // in nanobits, exact
	lengths []int
}

func (q *slowQueue) arrive(s Settings, now int64, length int) bool {
	rate := uint64(s.Rate)
	packets, size := 0, dssn.ByteCount(0)
	last := uint64(now) * rate
	for i, e := range q.ends {
		// The line rounds the moment at which a frame is sent down to a nanosecond.
		if uint64(e)/rate > uint64(now) {
			packets++
			size += dssn.ByteCount(q.lengths[i])
		}
		if uint64(e) > last && uint64(e)/rate >= uint64(now) {
			last = uint64(e)
		}
	}
	if s.QueuePackets > 0 && packets >= s.QueuePackets || s.QueueBytes > 0 && packets > 0 && size+dssn.ByteCount(length) > s.QueueBytes {
		return false
	}
	q.ends = append(q.ends, dssn.ByteCount(last+uint64(length+s.Overhead)*8*1e9))
	q.lengths = append(q.lengths, length)
	return true
}

func TestQueueAndRateAgreeWithASlowTwin(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := Settings{Rate: dssn.Bandwidth(1e6 + rng.Uint64N(1e9)), Overhead: rng.IntN(30), QueuePackets: rng.IntN(20), QueueBytes: dssn.ByteCount(rng.IntN(20000))}
		if s.QueuePackets == 0 && s.QueueBytes == 0 {
			s.QueuePackets = 3
		}
		l, q := NewLine(0, s), &slowQueue{}
		now := int64(0)
		for i := range 400 {
			length := 60 + rng.IntN(1460)
			now += rng.Int64N(2*int64(s.Rate.TimeFor(760)) + 1)
			v := l.Arrive(now, length)
			if want := q.arrive(s, now, length); (v.Why == Kept) != want {
				t.Fatalf("seed %d frame %d: %v, the twin keeps it: %v", seed, i, v.Why, want)
			}
			if v.Why == Kept {
				if want := int64(uint64(q.ends[len(q.ends)-1]) / uint64(s.Rate)); v.At != want {
					t.Fatalf("seed %d frame %d: out at %d, want %d", seed, i, v.At, want)
				}
			}
		}
	}
}

// A saturated line must deliver exactly its rate, at any rate.
func TestTheRateIsExact(t *testing.T) {
	for _, rate := range []dssn.Bandwidth{64 * dssn.Kbps, 1234567, dssn.Gbps, 2 * dssn.Gbps, 100 * dssn.Gbps, 399_999_999_989} {
		l := NewLine(0, Settings{Rate: rate, QueuePackets: MaxQueue})
		const frames, length = 100_000, 64
		var last int64
		for range frames {
			last = l.Arrive(0, length).At
		}
		want := float64(frames*length*8) / float64(rate) * 1e9
		if d := float64(last) - want; d > 1 || d < -1 {
			t.Errorf("%v: the last of %d frames comes out at %d ns, want %.1f", rate, frames, last, want)
		}
	}
}

func TestHeldAgreesWithASortedList(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var h held
		var list []item
		now := int64(0)
		for i := range uint64(2000) {
			if rng.IntN(100) < 55 {
				now += rng.Int64N(10)
				at := now
				if rng.IntN(4) == 0 {
					at += rng.Int64N(100)
				}
				h.push(at, uint32(i), 1)
				list = append(list, item{at: at, seq: i, slot: uint32(i)})
				continue
			}
			got, ok := h.next()
			if ok != (len(list) > 0) {
				t.Fatalf("seed %d: next %v with %d frames held", seed, ok, len(list))
			}
			if !ok {
				continue
			}
			slices.SortFunc(list, func(a, b item) int {
				if a.at != b.at {
					return int(a.at - b.at)
				}
				return int(int64(a.seq) - int64(b.seq))
			})
			if got.slot != list[0].slot || got.at != list[0].at {
				t.Fatalf("seed %d: next is frame %d at %d, want %d at %d", seed, got.slot, got.at, list[0].slot, list[0].at)
			}
			h.pop()
			list = list[1:]
			if h.len() != len(list) {
				t.Fatalf("seed %d: %d held, want %d", seed, h.len(), len(list))
			}
		}
	}
}

// Whatever happens, every frame is accounted for and comes out at its time.
func TestFramesInAreFramesOutPlusDroppedPlusHeld(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 3))
		l := NewLine(0, Settings{})
		check := func(what string) {
			c, held := l.Counters()
			if c.In+c.Duplicated != c.Out+c.Lost()+uint64(held) {
				t.Fatalf("seed %d after %s: in %d + duplicated %d ≠ out %d + dropped %v + held %d", seed, what, c.In, c.Duplicated, c.Out, c.Dropped, held)
			}
		}
		now := int64(0)
		for range 3000 {
			now += rng.Int64N(20_000)
			switch n := rng.IntN(100); {
			case n < 70:
				length := 60 + rng.IntN(1500)
				v := l.Arrive(now, length)
				if rng.IntN(2) == 0 && l.Direct(v, length) {
					break
				}
				for range v.Copies {
					l.Hold(v.At, 7, length)
				}
			case n < 97:
				for {
					_, at, ok := l.Due(now)
					if !ok {
						break
					}
					if at > now {
						t.Fatalf("seed %d: a frame of %d came out at %d", seed, at, now)
					}
				}
				if at, ok := l.Next(); ok && at <= now {
					t.Fatalf("seed %d: a frame of %d is still held at %d", seed, at, now)
				}
			default:
				s := Settings{Rate: dssn.Bandwidth(rng.IntN(2)) * 50 * dssn.Mbps, Delay: time.Duration(rng.IntN(1_000_000)), Jitter: time.Duration(rng.IntN(100_000)),
					Law: Law(rng.IntN(4)), Free: rng.IntN(2) == 0, Loss: rng.Float64() * 0.2, Enter: rng.Float64() * 0.1, Leave: 0.3, BurstLoss: 0.9,
					Reorder: 0.1, ReorderBy: 50_000, Duplicate: 0.1, Corrupt: 0.1, MTU: 1400, Down: rng.IntN(5) == 0}
				l.Change(0, s)
				for ok := s.Down; ok; {
					_, ok = l.Flush()
				}
			}
			check("a step")
		}
	}
}

func TestWithoutFreeOrderOnlyReorderedFramesAreOvertaken(t *testing.T) {
	l := NewLine(0, Settings{Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond, Law: Normal, Reorder: 0.05, ReorderBy: 20 * time.Millisecond})
	last, reordered := int64(0), uint64(0)
	for i := range int64(5000) {
		v := l.Arrive(i*100_000, 100)
		c, _ := l.Counters()
		if c.Reordered > reordered {
			reordered = c.Reordered
			continue
		}
		if v.At < last {
			t.Fatalf("frame %d comes out at %d, before the one of %d", i, v.At, last)
		}
		last = v.At
	}
	if reordered == 0 {
		t.Error("nothing was reordered")
	}
}

func TestTheSteadyStateDoesNotAllocate(t *testing.T) {
	l := NewLine(0, Settings{Rate: dssn.Gbps, Delay: time.Millisecond, Jitter: 100 * time.Microsecond, Law: Normal, Free: true, Reorder: 0.01, ReorderBy: time.Millisecond, Loss: 0.01})
	now := int64(0)
	step := func() {
		for range 100 {
			now += 12_000
			v := l.Arrive(now, 1514)
			for range v.Copies {
				l.Hold(v.At, 1, 1514)
			}
			for {
				if _, _, ok := l.Due(now); !ok {
					break
				}
			}
		}
	}
	for range 100 {
		step()
	}
	if n := testing.AllocsPerRun(50, step); n != 0 {
		t.Errorf("%g allocations per 100 frames", n)
	}
}

// BenchmarkLine is the core's own cost per frame, of which a core at 500,000
// frames per second has 2 µs for everything.
func BenchmarkLine(b *testing.B) {
	for _, c := range []string{"delay=10ms", "rate=2G delay=10ms", "rate=2G delay=10ms jitter=1ms law=normal loss=0.1% burst=0.1%/25% reorder=1%/2ms duplicate=0.1% corrupt=0.01% order=free"} {
		b.Run(c, func(b *testing.B) {
			s, err := Parse(c)
			if err != nil {
				b.Fatal(err)
			}
			l := NewLine(0, s)
			now := int64(0)
			for b.Loop() {
				now += 2000
				v := l.Arrive(now, 64)
				for range v.Copies {
					l.Hold(v.At, 1, 64)
				}
				for {
					if _, _, ok := l.Due(now); !ok {
						break
					}
				}
			}
		})
	}
}
