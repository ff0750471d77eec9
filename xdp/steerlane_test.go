package xdp_test

import (
	"net"
	"net/netip"
	"testing"

	"dssn/internal/need"
	"dssn/xdp"
)

// Two lanes of one tunnel, told apart by their source ports: the one with a carrier
// of its own takes it, the other keeps to the destination's, and both arrive.
func TestALaneTakesItsOwnPath(t *testing.T) {
	need.Root(t)
	one, three := steerLab(t)
	next := receive(t, three, 4789)
	var s *xdp.Steer
	one.Do(t, func() (err error) { s, err = xdp.AttachSteer(one.Ifindex(t, "a1")); return err })
	defer s.Close()

	const here, own = 40001, 40002
	dial := func(port int) *net.UDPConn {
		var c *net.UDPConn
		one.Do(t, func() (err error) {
			c, err = net.DialUDP("udp6", &net.UDPAddr{Port: port}, &net.UDPAddr{IP: net.IP(nodeThree.AsSlice()), Port: 4789})
			return err
		})
		t.Cleanup(func() { c.Close() })
		return c
	}
	first, second := dial(here), dial(own)
	// The path by node 2 is a real one; the lane's leads to a node that is not there,
	// so what takes it does not arrive.
	nowhere := byTwo.As16()
	nowhere[5] = 0x77
	if err := s.Set(nodeThree, byTwo); err != nil {
		t.Fatal(err)
	}
	arrives := func(c *net.UDPConn, text string, want bool) {
		t.Helper()
		c.Write([]byte(text))
		first.Write([]byte("after " + text)) // arrives in any case
		got, err := next()
		if err != nil {
			t.Fatalf("%s: nothing arrived: %v", text, err)
		}
		if (string(got) == text) != want {
			t.Fatalf("%s: got %q, want it to arrive %v", text, got, want)
		}
		if want {
			next()
		}
	}
	arrives(second, "before the lane has a path", true)
	if err := s.SetLane(nodeThree, own, netip.AddrFrom16(nowhere)); err != nil {
		t.Fatal(err)
	}
	arrives(second, "by the lane's path", false)
	arrives(first, "the other lane", true)
	// Setting the destination's carrier again leaves the lane alone.
	if err := s.Set(nodeThree, byTwo); err != nil {
		t.Fatal(err)
	}
	arrives(second, "still by the lane's path", false)
	if err := s.SetLane(nodeThree, own, byTwo); err != nil {
		t.Fatal(err)
	}
	arrives(second, "by a lane's path that leads there", true)
	if err := s.SetLane(nodeThree, own, netip.AddrFrom16(nowhere)); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteLane(nodeThree, own); err != nil {
		t.Fatal(err)
	}
	arrives(second, "after the lane lost its path", true)
	if err := s.DeleteLane(nodeThree, own); err != nil {
		t.Errorf("deleting an unknown lane: %v", err)
	}
	c, _ := s.Counters()
	if c.Steered.Packets == 0 || c.TooShort.Packets != 0 {
		t.Errorf("counters %+v", c)
	}
}
