package meter

import (
	"math/rand/v2"
	"net/netip"
	"testing"

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
		reg := NewRegistry(1)
		set := reg.Compile(0, meters)
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

func TestCountsAndTokensSurviveTheNextGeneration(t *testing.T) {
	reg := NewRegistry(2)
	all := netip.MustParsePrefix("::/0")
	meters := []dataplane.Meter{{Reservation: 7, From: all, To: all, Rate: dssn.Mbps, Burst: 1000}}
	one := reg.Compile(0, meters)
	one.All[0].Share(0, 0).Counter.SentPackets.Add(3)
	one.All[0].Share(1, 0).Counter.SentPackets.Add(4)
	two := reg.Compile(0, meters)
	if two.All[0].Share(1, 0) != one.All[0].Share(1, 0) {
		t.Error("a worker's share was replaced")
	}
	reg.Compile(0, nil)
	if got := reg.Counts(nil); len(got) != 1 || got[0].SentPackets != 7 || got[0].Reservation != 7 {
		t.Errorf("after the reservation left: counts %v, want the 7 packets of both workers kept", got)
	}
}
