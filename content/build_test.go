package content

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lukechampine.com/blake3"

	"dssn"
)

// sink is an outboard in memory.
type sink struct {
	mu sync.Mutex
	b  []byte
}

func (s *sink) WriteAt(p []byte, at int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := int(at) + len(p); n > len(s.b) {
		s.b = append(s.b, make([]byte, n-len(s.b))...)
	}
	return copy(s.b[at:], p), nil
}

func writeFiles(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func testFiles() map[string][]byte {
	data := pattern(3*blockBytes + 12345)
	return map[string][]byte{
		"empty":             {},
		"a/one":             data[:1],
		"a/group":           data[:GroupBytes],
		"a.b":               data[:GroupBytes+1],
		"a/deep/er/block":   data[:blockBytes],
		"large.bin":         data,
		"größe – 大小.nc":     data[:70000],
		"almost":            data[:blockBytes-1],
		"2024-01-01T00:00Z": data[5:70000],
	}
}

func TestBuildFindsEveryFileAndItsTree(t *testing.T) {
	files := testFiles()
	dir := writeFiles(t, files)
	var first *Dataset
	for _, workers := range []int{1, 2, 7} {
		var out sink
		var last, total dssn.ByteCount
		ds, err := Build(context.Background(), dir, BuildOptions{Outboard: &out, Workers: workers,
			Progress: func(d, n dssn.ByteCount) { last, total = d, n }})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = ds
		}
		if ds.Root != first.Root || ds.Root != Hash(ds.Text) {
			t.Errorf("%d workers give root %s, one gives %s", workers, ds.Root, first.Root)
		}
		if last != ds.Length || total != ds.Length {
			t.Errorf("progress ended at %d of %d, length %d", last, total, ds.Length)
		}
		if len(ds.Manifest.Files) != len(files) {
			t.Fatalf("%d files, want %d", len(ds.Manifest.Files), len(files))
		}
		var at int64
		for _, f := range ds.Manifest.Files {
			data := files[f.Path]
			if f.Root != Digest(blake3.Sum256(data)) || int(f.Size) != len(data) {
				t.Errorf("%q: root or size differ", f.Path)
			}
			_, want := outboardOf(data)
			n := OutboardSize(f.Size)
			if got := out.b[at : at+n]; string(got) != string(want) {
				t.Errorf("%q: its outboard differs", f.Path)
			}
			at += n
		}
		if int(at) != len(out.b) {
			t.Errorf("outboards end at %d, %d bytes written", at, len(out.b))
		}
	}
}

func TestSegmentsFoldAsTheWholeDoes(t *testing.T) {
	// Two segments and a bit, as chaining values of made-up groups: the
	// segment height must not show in the root.
	n := 2*SegmentGroups + 3
	all := make([]cv, n)
	for i := range all {
		all[i] = cv{uint32(i), 1}
	}
	var segs []cv
	for i := 0; i < n; i += SegmentGroups {
		segs = append(segs, fold(append([]cv(nil), all[i:min(n, i+SegmentGroups)]...), false))
	}
	size := dssn.ByteCount(n * GroupBytes)
	root := fold(append([]cv(nil), all...), true).digest()
	f := File{Path: "huge", Size: size, Root: root}
	head := appendOutboardHead(nil, size, root, segs)
	tree, err := ParseOutboardHead(f, head)
	if err != nil {
		t.Fatal(err)
	}
	for i := range tree.Segments() {
		_, length := SegmentRange(size, i)
		b := make([]byte, 0, length)
		for _, c := range all[i*SegmentGroups : min(n, int(i+1)*SegmentGroups)] {
			d := c.digest()
			b = append(b, d[:]...)
		}
		if _, err := tree.Segment(i, b); err != nil {
			t.Errorf("segment %d: %v", i, err)
		}
		b[len(b)/2] ^= 1
		if _, err := tree.Segment(i, b); err == nil {
			t.Errorf("segment %d with a changed bit was accepted", i)
		}
	}
	head[70] ^= 1
	if _, err := ParseOutboardHead(f, head); err == nil {
		t.Error("a changed segment was accepted")
	}
}

func TestBuildRefusesWhatIsNotAPlainFile(t *testing.T) {
	for what, make := range map[string]func(p string) error{
		"a symbolic link": func(p string) error { return os.Symlink("plain", p) },
		"a named pipe":    func(p string) error { return syscall.Mkfifo(p, 0o644) },
		"a socket": func(p string) error {
			l, err := net.Listen("unix", p)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		},
	} {
		dir := writeFiles(t, map[string][]byte{"plain": {1}})
		if err := make(filepath.Join(dir, "odd")); err != nil {
			t.Fatal(err)
		}
		_, err := Build(context.Background(), dir, BuildOptions{})
		if err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), `"odd"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := Build(context.Background(), t.TempDir(), BuildOptions{}); err == nil {
		t.Error("an empty folder was accepted")
	}
	if _, err := Build(context.Background(), filepath.Join(t.TempDir(), "none"), BuildOptions{}); err == nil {
		t.Error("a missing folder was accepted")
	}
	for _, name := range []string{"new\nline", "back\\slash", "latin\xe9", ".dssn/record"} {
		dir := writeFiles(t, map[string][]byte{name: {1}})
		if _, err := Build(context.Background(), dir, BuildOptions{}); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
}

func TestBuildNoticesAChangeUnderIt(t *testing.T) {
	for what, change := range map[string]func(dir string) error{
		"grown": func(dir string) error {
			f, err := os.OpenFile(filepath.Join(dir, "large.bin"), os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString("x")
				f.Close()
			}
			return err
		},
		"cut":      func(dir string) error { return os.Truncate(filepath.Join(dir, "large.bin"), 10) },
		"vanished": func(dir string) error { return os.Remove(filepath.Join(dir, "a/one")) },
		"appeared": func(dir string) error { return os.WriteFile(filepath.Join(dir, "b"), nil, 0o644) },
		"written over with its time set back": func(dir string) error {
			p := filepath.Join(dir, "large.bin")
			fi, err := os.Stat(p)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte("other"), 0); err != nil {
				return err
			}
			return os.Chtimes(p, time.Time{}, fi.ModTime())
		},
		"put in its place": func(dir string) error {
			p := filepath.Join(dir, "large.bin")
			if err := os.WriteFile(p+"~", testFiles()["large.bin"], 0o644); err != nil {
				return err
			}
			return os.Rename(p+"~", p)
		},
	} {
		dir := writeFiles(t, testFiles())
		once := false
		_, err := Build(context.Background(), dir, BuildOptions{Workers: 1, Progress: func(_, _ dssn.ByteCount) {
			if !once {
				once = true
				if err := change(dir); err != nil {
					t.Error(err)
				}
			}
		}})
		if !errors.Is(err, ErrChanged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

type fullDisk struct{}

func (fullDisk) WriteAt([]byte, int64) (int, error) { return 0, syscall.ENOSPC }

func TestBuildEndsAtTheFirstError(t *testing.T) {
	dir := writeFiles(t, testFiles())
	if _, err := Build(context.Background(), dir, BuildOptions{Outboard: fullDisk{}}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("full disk: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Build(ctx, dir, BuildOptions{Progress: func(_, _ dssn.ByteCount) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
