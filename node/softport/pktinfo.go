package softport

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"dssn/dataplane"
)

// What travels beside a datagram: the size of the segments it was joined from or
// is to be cut into, which of this host's addresses it came to or is to come from,
// and its mark. A host with several addresses in one network must answer from the one
// it was asked at, or the other side's firewall does not know the answer.

// controlBuf holds all of it, aligned as the kernel wants it.
type controlBuf struct {
	header unix.Cmsghdr
	data   [4*unix.SizeofCmsghdr + 56]byte
}

func (c *controlBuf) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(c)), unsafe.Sizeof(*c))
}

// receiveLocal asks for the address each datagram comes to.
func (s *socket) receiveLocal() {
	if s.v4 {
		unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		return
	}
	unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
}

// parse reads length bytes that the kernel wrote; zero and invalid for what it
// did not say.
func (c *controlBuf) parse(length int) (segment int, local netip.Addr) {
	b := c.bytes()
	for b = b[:min(length, len(b))]; len(b) >= unix.SizeofCmsghdr; {
		h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(b)))
		n := int(h.Len)
		if n < unix.SizeofCmsghdr || n > len(b) {
			break
		}
		data := b[unix.SizeofCmsghdr:n]
		switch {
		case h.Level == unix.SOL_UDP && h.Type == udpGRO && len(data) >= 4:
			segment = int(binary.NativeEndian.Uint32(data))
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= 20:
			local = netip.AddrFrom16([16]byte(data)).Unmap()
			if local.IsLinkLocalUnicast() && local.Is6() {
				local = zoned(local, binary.NativeEndian.Uint32(data[16:]))
			}
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= 12:
			local = netip.AddrFrom4([4]byte(data[4:]))
		}
		b = b[min((n+7)&^7, len(b)):]
	}
	if local.IsMulticast() || local.IsUnspecified() {
		local = netip.Addr{}
	}
	return segment, local
}

// put writes what a send needs and returns how many bytes that are: nothing for
// a segment of zero, no local address and no mark. Marks are of IPv6 alone.
func (c *controlBuf) put(segment int, local netip.Addr, mark dataplane.Mark, v4 bool) int {
	b, at := c.bytes(), 0
	add := func(level, kind int32, size int) []byte {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[at]))
		h.Level, h.Type = level, kind
		h.SetLen(unix.CmsgLen(size))
		data := b[at+unix.SizeofCmsghdr:][:size]
		at += unix.CmsgSpace(size)
		return data
	}
	if segment > 0 {
		binary.NativeEndian.PutUint16(add(unix.SOL_UDP, udpGSO, 2), uint16(segment))
	}
	if mark != 0 && !v4 {
		// The kernel takes the label from one message and the class from another.
		binary.BigEndian.PutUint32(add(unix.IPPROTO_IPV6, ipv6FlowInfo, 4), mark.Label())
		binary.NativeEndian.PutUint32(add(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 4), uint32(mark.Class()))
	}
	switch {
	case !local.IsValid():
	case v4:
		data := add(unix.IPPROTO_IP, unix.IP_PKTINFO, 12)
		clear(data)
		a := local.As4()
		copy(data[4:], a[:])
	default:
		data := add(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, 20)
		a := local.As16()
		copy(data, a[:])
		binary.NativeEndian.PutUint32(data[16:], scope(local))
	}
	return at
}

// ipv6FlowInfo is IPV6_FLOWINFO of linux/in6.h.
const ipv6FlowInfo = 11

// mark is what of a mark can be written: nothing once it was refused.
func (s *socket) mark(m dataplane.Mark) dataplane.Mark {
	if m != 0 && s.unmarked.Load() {
		return 0
	}
	return m
}

// unmark gives up marks, and reports whether it is worth trying without. Call remark
// if that was not the reason.
func (s *socket) unmark(errno unix.Errno, m dataplane.Mark) bool {
	if errno != unix.EINVAL || s.mark(m) == 0 {
		return false
	}
	s.unmarked.Store(true)
	return true
}

// remark takes back unmark where a send without marks failed alike.
func (s *socket) remark(errno error) {
	if errno == unix.EINVAL {
		s.unmarked.Store(false)
	}
}

// source is the address that d is to leave from, invalid if that address was
// found to be ours no more.
func (s *socket) source(local netip.Addr) netip.Addr {
	if local == s.gone {
		return netip.Addr{}
	}
	return local
}

// lose remembers that the kernel refused to send from an address, and reports
// whether it is worth trying without.
func (s *socket) lose(errno unix.Errno, local netip.Addr) bool {
	if local = s.source(local); !local.IsValid() {
		return false
	}
	switch errno {
	case unix.EINVAL, unix.EADDRNOTAVAIL, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENODEV:
		s.gone = local
		return true
	}
	return false
}
