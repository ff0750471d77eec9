package packet

import "encoding/binary"

// Bounds of what a Packet Too Big message says and quotes.
const (
	MinMTU6   = 1280 // of every IPv6 link (RFC 8200, section 5)
	MinMTU4   = 576  // that is ever told to an IPv4 host here
	TooBigLen = MinMTU6
)

// TooBig writes to dst, which has room for TooBigLen bytes, the ICMP message
// that tells the sender of p that no more than mtu bytes fit, and returns it:
// Packet Too Big (RFC 4443, section 3.2) for IPv6, "fragmentation needed" (RFC 792,
// RFC 1191) for IPv4. It comes from p's destination, the one address beyond the
// tunnel that is known. It returns nil where none may be sent: to an address
// that is none of one host, about an ICMP error, about a fragment that is not
// the first, about an IPv4 packet that allows fragments.
func TooBig(dst, p []byte, mtu int) []byte {
	src, to, _, ok := Addresses(p)
	if !ok || !src.IsValid() || src.IsUnspecified() || src.IsMulticast() || to.IsMulticast() {
		return nil
	}
	if p[0]>>4 == 6 {
		const icmp, errors = 58, 128 // types below are errors
		if p[6] == icmp && len(p) > 40 && p[40] < errors {
			return nil
		}
		quote := p[:min(len(p), TooBigLen-48)]
		m := dst[:48+len(quote)]
		clear(m[:48])
		m[0], m[6], m[7] = 0x60, icmp, 64
		binary.BigEndian.PutUint16(m[4:], uint16(8+len(quote)))
		copy(m[8:24], p[24:40])
		copy(m[24:40], p[8:24])
		m[40] = 2
		binary.BigEndian.PutUint32(m[44:], uint32(max(mtu, MinMTU6)))
		copy(m[48:], quote)
		binary.BigEndian.PutUint16(m[42:], ^Fold(Sum(m[40:], PseudoSum(m[8:24], m[24:40], icmp, 8+len(quote)))))
		return m
	}
	const icmp = 1
	head := int(p[0]&15) * 4
	if !DontFragment(p) || p[6]&0x1f|p[7] != 0 || head < 20 || len(p) < head+8 {
		return nil
	}
	if p[9] == icmp {
		switch p[head] {
		case 3, 4, 5, 11, 12:
			return nil
		}
	}
	quote := p[:min(len(p), MinMTU4-28)]
	m := dst[:28+len(quote)]
	clear(m[:28])
	m[0], m[8], m[9] = 0x45, 64, icmp
	binary.BigEndian.PutUint16(m[2:], uint16(len(m)))
	copy(m[12:16], p[16:20])
	copy(m[16:20], p[12:16])
	binary.BigEndian.PutUint16(m[10:], ^Fold(Sum(m[:20], 0)))
	m[20], m[21] = 3, 4
	binary.BigEndian.PutUint16(m[26:], uint16(min(max(mtu, MinMTU4), 0xffff)))
	copy(m[28:], quote)
	binary.BigEndian.PutUint16(m[22:], ^Fold(Sum(m[20:], 0)))
	return m
}

// DontFragment reports whether nobody on the way may fragment p: every IPv6
// packet, and an IPv4 packet that says so.
func DontFragment(p []byte) bool { return p[0]>>4 != 4 || p[6]&0x40 != 0 }
