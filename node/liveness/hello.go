package liveness

import (
	"encoding/binary"
	"fmt"

	"dssn"
)

// HelloPort is the UDP port of hellos, to the group HelloGroup on the link.
const HelloPort = 51823

// HelloGroup is where hellos go: a transient link-local multicast group.
const HelloGroup = "ff12::d55"

// Hello is what a node says on each of its links:
//
//	0        4   5   6     8          12       14   15   16
//	| "DSSH" | 1 | 0 | SID | sequence | every  | n  | h  | name (n bytes) | heard (h bytes) |
//
// in network byte order. A hello is not authenticated: it can only be sent by
// who is on the link (its hop limit is 255), it names a neighbour and nothing
// else, and the controller accepts only links that it expects.
type Hello struct {
	Name     string
	SID      dssn.SID
	Sequence uint32
	// EveryMillis is the sender's interval.
	EveryMillis uint16
	// Heard is the name that the sender last heard on this link, "" for none:
	// a link is up when each end hears the other.
	Heard string
}

// MaxNameBytes bounds names in hellos.
const MaxNameBytes = 255

const helloHead = 16

var helloMagic = [6]byte{'D', 'S', 'S', 'H', 1, 0}

// Append appends the encoded hello to b. Names longer than MaxNameBytes are an error.
func (h *Hello) Append(b []byte) ([]byte, error) {
	if h.Name == "" || len(h.Name) > MaxNameBytes || len(h.Heard) > MaxNameBytes {
		return b, fmt.Errorf("write hello: names of %d and %d bytes are not possible", len(h.Name), len(h.Heard))
	}
	b = append(b, helloMagic[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(h.SID))
	b = binary.BigEndian.AppendUint32(b, h.Sequence)
	b = binary.BigEndian.AppendUint16(b, h.EveryMillis)
	b = append(b, byte(len(h.Name)), byte(len(h.Heard)))
	b = append(b, h.Name...)
	return append(b, h.Heard...), nil
}

// ParseHello reads exactly what Append writes.
func ParseHello(b []byte) (Hello, error) {
	if len(b) < helloHead || [6]byte(b[:6]) != helloMagic {
		return Hello{}, fmt.Errorf("read hello: %d bytes that do not begin as one", len(b))
	}
	n, h := int(b[14]), int(b[15])
	if n == 0 || len(b) != helloHead+n+h {
		return Hello{}, fmt.Errorf("read hello: %d bytes for names of %d and %d", len(b), n, h)
	}
	return Hello{
		SID:         dssn.SID(binary.BigEndian.Uint16(b[6:])),
		Sequence:    binary.BigEndian.Uint32(b[8:]),
		EveryMillis: binary.BigEndian.Uint16(b[12:]),
		Name:        string(b[helloHead : helloHead+n]),
		Heard:       string(b[helloHead+n:]),
	}, nil
}
