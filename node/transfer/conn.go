package transfer

import (
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"dssn"
)

// userTimeout ends a connection whose peer has acknowledged nothing for so
// long, or the holder would keep it for a quarter of an hour.
const userTimeout = 60 * time.Second

// A cut takes all that is under way, the probe that TCP sends after two round
// trips too, and nothing but its timer brings the stream back. The kernel waits
// at least 200 ms, which is ten times as long as the network needs to find
// another path, and doubles that up to two minutes. leastTimer is above the 40 ms
// for which a receiver may hold its acknowledgement back; with the measured round
// trip added, as TCP does, it fits any distance.
const (
	leastTimer = 50 * time.Millisecond
	mostTimer  = time.Second
)

// conn is a TCP connection of the server that knows how far its stream has
// come: how many bytes were written and how many the other end's TCP has
// acknowledged. It keeps the sendfile path, which is ReadFrom.
type conn struct {
	*net.TCPConn

	mu      sync.Mutex
	written uint64   // into the socket, headers included
	onClose []func() // called once, before the socket is closed
}

// Write implements io.Writer.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	c.mu.Lock()
	c.written += uint64(n)
	c.mu.Unlock()
	return n, err
}

// ReadFrom implements io.ReaderFrom. A *net.TCPConn asked to read from a file
// uses sendfile.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	c.mu.Lock()
	c.written += uint64(n)
	c.mu.Unlock()
	return n, err
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.mu.Lock()
	fs := c.onClose
	c.onClose = nil
	c.mu.Unlock()
	for _, f := range fs {
		f()
	}
	return c.TCPConn.Close()
}

// beforeClose adds a function to call while the socket can still be asked.
func (c *conn) beforeClose(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onClose = append(c.onClose, f)
}

// position returns how many bytes have been written so far.
func (c *conn) position() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written
}

// acknowledged returns how many bytes of the stream the other end's TCP has
// acknowledged (tcpi_bytes_acked), or ok false if the kernel does not say.
func (c *conn) acknowledged() (n uint64, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			n, ok = info.Bytes_acked, true
		}
	})
	return n, ok && err == nil
}

// pace makes the kernel send no faster than rate (SO_MAX_PACING_RATE; TCP paces
// by itself where no fq queue does it).
func (c *conn) pace(rate dssn.Bandwidth) {
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, max(1, uint64(rate)/8))
		})
	}
}

// listener hands out conns.
type listener struct {
	net.Listener
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c, nil
	}
	if raw, err := t.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
			// Linux 6.15; before it the kernel's own values stay.
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RTO_MIN_US, int(leastTimer.Microseconds()))
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS, int(mostTimer.Milliseconds()))
		})
	}
	return &conn{TCPConn: t}, nil
}
