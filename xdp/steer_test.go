package xdp_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"
)

// steerLab is three namespaces in a line, addressed as the lab's nodes 1, 2, 3:
//
//	node 1 ── link a ── node 2 ── link b ── node 3
//	5f00:d55:1::        End next-csid       5f00:d55:3::
//
// Node 2 is the kernel's own: it shifts carriers to 5f00:d55:2::/48 and forwards.
// csum on makes node 1 finish its checksums, as a NIC without offload would.
func steerLab(t *testing.T) (one, three *xdptest.Netns) {
	one, two, three := xdptest.NewNetns(t), xdptest.NewNetns(t), xdptest.NewNetns(t)
	xdptest.Veth(t, one, "a1", two, "a2")
	xdptest.Veth(t, two, "b2", three, "b3")
	for _, n := range []*xdptest.Netns{one, two, three} {
		n.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
		n.Sysctl(t, "net/ipv6/conf/all/seg6_enabled", "1")
	}
	one.IP(t, "addr", "add", "fd00:a::1/64", "dev", "a1", "nodad")
	two.IP(t, "addr", "add", "fd00:a::2/64", "dev", "a2", "nodad")
	two.IP(t, "addr", "add", "fd00:b::2/64", "dev", "b2", "nodad")
	three.IP(t, "addr", "add", "fd00:b::3/64", "dev", "b3", "nodad")
	one.IP(t, "addr", "add", "5f00:d55:1::/128", "dev", "lo", "nodad")
	three.IP(t, "addr", "add", "5f00:d55:3::/128", "dev", "lo", "nodad")
	one.IP(t, "route", "add", "5f00:d55::/32", "via", "fd00:a::2")
	three.IP(t, "route", "add", "5f00:d55::/32", "via", "fd00:b::2")
	two.IP(t, "route", "add", "5f00:d55:1::/48", "via", "fd00:a::1")
	two.IP(t, "route", "add", "5f00:d55:3::/48", "via", "fd00:b::3")
	need.Kernel(t, "seg6local End with next-csid", two.Try("ip", "-6", "route", "add", "5f00:d55:2::/48", "encap", "seg6local",
		"action", "End", "flavors", "next-csid", "lblen", "32", "nflen", "16", "dev", "a2"))
	for _, off := range []string{"tx", "gso", "tso"} {
		one.Try("ethtool", "-K", "a1", off, "off")
	}
	return one, three
}

var (
	nodeThree = netip.MustParseAddr("5f00:d55:3::")
	byTwo     = netip.MustParseAddr("5f00:d55:2:3::")
)

// receive opens a UDP socket in n and returns a function that collects what came.
func receive(t *testing.T, n *xdptest.Netns, port int) (next func() ([]byte, error)) {
	t.Helper()
	var c *net.UDPConn
	n.Do(t, func() error {
		var err error
		c, err = net.ListenUDP("udp6", &net.UDPAddr{IP: net.IP(nodeThree.AsSlice()), Port: port})
		return err
	})
	t.Cleanup(func() { c.Close() })
	buf := make([]byte, 65536)
	return func() ([]byte, error) {
		c.SetReadDeadline(time.Now().Add(3 * time.Second))
		k, err := c.Read(buf)
		return buf[:k], err
	}
}

func dialFrom(t *testing.T, n *xdptest.Netns, port int) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	n.Do(t, func() error {
		var err error
		c, err = net.DialUDP("udp6", nil, &net.UDPAddr{IP: net.IP(nodeThree.AsSlice()), Port: port})
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSteeredPacketsPassTheMiddleAndKeepTheirChecksum(t *testing.T) {
	need.Root(t)
	one, three := steerLab(t)
	next := receive(t, three, 4789)

	var s *xdp.Steer
	one.Do(t, func() (err error) { s, err = xdp.AttachSteer(one.Ifindex(t, "a1")); return err })
	defer s.Close()
	if err := s.Set(nodeThree, byTwo); err != nil {
		t.Fatal(err)
	}
	// The only way from 2 to 3 for a packet that was not shifted: none.
	c := dialFrom(t, one, 4789)
	for i := range 20 {
		msg := bytes.Repeat([]byte{byte(i)}, 100+50*i)
		if _, err := c.Write(msg); err != nil {
			t.Fatal(err)
		}
		got, err := next()
		if err != nil {
			t.Fatalf("packet %d did not arrive: %v\n%s", i, err, three.SNMP(t, "Udp6InCsumErrors"))
		}
		if !bytes.Equal(got, msg) {
			t.Fatalf("packet %d arrived as %d bytes, sent %d", i, len(got), len(msg))
		}
	}
	counters, err := s.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if counters.Steered.Packets != 20 {
		t.Errorf("steered %d packets, want 20: %+v", counters.Steered.Packets, counters)
	}

	// Without the entry the same packets go the ordinary way, and are not counted.
	if err := s.Delete(nodeThree); err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("plain"))
	if got, err := next(); err != nil || string(got) != "plain" {
		t.Errorf("after Delete: got %q, %v", got, err)
	}
	if after, _ := s.Counters(); after.Steered.Packets != 20 {
		t.Errorf("after Delete still steered: %+v", after)
	}
}

func TestSteeredSegmentationOffloadArrivesWhole(t *testing.T) {
	need.Root(t)
	one, three := steerLab(t)
	next := receive(t, three, 4789)
	var s *xdp.Steer
	one.Do(t, func() (err error) { s, err = xdp.AttachSteer(one.Ifindex(t, "a1")); return err })
	defer s.Close()
	if err := s.Set(nodeThree, byTwo); err != nil {
		t.Fatal(err)
	}
	for _, offload := range []string{"off", "on"} {
		one.Try("ethtool", "-K", "a1", "tx", offload)
		one.Try("ethtool", "-K", "a1", "gso", offload)
		one.Try("ethtool", "-K", "a1", "tx-udp-segmentation", offload)
		c := dialFrom(t, one, 4789)
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		const udpSegment, size, count = 103, 1200, 20
		raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_UDP, udpSegment, size)
		})
		need.Kernel(t, "UDP_SEGMENT", err)
		msg := make([]byte, size*count)
		for i := range msg {
			msg[i] = byte(i / size)
		}
		if _, err := c.Write(msg); err != nil {
			t.Fatal(err)
		}
		for i := range count {
			got, err := next()
			if err != nil {
				t.Fatalf("offload %s: segment %d did not arrive: %v\n%s", offload, i, err, three.SNMP(t, "Udp6InCsumErrors"))
			}
			if !bytes.Equal(got, msg[i*size:(i+1)*size]) {
				t.Fatalf("offload %s: segment %d arrived changed (%d bytes)", offload, i, len(got))
			}
		}
		c.Close()
	}
}

func TestSteeringLeavesICMPAloneUnlessAllIsAsked(t *testing.T) {
	need.Root(t)
	need.Tool(t, "ping")
	one, _ := steerLab(t)
	for _, all := range []bool{false, true} {
		var s *xdp.Steer
		one.Do(t, func() (err error) { s, err = xdp.NewSteer(xdp.SteerOptions{AllProtocols: all}); return err })
		one.Do(t, func() error { return s.Attach(one.Ifindex(t, "a1")) })
		if err := s.Set(nodeThree, byTwo); err != nil {
			t.Fatal(err)
		}
		if err := one.Try("ping", "-6", "-I", "5f00:d55:1::", "-c", "2", "-i", "0.1", "-W", "2", nodeThree.String()); err != nil {
			t.Errorf("AllProtocols %v: %v", all, err)
		}
		c, _ := s.Counters()
		if all && c.Steered.Packets < 2 || !all && (c.Steered.Packets != 0 || c.NotUDP.Packets < 2) {
			t.Errorf("AllProtocols %v: %+v", all, c)
		}
		s.Close()
	}
}

func TestSteerViaLeavesByTheNamedFirstHop(t *testing.T) {
	need.Root(t)
	one, three := steerLab(t)
	next := receive(t, three, 4789)
	// The host's own route to node 3 leads into a dead end.
	deadEnd := xdptest.NewNetns(t)
	xdptest.Veth(t, one, "d1", deadEnd, "d2")
	one.IP(t, "addr", "add", "fd00:d::1/64", "dev", "d1", "nodad")
	one.IP(t, "route", "add", "5f00:d55:3::/48", "via", "fd00:d::2")
	one.IP(t, "neigh", "add", "fd00:d::2", "lladdr", "02:00:00:00:00:99", "dev", "d1")

	var s *xdp.Steer
	one.Do(t, func() (err error) { s, err = xdp.AttachSteer(one.Ifindex(t, "d1")); return err })
	defer s.Close()
	one.Do(t, func() error { return s.Attach(one.Ifindex(t, "a1")) })
	c := dialFrom(t, one, 4789)
	// First by the host's route to the carrier, which also resolves the
	// neighbour; then by the neighbour's address, which needs no route.
	for _, nexthop := range []netip.Addr{{}, netip.MustParseAddr("fd00:a::2")} {
		if err := s.SetVia(nodeThree, byTwo, one.Ifindex(t, "a1"), nexthop); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			msg := fmt.Sprintf("around %d", i)
			c.Write([]byte(msg))
			if got, err := next(); err != nil || string(got) != msg {
				c, _ := s.Counters()
				t.Fatalf("next hop %v, packet %d: got %q, %v; %+v", nexthop, i, got, err, c)
			}
		}
	}
}

func TestSteerRefusesWhatItCannotDo(t *testing.T) {
	need.Root(t)
	n := xdptest.NewNetns(t)
	n.Do(t, func() error {
		if s, err := xdp.AttachSteer(1 << 20); err == nil {
			s.Close()
			t.Error("attached to an interface that does not exist")
		}
		s, err := xdp.NewSteer(xdp.SteerOptions{})
		if err != nil {
			return err
		}
		defer s.Close()
		if err := s.Set(netip.MustParseAddr("192.0.2.1"), byTwo); err == nil {
			t.Error("took an IPv4 destination")
		}
		if err := s.Set(nodeThree, netip.Addr{}); err == nil {
			t.Error("took no carrier")
		}
		if err := s.Delete(nodeThree); err != nil {
			t.Errorf("deleting what is not there: %v", err)
		}
		return nil
	})
}
