package liveness

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// HelloConn sends and hears hellos on the links it has joined.
type HelloConn struct {
	udp   *net.UDPConn
	p     *ipv6.PacketConn
	group net.IP

	mu     sync.Mutex // guards joined
	joined map[int]bool
}

// ListenHello opens the socket in the calling thread's network namespace.
func ListenHello() (*HelloConn, error) {
	udp, err := listenUDP(HelloPort, nil)
	if err != nil {
		return nil, fmt.Errorf("listen for hellos: %w", err)
	}
	p := ipv6.NewPacketConn(udp)
	c := &HelloConn{udp: udp, p: p, group: net.ParseIP(HelloGroup), joined: map[int]bool{}}
	for _, err := range []error{
		p.SetMulticastHopLimit(255),
		p.SetMulticastLoopback(false),
		p.SetControlMessage(ipv6.FlagInterface|ipv6.FlagHopLimit, true),
	} {
		if err != nil {
			udp.Close()
			return nil, fmt.Errorf("prepare the hello socket: %w", err)
		}
	}
	return c, nil
}

// Join begins to hear hellos on a link. Joining again is harmless.
func (c *HelloConn) Join(index int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.joined[index] {
		return nil
	}
	if err := c.p.JoinGroup(&net.Interface{Index: index}, &net.UDPAddr{IP: c.group}); err != nil {
		return fmt.Errorf("hear hellos on interface %d: %w", index, err)
	}
	c.joined[index] = true
	return nil
}

// Leave forgets a link that is gone; the kernel has left the group with it.
func (c *HelloConn) Leave(index int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.joined[index] {
		c.p.LeaveGroup(&net.Interface{Index: index}, &net.UDPAddr{IP: c.group})
		delete(c.joined, index)
	}
}

// Send says h on a link.
func (c *HelloConn) Send(index int, h *Hello) error {
	b, err := h.Append(make([]byte, 0, 64))
	if err != nil {
		return err
	}
	_, err = c.p.WriteTo(b, &ipv6.ControlMessage{IfIndex: index, HopLimit: 255}, &net.UDPAddr{IP: c.group, Port: HelloPort})
	return err
}

// Receive waits for the next hello and says on which link and from whom it
// came. What is not a hello, or could have been sent from elsewhere than the
// link, is passed over. The error means the socket is closed.
func (c *HelloConn) Receive() (h Hello, index int, from netip.Addr, err error) {
	b := make([]byte, 2*MaxNameBytes+helloHead+1)
	for {
		n, cm, src, err := c.p.ReadFrom(b)
		if err != nil {
			return Hello{}, 0, netip.Addr{}, err
		}
		u, ok := src.(*net.UDPAddr)
		if !ok || cm == nil || cm.HopLimit != 255 {
			continue
		}
		a, ok := netip.AddrFromSlice(u.IP)
		if !ok || !a.IsLinkLocalUnicast() {
			continue
		}
		if h, err := ParseHello(b[:n]); err == nil {
			return h, cm.IfIndex, a, nil
		}
	}
}

// Close closes the socket; Receive returns.
func (c *HelloConn) Close() error { return c.udp.Close() }

// ProbeConn sends and hears probes. Its datagrams have no checksum, because a
// UDP checksum covers the final destination and a probe is sent to a carrier
// (RFC 9800 §6.5); the authenticator covers what matters.
type ProbeConn struct{ udp *net.UDPConn }

// ListenProbes opens the socket in the calling thread's network namespace.
func ListenProbes() (*ProbeConn, error) {
	udp, err := listenUDP(ProbePort, func(fd int) error {
		for _, o := range []int{unix.UDP_NO_CHECK6_TX, unix.UDP_NO_CHECK6_RX} {
			if err := unix.SetsockoptInt(fd, unix.SOL_UDP, o, 1); err != nil {
				return err
			}
		}
		// A probe must not wait behind bulk traffic in this host's queues.
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 6)
	})
	if err != nil {
		return nil, fmt.Errorf("listen for probes: %w", err)
	}
	return &ProbeConn{udp}, nil
}

// Send sends an encoded probe by a carrier.
func (c *ProbeConn) Send(b []byte, carrier netip.Addr) error {
	_, err := c.udp.WriteToUDPAddrPort(b, netip.AddrPortFrom(carrier, ProbePort))
	return err
}

// Receive waits for the next datagram and puts it into b.
func (c *ProbeConn) Receive(b []byte) (int, error) {
	n, _, err := c.udp.ReadFromUDPAddrPort(b)
	return n, err
}

// Close closes the socket; Receive returns.
func (c *ProbeConn) Close() error { return c.udp.Close() }

func listenUDP(port int, prepare func(fd int) error) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if prepare == nil {
			return nil
		}
		if e := raw.Control(func(fd uintptr) { err = prepare(int(fd)) }); e != nil {
			return e
		}
		return err
	}}
	c, err := lc.ListenPacket(context.Background(), "udp6", fmt.Sprintf("[::]:%d", port))
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}
