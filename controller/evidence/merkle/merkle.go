// Package merkle computes the root of a list of texts as RFC 6962 §2.1 does, for
// lists that are small and at hand: the usage intervals that one leaf of the
// evidence log stands for. It is pure; functions may be called from any goroutine.
package merkle

import "crypto/sha256"

// Root is the Merkle tree hash of the leaves in their order.
func Root(leaves [][]byte) [32]byte {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	default:
		k := 1
		for k*2 < n {
			k *= 2
		}
		l, r := Root(leaves[:k]), Root(leaves[k:])
		return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
	}
}
