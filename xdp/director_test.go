package xdp_test

import (
	"net/netip"
	"testing"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"

	"github.com/google/gopacket/layers"
)

func TestADirectorTakesItsPortsAndPrefixesAndNothingElse(t *testing.T) {
	need.Root(t)
	a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
	xdptest.Veth(t, a, "a0", b, "b0")
	w := newWire(t, b, "b0")
	o := small
	o.Ifindex = a.Ifindex(t, "a0")
	s := openSocket(t, a, newPool(t, xdp.UMEMOptions{Frames: 256}), o)
	s.Refill()
	d := direct(t, a, xdp.DirectorOptions{Ifindex: o.Ifindex, Ports: []uint16{wireguardPort}, Prefixes: []netip.Prefix{netip.MustParsePrefix("3fff:d55:12::/48")}}, s)
	if d.Attached() != xdp.AttachNative {
		t.Errorf("attached %s on veth", d.Attached())
	}
	mac := xdp.MAC(a.MAC(t, "a0"))
	for _, c := range []struct {
		name  string
		frame frameSpec
		takes bool
	}{
		{"the port", frameSpec{dst: "2001:db8::1"}, true},
		{"another port", frameSpec{dst: "2001:db8::1", next: 17, payload: make([]byte, 20)}, false},
		{"the prefix, TCP", frameSpec{dst: "3fff:d55:12:7::1", next: layers.IPProtocolTCP, payload: make([]byte, 20)}, true},
		{"the prefix, ICMPv6", frameSpec{dst: "3fff:d55:12:7::1", next: layers.IPProtocolICMPv6, payload: make([]byte, 20)}, false},
		{"another prefix, TCP", frameSpec{dst: "3fff:d55:13::1", next: layers.IPProtocolTCP, payload: make([]byte, 20)}, false},
		{"a cut header", frameSpec{dst: "3fff:d55:12::1", truncateTo: 50}, false},
	} {
		c.frame.mac = &mac
		before, _ := d.Counters()
		w.send(t, c.frame.bytes())
		if c.takes {
			s.Pool().Put(xdptest.Receive(t, s, 1)[0].Addr)
		}
		after := before
		for range 1000 {
			if after, _ = d.Counters(); after != before {
				break
			}
		}
		if took := after.ToSocket > before.ToSocket; took != c.takes || !took && after.NoMatch != before.NoMatch+1 {
			t.Errorf("%s: taken %v, want %v: %+v", c.name, took, c.takes, after)
		}
	}
	// Without its socket the queue is the kernel's.
	if err := d.Remove(0); err != nil {
		t.Fatal(err)
	}
	w.send(t, frameSpec{dst: "2001:db8::1", mac: &mac}.bytes())
	for range 1000 {
		if c, _ := d.Counters(); c.NoSocket == 1 {
			return
		}
	}
	c, _ := d.Counters()
	t.Errorf("after Remove: %+v", c)
}
