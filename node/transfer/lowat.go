package transfer

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// lowWater sets SO_RCVLOWAT of one connection: the kernel wakes its reader when
// so many bytes are there, because a wake-up costs more than hashing what one
// packet brings. Who sets it must know that they will come, or the reader sleeps
// until the connection stalls. For one goroutine.
type lowWater struct {
	raw syscall.RawConn // nil if the connection has none
	now int
}

func newLowWater(c net.Conn) lowWater {
	if l, ok := c.(*livelyConn); ok {
		c = l.Conn
	}
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return lowWater{raw: raw, now: 1}
		}
	}
	return lowWater{}
}

// expect says that at least n more bytes will come.
func (l *lowWater) expect(n int64) {
	want := int(max(n, 1))
	if l.raw == nil || want == l.now {
		return
	}
	l.raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, want) == nil {
			l.now = want
		}
	})
}
