package merkle_test

import (
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"dssn/controller/evidence/merkle"
)

// The oracle is the Go checksum database's tree.
func TestTheRootIsThatOfATransparencyLog(t *testing.T) {
	var leaves [][]byte
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, _ error) {
		for _, i := range at {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	for n := range int64(70) {
		if n > 0 {
			want, err := tlog.TreeHash(n, reader)
			if err != nil {
				t.Fatal(err)
			}
			if got := merkle.Root(leaves); got != want {
				t.Errorf("the root of %d leaves is %x, want %x", n, got, want)
			}
			_, proofs := merkle.Proofs(leaves)
			for i, p := range proofs {
				oracle := make(tlog.RecordProof, len(p))
				for k, h := range p {
					oracle[k] = h
				}
				if err := tlog.CheckRecord(oracle, n, want, int64(i), tlog.RecordHash(leaves[i])); err != nil {
					t.Errorf("the path of leaf %d of %d: %v", i, n, err)
				}
				if got, ok := merkle.Climb(leaves[i], i, int(n), p); !ok || got != want {
					t.Errorf("leaf %d of %d climbs to %x (%v)", i, n, got, ok)
				}
				if got, ok := merkle.Climb(leaves[i], i^1, int(n), p); ok && got == want {
					t.Errorf("leaf %d of %d is taken for leaf %d", i, n, i^1)
				}
				if _, ok := merkle.Climb(leaves[i], i, int(n), append(p, p...)); ok && len(p) > 0 {
					t.Errorf("a path that is too long is taken for leaf %d of %d", i, n)
				}
			}
		}
		leaf := fmt.Appendf(nil, "leaf %d", n)
		more, err := tlog.StoredHashes(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		leaves, hashes = append(leaves, leaf), append(hashes, more...)
	}
}
