package southbound

import (
	"crypto/ed25519"
	"encoding/binary"

	"dssn"
)

// deliveryMagic begins what the signature of one Delivery covers, so that it can
// stand for nothing else.
const deliveryMagic = "dssn-delivery\x00\x00\x01"

// AppendSigned appends the bytes that a delivery's own signature covers:
// deliveryMagic, the reporting node's 16 bytes, then every field in the order of
// the type, written as in a report (Usage.AppendSigned). A report is signed as a
// whole; a delivery is signed by itself as well, so that a receipt can show what
// each end said of one transfer and nothing else.
func (d *Delivery) AppendSigned(b []byte, node dssn.NodeID) []byte {
	b = append(b, deliveryMagic...)
	a := node.DataID().As16()
	return d.appendFields(append(b, a[:]...), 0)
}

// appendFields appends a delivery's fields; flags are those of its last byte
// beside done.
func (d *Delivery) appendFields(b []byte, flags byte) []byte {
	num := func(n uint64) { b = binary.BigEndian.AppendUint64(b, n) }
	text := func(s string) { num(uint64(len(s))); b = append(b, s...) }
	id := func(d dssn.DataID) { a := d.As16(); b = append(b, a[:]...) }
	text(d.Transfer)
	text(string(d.End))
	id(d.Data)
	id(d.Peer.DataID())
	num(uint64(d.Reservation))
	num(d.ContentBytes)
	num(uint64(d.Started.UnixNano()))
	num(uint64(d.Updated.UnixNano()))
	if d.Done {
		flags |= 1
	}
	return append(b, flags)
}

// Sign sets the delivery's own signature by a node's identity key.
func (d *Delivery) Sign(node dssn.NodeID, key ed25519.PrivateKey) {
	d.Signature = ed25519.Sign(key, d.AppendSigned(nil, node))
}

// SignedBy reports whether the delivery is that node's word, by its identity key.
func (d *Delivery) SignedBy(node dssn.NodeID, key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, d.AppendSigned(nil, node), d.Signature)
}
