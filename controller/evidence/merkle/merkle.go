// Package merkle computes the root of a list of texts as RFC 6962 §2.1 does, for
// lists that are small and at hand: the usage intervals that one leaf of the
// evidence log stands for. It is pure; functions may be called from any goroutine.
package merkle

import "crypto/sha256"

// Root is the Merkle tree hash of the leaves in their order.
func Root(leaves [][]byte) [32]byte {
	root, _ := Proofs(leaves)
	return root
}

// Proofs returns the root and the audit path (§2.1.1) of each leaf, hashes from
// the leaf up.
func Proofs(leaves [][]byte) (root [32]byte, proofs [][][32]byte) {
	if len(leaves) == 0 {
		return sha256.Sum256(nil), nil
	}
	proofs = make([][][32]byte, len(leaves))
	return tree(leaves, proofs), proofs
}

// tree hashes leaves and appends to each one's proof what lies beside it.
func tree(leaves [][]byte, proofs [][][32]byte) [32]byte {
	if len(leaves) == 1 {
		return leafHash(leaves[0])
	}
	k := left(len(leaves))
	l, r := tree(leaves[:k], proofs[:k]), tree(leaves[k:], proofs[k:])
	for i := range proofs {
		if i < k {
			proofs[i] = append(proofs[i], r)
		} else {
			proofs[i] = append(proofs[i], l)
		}
	}
	return nodeHash(l, r)
}

// left is how many of n > 1 leaves are in the left subtree: the largest power of
// two below n.
func left(n int) int {
	k := 1
	for k*2 < n {
		k *= 2
	}
	return k
}

// Climb returns the root that a leaf and its audit path come to in a tree of
// that size; ok is false for a path of another length or place.
func Climb(leaf []byte, index, size int, proof [][32]byte) (root [32]byte, ok bool) {
	if index < 0 || index >= size {
		return root, false
	}
	if size == 1 {
		return leafHash(leaf), len(proof) == 0
	}
	if len(proof) == 0 {
		return root, false
	}
	last := len(proof) - 1
	k := left(size)
	if index < k {
		l, ok := Climb(leaf, index, k, proof[:last])
		return nodeHash(l, proof[last]), ok
	}
	r, ok := Climb(leaf, index-k, size-k, proof[:last])
	return nodeHash(proof[last], r), ok
}

func leafHash(b []byte) [32]byte { return sha256.Sum256(append([]byte{0}, b...)) }

func nodeHash(l, r [32]byte) [32]byte {
	return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
}
