package xdpport

import (
	"encoding/binary"
	"net/netip"

	"dssn/dataplane/packet"
)

// MAC is an Ethernet address.
type MAC [6]byte

// Neighbours are the next hops that packets can be addressed to, immutable once
// published.
type Neighbours struct {
	// Hosts are on the LAN's link, by IPv6 address.
	Hosts map[netip.Addr]MAC
	// Peers are reached by the WAN.
	Peers map[netip.AddrPort]*Header
}

// The headers before a message:
//
//	0          14               54      62
//	| Ethernet | IPv6           | UDP   | message
const (
	ethLen    = 14
	ipLen     = 40
	udpLen    = 8
	headerLen = ethLen + ipLen + udpLen
)

// Header is the template of all headers of datagrams to one peer.
type Header struct {
	bytes  [headerLen]byte
	pseudo uint64 // of the pseudo-header without the length
	sum    uint64 // of that and the ports
	local  netip.Addr
}

// NewHeader makes the template of datagrams from one address and port to
// another, by the link address to and from link address from.
func NewHeader(to, from MAC, src, dst netip.AddrPort) *Header {
	h := &Header{local: src.Addr()}
	b := h.bytes[:]
	copy(b[0:], to[:])
	copy(b[6:], from[:])
	b[12], b[13] = 0x86, 0xdd
	const hopLimit = 64
	ip := b[ethLen:]
	ip[0], ip[6], ip[7] = 0x60, packet.UDP, hopLimit
	s, d := src.Addr().As16(), dst.Addr().As16()
	copy(ip[8:], s[:])
	copy(ip[24:], d[:])
	udp := ip[ipLen:]
	binary.BigEndian.PutUint16(udp[0:], src.Port())
	binary.BigEndian.PutUint16(udp[2:], dst.Port())
	h.pseudo = packet.PseudoSum(s[:], d[:], packet.UDP, 0)
	h.sum = packet.Sum(udp[:4], h.pseudo)
	return h
}

// put writes the headers of a message of n bytes before it, all but the checksum,
// and returns the length as it enters a sum.
func (h *Header) put(b []byte, n int) uint64 {
	copy(b, h.bytes[:])
	length := uint16(udpLen + n)
	binary.BigEndian.PutUint16(b[ethLen+4:], length)
	binary.BigEndian.PutUint16(b[ethLen+ipLen+4:], length)
	return uint64(length>>8 | length<<8) // as the machine sees two big-endian bytes
}
