package transfer

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"dssn"
	"dssn/content"
	"dssn/internal/need"
)

// A file of more than one segment, whose outboard is fetched in parts. It is
// sparse, with something written at both sides of the boundary.
func TestFileOfSeveralSegments(t *testing.T) {
	need.Long(t)
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "huge"))
	if err != nil {
		t.Fatal(err)
	}
	const size = content.SegmentBytes + 5*content.GroupBytes + 77
	for _, at := range []int64{0, content.SegmentBytes - 10, size - 300} {
		if _, err := f.WriteAt(pattern(byte(at), 300), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	o, r := publishDir(t, dir)
	if r.Length != size {
		t.Fatalf("published %d bytes", r.Length)
	}
	h := serve(t, o)
	l := h.local(t)
	out := t.TempDir()
	opts := h.options(t, l, out)
	opts.Patience = defaultPatience
	if _, err := Get(context.Background(), opts); err != nil {
		t.Fatal(err)
	}
	got, err := os.Open(filepath.Join(out, "huge"))
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	root, err := content.Root(got)
	if err != nil {
		t.Fatal(err)
	}
	m, err := content.ParseManifest(o.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if root != m.Files[0].Root {
		t.Errorf("fetched %s, published %s", root, m.Files[0].Root)
	}
	equalEnds(t, h, l, dssn.ByteCount(size))
}
