package content

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"dssn"
)

// The manifest is text that a person can read and `grep`:
//
//	dssn-manifest 1\n
//	<root: 64 hexadecimal digits> <size: decimal> <path>\n
//	…
//
// One line for each file, paths in ascending order of their bytes. There is one
// way to write a manifest, and a reader refuses every other, so that its
// BLAKE3, the content root, means one list of files. Folders are implied by
// paths; an empty folder is not part of a dataset.
const manifestHead = "dssn-manifest 1\n"

// Bounds of a manifest; a reader can size its buffers by them.
const (
	MaxPathBytes     = 1024
	MaxFiles         = 4 << 20
	MaxManifestBytes = 1 << 30
	// ReservedName is the first part of paths that belong to the protocol.
	ReservedName = ".dssn"
)

// File is one file of a dataset.
type File struct {
	// Path is relative, its parts separated by slashes; see CheckPath.
	Path string         `json:"path"`
	Size dssn.ByteCount `json:"size"`
	// Root is BLAKE3 of the file's bytes.
	Root Digest `json:"root"`
}

// Manifest lists the files of a dataset in ascending order of their paths.
type Manifest struct{ Files []File }

// CheckPath reports why a path cannot stand in a manifest: it must be relative
// and clean, of printable UTF-8 without backslashes, and outside ReservedName.
// Publisher and receiver both ask, so no manifest leads out of its folder.
func CheckPath(path string) error {
	bad := func(why, next string) error {
		return fmt.Errorf("the file %q cannot be published: %s; %s", path, why, next)
	}
	switch {
	case path == "":
		return bad("its path is empty", "name it")
	case len(path) > MaxPathBytes:
		return fmt.Errorf("the file %.60q… cannot be published: its path has %d bytes; shorten it to %d", path, len(path), MaxPathBytes)
	case !utf8.ValidString(path):
		return bad("its name is not valid UTF-8", "rename it")
	}
	for _, r := range path {
		if !unicode.IsPrint(r) || r == '\\' {
			return bad(fmt.Sprintf("its name holds the character %U", r), "rename it")
		}
	}
	for i, part := range strings.Split(path, "/") {
		switch {
		case part == "" || part == "." || part == "..":
			return bad("its path is not a plain relative one", "rename it")
		case len(part) > 255:
			return bad("a part of its path has more than 255 bytes", "shorten it")
		case i == 0 && part == ReservedName:
			return bad("the folder "+ReservedName+" belongs to the protocol", "rename that folder")
		}
	}
	return nil
}

// check reports why m has no canonical form.
func (m *Manifest) check() error {
	if len(m.Files) == 0 {
		return fmt.Errorf("the dataset has no files: put at least one in the folder")
	}
	if len(m.Files) > MaxFiles {
		return fmt.Errorf("the dataset has %d files: publish at most %d together, or pack them", len(m.Files), MaxFiles)
	}
	var total uint64
	for i, f := range m.Files {
		if err := CheckPath(f.Path); err != nil {
			return err
		}
		if i > 0 && m.Files[i-1].Path >= f.Path {
			return fmt.Errorf("the manifest lists %q after %q: paths must ascend", f.Path, m.Files[i-1].Path)
		}
		// A path that is also another's folder could not be laid out on disk.
		for j := range len(f.Path) {
			if f.Path[j] == '/' {
				if _, found := m.Find(f.Path[:j]); found {
					return fmt.Errorf("the manifest lists %q both as a file and as a folder", f.Path[:j])
				}
			}
		}
		if total += uint64(f.Size); f.Size > math.MaxInt64 || total > math.MaxInt64 {
			return fmt.Errorf("the manifest's sizes add up to more than a dataset can hold, at %q", f.Path)
		}
	}
	return nil
}

// Find returns the index of the file with this path.
func (m *Manifest) Find(path string) (int, bool) {
	return slices.BinarySearchFunc(m.Files, path, func(f File, p string) int { return strings.Compare(f.Path, p) })
}

// Length returns the total size of all files.
func (m *Manifest) Length() (n dssn.ByteCount) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// AppendText appends the one canonical form.
func (m *Manifest) AppendText(b []byte) ([]byte, error) {
	if err := m.check(); err != nil {
		return b, err
	}
	b = append(b, manifestHead...)
	for _, f := range m.Files {
		b = fmt.Appendf(b, "%s %d %s\n", f.Root, uint64(f.Size), f.Path)
	}
	return b, nil
}

// ParseManifest reads the canonical form and refuses every other.
func ParseManifest(b []byte) (*Manifest, error) {
	rest, ok := bytes.CutPrefix(b, []byte(manifestHead))
	if !ok {
		return nil, fmt.Errorf("this is not a manifest of version 1")
	}
	m := &Manifest{Files: make([]File, 0, min(bytes.Count(rest, []byte{'\n'}), MaxFiles+1))}
	for n := 2; len(rest) > 0; n++ {
		bad := func(what string) error { return fmt.Errorf("line %d of the manifest: %s", n, what) }
		line, after, ok := bytes.Cut(rest, []byte{'\n'})
		if !ok {
			return nil, bad("it does not end")
		}
		if len(m.Files) > MaxFiles {
			break
		}
		root, line, ok := bytes.Cut(line, []byte{' '})
		if !ok {
			return nil, bad("it is not root, size and path")
		}
		size, path, ok := bytes.Cut(line, []byte{' '})
		if !ok {
			return nil, bad("it is not root, size and path")
		}
		f := File{Path: string(path)}
		var err error
		if f.Root, err = ParseDigest(string(root)); err != nil || f.Root.String() != string(root) {
			return nil, bad("the root is not 64 lower-case hexadecimal digits")
		}
		v, err := strconv.ParseUint(string(size), 10, 63)
		if err != nil || strconv.FormatUint(v, 10) != string(size) {
			return nil, bad("the size is not a plain decimal number")
		}
		f.Size = dssn.ByteCount(v)
		m.Files = append(m.Files, f)
		rest = after
	}
	return m, m.check()
}
