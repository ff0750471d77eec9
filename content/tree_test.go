package content

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"lukechampine.com/blake3"
	"lukechampine.com/blake3/bao"
	"lukechampine.com/blake3/guts"

	"dssn"
	"dssn/internal/need"
)

// slowTree is the obvious twin: it cuts bytes as the BLAKE3 paper says (§2.1:
// the left subtree is the largest power of two of chunks that leaves something
// for the right) down to single chunks, and collects the chaining values of
// 16 KiB subtrees on the way.
func slowTree(data []byte, chunk uint64, root bool, groups *[]cv) cv {
	var node guts.Node
	if len(data) <= guts.ChunkSize {
		node = guts.CompressChunk(data, &guts.IV, chunk, 0)
	} else {
		left := uint64(1)
		for 2*left*guts.ChunkSize < uint64(len(data)) {
			left *= 2
		}
		l := slowTree(data[:left*guts.ChunkSize], chunk, false, groups)
		r := slowTree(data[left*guts.ChunkSize:], chunk+left, false, groups)
		node = guts.ParentNode(l, r, &guts.IV, 0)
	}
	if root {
		node.Flags |= guts.FlagRoot
	}
	out := cv(guts.ChainingValue(node))
	full := len(data) == GroupBytes
	short := len(data) < GroupBytes && chunk%chunksPerGroup == 0
	if groups != nil && !root && (full || short) {
		// A short subtree at a group's beginning is the last group, or its
		// left part: the outermost, seen last, is the one to keep.
		g := int(chunk / chunksPerGroup)
		for len(*groups) <= g {
			*groups = append(*groups, cv{})
		}
		(*groups)[g] = out
	}
	return out
}

// fastTree computes the same with this package's functions.
func fastTree(data []byte) (Digest, []cv) {
	var h Hasher
	if len(data) <= GroupBytes {
		return h.only(data), nil
	}
	var cvs []cv
	for g := uint64(0); g < Groups(dssn.ByteCount(len(data))); g++ {
		cvs = append(cvs, h.group(g, data[g*GroupBytes:min(len(data), int(g+1)*GroupBytes)]))
	}
	return fold(append([]cv(nil), cvs...), true).digest(), cvs
}

func pattern(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

// sizes are those where something begins or ends.
func sizes() []int {
	s := []int{0, 1, 64, 65, 1023, 1024, 1025, 2048, 3000}
	for _, g := range []int{1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 64, 65} {
		n := g * GroupBytes
		s = append(s, n-1025, n-1, n, n+1, n+1024, n+5000)
	}
	return s
}

func TestTreeEqualsItsSlowTwinAndBLAKE3(t *testing.T) {
	data := pattern(66 * GroupBytes)
	for _, n := range sizes() {
		root, cvs := fastTree(data[:n])
		if want := Digest(blake3.Sum256(data[:n])); root != want {
			t.Errorf("%d bytes: root %s, BLAKE3 says %s", n, root, want)
		}
		var slow []cv
		if got := slowTree(data[:n], 0, true, &slow).digest(); got != root {
			t.Errorf("%d bytes: slow root %s, fast %s", n, got, root)
		}
		if n <= GroupBytes {
			slow = nil // the parts of a single group are nobody's business
		}
		if len(cvs) != len(slow) {
			t.Errorf("%d bytes: %d groups, slow twin %d", n, len(cvs), len(slow))
			continue
		}
		for i := range cvs {
			if cvs[i] != slow[i] {
				t.Errorf("%d bytes: group %d: %x, slow twin %x", n, i, cvs[i], slow[i])
			}
		}
	}
}

// bao's outboard with groups of 2⁴ chunks is a pre-order walk of parents: its
// leaves' chaining values must be ours.
func TestGroupsAreThoseOfBao(t *testing.T) {
	data := pattern(66 * GroupBytes)
	for _, n := range sizes() {
		enc, root := bao.EncodeBuf(data[:n], 4, true)
		want, cvs := fastTree(data[:n])
		if Digest(root) != want {
			t.Errorf("%d bytes: bao's root differs", n)
		}
		if cvs == nil {
			continue
		}
		if got := binary.LittleEndian.Uint64(enc); got != uint64(n) {
			t.Fatalf("bao says %d bytes for %d", got, n)
		}
		var leaves []cv
		var walk func(groups int, enc []byte, own []byte) []byte
		walk = func(groups int, enc []byte, own []byte) []byte {
			if groups == 1 {
				leaves = append(leaves, words(own))
				return enc
			}
			left := 1
			for 2*left < groups {
				left *= 2
			}
			pair, rest := enc[:64], enc[64:]
			rest = walk(left, rest, pair[:32])
			return walk(groups-left, rest, pair[32:])
		}
		walk(len(cvs), enc[8:], nil)
		for i := range cvs {
			if leaves[i] != cvs[i] {
				t.Errorf("%d bytes: bao's leaf %d is %x, ours %x", n, i, leaves[i], cvs[i])
			}
		}
	}
}

func TestRootIsWhatB3sumPrints(t *testing.T) {
	b3sum := need.Tool(t, "b3sum")
	data := pattern(66 * GroupBytes)
	for _, n := range []int{0, 1, GroupBytes, GroupBytes + 1, 5*GroupBytes - 3, 66 * GroupBytes} {
		cmd := exec.Command(b3sum, "--no-names")
		cmd.Stdin = bytes.NewReader(data[:n])
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := fastTree(data[:n]); got.String() != strings.TrimSpace(string(out)) {
			t.Errorf("%d bytes: %s, b3sum says %s", n, got, out)
		}
	}
}

// outboardOf returns a file and its outboard, as Build would write it.
func outboardOf(data []byte) (File, []byte) {
	root, cvs := fastTree(data)
	f := File{Path: "data.bin", Size: dssn.ByteCount(len(data)), Root: root}
	b := appendOutboardHead(nil, f.Size, root, nil)
	for _, c := range cvs {
		d := c.digest()
		b = append(b, d[:]...)
	}
	return f, b
}

func openOutboard(f File, b []byte) (*Segment, error) {
	tree, err := ParseOutboardHead(f, b[:min(int64(len(b)), OutboardHeadSize(f.Size))])
	if err != nil {
		return nil, err
	}
	off, n := SegmentRange(f.Size, 0)
	if off+n != int64(len(b)) {
		return nil, errors.New("wrong length")
	}
	return tree.Segment(0, b[off:off+n])
}

func TestOutboardKeepsItsBytes(t *testing.T) {
	_, b := outboardOf(pattern(2*GroupBytes + 100))
	golden(t, "testdata/outboard.hex", b)
}

func TestEveryGroupChecksAndEveryChangedBitFails(t *testing.T) {
	data := pattern(66 * GroupBytes)
	var h Hasher
	for _, n := range sizes() {
		f, b := outboardOf(data[:n])
		if int64(len(b)) != OutboardSize(f.Size) {
			t.Fatalf("%d bytes: outboard of %d bytes, OutboardSize says %d", n, len(b), OutboardSize(f.Size))
		}
		s, err := openOutboard(f, b)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		for g := range Groups(f.Size) {
			group := bytes.Clone(data[g*GroupBytes : min(n, int(g+1)*GroupBytes)])
			if err := s.Check(&h, g, group); err != nil {
				t.Errorf("%d bytes: %v", n, err)
			}
			if len(group) == 0 {
				continue
			}
			group[int(g*7919)%len(group)] ^= 1 << (g % 8)
			var corrupt *CorruptError
			if err := s.Check(&h, g, group); !errors.As(err, &corrupt) || corrupt.Offset != int64(g)*GroupBytes {
				t.Errorf("%d bytes: a changed bit of group %d gives %v", n, g, err)
			}
			if s.Check(&h, g, group[:len(group)-1]) == nil {
				t.Errorf("%d bytes: a short group %d was accepted", n, g)
			}
		}
	}
}

func TestAnyChangedBitOfAnOutboardIsNoticed(t *testing.T) {
	for _, n := range []int{100, GroupBytes + 1, 5 * GroupBytes} {
		f, b := outboardOf(pattern(n))
		for i := range 8 * len(b) {
			c := bytes.Clone(b)
			c[i/8] ^= 1 << (i % 8)
			if _, err := openOutboard(f, c); err == nil {
				t.Errorf("%d bytes: bit %d of byte %d changed and the outboard still opens", n, i%8, i/8)
			}
		}
	}
}

func TestCheckDoesNotAllocate(t *testing.T) {
	data := pattern(3*GroupBytes - 5)
	f, b := outboardOf(data)
	s, err := openOutboard(f, b)
	if err != nil {
		t.Fatal(err)
	}
	var h Hasher
	if n := testing.AllocsPerRun(100, func() {
		for g := range Groups(f.Size) {
			if s.Check(&h, g, data[g*GroupBytes:min(len(data), int(g+1)*GroupBytes)]) != nil {
				t.Fatal("check failed")
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for three groups", n)
	}
}

func FuzzOutboard(f *testing.F) {
	for _, n := range []int{0, GroupBytes, 3 * GroupBytes} {
		file, b := outboardOf(pattern(n))
		f.Add(uint64(file.Size), file.Root[:], b)
	}
	f.Fuzz(func(t *testing.T, size uint64, root []byte, b []byte) {
		if len(root) != 32 || size > 1<<62 {
			return
		}
		file := File{Path: "f", Size: dssn.ByteCount(size), Root: Digest(root)}
		head := OutboardHeadSize(file.Size)
		tree, err := ParseOutboardHead(file, b[:min(int64(len(b)), head)])
		if err != nil {
			return
		}
		if int64(len(b)) < head || !bytes.Equal(appendOutboardHead(nil, file.Size, file.Root, tree.segments), b[:head]) {
			t.Fatalf("accepted a head that prints back differently")
		}
		off, n := SegmentRange(file.Size, 0)
		if off+n <= int64(len(b)) {
			tree.Segment(0, b[off:off+n])
		}
	})
}
