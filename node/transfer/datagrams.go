package transfer

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"golang.org/x/net/ipv6"

	"dssn"
)

// datagrams is a UDP socket for all identifiers held here: a packet's address
// names both its ends, and what is sent to it leaves from the identifier that was
// asked. Packets to addresses that hold nothing are dropped unseen.
type datagrams struct {
	net.PacketConn // the socket, but not as one: kcp-go would read it past us
	packets        *ipv6.PacketConn
	holds          func(dssn.DataID) bool
}

// bothEnds is the address of a session: kcp-go keeps sessions by its text.
type bothEnds struct{ remote, local netip.AddrPort }

// Network implements net.Addr.
func (bothEnds) Network() string { return "udp" }

// String implements net.Addr.
func (b bothEnds) String() string { return b.remote.String() + " " + b.local.Addr().String() }

func newDatagrams(c *net.UDPConn, holds func(dssn.DataID) bool) (*datagrams, error) {
	p := ipv6.NewPacketConn(c)
	if err := p.SetControlMessage(ipv6.FlagDst, true); err != nil {
		return nil, fmt.Errorf("ask the kernel for the identifier that each datagram was sent to: %w", err)
	}
	return &datagrams{c, p, holds}, nil
}

// ReadFrom implements net.PacketConn.
func (d *datagrams) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, cm, from, err := d.packets.ReadFrom(b)
		if err != nil {
			return n, from, err
		}
		a, ok := from.(*net.UDPAddr)
		if !ok || cm == nil {
			continue
		}
		local, ok := netip.AddrFromSlice(cm.Dst)
		if !ok || !d.holds(dssn.DataIDFrom16(local.As16())) {
			continue
		}
		remote := a.AddrPort()
		return n, bothEnds{netip.AddrPortFrom(remote.Addr().WithZone(""), remote.Port()), netip.AddrPortFrom(local, 80)}, nil
	}
}

// WriteTo implements net.PacketConn.
func (d *datagrams) WriteTo(b []byte, to net.Addr) (int, error) {
	e, ok := to.(bothEnds)
	if !ok {
		return 0, fmt.Errorf("send a datagram to %v: not an address that was read here", to)
	}
	return d.packets.WriteTo(b, &ipv6.ControlMessage{Src: e.local.Addr().AsSlice()}, net.UDPAddrFromAddrPort(e.remote))
}

// kcpListener hands out kcpConns.
type kcpListener struct{ *kcp.Listener }

// Accept implements net.Listener.
func (l kcpListener) Accept() (net.Conn, error) {
	s, err := l.AcceptKCP()
	if err != nil {
		return nil, err
	}
	c := &kcpConn{UDPSession: s, rate: kcpUnknown}
	if e, ok := s.RemoteAddr().(bothEnds); ok {
		c.local, c.remote = e.local, e.remote
	}
	tune(s, pathMTU(c.local.Addr(), c.remote))
	return c, nil
}

// ServeKCP answers on KCP sessions over u, a UDP socket that receives what is
// sent to the identifiers held here, until Close. A nil error means Close was
// called.
func (s *Server) ServeKCP(u *net.UDPConn) error {
	u.SetReadBuffer(4 << 20) // as much of each as the kernel allows
	u.SetWriteBuffer(4 << 20)
	d, err := newDatagrams(u, s.holds)
	if err != nil {
		return err
	}
	l, err := kcp.ServeConn(nil, 0, 0, d)
	if err != nil {
		return fmt.Errorf("serve KCP: %w", err)
	}
	l.SetDeadline(time.Time{})
	err = s.serveOn(kcpListener{l})
	l.Close()
	u.Close()
	return err
}

func (s *Server) holds(id dssn.DataID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.datasets[id] != nil
}
