package worker_test

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"dssn/dataplane/aead"
	"dssn/dataplane/porttest"
	"dssn/dataplane/worker"
)

// A trace ends in the verdict that the packet itself would have met, and
// changes nothing.
func TestATraceSaysWhatHappens(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	a, b := pair(t, aead.ChaCha20Poly1305)
	verdict := func(steps []worker.Step) string { return steps[len(steps)-1].Answer }
	other := netip.MustParseAddr("3fff:d55::c")
	for _, x := range []struct {
		p    []byte
		want string
	}{
		{udp(addrA, addrB, 100, r), "send"},
		{udp(addrA, other, 100, r), "drop: no_peer"},
		{udp(netip.MustParseAddr("fd00::1"), addrB, 1, r), "drop: no_meter"},
		{[]byte{0x60}, "drop: malformed"},
	} {
		steps := a.TraceInside(x.p)
		if verdict(steps) != x.want {
			t.Errorf("traced to %v, want %s", steps, x.want)
		}
		a.inside.In = []porttest.Packet{{Data: x.p}}
		a.poll(t, t0)
		if name, dropped := strings.CutPrefix(x.want, "drop: "); dropped && a.dropped(name) != 1 {
			t.Errorf("%s was not what happened", name)
		}
	}
	m := a.outside.Out[0].Data
	before := b.droppedInAll()
	if got := verdict(b.TraceOutside(m)); got != "deliver" {
		t.Errorf("a genuine message: %s", got)
	}
	if got := verdict(b.TraceOutside(m)); got != "deliver" || b.droppedInAll() != before {
		t.Errorf("traced twice: %s, and drops went from %d to %d", got, before, b.droppedInAll())
	}
	m[30] ^= 1
	if got := verdict(b.TraceOutside(m)); got != "drop: bad_tag" {
		t.Errorf("a forged message: %s", got)
	}
	if got := verdict(b.TraceOutside(m[:10])); got != "drop: bad_message" {
		t.Errorf("a stub: %s", got)
	}
}
