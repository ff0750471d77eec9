package softport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"dssn/dataplane"
	"dssn/dataplane/worker"
)

// socket is a UDP socket as an outside port, for both address families. With
// the kernel's help one system call carries dozens of datagrams of one peer
// (UDP_SEGMENT, UDP_GRO). Receive and Send belong to the worker.
type socket struct {
	fd   int
	port uint16
	gso  atomic.Bool // cleared for good when the way out refuses it
	gro  bool
	v4   bool       // no IPv6 on this host
	gone netip.Addr // was ours, until the kernel said otherwise
	// unmarked is set for good when the kernel refuses marks: flow labels that some
	// program of this namespace has leased for itself alone.
	unmarked atomic.Bool

	standing standing
	clock    func() time.Duration

	in  batch
	out batch
}

const (
	messages  = 64
	socketBuf = 7 << 20 // bytes of each kernel buffer, as wireguard-go asks for
	udpGRO    = 104
	udpGSO    = 103
)

// batch is what one system call fills or sends.
type batch struct {
	messages [messages]message
	iov      [messages]unix.Iovec
	names    [messages]unix.RawSockaddrInet6
	control  [messages]controlBuf
}

// openSocket binds a port, zero for any free one, in the calling thread's
// namespace.
func openSocket(port uint16, mark uint32) (*socket, error) { return bindSocket(port, mark, false) }

// bindSocket is openSocket; joining binds beside a socket that admits others.
func bindSocket(port uint16, mark uint32, joining bool) (*socket, error) {
	began := time.Now()
	s := &socket{fd: -1, clock: func() time.Duration { return time.Since(began) }}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		s.v4 = true
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open a UDP socket: %w", err)
	}
	s.fd = fd
	var local unix.Sockaddr = &unix.SockaddrInet4{Port: int(port)}
	if !s.v4 {
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
		// Flow labels are tags on the way: only those that are meant (dataplane.Mark).
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_AUTOFLOWLABEL, 0)
		local = &unix.SockaddrInet6{Port: int(port)}
	}
	// As much as root may have, or as anyone may.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuf) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuf)
	}
	s.resize(socketBuf)
	if mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
			s.close()
			return nil, fmt.Errorf("set the firewall mark %#x: %w", mark, err)
		}
	}
	if joining {
		if err := s.admit(); err != nil {
			return nil, err
		}
	}
	s.gro = unix.SetsockoptInt(fd, unix.SOL_UDP, udpGRO, 1) == nil
	_, err = unix.GetsockoptInt(fd, unix.SOL_UDP, udpGSO)
	s.gso.Store(err == nil)
	if err := unix.Bind(fd, local); err != nil {
		s.close()
		return nil, fmt.Errorf("bind UDP port %d: %w", port, err)
	}
	switch a, err := unix.Getsockname(fd); a := a.(type) {
	case *unix.SockaddrInet6:
		s.port = uint16(a.Port)
	case *unix.SockaddrInet4:
		s.port = uint16(a.Port)
	default:
		s.close()
		return nil, fmt.Errorf("ask for the bound UDP port: %w", err)
	}
	s.receiveLocal()
	s.in.prepare()
	s.out.prepare()
	return s, nil
}

func (b *batch) prepare() {
	for i := range b.messages {
		h := &b.messages[i].header
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Iov = &b.iov[i]
		h.SetIovlen(1)
	}
}

// beside writes what goes beside message i.
func (b *batch) beside(i, segment int, local netip.Addr, mark dataplane.Mark, v4 bool) {
	h := &b.messages[i].header
	h.Control = nil
	n := b.control[i].put(segment, local, mark, v4)
	if n > 0 {
		h.Control = (*byte)(unsafe.Pointer(&b.control[i]))
	}
	h.SetControllen(n)
}

// Receive implements worker.Outside.
func (s *socket) Receive(in []worker.Datagrams) (int, error) {
	n := min(len(in), messages)
	b := &s.in
	for i := range n {
		b.iov[i] = iovec(in[i].Buf)
		h := &b.messages[i].header
		h.Namelen = uint32(unsafe.Sizeof(b.names[i]))
		h.Control = (*byte)(unsafe.Pointer(&b.control[i]))
		h.SetControllen(int(unsafe.Sizeof(b.control[i])))
	}
	asked := n
	n, errno := rawRecvmmsg(s.fd, b.messages[:n])
	if errno != 0 {
		if errno == unix.EAGAIN || errno == unix.EINTR {
			s.note(0, true)
			return 0, nil
		}
		return 0, errno // an ICMP error of an earlier packet: read away by this
	}
	sum := 0
	for i := range n {
		m := &b.messages[i]
		sum += int(m.length)
		in[i].Buf = in[i].Buf[:m.length]
		in[i].Segment = int(m.length)
		size, local := b.control[i].parse(int(m.header.Controllen))
		if size > 0 {
			in[i].Segment = size
		}
		if in[i].Local = local; local == s.gone {
			s.gone = netip.Addr{} // it is ours again
		}
		in[i].Peer = fromSockaddr(&b.names[i])
	}
	s.note(sum, n < asked)
	return n, nil
}

// note keeps the receive buffer as large as it should be.
func (s *socket) note(bytes int, emptied bool) {
	if bytes == 0 && s.standing.taken == 0 && !s.standing.small {
		return
	}
	if size := s.standing.received(s.clock(), bytes, emptied); size != 0 {
		s.resize(size)
	}
}

// Send implements worker.Outside.
func (s *socket) Send(out []worker.Datagrams) (int, error) {
	if !s.gso.Load() {
		return s.sendPlain(out)
	}
	n := min(len(out), messages)
	b := &s.out
	for i := range n {
		d := &out[i]
		b.iov[i] = iovec(d.Buf)
		h := &b.messages[i].header
		h.Namelen = s.toSockaddr(&b.names[i], d.Peer)
		segment := 0
		if d.Segment < len(d.Buf) {
			segment = d.Segment
		}
		b.beside(i, segment, s.source(d.Local), s.mark(d.Mark), s.v4)
	}
	sent, errno := rawSendmmsg(s.fd, b.messages[:n])
	switch errno {
	case 0:
		return sent, nil
	case unix.EIO: // the interface on the way cannot complete checksums
		if out[0].Segment < len(out[0].Buf) {
			s.gso.Store(false)
			return s.sendPlain(out)
		}
	case unix.EINVAL, unix.EMSGSIZE: // larger than the path: the kernel fragments only single datagrams
		if out[0].Segment < len(out[0].Buf) {
			return s.sendPlain(out[:1])
		}
	}
	if s.unmark(errno, out[0].Mark) {
		n, err := s.Send(out)
		s.remark(err)
		return n, err
	}
	if s.lose(errno, out[0].Local) {
		return s.Send(out)
	}
	return 0, errno
}

// sendPlain sends every datagram by itself.
func (s *socket) sendPlain(out []worker.Datagrams) (done int, err error) {
	b := &s.out
	for i := range out {
		d := &out[i]
		for rest := d.Buf; len(rest) > 0; {
			n := 0
			for ; n < messages && len(rest) > 0; n++ {
				size := len(rest)
				if d.Segment > 0 {
					size = min(d.Segment, size)
				}
				b.iov[n] = iovec(rest[:size])
				rest = rest[size:]
				h := &b.messages[n].header
				h.Namelen = s.toSockaddr(&b.names[n], d.Peer)
				b.beside(n, 0, s.source(d.Local), s.mark(d.Mark), s.v4)
			}
			for at := 0; at < n; {
				k, errno := rawSendmmsg(s.fd, b.messages[at:n])
				switch {
				case errno == 0:
					at += k
				case s.unmark(errno, d.Mark) || s.lose(errno, d.Local):
					for j := at; j < n; j++ {
						b.beside(j, 0, s.source(d.Local), s.mark(d.Mark), s.v4)
					}
				default:
					s.remark(errno)
					return i, errno
				}
			}
		}
	}
	return len(out), nil
}

func (s *socket) close() {
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
}

func fromSockaddr(a *unix.RawSockaddrInet6) netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&a.Port))
	p := binary.BigEndian.Uint16(port[:])
	if a.Family == unix.AF_INET {
		b := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		return netip.AddrPortFrom(netip.AddrFrom4(b.Addr), p)
	}
	ip := netip.AddrFrom16(a.Addr).Unmap()
	if a.Scope_id != 0 && ip.Is6() {
		ip = zoned(ip, a.Scope_id)
	}
	return netip.AddrPortFrom(ip, p)
}

// toSockaddr writes a's socket address and returns its length.
func (s *socket) toSockaddr(to *unix.RawSockaddrInet6, a netip.AddrPort) uint32 {
	port := (*[2]byte)(unsafe.Pointer(&to.Port))
	binary.BigEndian.PutUint16(port[:], a.Port())
	if s.v4 {
		b := (*unix.RawSockaddrInet4)(unsafe.Pointer(to))
		b.Family = unix.AF_INET
		if a.Addr().Unmap().Is4() {
			b.Addr = a.Addr().Unmap().As4()
		}
		return syscall.SizeofSockaddrInet4
	}
	to.Family = unix.AF_INET6
	to.Flowinfo = 0
	to.Addr = a.Addr().As16()
	to.Scope_id = scope(a.Addr())
	return syscall.SizeofSockaddrInet6
}
