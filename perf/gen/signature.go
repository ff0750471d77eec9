package gen

import (
	"encoding/binary"
)

// Every numbered frame carries a signature at the beginning of its payload (of a
// WireGuard message: of its encrypted part):
//
//	0       2       4        5               10           18
//	| magic | clock | stream | number (40 b) | time (TAI ns) |
//
// in network byte order. clock is a tag of the clock that made the time: frames
// whose tag is the receiver's own have exact one-way delays.
const (
	SignatureBytes = 18
	magic          = 0xd55e
	// MaxNumber is the highest number of a frame: 55 hours at 5 million a second.
	MaxNumber = 1<<40 - 1
)

// Signature is what a frame says of itself.
type Signature struct {
	Clock  uint16
	Stream uint8
	Number uint64
	Time   uint64 // nanoseconds of CLOCK_TAI
}

// Put writes the signature into the first SignatureBytes of b.
func (s Signature) Put(b []byte) {
	binary.BigEndian.PutUint64(b[10:], s.Time)
	binary.BigEndian.PutUint64(b[2:], s.Number)
	binary.BigEndian.PutUint16(b, magic)
	binary.BigEndian.PutUint16(b[2:], s.Clock)
	b[4] = s.Stream
}

// ParseSignature reads the first SignatureBytes of b.
func ParseSignature(b []byte) (s Signature, ok bool) {
	if len(b) < SignatureBytes || binary.BigEndian.Uint16(b) != magic {
		return s, false
	}
	return Signature{Clock: binary.BigEndian.Uint16(b[2:]), Stream: b[4],
		Number: binary.BigEndian.Uint64(b[2:]) & MaxNumber, Time: binary.BigEndian.Uint64(b[10:])}, true
}

// words is the sum of a signature's number and time as 16-bit words.
func (s Signature) words() uint32 {
	n, t := s.Number, s.Time
	return uint32(n>>32&0xff + n>>16&0xffff + n&0xffff + t>>48 + t>>32&0xffff + t>>16&0xffff + t&0xffff)
}

const (
	typeIPv4, typeIPv6, typeVLAN = 0x0800, 0x86dd, 0x8100
	protoTCP, protoUDP           = 6, 17
	protoRouting                 = 43
)

// Find looks for the signature of an Ethernet frame: behind at most one VLAN tag,
// IPv4 or IPv6 with at most one routing header, and UDP, TCP or WireGuard.
func Find(frame []byte) (s Signature, ok bool) {
	if len(frame) < 34 {
		return s, false
	}
	proto, at := binary.BigEndian.Uint16(frame[12:]), 14
	if proto == typeVLAN {
		proto, at = binary.BigEndian.Uint16(frame[16:]), 18
	}
	var next byte
	switch {
	case proto == typeIPv6 && len(frame) >= at+40:
		next = frame[at+6]
		at += 40
		if next == protoRouting {
			if len(frame) < at+8 {
				return s, false
			}
			next = frame[at]
			at += 8 + int(frame[at+1]&31)*8
		}
	case proto == typeIPv4 && len(frame) >= at+20:
		next = frame[at+9]
		at += int(frame[at]&15) * 4
	default:
		return s, false
	}
	if len(frame) < at+16 {
		return s, false
	}
	switch next {
	case protoUDP:
		at += 8
	case protoTCP:
		at += int(frame[at+12]>>4) * 4
	default:
		return s, false
	}
	if len(frame) < at+SignatureBytes {
		return s, false
	}
	if s, ok = ParseSignature(frame[at:]); ok || next != protoUDP || binary.LittleEndian.Uint32(frame[at:]) != wireguardData {
		return s, ok
	}
	return ParseSignature(frame[min(at+wireguardHead, len(frame)):])
}

// A WireGuard data message: type 4 (little-endian), receiver index, counter; then
// the encrypted part with its 16-byte tag.
const (
	wireguardData = 4
	wireguardHead = 16
	wireguardTag  = 16
)
