package dssn

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// SID is a node's 16-bit segment identifier inside one locator block
// (RFC 9800's NEXT-CSID with a 32-bit block and 16-bit identifiers). Zero is
// invalid: it ends a carrier's list.
type SID uint16

// Locator block lengths, in bits (RFC 9800 §4.1: LBL and LNFL).
const (
	LocatorBlockBits = 32
	SIDBits          = 16
	// MaxCarrierSIDs is how many SIDs fit one address behind the block.
	MaxCarrierSIDs = (128 - LocatorBlockBits) / SIDBits
)

// LabBlock is the locator block of the lab, the examples and the tests, inside
// RFC 9602's 5f00::/16.
var LabBlock = netip.MustParsePrefix("5f00:d55::/32")

// ParseSID reads one to four hexadecimal digits; zero is refused.
func ParseSID(s string) (SID, error) {
	v, err := strconv.ParseUint(s, 16, 16)
	if err != nil || v == 0 {
		return 0, fmt.Errorf("%q is not a SID: use one to four hexadecimal digits, not zero", s)
	}
	return SID(v), nil
}

// String returns the SID in hexadecimal, as it stands in an address.
func (s SID) String() string { return strconv.FormatUint(uint64(s), 16) }

// Node returns the node's own address, block:sid::, where its tunnels end.
func (s SID) Node(block netip.Prefix) netip.Addr {
	b := block.Masked().Addr().As16()
	binary.BigEndian.PutUint16(b[4:], uint16(s))
	return netip.AddrFrom16(b)
}

// Locator returns block:sid::/48, the prefix that reaches the node.
func (s SID) Locator(block netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(s.Node(block), LocatorBlockBits+SIDBits)
}

// Carrier is a path written as one IPv6 destination address: the block followed
// by the SIDs still to be passed, the egress node's last. The zero value is
// invalid.
type Carrier struct{ addr netip.Addr }

// NewCarrier writes sids, in travelling order, behind block. At least one and
// at most MaxCarrierSIDs non-zero SIDs are needed.
func NewCarrier(block netip.Prefix, sids ...SID) (Carrier, error) {
	if block.Bits() != LocatorBlockBits || !block.Addr().Is6() {
		return Carrier{}, fmt.Errorf("locator block %s is not an IPv6 /%d", block, LocatorBlockBits)
	}
	if len(sids) == 0 || len(sids) > MaxCarrierSIDs {
		return Carrier{}, fmt.Errorf("a carrier holds 1 to %d SIDs, not %d: use fewer waypoints", MaxCarrierSIDs, len(sids))
	}
	b := block.Masked().Addr().As16()
	for i, s := range sids {
		if s == 0 {
			return Carrier{}, fmt.Errorf("SID %d of the carrier is zero, which would end it", i+1)
		}
		binary.BigEndian.PutUint16(b[4+2*i:], uint16(s))
	}
	return Carrier{netip.AddrFrom16(b)}, nil
}

// ParseCarrier reads an address as a carrier in its first 32 bits' block.
func ParseCarrier(s string) (Carrier, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return Carrier{}, fmt.Errorf("%q is not a carrier: write an address such as 5f00:d55:11:12:21::", s)
	}
	c := Carrier{a}
	if sids := c.SIDs(); len(sids) == 0 {
		return Carrier{}, fmt.Errorf("%q is not a carrier: it names no SID behind its block", s)
	}
	b := a.As16()
	for i := 4 + 2*len(c.SIDs()); i < 16; i++ {
		if b[i] != 0 {
			return Carrier{}, fmt.Errorf("%q is not a carrier: a zero SID stands between others", s)
		}
	}
	return c, nil
}

// Addr returns the carrier as a destination address.
func (c Carrier) Addr() netip.Addr { return c.addr }

// IsZero reports whether c is the invalid zero value.
func (c Carrier) IsZero() bool { return !c.addr.IsValid() }

// SIDs lists the segments in travelling order.
func (c Carrier) SIDs() []SID {
	if c.IsZero() {
		return nil
	}
	b := c.addr.As16()
	var out []SID
	for i := 4; i < 16; i += 2 {
		s := SID(binary.BigEndian.Uint16(b[i:]))
		if s == 0 {
			break
		}
		out = append(out, s)
	}
	return out
}

// Shift returns the carrier after the first SID's node has passed it on
// (RFC 9800 §4.1.1): the argument moves sixteen bits left. ok is false when the
// first SID was the last, that is, when the packet has arrived.
func (c Carrier) Shift() (next Carrier, ok bool) {
	if c.IsZero() {
		return Carrier{}, false
	}
	b := c.addr.As16()
	copy(b[4:], b[6:])
	b[14], b[15] = 0, 0
	if b[4]|b[5] == 0 {
		return Carrier{}, false
	}
	return Carrier{netip.AddrFrom16(b)}, true
}

// String returns the RFC 5952 text form.
func (c Carrier) String() string {
	if c.IsZero() {
		return ""
	}
	return c.addr.String()
}

// Path returns the SIDs joined by "→", for people.
func (c Carrier) Path() string {
	var b strings.Builder
	for i, s := range c.SIDs() {
		if i > 0 {
			b.WriteString("→")
		}
		b.WriteString(s.String())
	}
	return b.String()
}

// MarshalText implements encoding.TextMarshaler; the zero value is empty text.
func (c Carrier) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Carrier) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*c = Carrier{}
		return nil
	}
	*c, err = ParseCarrier(string(b))
	return err
}
