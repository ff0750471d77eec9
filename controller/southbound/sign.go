package southbound

import (
	"crypto/ed25519"
	"encoding/binary"

	"dssn"
)

// usageMagic begins what a usage signature covers, so that it can stand for
// nothing else.
const usageMagic = "dssn-usage\x00\x00\x01"

// AppendSigned appends the bytes that a report's signature covers: usageMagic,
// the reporting node's 16 bytes, then every field in the order of the types,
// integers as eight big-endian bytes, texts behind their length, times as Unix
// nanoseconds, lists behind their length; behind a delivery that is signed by itself
// (the second bit of its last byte), that signature as a text.
func (u *Usage) AppendSigned(b []byte, node dssn.NodeID) []byte {
	num := func(n uint64) { b = binary.BigEndian.AppendUint64(b, n) }
	text := func(s string) { num(uint64(len(s))); b = append(b, s...) }
	id := func(d dssn.DataID) { a := d.As16(); b = append(b, a[:]...) }
	b = append(b, usageMagic...)
	id(node.DataID())
	text(u.Epoch)
	num(u.Sequence)
	num(uint64(u.At.UnixNano()))
	num(uint64(len(u.Counts)))
	for _, c := range u.Counts {
		num(uint64(c.Reservation))
		for _, n := range []uint64{c.SentPackets, c.SentBytes, c.PolicedPackets, c.PolicedBytes, c.ReceivedPackets, c.ReceivedBytes} {
			num(n)
		}
	}
	num(uint64(len(u.Deliveries)))
	for i := range u.Deliveries {
		d := &u.Deliveries[i]
		if len(d.Signature) == 0 {
			b = d.appendFields(b, 0)
			continue
		}
		b = d.appendFields(b, 2) // and its own signature
		text(string(d.Signature))
	}
	return b
}

// Sign sets the report's Signature by a node's identity key.
func (u *Usage) Sign(node dssn.NodeID, key ed25519.PrivateKey) {
	u.Signature = ed25519.Sign(key, u.AppendSigned(nil, node))
}

// SignedBy reports whether the report is that node's, by its identity key. A
// report says what its signature covers even when it is quoted by others.
func (u *Usage) SignedBy(node dssn.NodeID, key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, u.AppendSigned(nil, node), u.Signature)
}
