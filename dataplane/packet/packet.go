// Package packet reads inner packets and changes their size: it cuts a large
// TCP or UDP packet into those that a path carries, and joins those of one
// flow into a large one again.
//
// It works on bytes its caller owns and keeps no reference beyond what each
// comment says. Nothing here allocates, locks or reads a clock.
package packet

import (
	"encoding/binary"
	"net/netip"
)

// Protocol numbers of the transports that are cut and joined.
const (
	TCP = 6
	UDP = 17
)

// Addresses returns where a packet comes from and goes to, and its length
// according to its own header. It reports false unless b begins with a whole
// IPv4 or IPv6 header whose length lies within b; bytes beyond it are padding.
func Addresses(b []byte) (src, dst netip.Addr, length int, ok bool) {
	if len(b) < 20 {
		return
	}
	switch b[0] >> 4 {
	case 6:
		if len(b) < 40 {
			return
		}
		length = 40 + int(binary.BigEndian.Uint16(b[4:6]))
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	case 4:
		length = int(binary.BigEndian.Uint16(b[2:4]))
		if length < 20 {
			return
		}
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	default:
		return
	}
	return src, dst, length, length <= len(b)
}

// GSO says how a large packet is to be cut.
type GSO uint8

// The kinds, as in the kernel's struct virtio_net_hdr.
const (
	GSONone GSO = 0
	GSOTCP4 GSO = 1
	GSOTCP6 GSO = 4
	GSOUDP  GSO = 5
)

// Offload is what a port left undone on a packet it gave, or what it is to do
// with a packet it is given: complete a checksum, cut it into segments.
//
// On a TUN it travels before the packet as struct virtio_net_hdr, ten bytes in
// the machine's byte order:
//
//	0        1        2         4          6            8             10
//	| flags  |  GSO   | header  | segment  |  checksum  |  checksum   |
//	|        |  kind  | length  | size     |  start     |  offset     |
type Offload struct {
	NeedsChecksum  bool // the checksum field holds the pseudo-header's sum only
	GSO            GSO
	HeaderLen      uint16 // as the kernel guesses it; never relied upon
	SegmentSize    uint16 // transport payload bytes of each segment
	ChecksumStart  uint16 // where the transport header begins
	ChecksumOffset uint16 // of the checksum field, from there
}

// OffloadLen is the length of an Offload in bytes.
const OffloadLen = 10

// Decode reads an Offload from the first OffloadLen bytes of b.
func (o *Offload) Decode(b []byte) {
	_ = b[9]
	o.NeedsChecksum = b[0]&1 != 0
	o.GSO = GSO(b[1])
	o.HeaderLen = binary.NativeEndian.Uint16(b[2:])
	o.SegmentSize = binary.NativeEndian.Uint16(b[4:])
	o.ChecksumStart = binary.NativeEndian.Uint16(b[6:])
	o.ChecksumOffset = binary.NativeEndian.Uint16(b[8:])
}

// Encode writes o to the first OffloadLen bytes of b.
func (o *Offload) Encode(b []byte) {
	_ = b[9]
	b[0] = 0
	if o.NeedsChecksum {
		b[0] = 1
	}
	b[1] = byte(o.GSO)
	binary.NativeEndian.PutUint16(b[2:], o.HeaderLen)
	binary.NativeEndian.PutUint16(b[4:], o.SegmentSize)
	binary.NativeEndian.PutUint16(b[6:], o.ChecksumStart)
	binary.NativeEndian.PutUint16(b[8:], o.ChecksumOffset)
}
