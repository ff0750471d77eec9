package path

import (
	"encoding/binary"
	"net/netip"
)

const (
	protoUDP    = 17
	protoICMPv6 = 58
	echoRequest = 128
	echoReply   = 129
	hopLimit    = 255 // RFC 8762 §4.2.1
)

// appendIPv6 appends a whole packet that goes to the address on the wire and whose
// checksum, at offset check of body, is for the final one (RFC 9800 §6.5).
func appendIPv6(b []byte, src, wire, final netip.Addr, next byte, body []byte, check int) []byte {
	binary.BigEndian.PutUint16(body[check:], 0)
	c := checksum(src, final, next, body)
	binary.BigEndian.PutUint16(body[check:], c)
	at := len(b)
	b = append(b, make([]byte, 40)...)
	head := b[at:]
	head[0] = 6 << 4
	binary.BigEndian.PutUint16(head[4:], uint16(len(body)))
	head[6], head[7] = next, hopLimit
	s, d := src.As16(), wire.As16()
	copy(head[8:], s[:])
	copy(head[24:], d[:])
	return append(b, body...)
}

// checksum is that of RFC 8200 §8.1.
func checksum(src, dst netip.Addr, next byte, body []byte) uint16 {
	sum := uint64(len(body)) + uint64(next)
	add := func(b []byte) {
		for ; len(b) > 1; b = b[2:] {
			sum += uint64(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			sum += uint64(b[0]) << 8
		}
	}
	add(src.AsSlice())
	add(dst.AsSlice())
	add(body)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if c := ^uint16(sum); c != 0 {
		return c
	}
	return 0xffff
}

// udp makes a datagram around a payload.
func udp(from, to uint16, payload []byte) []byte {
	b := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	return append(b, payload...)
}

// echo makes an echo request.
func echo(id, sequence uint16, size int) []byte {
	b := make([]byte, max(8, size))
	b[0] = echoRequest
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], sequence)
	return b
}

// parseEcho reads an echo reply.
func parseEcho(b []byte) (id, sequence uint16, ok bool) {
	if len(b) < 8 || b[0] != echoReply {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]), true
}
