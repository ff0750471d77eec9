package dssn

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// DataID is an identifier that is also an IPv6 address, so a packet sent to it
// reaches the nearest permitted holder:
//
//	bits   0        32       48       64  68  72  76  80                      128
//	      | operator | region | regist- | G | C | K | S |  48-bit certifying hash |
//	      |   /32    |  /48   | rant /64|   |   |   |   |                         |
//
// The 48-bit hash ties the identifier to its signed record; it proves nothing
// by itself, and receivers check content against the record's 256-bit root.
// The zero value is invalid.
type DataID struct {
	// Two words rather than sixteen bytes: fields are read with shifts and
	// masks, and comparing two identifiers is two instructions.
	hi, lo uint64
}

// NodeID is a DataID whose kind is KindNode. It is a separate type so that a
// dataset can never be passed where a node is meant. The zero value is invalid.
type NodeID struct{ id DataID }

// DataIDFrom16 returns the identifier with these sixteen bytes in network order.
// It does not judge them; see DataID.Validate.
func DataIDFrom16(b [16]byte) DataID {
	return DataID{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// DataIDFromAddr returns addr as an identifier. IPv4 addresses and addresses
// with a zone are refused.
func DataIDFromAddr(addr netip.Addr) (DataID, error) {
	if !addr.Is6() || addr.Is4In6() || addr.Zone() != "" {
		return DataID{}, fmt.Errorf("%q is not a data identifier: write a plain IPv6 address such as 3fff:d55:12:7:2911:9a3e:41c7:8d2", addr)
	}
	id := DataIDFrom16(addr.As16())
	return id, id.Validate()
}

// ParseDataID reads the RFC 5952 text form, with or without square brackets,
// or a dssn://[…]/ URI without a path.
func ParseDataID(s string) (DataID, error) {
	t := s
	if rest, ok := strings.CutPrefix(t, "dssn://"); ok {
		t = strings.TrimSuffix(rest, "/")
	}
	if strings.HasPrefix(t, "[") && strings.HasSuffix(t, "]") {
		t = t[1 : len(t)-1]
	}
	addr, err := netip.ParseAddr(t)
	if err != nil {
		return DataID{}, fmt.Errorf("%q is not a data identifier: write an IPv6 address such as 3fff:d55:12:7:2911:9a3e:41c7:8d2", s)
	}
	return DataIDFromAddr(addr)
}

// ParseDataURI splits dssn://[ID]/path into the identifier and the path without
// its leading slash; an empty path means the whole dataset.
func ParseDataURI(s string) (DataID, string, error) {
	rest, ok := strings.CutPrefix(s, "dssn://[")
	if !ok {
		return DataID{}, "", fmt.Errorf("%q is not a data URI: write dssn://[IDENTIFIER]/PATH, with the brackets", s)
	}
	host, path, ok := strings.Cut(rest, "]")
	if !ok {
		return DataID{}, "", fmt.Errorf("%q is not a data URI: the closing bracket is missing; write dssn://[IDENTIFIER]/PATH", s)
	}
	if path != "" && path[0] != '/' {
		return DataID{}, "", fmt.Errorf("%q is not a data URI: a slash must follow the bracket; write dssn://[IDENTIFIER]/PATH", s)
	}
	id, err := ParseDataID(host)
	if err != nil {
		return DataID{}, "", err
	}
	return id, strings.TrimPrefix(path, "/"), nil
}

// Validate reports why d cannot be an identifier: it must be a global unicast
// address and its four nibbles must have meanings.
func (d DataID) Validate() error {
	a := d.Addr()
	switch {
	case d == DataID{}:
		return fmt.Errorf("the identifier is empty: give an IPv6 address")
	case !a.IsGlobalUnicast() || a.IsPrivate():
		return fmt.Errorf("%s is not a data identifier: it is not a global unicast address; take one from the catalogue", a)
	case !d.Grade().Valid():
		return fmt.Errorf("%s is not a data identifier: grade %x has no meaning; check the first digit of the fifth group", a, uint8(d.Grade()))
	case !d.Kind().Valid():
		return fmt.Errorf("%s is not a data identifier: kind %x has no meaning; check the third digit of the fifth group", a, uint8(d.Kind()))
	case !d.Suite().Valid():
		return fmt.Errorf("%s is not a data identifier: suite %x has no meaning; check the last digit of the fifth group", a, uint8(d.Suite()))
	}
	return nil
}

// Addr returns d as an address.
func (d DataID) Addr() netip.Addr { return netip.AddrFrom16(d.As16()) }

// As16 returns the sixteen bytes in network order.
func (d DataID) As16() (b [16]byte) {
	binary.BigEndian.PutUint64(b[:8], d.hi)
	binary.BigEndian.PutUint64(b[8:], d.lo)
	return b
}

// IsZero reports whether d is the invalid zero value.
func (d DataID) IsZero() bool { return d == DataID{} }

// Compare orders identifiers as their addresses are ordered.
func (d DataID) Compare(o DataID) int { return d.Addr().Compare(o.Addr()) }

// Registrant returns the /64 of the institution that d belongs to.
func (d DataID) Registrant() netip.Prefix { return netip.PrefixFrom(d.Addr(), 64).Masked() }

// Region returns the /48 that the global routing table carries for d.
func (d DataID) Region() netip.Prefix { return netip.PrefixFrom(d.Addr(), 48).Masked() }

// Operator returns the /32 of the operator that d belongs to.
func (d DataID) Operator() netip.Prefix { return netip.PrefixFrom(d.Addr(), 32).Masked() }

// Prefix returns d as a /128.
func (d DataID) Prefix() netip.Prefix { return netip.PrefixFrom(d.Addr(), 128) }

// Grade, Category, Kind and Suite return the four nibbles after the registrant.
func (d DataID) Grade() Grade       { return Grade(d.lo >> 60) }
func (d DataID) Category() Category { return Category(d.lo >> 56 & 0xf) }
func (d DataID) Kind() Kind         { return Kind(d.lo >> 52 & 0xf) }
func (d DataID) Suite() Suite       { return Suite(d.lo >> 48 & 0xf) }

// Hash48 returns the certifying hash, right-aligned.
func (d DataID) Hash48() uint64 { return d.lo & (1<<48 - 1) }

// String returns the RFC 5952 text form.
func (d DataID) String() string { return d.Addr().String() }

// URI returns dssn://[d]/.
func (d DataID) URI() string { return "dssn://[" + d.String() + "]/" }

// MarshalText implements encoding.TextMarshaler; the zero value is empty text.
func (d DataID) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return nil, nil
	}
	return d.Addr().MarshalText()
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *DataID) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*d = DataID{}
		return nil
	}
	*d, err = ParseDataID(string(b))
	return err
}

// Labels are the parts of a DataID that are chosen rather than computed.
type Labels struct {
	Registrant netip.Prefix // a /64
	Grade      Grade
	Category   Category
	Kind       Kind
	Suite      Suite
}

// Mint computes the identifier of a subject:
//
//	hash = first 48 bits of H("dssn-id-1", upper 64 bits, GCKS, subject, salt)
//
// hash is the suite's hash function over the concatenation of its arguments.
// The subject is a node's public key (KindNode), the registrant's key and the
// name (KindSeries), or the content root and its length as eight big-endian
// bytes (KindVersion). salt starts at 0 and is raised by one when the registry
// already knows the result under another subject.
func Mint(l Labels, subject []byte, salt uint32, hash func(parts ...[]byte) [32]byte) (DataID, error) {
	if l.Registrant.Bits() != 64 || !l.Registrant.Addr().Is6() {
		return DataID{}, fmt.Errorf("mint identifier: registrant %s is not an IPv6 /64", l.Registrant)
	}
	up := l.Registrant.Masked().Addr().As16()
	gcks := uint16(l.Grade)<<12 | uint16(l.Category)<<8 | uint16(l.Kind)<<4 | uint16(l.Suite)
	var g [2]byte
	binary.BigEndian.PutUint16(g[:], gcks)
	var s [4]byte
	binary.BigEndian.PutUint32(s[:], salt)
	sum := hash([]byte("dssn-id-1"), up[:8], g[:], subject, s[:])
	id := DataID{
		hi: binary.BigEndian.Uint64(up[:8]),
		lo: uint64(gcks)<<48 | binary.BigEndian.Uint64(sum[:8])>>16,
	}
	return id, id.Validate()
}

// NodeIDFrom returns d as a node's identifier; any other kind is refused.
func NodeIDFrom(d DataID) (NodeID, error) {
	if d.Kind() != KindNode || d.IsZero() {
		return NodeID{}, fmt.Errorf("%s does not name a node (kind %s): give the node's identifier, as `dssn status` shows it", d, d.Kind())
	}
	return NodeID{d}, nil
}

// ParseNodeID reads the text form of a node's identifier.
func ParseNodeID(s string) (NodeID, error) {
	d, err := ParseDataID(s)
	if err != nil {
		return NodeID{}, err
	}
	return NodeIDFrom(d)
}

// DataID returns n as the identifier that packets carry.
func (n NodeID) DataID() DataID { return n.id }

// Addr returns n as an address.
func (n NodeID) Addr() netip.Addr { return n.id.Addr() }

// IsZero reports whether n is the invalid zero value.
func (n NodeID) IsZero() bool { return n.id.IsZero() }

// Compare orders node identifiers as their addresses are ordered.
func (n NodeID) Compare(o NodeID) int { return n.id.Compare(o.id) }

// String returns the RFC 5952 text form.
func (n NodeID) String() string { return n.id.String() }

// MarshalText implements encoding.TextMarshaler; the zero value is empty text.
func (n NodeID) MarshalText() ([]byte, error) { return n.id.MarshalText() }

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *NodeID) UnmarshalText(b []byte) error {
	var d DataID
	if err := d.UnmarshalText(b); err != nil {
		return err
	}
	if d.IsZero() {
		*n = NodeID{}
		return nil
	}
	v, err := NodeIDFrom(d)
	if err == nil {
		*n = v
	}
	return err
}
