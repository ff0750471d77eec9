package packet

import (
	"encoding/binary"
	"math/bits"
)

// FlowHash returns a number that is the same for all packets of one flow, in both
// directions: of its addresses, protocol and, where they can be seen, ports. The
// packet is one that Addresses accepted. Fragments show no ports, so all of a
// packet's go together.
func FlowHash(p []byte) uint32 {
	var h uint64
	var protocol byte
	var ports []byte
	if p[0]>>4 == 6 {
		for i := 8; i < 24; i += 8 {
			h ^= mix(word(p, i), word(p, i+16))
		}
		protocol, ports = p[6], p[40:]
	} else {
		h = mix(uint64(binary.BigEndian.Uint32(p[12:])), uint64(binary.BigEndian.Uint32(p[16:])))
		if protocol = p[9]; binary.BigEndian.Uint16(p[6:])&0x3fff == 0 {
			ports = p[min(int(p[0]&15)*4, len(p)):]
		}
	}
	if (protocol == TCP || protocol == UDP) && len(ports) >= 4 {
		h ^= mix(uint64(binary.BigEndian.Uint16(ports)), uint64(binary.BigEndian.Uint16(ports[2:])))
	}
	h ^= uint64(protocol)
	hi, lo := bits.Mul64(h^0x9e3779b97f4a7c15, 0xd1b54a32d192ed03)
	return uint32((hi ^ lo) >> 16)
}

func word(p []byte, i int) uint64 { return binary.BigEndian.Uint64(p[i:]) }

// mix joins two ends so that it does not matter which is the sender's.
func mix(a, b uint64) uint64 {
	if a > b {
		a, b = b, a
	}
	hi, lo := bits.Mul64(a^0xa0761d6478bd642f, b^0xe7037ed1a0b428db)
	return hi ^ lo
}
