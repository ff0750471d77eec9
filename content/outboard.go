package content

import (
	"encoding/binary"
	"fmt"

	"dssn"
)

// The outboard of a file is what a receiver needs beside the file's root to
// check any group alone. Integers are big-endian:
//
//	 0                16     24         32          64
//	| "dssn-outboard" | size | zero     | root      |
//	|  NUL NUL 1      | 8    | 8        | 32        |
//	64
//	| chaining values of the segments, 32 bytes each | only if there are two or more
//	| chaining values of the groups, 32 bytes each   | only if there are two or more
//
// The byte 1 is the version of the format. Sizes follow from the file's size,
// so a receiver asks for the head, and then for the groups of just the segments
// it is working on: 2 MiB each, checked against the head.
const (
	outboardMagic = "dssn-outboard\x00\x00\x01"
	outboardFixed = 64
)

// OutboardHeadSize returns the length of the outboard of a file of size bytes
// up to where the groups begin.
func OutboardHeadSize(size dssn.ByteCount) int64 {
	if s := segments(size); s > 1 {
		return outboardFixed + int64(s)*cvBytes
	}
	return outboardFixed
}

// OutboardSize returns the length of the whole outboard.
func OutboardSize(size dssn.ByteCount) int64 {
	if g := Groups(size); g > 1 {
		return OutboardHeadSize(size) + int64(g)*cvBytes
	}
	return outboardFixed
}

// SegmentRange returns where segment i's chaining values stand in the outboard.
// The length is zero for a file of one group, which its root alone verifies.
func SegmentRange(size dssn.ByteCount, i uint64) (offset, length int64) {
	g := Groups(size)
	if g == 1 {
		return outboardFixed, 0
	}
	first := i * SegmentGroups
	n := min(g-first, SegmentGroups)
	return OutboardHeadSize(size) + int64(first)*cvBytes, int64(n) * cvBytes
}

// appendOutboardHead appends the head. cvs are the segments' chaining values
// and are written if there are two or more.
func appendOutboardHead(b []byte, size dssn.ByteCount, root Digest, cvs []cv) []byte {
	b = append(b, outboardMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(size))
	b = append(b, make([]byte, 8)...)
	b = append(b, root[:]...)
	if len(cvs) > 1 {
		for _, c := range cvs {
			d := c.digest()
			b = append(b, d[:]...)
		}
	}
	return b
}

// Tree is a verified outboard head. It is immutable.
type Tree struct {
	file     File
	segments []cv // nil if there is only one
}

// ParseOutboardHead reads the head of f's outboard and verifies it against f's
// root. b must be exactly OutboardHeadSize bytes.
func ParseOutboardHead(f File, b []byte) (*Tree, error) {
	bad := func(what string) error { return fmt.Errorf("outboard of %q: %s", f.Path, what) }
	if int64(len(b)) != OutboardHeadSize(f.Size) {
		return nil, bad(fmt.Sprintf("its head has %d bytes, not %d", len(b), OutboardHeadSize(f.Size)))
	}
	if string(b[:16]) != outboardMagic || binary.BigEndian.Uint64(b[24:]) != 0 {
		return nil, bad("it does not begin as an outboard of version 1 does")
	}
	if binary.BigEndian.Uint64(b[16:]) != uint64(f.Size) || Digest(b[32:64]) != f.Root {
		return nil, bad("it belongs to another size or root than the manifest's: the holder's files have changed since they were published")
	}
	t := &Tree{file: f}
	if b = b[outboardFixed:]; len(b) > 0 {
		t.segments = make([]cv, len(b)/cvBytes)
		for i := range t.segments {
			t.segments[i] = words(b[i*cvBytes:])
		}
		if fold(append([]cv(nil), t.segments...), true).digest() != f.Root {
			return nil, bad("its segments do not lead to the file's root")
		}
	}
	return t, nil
}

// SingleGroup returns the tree of a file of at most GroupBytes, whose outboard
// holds nothing that the file's root does not say.
func SingleGroup(f File) *Tree { return &Tree{file: f} }

// File returns the file that t belongs to.
func (t *Tree) File() File { return t.file }

// Segments returns how many segments the file has, at least 1.
func (t *Tree) Segments() uint64 { return segments(t.file.Size) }

// Segment holds the verified chaining values of one segment's groups. It is
// immutable and may be used by many goroutines.
type Segment struct {
	file  File
	first uint64 // group
	cvs   []cv   // nil for a file of one group
}

// Segment verifies b, the bytes of SegmentRange(size, i), against the head.
func (t *Tree) Segment(i uint64, b []byte) (*Segment, error) {
	_, want := SegmentRange(t.file.Size, i)
	if i >= t.Segments() || int64(len(b)) != want {
		return nil, fmt.Errorf("outboard of %q: segment %d has %d bytes, not %d", t.file.Path, i, len(b), want)
	}
	s := &Segment{file: t.file, first: i * SegmentGroups}
	if want == 0 {
		return s, nil
	}
	s.cvs = make([]cv, len(b)/cvBytes)
	for j := range s.cvs {
		s.cvs[j] = words(b[j*cvBytes:])
	}
	scratch := append([]cv(nil), s.cvs...)
	ok := false
	if t.segments == nil {
		ok = fold(scratch, true).digest() == t.file.Root
	} else {
		ok = fold(scratch, false) == t.segments[i]
	}
	if !ok {
		return nil, fmt.Errorf("outboard of %q: the groups of segment %d do not lead to the file's root: the holder's copy is damaged; ask the holder to publish again", t.file.Path, i)
	}
	return s, nil
}

// CorruptError says which bytes are not those that were published.
type CorruptError struct {
	Path   string // of the file in the dataset
	Offset int64  // of the group, in bytes
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%q is not what was published: the 16 KiB at offset %d differ; ask the holder to publish again", e.Path, e.Offset)
}

// Check verifies one group, given whole; only the file's last one is shorter
// than GroupBytes. The group must lie in this segment. It does not allocate
// unless it fails, and then returns a *CorruptError.
func (s *Segment) Check(h *Hasher, group uint64, data []byte) error {
	ok := false
	if want := min(uint64(s.file.Size)-group*GroupBytes, GroupBytes); uint64(len(data)) == want {
		if s.cvs == nil {
			ok = h.only(data) == s.file.Root
		} else {
			ok = h.group(group, data) == s.cvs[group-s.first]
		}
	}
	if !ok {
		return &CorruptError{Path: s.file.Path, Offset: int64(group) * GroupBytes}
	}
	return nil
}
