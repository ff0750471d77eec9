package content

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"net/netip"

	"dssn"
)

// MintNode returns the identifier of a node: grade open, category cross-sector,
// the subject being the node's Ed25519 identity key. salt begins at 0 and is
// raised by one when the registry already knows the result under another key.
func MintNode(registrant netip.Prefix, key ed25519.PublicKey, salt uint32) (dssn.NodeID, error) {
	if len(key) != ed25519.PublicKeySize {
		return dssn.NodeID{}, fmt.Errorf("mint node identifier: the identity key has %d bytes, not %d: give an Ed25519 public key", len(key), ed25519.PublicKeySize)
	}
	id, err := dssn.Mint(dssn.Labels{
		Registrant: registrant,
		Kind:       dssn.KindNode,
		Suite:      dssn.SuiteBLAKE3Ed25519,
	}, key, salt, Hash)
	if err != nil {
		return dssn.NodeID{}, err
	}
	return dssn.NodeIDFrom(id)
}

// MintVersion returns the identifier of an immutable version of a dataset. The
// subject is the content root followed by the total length of all files as
// eight big-endian bytes. salt is as for MintNode.
func MintVersion(registrant netip.Prefix, grade dssn.Grade, category dssn.Category, root Digest, length dssn.ByteCount, salt uint32) (dssn.DataID, error) {
	var subject [40]byte
	copy(subject[:], root[:])
	binary.BigEndian.PutUint64(subject[32:], uint64(length))
	return dssn.Mint(dssn.Labels{
		Registrant: registrant,
		Grade:      grade,
		Category:   category,
		Kind:       dssn.KindVersion,
		Suite:      dssn.SuiteBLAKE3Ed25519,
	}, subject[:], salt, Hash)
}
