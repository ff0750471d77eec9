package evidence

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Checked is what VerifyLog found to be so.
type Checked struct {
	Origin     string
	Size       int64
	Root       [32]byte
	Cosigned   []string // the policy's names of the witnesses that cosigned it
	Checkpoint []byte   // keep it: the next check proves that the log only grew
}

// VerifyLog reads a whole log by what it serves and checks it: that the
// checkpoint is as the policy demands, that the entries hash to its root, and,
// if older is not nil, that the log which that checkpoint signed is a beginning
// of this one. fetch returns what is served at "checkpoint" or "tile/…"; each,
// if not nil, is given every entry in order. Nothing of the server is believed
// but its signature.
func VerifyLog(policy Policy, older []byte, fetch func(path string) ([]byte, error), each func(index int64, leaf []byte) error) (*Checked, error) {
	var begin tlog.Tree
	var err error
	if older != nil {
		if begin, _, err = OpenCheckpoint(older, policy.LogKey); err != nil {
			return nil, fmt.Errorf("the older checkpoint: %w", err)
		}
	}
	cp, err := fetch("checkpoint")
	if err != nil {
		return nil, fmt.Errorf("fetch the checkpoint: %w", err)
	}
	tree, origin, cosigned, err := policy.Open(cp)
	if err != nil {
		return nil, err
	}
	if begin.N > tree.N {
		return nil, fmt.Errorf("the log %s had %d leaves and now has %d: it was cut; keep both checkpoints, they prove it", origin, begin.N, tree.N)
	}
	var f forest
	for n := int64(0); n < tree.N; n += 1 << tileHeight {
		w := min(tree.N-n, 1<<tileHeight)
		path := "tile/entries" + tlog.Tile{H: tileHeight, L: 0, N: n >> tileHeight, W: int(w)}.Path()[len("tile/8/0"):]
		b, err := fetch(path)
		if err != nil {
			return nil, fmt.Errorf("fetch %s: %w", path, err)
		}
		for i := range w {
			if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
				return nil, fmt.Errorf("%s of the log %s ends within entry %d", path, origin, n+i)
			}
			size := int(binary.BigEndian.Uint16(b))
			leaf := b[2 : 2+size]
			b = b[2+size:]
			f.add(tlog.RecordHash(leaf))
			if f.n == begin.N && f.root() != begin.Hash {
				return nil, fmt.Errorf("the first %d leaves of the log %s are not those that the older checkpoint signed: the log was rewritten; keep both checkpoints, they prove it", begin.N, origin)
			}
			if each != nil {
				if err := each(n+i, leaf); err != nil {
					return nil, err
				}
			}
		}
		if len(b) != 0 {
			return nil, fmt.Errorf("%s of the log %s has %d bytes too many", path, origin, len(b))
		}
	}
	if f.root() != tree.Hash {
		return nil, fmt.Errorf("the entries of the log %s do not hash to the root that it signed: one of them was changed", origin)
	}
	return &Checked{Origin: origin, Size: tree.N, Root: tree.Hash, Cosigned: cosigned, Checkpoint: cp}, nil
}

// forest is a Merkle tree in the making: the roots of its full subtrees, the
// largest first, as the binary digits of n say. The zero value is empty.
type forest struct {
	n     int64
	roots []tlog.Hash
}

func (f *forest) add(h tlog.Hash) {
	f.roots = append(f.roots, h)
	f.n++
	for k := f.n; k&1 == 0; k >>= 1 {
		last := len(f.roots) - 1
		f.roots[last-1] = tlog.NodeHash(f.roots[last-1], f.roots[last])
		f.roots = f.roots[:last]
	}
}

func (f *forest) root() tlog.Hash {
	if len(f.roots) == 0 {
		return emptyRoot
	}
	h := f.roots[len(f.roots)-1]
	for i := len(f.roots) - 2; i >= 0; i-- {
		h = tlog.NodeHash(f.roots[i], h)
	}
	return h
}
