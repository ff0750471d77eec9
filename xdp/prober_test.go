package xdp_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"
)

// TestAProberFindsALinkThatLooksUp lets a neighbour's transit program answer, and
// then takes the program away: the link keeps its carrier, and only a probe can tell.
func TestAProberFindsALinkThatLooksUp(t *testing.T) {
	need.Root(t)
	us, them := xdptest.NewNetns(t), xdptest.NewNetns(t)
	xdptest.Veth(t, us, "u0", them, "t0")
	us.IP(t, "addr", "add", "5f00:d55:2::/128", "dev", "lo", "nodad")
	neighbour := func() *xdp.Transit {
		var tr *xdp.Transit
		them.Do(t, func() (err error) {
			if tr, err = xdp.OpenTransit(xdp.TransitOptions{Block: block, SID: 3}); err != nil {
				return err
			}
			back := xdp.Adjacency{Ifindex: them.Ifindex(t, "t0"), To: us.MAC(t, "u0"), From: them.MAC(t, "t0"), MTU: 1500}
			if err := tr.SetRoutes([]xdp.TransitRoute{{SID: 2, Via: back}}); err != nil {
				return err
			}
			_, err = tr.Attach(xdp.IngressOptions{Ifindex: back.Ifindex, MAC: back.From})
			return err
		})
		return tr
	}
	// Redirected frames are received by an interface that polls.
	var sink *xdp.Director
	us.Do(t, func() (err error) {
		sink, err = xdp.NewDirector(xdp.DirectorOptions{Ifindex: us.Ifindex(t, "u0")})
		return err
	})
	defer sink.Close()
	far := neighbour()
	to := xdp.Adjacency{Ifindex: us.Ifindex(t, "u0"), To: them.MAC(t, "t0"), From: us.MAC(t, "u0"), MTU: 1500}
	var p *xdp.Prober
	us.Do(t, func() (err error) {
		p, err = xdp.NewProber(xdp.ProberOptions{Block: block, SID: 2, Every: 10 * time.Millisecond, Missed: 20})
		return err
	})
	told := make(chan bool, 16)
	ended := make(chan error, 1)
	p.Ask([]xdp.ProbeTarget{{SID: 3, Adjacency: to}, {SID: 9, Adjacency: to}})
	go func() {
		ended <- p.Run(func(a xdp.Adjacency, up bool) {
			if a != to {
				t.Errorf("told of %v", a)
			}
			told <- up
		})
	}()
	forwarded := func() uint64 { c, _ := far.Counts(); return c.Of("forwarded_shifted") }
	await := func(what string, ok func() bool) {
		t.Helper()
		for range 1000 {
			if ok() {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("never saw %s", what)
	}
	await("questions forwarded", func() bool { return forwarded() > 5 })
	next := func(want bool) {
		t.Helper()
		select {
		case up := <-told:
			if up != want {
				t.Fatalf("told up %v, want %v", up, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("never told up %v", want)
		}
	}
	next(true) // met
	far.Close()
	next(false)
	far = neighbour()
	next(true)
	// One that is not asked any more is nobody's business, and so not down.
	far.Close()
	next(false)
	p.Ask(nil)
	next(true)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestASecondProberIsToldThatThePortIsTaken(t *testing.T) {
	need.Root(t)
	n := xdptest.NewNetns(t)
	n.Do(t, func() error {
		c, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6unspecified, Port: xdp.EchoPort})
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := xdp.NewProber(xdp.ProberOptions{Block: netip.MustParsePrefix("5f00:d55::/32"), SID: 2}); err == nil {
			t.Error("opened")
		} else if want := "probing adjacencies: UDP port 51824 is taken by another program: address already in use"; err.Error() != want {
			t.Errorf("said %q, want %q", err, want)
		}
		return nil
	})
}
