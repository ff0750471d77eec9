package stamp

import "encoding/binary"

// A TLV follows the base packet (RFC 8972 §4): flags, type, 16-bit length,
// value. The sender sets flag U on each; the reflector clears it on those it
// knows, and sets M on one whose length does not fit.
//
//	0        8        16                32
//	| flags  | type   | length          | value …
const (
	flagUnrecognised = 0x80
	flagMalformed    = 0x40
	flagIntegrity    = 0x20
	tlvHeaderBytes   = 4
)

// The types that are understood here (RFC 8972 §4.1, §4.3).
const (
	TypeExtraPadding         = 1
	TypeTimestampInformation = 3
)

// AppendPadding appends an Extra Padding TLV so that n bytes are added in all;
// fewer than four cannot be, and n is then left out.
func AppendPadding(b []byte, n int) []byte {
	if n < tlvHeaderBytes || n-tlvHeaderBytes > 0xffff {
		return b
	}
	b = append(b, flagUnrecognised, TypeExtraPadding)
	b = binary.BigEndian.AppendUint16(b, uint16(n-tlvHeaderBytes))
	return append(b, make([]byte, n-tlvHeaderBytes)...)
}

// reflectTLVs appends to b what the reflector answers to a probe's TLVs. The
// answer is as long as the question, so it cannot be used to amplify.
func reflectTLVs(b, tlvs []byte) []byte {
	for len(tlvs) >= tlvHeaderBytes {
		flags, kind := tlvs[0], tlvs[1]
		n := tlvHeaderBytes + int(binary.BigEndian.Uint16(tlvs[2:]))
		if n > len(tlvs) {
			// Nothing behind a length that does not fit can be told apart.
			b = append(b, flags&^flagUnrecognised|flagMalformed)
			return append(b, tlvs[1:]...)
		}
		at := len(b)
		b = append(b, tlvs[:n]...)
		switch {
		case kind == TypeExtraPadding:
			b[at] &^= flagUnrecognised | flagMalformed
		case kind == TypeTimestampInformation && n == tlvHeaderBytes+4:
			// Clock source and method, in and out: 1 NTP is not known to be true
			// of this host, so 5 (local free-running) with 3 (software local).
			b[at] &^= flagUnrecognised | flagMalformed
			copy(b[at+tlvHeaderBytes:], []byte{5, 3, 5, 3})
		case kind == TypeTimestampInformation:
			b[at] = b[at]&^flagUnrecognised | flagMalformed
		default:
			b[at] |= flagUnrecognised
		}
		tlvs = tlvs[n:]
	}
	return append(b, tlvs...) // what is too short to be a TLV is padding of old senders
}

// Malformed counts the TLVs of a reply that the reflector called malformed and
// those that it did not know.
func Malformed(tlvs []byte) (malformed, unrecognised int) {
	for len(tlvs) >= tlvHeaderBytes {
		if tlvs[0]&flagMalformed != 0 {
			malformed++
		}
		if tlvs[0]&flagUnrecognised != 0 {
			unrecognised++
		}
		n := tlvHeaderBytes + int(binary.BigEndian.Uint16(tlvs[2:]))
		if n > len(tlvs) {
			break
		}
		tlvs = tlvs[n:]
	}
	return malformed, unrecognised
}
