package meter

import (
	"net/netip"
	"testing"

	"dssn"
	"dssn/dataplane"
)

func TestCountersGoOnWhereTheyWereKept(t *testing.T) {
	kept := map[dssn.ReservationID]*Counter{1: new(Counter)}
	kept[1].SentBytes.Store(1000)
	asked := 0
	r := NewRegistry(1)
	r.KeepIn(func(id dssn.ReservationID, _ int) *Counter { asked++; return kept[id] })
	all := netip.MustParsePrefix("::/0")
	tables := []dataplane.Meter{{Reservation: 1, From: all, To: all}, {Reservation: 2, From: all, To: all}}
	for range 2 {
		for _, m := range r.Compile(0, tables).All {
			m.Share(0, 0).Counter.SentBytes.Add(1)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times where two counters live", asked)
	}
	got := map[dssn.ReservationID]uint64{}
	for _, c := range r.Counts(nil) {
		got[c.Reservation] = c.SentBytes
	}
	if got[1] != 1002 || got[2] != 2 || kept[1].SentBytes.Load() != 1002 {
		t.Errorf("counts %v, kept %d", got, kept[1].SentBytes.Load())
	}
}
