package xdp_test

import (
	"net/netip"
	"testing"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"
)

// runs lets the program judge n copies of a frame and returns how many were not dropped.
func runs(t *testing.T, n *xdptest.Netns, tr *xdp.Transit, count int, f frameSpec) (passed int) {
	t.Helper()
	frame := f.bytes()
	n.Do(t, func() error {
		buf := make([]byte, 4096)
		for range count {
			action, _, err := tr.Run(frame, 0, buf)
			if err != nil {
				return err
			}
			if action == 4 {
				passed++
			}
		}
		return nil
	})
	return passed
}

func TestASpoofedTagTakesNothingFromItsOwner(t *testing.T) {
	need.Root(t)
	n := xdptest.NewNetns(t).Quiet(t)
	tr := world(t, n, 0)
	owner := xdp.TransitMeter{Tag: 50, Class: 3, BitsPerSecond: 8000, BurstBytes: 10 * 1440, Source: netip.MustParseAddr("5f00:d55:1::"), Owner: 4711}
	if err := tr.SetMeters([]xdp.TransitMeter{owner}); err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, 1400)
	mine := frameSpec{flow: 50, class: 46 << 2, next: 17, payload: payload}
	spoofed := mine
	spoofed.src = "5f00:d55:9::"
	if got := runs(t, n, tr, 100, spoofed); got != 100 {
		t.Errorf("%d of 100 packets with another's tag were forwarded; unmetered, all should be", got)
	}
	if got := runs(t, n, tr, 20, mine); got != 10 {
		t.Errorf("the owner had %d packets of its burst of 10 left", got)
	}
	u, err := tr.Usage(50, 3)
	if err != nil || u != (xdp.TransitUsage{Packets: 20, Bytes: 20 * 1440, OverPackets: 10, OverBytes: 10 * 1440, Foreign: 100}) {
		t.Errorf("counted %+v, %v", u, err)
	}
	// The same tag for another reservation begins at zero.
	owner.Owner = 4712
	if err := tr.SetMeters([]xdp.TransitMeter{owner}); err != nil {
		t.Fatal(err)
	}
	if u, _ := tr.Usage(50, 3); u != (xdp.TransitUsage{}) {
		t.Errorf("the next owner begins with %+v", u)
	}
}

func TestHeadersThatTheEdgeAddsAreNotPoliced(t *testing.T) {
	need.Root(t)
	n := xdptest.NewNetns(t).Quiet(t)
	tr := world(t, n, 0)
	const inside, overhead = 1300, 95
	if err := tr.SetMeters([]xdp.TransitMeter{{Tag: 51, Class: 2, BitsPerSecond: 8000, BurstBytes: 20 * inside, OverheadBytes: overhead}}); err != nil {
		t.Fatal(err)
	}
	f := frameSpec{flow: 51, class: 26 << 2, next: 17, payload: make([]byte, inside+overhead-40)}
	if got := runs(t, n, tr, 30, f); got != 20 {
		t.Errorf("%d packets passed, the burst is 20", got)
	}
	// What is all header costs nothing.
	f.payload = make([]byte, overhead-40)
	if got := runs(t, n, tr, 30, f); got != 30 {
		t.Errorf("%d of 30 packets without inside bytes passed", got)
	}
}
