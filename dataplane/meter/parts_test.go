package meter

import (
	"testing"
	"time"

	"dssn"
	"dssn/dataplane"
)

// A meter in parts holds each part to its own rate, and counts both as one.
func TestEachPartOfAMeterHasItsOwnRate(t *testing.T) {
	r := NewRegistry(2)
	m := dataplane.Meter{Reservation: 9, From: everything, To: everything, Rate: 100 * dssn.Mbps, Burst: 4 * dssn.MiB,
		Parts: []dssn.Bandwidth{75 * dssn.Mbps, 25 * dssn.Mbps}}
	set := r.Compile(0, []dataplane.Meter{m})
	take := func(part int, until time.Duration) (taken uint64) {
		s := set.All[0].Share(1, part)
		for now := time.Duration(0); now <= until; now += time.Millisecond {
			for s.Fill(now, 1000); s.Take(1000); s.Fill(now, 1000) {
				taken += 1000
			}
			s.Settle()
		}
		s.Counter.SentBytes.Add(taken)
		return taken
	}
	for part, rate := range m.Parts {
		most := uint64(4*dssn.MiB)*uint64(rate)/uint64(m.Rate) + uint64(rate.BytesIn(time.Second))
		if got := take(part, time.Second); got > most || got < most-3*leaseBytes {
			t.Errorf("part %d: %d bytes in a second, want at most %d", part, got, most)
		}
	}
	whole := uint64(4*dssn.MiB) + uint64(m.Rate.BytesIn(time.Second))
	if c := r.Counts(nil)[0]; c.SentBytes > whole || c.SentBytes < whole-6*leaseBytes {
		t.Errorf("counted %d bytes for both parts, want about %d", c.SentBytes, whole)
	}
	// Undivided again, what lanes of the second part send is on the first.
	m.Parts = nil
	again := r.Compile(2*time.Second, []dataplane.Meter{m})
	if again.All[0].Share(1, 1) != again.All[0].Share(1, 0) || again.All[0].Share(1, 0) != set.All[0].Share(1, 0) {
		t.Error("an undivided meter has not one share for a worker, or not the one it had")
	}
}

func TestPartsMustFitTheRate(t *testing.T) {
	m := dataplane.Meter{Reservation: 9, From: everything, To: everything, Rate: 10, Parts: []dssn.Bandwidth{6, 5}}
	if err := (&dataplane.Tables{Meters: []dataplane.Meter{m}}).Check(); err == nil {
		t.Error("parts of more than the whole passed")
	}
	m.Parts = make([]dssn.Bandwidth, dataplane.MaxParts+1)
	if err := (&dataplane.Tables{Meters: []dataplane.Meter{m}}).Check(); err == nil {
		t.Error("too many parts passed")
	}
}
