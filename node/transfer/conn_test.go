package transfer

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dssn/internal/need"
)

func TestTheHoldersConnectionsComeBackSoonAfterACut(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := listener{l}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	raw, err := s.(*conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var least, most int
	var leastErr, mostErr error
	if err := raw.Control(func(fd uintptr) {
		least, leastErr = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RTO_MIN_US)
		most, mostErr = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS)
	}); err != nil {
		t.Fatal(err)
	}
	need.Kernel(t, "TCP_RTO_MIN_US", leastErr)
	need.Kernel(t, "TCP_RTO_MAX_MS", mostErr)
	// The kernel rounds to its ticks, 10 ms at most.
	if d := time.Duration(least) * time.Microsecond; d < leastTimer || d > leastTimer+10*time.Millisecond {
		t.Errorf("TCP's timer waits at least %s, want %s", d, leastTimer)
	}
	if d := time.Duration(most) * time.Millisecond; d < mostTimer || d > mostTimer+10*time.Millisecond {
		t.Errorf("TCP's timer waits at most %s, want %s", d, mostTimer)
	}
}
