package transfer

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"golang.org/x/sys/unix"

	"dssn"
)

// Transport is what carries the requests of a Get and their answers.
type Transport uint8

// TCP serves everywhere. KCP (an ARQ over UDP) is for a last mile that loses
// packets: it takes a loss for a loss and not for congestion, and repairs it in
// about a round trip. That is fair only inside a rate that is one's own, so the
// holder paces it below what the reservation is allocated.
const (
	TCP Transport = iota
	KCP
)

// ParseTransport reads "tcp" or "kcp".
func ParseTransport(s string) (Transport, error) {
	switch s {
	case "tcp":
		return TCP, nil
	case "kcp":
		return KCP, nil
	}
	return 0, fmt.Errorf("%q is not a transport: use tcp, or kcp for a last mile that loses packets", s)
}

// String returns the word that ParseTransport reads.
func (t Transport) String() string {
	if t == KCP {
		return "kcp"
	}
	return "tcp"
}

const (
	// kcpWindow is in packets. An inner queue of kcp-go holds 2048 and drops
	// what is above without a word, so one session stays well below; a Get's
	// several sessions together cover long and fast ways.
	kcpWindow = 1024
	// The least MTU of IPv6, and the headers of IPv6 and UDP, in bytes.
	leastMTU   = 1280
	udpHeaders = 40 + 8
	// kcpQuiet ends a session on which nobody asks: KCP has no word for the end.
	kcpQuiet = 30 * time.Second
	kcpIdle  = time.Second
	// kcpChunk is written at once; the pacing is as fine as that, in bytes.
	kcpChunk = 8 << 10
	// kcpUnknown is the rate of a session whose reservation's is not known.
	kcpUnknown = 20 * dssn.Mbps
)

// tune sets a session up for a paced sender: every packet at once, every loss
// repaired after two later acknowledgements, no congestion window.
func tune(s *kcp.UDPSession, mtu int) {
	s.SetStreamMode(true)
	s.SetWriteDelay(false)
	s.SetACKNoDelay(true)
	s.SetNoDelay(1, 10, 2, 1)
	s.SetWindowSize(kcpWindow, kcpWindow)
	s.SetMtu(mtu - udpHeaders)
}

// pathMTU asks the kernel for the MTU of the way from one address to another,
// without a packet. from may be invalid.
func pathMTU(from netip.Addr, to netip.AddrPort) int {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return leastMTU
	}
	defer unix.Close(fd)
	if from.IsValid() {
		unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
		if unix.Bind(fd, &unix.SockaddrInet6{Addr: from.As16()}) != nil {
			return leastMTU
		}
	}
	if unix.Connect(fd, &unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())}) != nil {
		return leastMTU
	}
	mtu, err := unix.GetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_MTU)
	if err != nil {
		return leastMTU
	}
	return min(max(mtu, leastMTU), 1500) // kcp-go packs no more
}

// dialKCP opens a session to address; like UDP it is there before anybody answers.
func dialKCP(_ context.Context, _, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("open a KCP session to %q: %w", address, err)
	}
	conn, err := net.ListenUDP("udp6", nil)
	if err != nil {
		return nil, fmt.Errorf("open a KCP session: %w", err)
	}
	conn.SetReadBuffer(4 << 20) // as much of it as the kernel allows
	var conv [4]byte
	rand.Read(conv[:]) // never fails (crypto/rand)
	s, err := kcp.NewConn4(binary.BigEndian.Uint32(conv[:]), net.UDPAddrFromAddrPort(to), nil, 0, 0, true, conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("open a KCP session: %w", err)
	}
	tune(s, pathMTU(netip.Addr{}, to))
	return s, nil
}

// kcpConn is a session of the server. It paces what is written, because KCP sends
// whatever it is given, and ends when nothing was asked for a while.
type kcpConn struct {
	*kcp.UDPSession
	local, remote netip.AddrPort

	mu        sync.Mutex // guards what follows
	readUntil time.Time  // the deadline that was set; zero for none
	rate      dssn.Bandwidth
	due       time.Time // when what was written so far has gone out at rate
	wrote     time.Time // last
	onClose   []func()  // and on being idle
	closed    bool
}

// LocalAddr is the identifier at which the session arrived.
func (c *kcpConn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// RemoteAddr is the receiver.
func (c *kcpConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// Read implements io.Reader. KCP does not tell when the other end is gone, so a
// session that has carried nothing for kcpIdle gives its part of the rate to the
// others, and one that has carried nothing for kcpQuiet ends.
func (c *kcpConn) Read(b []byte) (int, error) {
	for began := time.Now(); ; {
		c.mu.Lock()
		c.limitReadLocked()
		c.mu.Unlock()
		n, err := c.UDPSession.Read(b)
		var t net.Error
		if n > 0 || err == nil || !errors.As(err, &t) || !t.Timeout() {
			return n, err
		}
		if over := c.rest(began, time.Now()); over {
			return n, err
		}
	}
}

// rest is what to do when nothing was asked for kcpIdle. It reports whether the
// read is over.
func (c *kcpConn) rest(began, now time.Time) (over bool) {
	c.mu.Lock()
	if !c.readUntil.IsZero() && !now.Before(c.readUntil) {
		c.mu.Unlock()
		return true
	}
	quiet := min(now.Sub(began), now.Sub(c.wrote))
	var fs []func()
	if quiet >= kcpIdle {
		fs, c.onClose = c.onClose, nil
	}
	c.mu.Unlock()
	for _, f := range fs {
		f()
	}
	return quiet >= kcpQuiet
}

// SetReadDeadline implements net.Conn.
func (c *kcpConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readUntil = t
	return c.limitReadLocked()
}

// limitReadLocked sets the session's deadline. Both its callers hold mu from the
// knowledge to the deed: net/http ends a read by a deadline in the past, also
// one that is only about to begin.
func (c *kcpConn) limitReadLocked() error {
	t := time.Now().Add(kcpIdle)
	if !c.readUntil.IsZero() && c.readUntil.Before(t) {
		t = c.readUntil
	}
	return c.UDPSession.SetReadDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *kcpConn) SetDeadline(t time.Time) error {
	c.UDPSession.SetWriteDeadline(t)
	return c.SetReadDeadline(t)
}

// Write implements io.Writer, at the pace that was set.
func (c *kcpConn) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		part := b[:min(len(b), kcpChunk)]
		if wait := c.reserve(dssn.ByteCount(len(part)), time.Now()); wait > 0 {
			time.Sleep(wait)
		}
		c.UDPSession.SetWriteDeadline(time.Now().Add(userTimeout))
		m, err := c.UDPSession.Write(part)
		n += m
		if err != nil {
			return n, err
		}
		c.mu.Lock()
		c.wrote = time.Now()
		c.mu.Unlock()
		b = b[m:]
	}
	return n, nil
}

// reserve takes n bytes of the rate and returns how long to wait before they are
// sent (virtual scheduling). What was not used for a while is forgotten but for
// a few chunks.
func (c *kcpConn) reserve(n dssn.ByteCount, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rate == 0 {
		return 0
	}
	if earliest := now.Add(-c.rate.TimeFor(4 * kcpChunk)); c.due.Before(earliest) {
		c.due = earliest
	}
	wait := c.due.Sub(now)
	c.due = c.due.Add(c.rate.TimeFor(n))
	return wait
}

// pace implements paced. KCP sends again what was lost, and its headers count
// too: one more sixteenth is kept for that.
func (c *kcpConn) pace(rate dssn.Bandwidth) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rate = max(1, rate/16*15)
}

// beforeClose implements paced; f is also called when the session is idle.
func (c *kcpConn) beforeClose(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onClose = append(c.onClose, f)
}

// Close implements net.Conn.
func (c *kcpConn) Close() error {
	c.mu.Lock()
	fs, again := c.onClose, c.closed
	c.onClose, c.closed = nil, true
	c.mu.Unlock()
	for _, f := range fs {
		f()
	}
	if again {
		return nil
	}
	return c.UDPSession.Close()
}
