package iperf

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// All of this package's unsafe code is in this file.

// maxSegments is UDP_MAX_SEGMENTS of kernels before 6.10.
const maxSegments = 64

func ignoringInterrupts(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// receive is recv(2); with MSG_TRUNC a TCP socket discards up to len(b) bytes.
func receive(fd int, b []byte, flags int) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(flags), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

const (
	inboxMessages = 16
	inboxBytes    = 1 << 16
	controlBytes  = 64
)

// inbox is the memory of one recvmmsg call.
type inbox struct {
	headers [inboxMessages]mmsghdr
	vectors [inboxMessages]unix.Iovec
	control [inboxMessages][controlBytes]byte
	data    []byte
}

func newInbox() *inbox {
	in := &inbox{data: make([]byte, inboxMessages*inboxBytes)}
	for i := range in.headers {
		in.vectors[i].Base = &in.data[i*inboxBytes]
		in.vectors[i].SetLen(inboxBytes)
		in.headers[i].hdr.Iov = &in.vectors[i]
		in.headers[i].hdr.SetIovlen(1)
		in.headers[i].hdr.Control = &in.control[i][0]
	}
	return in
}

// receive waits for one message and takes as many as are there.
func (in *inbox) receive(fd int) (int, error) {
	for i := range in.headers {
		in.headers[i].hdr.SetControllen(controlBytes)
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&in.headers[0])), inboxMessages, unix.MSG_WAITFORONE, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// message returns the i-th message and the size of each datagram in it; both
// are valid until the next receive.
func (in *inbox) message(i int) (run []byte, size int) {
	run = in.data[i*inboxBytes:][:in.headers[i].n]
	size = len(run)
	c := in.control[i][:in.headers[i].hdr.Controllen]
	for len(c) >= unix.CmsgLen(4) {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO {
			size = int(*(*int32)(unsafe.Pointer(&c[unix.CmsgLen(0)])))
		}
		step := unix.CmsgSpace(int(h.Len) - unix.CmsgLen(0))
		if int(h.Len) < unix.CmsgLen(0) || step > len(c) {
			break
		}
		c = c[step:]
	}
	return run, max(size, 1)
}

// detach takes the socket out of Go's poller and returns it in blocking mode;
// conn is closed.
func detach(conn interface {
	File() (*os.File, error)
	Close() error
}) (int, error) {
	f, err := conn.File()
	if err != nil {
		return -1, err
	}
	defer f.Close()
	defer conn.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	return fd, unix.SetNonblock(fd, false)
}

// tune sets what the parameters ask of a data socket.
func tune(fd int, p *Params, sends bool) error {
	set := func(name string, level, opt, v int) error {
		if err := unix.SetsockoptInt(fd, level, opt, v); err != nil {
			return fmt.Errorf("set %s to %d on a data socket: %w", name, v, err)
		}
		return nil
	}
	if p.Window > 0 {
		for _, o := range []int{unix.SO_SNDBUF, unix.SO_RCVBUF} {
			if err := set("socket buffer", unix.SOL_SOCKET, o, int(p.Window)); err != nil {
				return err
			}
		}
	} else if p.UDP {
		// A burst must fit. Without privilege the kernel's own limit holds.
		for _, o := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
			if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[0], 4<<20) != nil {
				unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[1], 4<<20)
			}
		}
	}
	if p.TOS > 0 {
		if unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, int(p.TOS)) != nil {
			if err := set("type of service", unix.IPPROTO_IP, unix.IP_TOS, int(p.TOS)); err != nil {
				return err
			}
		}
	}
	if p.FQRate > 0 && sends {
		if err := set("pacing rate", unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, int(min(p.FQRate/8, math.MaxUint32>>1))); err != nil {
			return err
		}
	}
	if p.UDP {
		if p.DontFragment {
			// Either family's option may be refused by a socket of the other.
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
		}
		return nil
	}
	if p.NoDelay {
		if err := set("no-delay", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return err
		}
	}
	if p.Congestion != "" && sends {
		if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, p.Congestion); err != nil {
			return fmt.Errorf("use congestion control %q: %w; see net.ipv4.tcp_available_congestion_control", p.Congestion, err)
		}
	}
	return nil
}

func congestionOf(fd int) string {
	s, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	if err != nil {
		return ""
	}
	return s
}

// udpListener is a bound socket that becomes a stream when its first hello has come.
func udpListener(bind netip.AddrPort) (int, error) {
	family, sa := sockaddr(bind)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	freeBind(fd)
	if family == unix.AF_INET6 {
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	}
	if err := unix.Bind(fd, sa); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// freeBind lets a socket have an address that is routed to this host without
// standing on an interface, as a data identifier is at its holder.
func freeBind(fd int) {
	// Either family's option may be refused by a socket of the other.
	unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
}

func sockaddr(a netip.AddrPort) (family int, sa unix.Sockaddr) {
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	six := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" {
		if ifi, err := net.InterfaceByName(zone); err == nil {
			six.ZoneId = uint32(ifi.Index)
		}
	}
	return unix.AF_INET6, six
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch s := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		a := netip.AddrFrom16(s.Addr)
		if s.ZoneId != 0 {
			if ifi, err := net.InterfaceByIndex(int(s.ZoneId)); err == nil {
				a = a.WithZone(ifi.Name)
			}
		}
		return netip.AddrPortFrom(a, uint16(s.Port))
	}
	return netip.AddrPort{}
}

// awaitHello waits for one datagram of 4 bytes or more and connects fd to its sender.
func awaitHello(fd int, deadline time.Time) (netip.AddrPort, error) {
	var b [64]byte
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return netip.AddrPort{}, errors.New("no UDP stream was opened in time")
		}
		tv := unix.NsecToTimeval(int64(min(left, 200*time.Millisecond)))
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
		n, from, err := unix.Recvfrom(fd, b[:], 0)
		if err == unix.EAGAIN || err == unix.EINTR || err == nil && n < 4 {
			continue
		}
		if err != nil {
			return netip.AddrPort{}, err
		}
		if err := unix.Connect(fd, from); err != nil {
			return netip.AddrPort{}, err
		}
		return addrPort(from), nil
	}
}

// cpuTime is what this process has used so far.
func cpuTime() (user, system time.Duration) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0, 0
	}
	return time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
}
