package meter

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"dssn"
	"dssn/dataplane"
)

// slowFind is the sentence of dataplane.Meter read aloud: of all meters that
// hold both addresses, the longest To, then the longest From, then the first.
func slowFind(meters []dataplane.Meter, src, dst netip.Addr) (best int) {
	best = -1
	for i, m := range meters {
		if !m.From.Contains(src) || !m.To.Contains(dst) {
			continue
		}
		if best < 0 || m.To.Bits() > meters[best].To.Bits() ||
			m.To.Bits() == meters[best].To.Bits() && m.From.Bits() > meters[best].From.Bits() {
			best = i
		}
	}
	return best
}

func TestFindAgreesWithItsSlowTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	addr := func() netip.Addr {
		// Few distinct bits, so that prefixes nest and addresses hit.
		a := [16]byte{0x3f, 0xff, 0x0d, 0x55}
		for _, i := range []int{4, 9, 15} {
			a[i] = byte(r.IntN(4))
		}
		return netip.AddrFrom16(a)
	}
	prefix := func() netip.Prefix {
		p, _ := addr().Prefix([]int{0, 32, 39, 40, 79, 80, 127, 128}[r.IntN(8)])
		return p
	}
	for range 300 {
		meters := make([]dataplane.Meter, r.IntN(30))
		for i := range meters {
			meters[i] = dataplane.Meter{Reservation: dssn.ReservationID(i + 1), From: prefix(), To: prefix()}
		}
		reg := NewRegistry()
		set := reg.Compile(meters)
		for range 100 {
			src, dst := addr(), addr()
			want := slowFind(meters, src, dst)
			got := set.Find(src, dst)
			if (got == nil) != (want < 0) || got != nil && got != set.All[want] {
				t.Fatalf("from %v to %v among %v: got %v, want number %d", src, dst, meters, got, want)
			}
		}
	}
}

func TestABucketNeverGivesMoreThanBurstPlusRateTimesTime(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		rate := dssn.Bandwidth(r.Uint64N(400_000_000_000) + 1)
		burst := dssn.ByteCount(r.Uint64N(1 << 24))
		var b Bucket
		b.Set(rate, burst)
		now, start := time.Duration(r.Int64N(1<<40)), time.Duration(0)
		b.Refill(now)
		start = now
		var taken dssn.ByteCount
		for range 500 {
			now += time.Duration(r.Int64N(int64(time.Millisecond)))
			b.Refill(now)
			for range r.IntN(40) {
				if n := 40 + r.IntN(9000); b.Take(n) {
					taken += dssn.ByteCount(n)
				}
			}
			if most := burst + rate.BytesIn(now-start) + 1; taken > most {
				t.Fatalf("%v with burst %v gave %d bytes in %v, at most %d", rate, burst, taken, now-start, most)
			}
		}
	}
}

func TestABucketGivesItsWholeRate(t *testing.T) {
	var b Bucket
	b.Set(100*dssn.Mbps, 64*dssn.KiB)
	b.Refill(0)
	var taken int
	for ms := range 1001 {
		b.Refill(time.Duration(ms) * time.Millisecond)
		for b.Take(1000) {
			taken += 1000
		}
	}
	want := 64<<10 + int(dssn.Bandwidth(100*dssn.Mbps).BytesIn(time.Second))
	if taken > want || taken < want-1000 {
		t.Errorf("a greedy sender got %d bytes in a second, want %d within one packet", taken, want)
	}
}

func TestABucketWithoutRateDropsAndAClockGoingBackCostsNothing(t *testing.T) {
	var b Bucket
	b.Set(0, 1<<20)
	b.Refill(0)
	b.Refill(time.Hour)
	if b.Take(40) {
		t.Error("a rate of zero let a packet pass")
	}
	b = Bucket{}
	b.Set(dssn.Mbps, 1000)
	b.Refill(time.Hour)
	b.Refill(0)
	if !b.Take(1000) || b.Take(1) {
		t.Error("going back an hour changed what was in the bucket")
	}
	b.Refill(time.Second)
	if !b.Take(1000) {
		t.Error("the bucket did not fill from the clock's new beginning")
	}
}

func TestCountsAndBucketsSurviveTheNextGeneration(t *testing.T) {
	reg := NewRegistry()
	all := netip.MustParsePrefix("::/0")
	meters := []dataplane.Meter{{Reservation: 7, From: all, To: all, Rate: dssn.Mbps, Burst: 1000}}
	one := reg.Compile(meters)
	one.All[0].Counter.SentPackets.Add(3)
	two := reg.Compile(meters)
	if two.All[0].Bucket != one.All[0].Bucket {
		t.Error("the bucket was replaced")
	}
	reg.Compile(nil)
	if got := reg.Counts(nil); len(got) != 1 || got[0].SentPackets != 3 || got[0].Reservation != 7 {
		t.Errorf("after the reservation left: counts %v, want its 3 packets kept", got)
	}
}
