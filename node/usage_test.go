package node

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"dssn"
	"dssn/controller/southbound"
	"dssn/dataplane"
)

// tally is an engine that only counts.
type tally struct {
	dataplane.Engine
	counts []dataplane.Count
}

func (t *tally) Counts(dst []dataplane.Count) []dataplane.Count { return append(dst, t.counts...) }

func openUsage(t *testing.T, dir string, e dataplane.Engine) *usage {
	t.Helper()
	s, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	u, err := newUsage(s)
	if err != nil {
		t.Fatal(err)
	}
	u.engine = e
	s.close()
	t.Cleanup(u.live.close)
	return u
}

func TestCountsGoOnAfterAKill(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1e9, 0)
	e := &tally{counts: []dataplane.Count{{Reservation: 5, SentPackets: 10, SentBytes: 1000}}}
	u := openUsage(t, dir, e)
	first, err := u.report(now)
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	// Counted after the save and before the kill.
	e.counts[0].SentBytes = 1500
	e.counts = append(e.counts, dataplane.Count{Reservation: 6, ReceivedBytes: 7})
	if err := u.track(); err != nil {
		t.Fatal(err)
	}

	// Another process; its engine begins at zero.
	e = &tally{counts: []dataplane.Count{{Reservation: 5, SentBytes: 1}}}
	u = openUsage(t, dir, e)
	second, err := u.report(now)
	if err != nil {
		t.Fatal(err)
	}
	want := []southbound.Count{{Reservation: 5, SentPackets: 10, SentBytes: 1501}, {Reservation: 6, ReceivedBytes: 7}}
	if !slices.Equal(second.Counts, want) {
		t.Errorf("after the kill %+v, want %+v", second.Counts, want)
	}
	if second.Epoch != first.Epoch || second.Sequence <= first.Sequence {
		t.Errorf("report %s/%d follows %s/%d", second.Epoch, second.Sequence, first.Epoch, first.Sequence)
	}
}

func TestALostUsageFileBeginsAnEpochWithoutCountingTwice(t *testing.T) {
	dir := t.TempDir()
	u := openUsage(t, dir, &tally{counts: []dataplane.Count{{Reservation: 5, SentBytes: 1000}}})
	first, err := u.report(time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	u.track()
	if err := os.Remove(filepath.Join(dir, fileUsage)); err != nil {
		t.Fatal(err)
	}
	u = openUsage(t, dir, &tally{counts: []dataplane.Count{{Reservation: 5, SentBytes: 3}}})
	second, err := u.report(time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	if second.Epoch == first.Epoch {
		t.Error("the epoch goes on although its counts are lost")
	}
	if len(second.Counts) != 1 || second.Counts[0].SentBytes != 3 {
		t.Errorf("the new epoch begins with %+v, want only what was counted in it", second.Counts)
	}
}

func TestNothingIsReportedThatIsNotKept(t *testing.T) {
	e := &tally{counts: []dataplane.Count{{Reservation: 5, SentBytes: 1000}}}
	u := openUsage(t, t.TempDir(), e)
	u.save = func(*usageFile) error { return syscall.ENOSPC }
	if r, err := u.report(time.Unix(1e9, 0)); r != nil || err == nil {
		t.Errorf("with a full disk the report is %+v, %v", r, err)
	}
}

func TestAReportIsRepeatedUntilItIsAcknowledged(t *testing.T) {
	now := time.Unix(1e9, 0)
	u := openUsage(t, t.TempDir(), &tally{counts: []dataplane.Count{{Reservation: 5, SentBytes: 1000}}})
	u.delivered(southbound.Delivery{Transfer: "t", ContentBytes: 10, Done: true})
	first, _ := u.report(now)
	again, _ := u.report(now)
	if first == nil || again == nil || len(again.Deliveries) != 1 {
		t.Fatalf("reports %+v, %+v; want two with the delivery", first, again)
	}
	u.acknowledged(&southbound.UsageAck{Epoch: "another", Sequence: 99})
	u.acknowledged(&southbound.UsageAck{Epoch: again.Epoch, Sequence: again.Sequence})
	if r, _ := u.report(now); r != nil {
		t.Errorf("after the acknowledgement still %+v", r)
	}
	// A late word of the same transfer does not take anything back.
	u.delivered(southbound.Delivery{Transfer: "u", ContentBytes: 10})
	u.delivered(southbound.Delivery{Transfer: "u", ContentBytes: 4})
	r, _ := u.report(now)
	if len(r.Deliveries) != 1 || r.Deliveries[0].ContentBytes != 10 {
		t.Errorf("deliveries %+v, want one of 10 bytes", r.Deliveries)
	}
}

func TestLiveCountsGrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "counters")
	l, _, err := openLiveCounts(path, "0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	want := map[dssn.ReservationID]southbound.Count{}
	for i := range 3 * liveFirst {
		c := southbound.Count{Reservation: dssn.ReservationID(i + 1), SentPackets: uint64(i), ReceivedBytes: uint64(i) << 40}
		want[c.Reservation] = c
		if err := l.put(c); err != nil {
			t.Fatal(err)
		}
	}
	// Not closed: as after a kill.
	again, list, err := openLiveCounts(path, "0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	got := map[dssn.ReservationID]southbound.Count{}
	for _, c := range list {
		got[c.Reservation] = c
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d counts came back, want %d", len(got), len(want))
	}
	if n := testing.AllocsPerRun(100, func() { again.put(want[7]) }); n > 0 {
		t.Errorf("putting a count allocates %v times", n)
	}
	l.close()
	again.close()
	if other, list, err := openLiveCounts(path, "fedcba9876543210"); err != nil || len(list) != 0 {
		t.Errorf("another epoch finds %d counts, %v", len(list), err)
	} else {
		other.close()
	}
}
