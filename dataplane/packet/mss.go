package packet

import "encoding/binary"

// ClampMSS lowers the maximum segment size that a TCP SYN announces to what an
// IP packet of mtu bytes holds, so that neither end sends segments that the
// tunnel cannot carry (RFC 4459, section 3.2; RFC 879). It reports whether it
// changed p. A packet that is no whole SYN, that announces less, or that has
// IPv6 extension headers before TCP, stays as it is.
//
// Partial says that the checksum field holds the pseudo-header's sum only and
// will be completed later; otherwise it is corrected (RFC 1624).
func ClampMSS(p []byte, mtu int, partial bool) bool {
	if len(p) < 40 {
		return false
	}
	var start, largest int
	switch p[0] >> 4 {
	case 6:
		start, largest = 40, mtu-60
		if p[6] != TCP {
			return false
		}
	case 4:
		start, largest = int(p[0]&15)*4, mtu-40
		if p[9] != TCP || start < 20 || p[6]&0x1f != 0 || p[7] != 0 { // a later fragment has no TCP header
			return false
		}
	default:
		return false
	}
	const syn, none, kindMSS = 2, 1, 2
	if len(p) < start+20 || p[start+13]&syn == 0 {
		return false
	}
	t := p[start:]
	end := int(t[12]>>4) * 4
	if end < 20 || end > len(t) {
		return false
	}
	largest = max(largest, 1)
	for at := 20; at+1 < end && t[at] != 0; {
		switch {
		case t[at] == none:
			at++
			continue
		case t[at] == kindMSS && t[at+1] == 4 && at+4 <= end:
			old := binary.BigEndian.Uint16(t[at+2:])
			if int(old) <= largest {
				return false
			}
			binary.BigEndian.PutUint16(t[at+2:], uint16(largest))
			if !partial {
				adjust(t[16:18], old, uint16(largest), at%2 != 0)
			}
			return true
		case t[at+1] < 2:
			return false
		}
		at += int(t[at+1])
	}
	return false
}

// adjust corrects a checksum for a word that changed; odd says that the word
// straddles two words of the sum.
func adjust(field []byte, old, new uint16, odd bool) {
	if odd {
		old, new = old>>8|old<<8, new>>8|new<<8
	}
	sum := uint32(^binary.BigEndian.Uint16(field)) + uint32(^old) + uint32(new)
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(field, ^uint16(sum))
}
