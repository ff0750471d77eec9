package packet

import (
	"encoding/binary"
	"math/bits"
)

// Sum adds b to a running Internet checksum (RFC 1071). The sum is kept in the
// machine's byte order and 64 bits wide, so that eight bytes cost one addition
// with carry; Fold turns it into the sixteen bits of the wire. Every part but
// the last must have an even length.
func Sum(b []byte, sum uint64) uint64 {
	var c uint64
	for len(b) >= 64 {
		sum, c = bits.Add64(sum, binary.LittleEndian.Uint64(b[0:8]), 0)
		sum, c = bits.Add64(sum, binary.LittleEndian.Uint64(b[8:16]), c)
		sum, c = bits.Add64(sum, binary.LittleEndian.Uint64(b[16:24]), c)
		sum, c = bits.Add64(sum, binary.LittleEndian.Uint64(b[24:32]), c)
		sum, c = bits.Add64(sum, binary.LittleEndian.Uint64(b[32:40]), c)
		sum, c = bits.Add64(sum, binary.LittleEndian.Uint64(b[40:48]), c)
		sum, c = bits.Add64(sum, binary.LittleEndian.Uint64(b[48:56]), c)
		sum, c = bits.Add64(sum, binary.LittleEndian.Uint64(b[56:64]), c)
		sum += c
		b = b[64:]
	}
	for len(b) >= 8 {
		sum, c = bits.Add64(sum, binary.LittleEndian.Uint64(b), 0)
		sum += c
		b = b[8:]
	}
	if len(b) > 0 {
		var last [8]byte
		copy(last[:], b)
		sum, c = bits.Add64(sum, binary.LittleEndian.Uint64(last[:]), 0)
		sum += c
	}
	return sum
}

// Fold returns the sixteen bits of a sum as they are written big-endian on the
// wire, not complemented.
func Fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16&0xffff + sum>>32 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return bits.ReverseBytes16(uint16(sum))
}

// PseudoSum begins the checksum of a TCP or UDP message of length bytes
// between two addresses (4 or 16 bytes each).
func PseudoSum(src, dst []byte, protocol byte, length int) uint64 {
	var tail [8]byte
	binary.BigEndian.PutUint32(tail[0:], uint32(length))
	tail[7] = protocol
	return Sum(tail[:], Sum(dst, Sum(src, 0)))
}
