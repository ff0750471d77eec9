package content

import (
	"encoding/binary"
	"io"

	"lukechampine.com/blake3"
	"lukechampine.com/blake3/guts"

	"dssn"
)

// The tree of a file is BLAKE3's own, cut at two heights:
//
//	root ── segment 0 ── group 0 … group 65535      1 GiB
//	     └─ segment 1 ── group 65536 …
//
// A group is 16 chunks of BLAKE3, a segment 65536 groups; both are whole
// subtrees, so their chaining values say everything about the bytes below, and
// the root of a file is exactly what `b3sum` prints.
const (
	// GroupBytes is the unit of verification.
	GroupBytes = 16 << 10
	// SegmentGroups is how many groups one segment of an outboard covers.
	SegmentGroups = 1 << 16
	// SegmentBytes is a segment's size: 1 GiB.
	SegmentBytes = SegmentGroups * GroupBytes

	chunksPerGroup = GroupBytes / guts.ChunkSize
	cvBytes        = 32
)

// cv is a chaining value in the words that BLAKE3 computes with.
type cv [8]uint32

// Groups returns how many groups a file of size bytes has. An empty file has
// one, empty.
func Groups(size dssn.ByteCount) uint64 {
	return max(1, (uint64(size)+GroupBytes-1)/GroupBytes)
}

// segments returns how many segments cover a file.
func segments(size dssn.ByteCount) uint64 {
	return (Groups(size) + SegmentGroups - 1) / SegmentGroups
}

// Hasher computes groups. It holds a scratch group so that the last, short one
// of a file needs no allocation: one Hasher per goroutine. The zero value is
// ready.
type Hasher struct{ scratch [GroupBytes]byte }

// node compresses one group, whose number in the file is group, up to the last
// compression of its root.
func (h *Hasher) node(group uint64, data []byte) guts.Node {
	buf := &h.scratch
	if len(data) == GroupBytes {
		buf = (*[GroupBytes]byte)(data)
	} else {
		copy(buf[:], data)
	}
	return guts.CompressBuffer(buf, len(data), &guts.IV, group*chunksPerGroup, 0)
}

// group returns the chaining value of a group that is not its whole file.
func (h *Hasher) group(group uint64, data []byte) cv {
	return guts.ChainingValue(h.node(group, data))
}

// only returns the root of a file that is a single group.
func (h *Hasher) only(data []byte) Digest {
	n := h.node(0, data)
	n.Flags |= guts.FlagRoot
	return cv(guts.ChainingValue(n)).digest()
}

// fold replaces neighbouring chaining values by their parent until one is left.
// An odd one at the end rises unchanged, which gives BLAKE3's shape: every left
// subtree is full. With root set the last parent is finished as a root; there
// must then be at least two values. It overwrites cvs.
func fold(cvs []cv, root bool) cv {
	for len(cvs) > 1 {
		var flags uint32
		if root && len(cvs) == 2 {
			flags = guts.FlagRoot
		}
		n := 0
		for i := 0; i+1 < len(cvs); i += 2 {
			cvs[n] = guts.ChainingValue(guts.ParentNode(cvs[i], cvs[i+1], &guts.IV, flags))
			n++
		}
		if len(cvs)%2 == 1 {
			cvs[n] = cvs[len(cvs)-1]
			n++
		}
		cvs = cvs[:n]
	}
	return cvs[0]
}

// digest writes the words as BLAKE3 writes them, little-endian.
func (c cv) digest() (d Digest) {
	for i, w := range c {
		binary.LittleEndian.PutUint32(d[4*i:], w)
	}
	return d
}

// words reads a digest back.
func words(b []byte) (c cv) {
	for i := range c {
		c[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return c
}

// Root returns the BLAKE3 root of everything that r gives, until io.EOF.
func Root(r io.Reader) (Digest, error) {
	h := blake3.New(32, nil)
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, 1<<20)); err != nil {
		return Digest{}, err
	}
	var d Digest
	h.Sum(d[:0])
	return d, nil
}
