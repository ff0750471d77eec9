package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"dssn"
)

// Attributes of a seg6local route, from linux/seg6_local.h.
const (
	attrAction          = 1  // SEG6_LOCAL_ACTION, u32
	attrFlavours        = 11 // SEG6_LOCAL_FLAVORS, nested
	attrFlavourMask     = 1  // SEG6_LOCAL_FLV_OPERATION, u32, one bit for each operation
	attrBlockBits       = 2  // SEG6_LOCAL_FLV_LCBLOCK_BITS, u8
	attrNodeBits        = 3  // SEG6_LOCAL_FLV_LCNODE_FN_BITS, u8
	actionEnd           = 1  // SEG6_LOCAL_ACTION_END
	flavourNextCSIDMask = 1 << 4
)

// nextCSID is the lightweight-tunnel state of an End route. The netlink module
// knows seg6local but not its flavours, so this type stands in for its own.
//
//	SEG6_LOCAL_ACTION  = End
//	SEG6_LOCAL_FLAVORS
//	    OPERATION      = next-csid
//	    LCBLOCK_BITS   = 32
//	    LCNODE_FN_BITS = 16
type nextCSID struct{}

var _ netlink.Encap = nextCSID{}

// Type returns LWTUNNEL_ENCAP_SEG6_LOCAL.
func (nextCSID) Type() int { return nl.LWTUNNEL_ENCAP_SEG6_LOCAL }

// Encode returns the attributes.
func (nextCSID) Encode() ([]byte, error) {
	flavours := attribute(nil, attrFlavourMask, binary.NativeEndian.AppendUint32(nil, flavourNextCSIDMask))
	flavours = attribute(flavours, attrBlockBits, []byte{dssn.LocatorBlockBits})
	flavours = attribute(flavours, attrNodeBits, []byte{dssn.SIDBits})
	b := attribute(nil, attrAction, binary.NativeEndian.AppendUint32(nil, actionEnd))
	return attribute(b, attrFlavours|nestedFlag, flavours), nil
}

// Decode accepts exactly what Encode writes, in any order.
func (nextCSID) Decode(b []byte) error {
	if !isNextCSID(b) {
		return fmt.Errorf("not seg6local End with next-csid %d/%d", dssn.LocatorBlockBits, dssn.SIDBits)
	}
	return nil
}

// String says it as iproute2 does.
func (nextCSID) String() string {
	return fmt.Sprintf("seg6local action End flavors next-csid lblen %d nflen %d", dssn.LocatorBlockBits, dssn.SIDBits)
}

// Equal reports whether e is the same.
func (nextCSID) Equal(e netlink.Encap) bool { return e == netlink.Encap(nextCSID{}) }

// isNextCSID reports whether the attributes of an encapsulation are ours.
func isNextCSID(b []byte) bool {
	a := attributes(b)
	f := attributes(a[attrFlavours])
	return bytes.Equal(a[attrAction], binary.NativeEndian.AppendUint32(nil, actionEnd)) &&
		bytes.Equal(f[attrFlavourMask], binary.NativeEndian.AppendUint32(nil, flavourNextCSIDMask)) &&
		bytes.Equal(f[attrBlockBits], []byte{dssn.LocatorBlockBits}) &&
		bytes.Equal(f[attrNodeBits], []byte{dssn.SIDBits})
}

// nestedFlag marks an attribute that holds attributes (NLA_F_NESTED).
const nestedFlag = 1 << 15

// attribute appends one netlink attribute: length and type as native 16-bit
// numbers, the value, and zeros up to a multiple of four.
func attribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// attributes splits a run of attributes; of repeated ones the last counts. It
// stops at the first that is cut off.
func attributes(b []byte) map[uint16][]byte {
	out := make(map[uint16][]byte)
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		out[binary.NativeEndian.Uint16(b[2:])&^(3<<14)] = b[4:n]
		b = b[min((n+3)&^3, len(b)):]
	}
	return out
}
