package ledger

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"

	"dssn"
	"dssn/content"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// Signed is what a receipt's body shows to be signed by the terminals.
type Signed struct {
	Record     northbound.UsageRecord
	Statements []northbound.Statement // the holder's, then the receiver's
}

// VerifyReceipt checks the body of a receipt, whose place in the evidence log is
// for package evidence to check: the record has the hash that it says, and both
// terminals have signed their word on this transfer, with keys from which their
// identifiers are minted. Where the operator has decided on the bytes the ends'
// numbers may differ from it.
func VerifyReceipt(body []byte) (*Signed, error) {
	var r struct {
		Kind       string                 `json:"kind"`
		Record     northbound.UsageRecord `json:"record"`
		Statements []northbound.Statement `json:"statements"`
	}
	if err := json.Unmarshal(body, &r); err != nil || r.Kind != "receipt" {
		return nil, fmt.Errorf("the leaf is no receipt of a transfer: fetch one with `dssn receipt get`")
	}
	rec := &r.Record
	if RecordHash(rec) != rec.Hash {
		return nil, fmt.Errorf("the receipt's record does not have the hash that it says")
	}
	for _, want := range []struct {
		end       southbound.DeliveryEnd
		node, has dssn.NodeID
	}{{southbound.EndHolder, rec.Holder, rec.Receiver}, {southbound.EndReceiver, rec.Receiver, rec.Holder}} {
		if err := statementOf(rec, r.Statements, want.end, want.node, want.has); err != nil {
			return nil, err
		}
	}
	return &Signed{Record: *rec, Statements: r.Statements}, nil
}

// statementOf finds and checks one end's statement.
func statementOf(rec *northbound.UsageRecord, list []northbound.Statement, end southbound.DeliveryEnd, node, peer dssn.NodeID) error {
	for i := range list {
		s := &list[i]
		d := &s.Delivery
		if d.End != end {
			continue
		}
		switch {
		case s.Node != node || d.Transfer != rec.Transfer || d.Data != rec.Data || d.Peer != peer:
			return fmt.Errorf("what the %s signed is about another transfer, or by another node", end)
		case !mintedFrom(node, s.Key):
			return fmt.Errorf("the key of the %s is not that of the node %s", end, node)
		case !d.SignedBy(node, s.Key):
			return fmt.Errorf("the signature of the %s %s is false", end, node)
		case d.ContentBytes != rec.Bytes && rec.Decided == "":
			return fmt.Errorf("the %s signed %d bytes, but the record says %d", end, d.ContentBytes, rec.Bytes)
		}
		return nil
	}
	return fmt.Errorf("the %s %s has not signed it: its program is older than signed receipts", end, node)
}

// maxSalt is how far a node's identifier may have been moved by collisions; the
// registry tries from 0 on, and 48 bits rarely collide twice.
const maxSalt = 16

// mintedFrom reports whether a node's identifier comes from that key.
func mintedFrom(node dssn.NodeID, key []byte) bool {
	for salt := range uint32(maxSalt) {
		if id, err := content.MintNode(node.DataID().Registrant(), ed25519.PublicKey(key), salt); err != nil {
			return false
		} else if id == node {
			return true
		}
	}
	return false
}
