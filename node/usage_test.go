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
)

func openUsage(t *testing.T, dir string) *usage {
	t.Helper()
	s, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	u, err := newUsage(s)
	if err != nil {
		t.Fatal(err)
	}
	s.close()
	t.Cleanup(u.counters.close)
	return u
}

func TestCountsGoOnAfterAKill(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1e9, 0)
	u := openUsage(t, dir)
	u.counters.place(5, 0).SentPackets.Add(10)
	u.counters.place(5, 0).SentBytes.Add(1000)
	first, err := u.report(now)
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	// Counted after the save and before the kill.
	u.counters.place(5, 0).SentBytes.Add(500)
	u.counters.place(6, 0).ReceivedBytes.Add(7)

	u = openUsage(t, dir) // another process
	u.counters.place(5, 0).SentBytes.Add(1)
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

func TestLostCountersComeFromTheUsageFile(t *testing.T) {
	dir := t.TempDir()
	u := openUsage(t, dir)
	u.counters.place(5, 0).SentBytes.Add(1000)
	if _, err := u.report(time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, fileCounters), 0); err != nil { // as after a power cut
		t.Fatal(err)
	}
	u = openUsage(t, dir)
	if got := u.counters.place(5, 0).SentBytes.Load(); got != 1000 {
		t.Errorf("%d bytes counted, want the 1000 that were reported", got)
	}
}

func TestALostUsageFileBeginsAnEpochWithoutCountingTwice(t *testing.T) {
	dir := t.TempDir()
	u := openUsage(t, dir)
	u.counters.place(5, 0).SentBytes.Add(1000)
	first, err := u.report(time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, fileUsage)); err != nil {
		t.Fatal(err)
	}
	u = openUsage(t, dir)
	u.counters.place(5, 0).SentBytes.Add(3)
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
	u := openUsage(t, t.TempDir())
	u.counters.place(5, 0).SentBytes.Add(1000)
	u.save = func(*usageFile) error { return syscall.ENOSPC }
	if r, err := u.report(time.Unix(1e9, 0)); r != nil || err == nil {
		t.Errorf("with a full disk the report is %+v, %v", r, err)
	}
}

func TestAReportIsRepeatedUntilItIsAcknowledged(t *testing.T) {
	now := time.Unix(1e9, 0)
	u := openUsage(t, t.TempDir())
	u.counters.place(5, 0).SentBytes.Add(1000)
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
	// The controller hears from time to time that there is nothing to add.
	if r, _ := u.report(now.Add(saysSomething)); r == nil || len(r.Counts) != 1 || len(r.Deliveries) != 0 {
		t.Errorf("after %v of silence %+v, want the counts once more", saysSomething, r)
	}
	// A late word of the same transfer does not take anything back.
	u.delivered(southbound.Delivery{Transfer: "u", ContentBytes: 10})
	u.delivered(southbound.Delivery{Transfer: "u", ContentBytes: 4})
	r, _ := u.report(now)
	if len(r.Deliveries) != 1 || r.Deliveries[0].ContentBytes != 10 {
		t.Errorf("deliveries %+v, want one of 10 bytes", r.Deliveries)
	}
}

func TestCountersGrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "counters")
	open := func(epoch string) *countersFile {
		c, err := openCounters(path, epoch)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.close)
		return c
	}
	c := open("0123456789abcdef")
	first := c.place(1, 0)
	want := map[dssn.ReservationID]southbound.Count{}
	for i := range 3 * chunkSlots {
		w := southbound.Count{Reservation: dssn.ReservationID(i + 1), SentPackets: uint64(i), SentBytes: 2, PolicedPackets: 3, PolicedBytes: 4,
			ReceivedPackets: 5, ReceivedBytes: uint64(i) << 40}
		want[w.Reservation] = w
		c.raise(w)
	}
	if c.place(1, 0) != first {
		t.Error("a counter moved when the file grew")
	}
	// Other workers have slots of their own, and what is counted is the sum.
	c.place(2, 1).SentBytes.Add(40)
	c.place(2, 7).SentBytes.Add(500)
	c.raise(southbound.Count{Reservation: 2, SentBytes: 541})
	w := want[2]
	w.SentBytes = 542
	want[2] = w
	// Not closed: as after a kill.
	got := map[dssn.ReservationID]southbound.Count{}
	for _, w := range open("0123456789abcdef").list() {
		got[w.Reservation] = w
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d counts came back, want %d", len(got), len(want))
	}
	if list := open("fedcba9876543210").list(); len(list) != 0 {
		t.Errorf("another epoch finds %d counts", len(list))
	}
}
