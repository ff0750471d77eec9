package wgtest

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"dssn/dataplane"
	"dssn/dataplane/enginetest"
)

func open(name string, private dataplane.Key, port uint16) (dataplane.Engine, error) {
	return Open(Options{Interface: name, PrivateKey: private, ListenPort: port})
}

func TestEngine(t *testing.T) { enginetest.Run(t, open, open) }

func TestChangesOnlySayWhatChanged(t *testing.T) {
	_, k1 := enginetest.NewKey(t)
	_, k2 := enginetest.NewKey(t)
	p := netip.MustParsePrefix
	ep := netip.MustParseAddrPort("[5f00:d55:1::1]:51820")
	one := &dataplane.Tables{Peers: []dataplane.Peer{
		{Key: k1, Endpoint: ep, Allowed: []netip.Prefix{p("3fff:d55:1::/48"), p("3fff:d55:2::/48")}},
	}}
	if in, out := changes(one, one); in != "" || out != "" {
		t.Errorf("nothing changed, yet %q and %q", in, out)
	}
	two := &dataplane.Tables{Peers: []dataplane.Peer{
		{Key: k1, Endpoint: ep, Allowed: []netip.Prefix{p("3fff:d55:1::/48")}},
		{Key: k2, Endpoint: ep, Allowed: []netip.Prefix{p("3fff:d55:2::/48")}},
	}}
	in, out := changes(one, two)
	if want := fmt.Sprintf("public_key=%x\npublic_key=%x\nendpoint=%v\nallowed_ip=3fff:d55:2::/48\n", k1[:], k2[:], ep); in != want || out != "" {
		t.Errorf("a prefix moved: got %q and %q, want %q and nothing", in, out, want)
	}
	if in, out := changes(two, &dataplane.Tables{}); in != "" || strings.Count(out, "remove=true") != 2 {
		t.Errorf("everybody left: got %q and %q", in, out)
	}
}
