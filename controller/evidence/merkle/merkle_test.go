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
		}
		leaf := fmt.Appendf(nil, "leaf %d", n)
		more, err := tlog.StoredHashes(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		leaves, hashes = append(leaves, leaf), append(hashes, more...)
	}
}
