package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"dssn"
)

// blockBytes is the unit of work of Build: a whole subtree of 256 groups, large
// enough to keep the disk and the vector units busy.
const (
	blockGroups = 256
	blockBytes  = blockGroups * GroupBytes
)

// BuildOptions are the choices of Build. The zero value is good.
type BuildOptions struct {
	// Outboard receives the outboards of all files, one behind the other in
	// the manifest's order; nil means they are not wanted.
	Outboard io.WriterAt
	// Workers read and hash; 0 means one for each processor.
	Workers int
	// Progress is told how many of all bytes are hashed, by one caller at a time.
	Progress func(done, total dssn.ByteCount)
}

// Dataset is what Build found.
type Dataset struct {
	Manifest *Manifest
	// Text is the manifest's canonical form, Root its BLAKE3: the content root.
	Text   []byte
	Root   Digest
	Length dssn.ByteCount
}

// ErrChanged is wrapped by Build's error when a file changed under it.
var ErrChanged = errors.New("the dataset changed while it was being published")

// entry is one file on its way through Build.
type entry struct {
	path   string
	before stamp
	at     int64 // of its outboard in BuildOptions.Outboard
	file   *os.File
	blocks []cv // of each block; written by the block's worker
	only   Digest
	left   atomic.Int64 // blocks not yet hashed
	root   Digest
}

// stamp is what tells two states of a file apart.
type stamp struct {
	dev, ino       uint64
	size           int64
	mode           fs.FileMode
	mtime, ctime   syscall.Timespec
	isFileOrFolder bool
}

func stampOf(fi fs.FileInfo) stamp {
	s := stamp{size: fi.Size(), mode: fi.Mode()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		s.dev, s.ino, s.mtime, s.ctime = st.Dev, st.Ino, st.Mtim, st.Ctim
	}
	s.isFileOrFolder = fi.Mode().IsRegular() || fi.IsDir()
	return s
}

// Build reads the folder dir and returns its manifest and content root; the
// same files give the same result on every machine. Links, devices, sockets
// and names that CheckPath refuses end it with one sentence. So does any file
// that changes, appears or vanishes before Build returns (ErrChanged). What was
// written to Outboard before an error is of no use.
func Build(ctx context.Context, dir string, opts BuildOptions) (*Dataset, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder %s: %w", dir, errors.Unwrap(err))
	}
	defer root.Close()
	entries, err := list(root)
	if err != nil {
		return nil, err
	}
	if err := hashAll(ctx, root, entries, opts); err != nil {
		return nil, err
	}
	if err := sameAsBefore(root, entries); err != nil {
		return nil, err
	}
	m := &Manifest{Files: make([]File, len(entries))}
	for i, e := range entries {
		m.Files[i] = File{Path: e.path, Size: dssn.ByteCount(e.before.size), Root: e.root}
	}
	text, err := m.AppendText(nil)
	if err != nil {
		return nil, err
	}
	return &Dataset{Manifest: m, Text: text, Root: Hash(text), Length: m.Length()}, nil
}

// list finds the files of a dataset in the manifest's order.
func list(root *os.Root) ([]*entry, error) {
	var out []*entry
	err := fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("read the folder %q: %w", path, err)
		}
		if path == "." {
			return nil
		}
		if err := CheckPath(path); err != nil {
			return err
		}
		if d.IsDir() {
			return nil
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("the file %q cannot be published: it is %s; put a plain file there", path, kindOf(d.Type()))
		}
		fi, err := d.Info()
		if err != nil {
			return fmt.Errorf("%w: %q: %w", ErrChanged, path, err)
		}
		out = append(out, &entry{path: path, before: stampOf(fi)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the folder %s holds no files: put at least one there", root.Name())
	}
	slices.SortFunc(out, func(a, b *entry) int { return strings.Compare(a.path, b.path) })
	var at int64
	for _, e := range out {
		e.at = at
		at += OutboardSize(dssn.ByteCount(e.before.size))
	}
	return out, nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "not a plain file"
}

// sameAsBefore lists the folder again and compares.
func sameAsBefore(root *os.Root, entries []*entry) error {
	again, err := list(root)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	for i := range max(len(entries), len(again)) {
		switch {
		case i >= len(again) || i < len(entries) && entries[i].path < again[i].path:
			return changed(entries[i].path, "it has vanished")
		case i >= len(entries) || entries[i].path > again[i].path:
			return changed(again[i].path, "it has appeared")
		case entries[i].before != again[i].before:
			return changed(again[i].path, "it has been written to")
		}
	}
	return nil
}

func changed(path, what string) error {
	return fmt.Errorf("%w: %q: %s; publish again when nobody writes to it", ErrChanged, path, what)
}

// job is one block of one file.
type job struct {
	e     *entry
	block int64
}

// hashAll opens each file once, deals its blocks to the workers, and stops all
// at the first error.
func hashAll(ctx context.Context, root *os.Root, entries []*entry, opts BuildOptions) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := &builder{opts: opts, stop: cancel}
	for _, e := range entries {
		b.total += dssn.ByteCount(e.before.size)
	}
	workers := opts.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	jobs := make(chan job, workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { b.work(ctx, jobs) })
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			break
		}
		if err := open(root, e); err != nil {
			cancel(err)
			break
		}
		for block := range e.left.Load() {
			jobs <- job{e, block} // workers drain the channel even after an error
		}
	}
	close(jobs)
	wg.Wait()
	for _, e := range entries {
		if e.file != nil {
			e.file.Close()
		}
	}
	return context.Cause(ctx)
}

func open(root *os.Root, e *entry) error {
	f, err := root.OpenFile(e.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return changed(e.path, "it has vanished")
		}
		return fmt.Errorf("open %q: %w", e.path, errors.Unwrap(err))
	}
	e.file = f
	blocks := max(1, (e.before.size+blockBytes-1)/blockBytes)
	e.blocks = make([]cv, blocks)
	e.left.Store(blocks)
	return same(e)
}

// same reports whether the open file is still in the state it was listed in.
func same(e *entry) error {
	fi, err := e.file.Stat()
	if err != nil {
		return fmt.Errorf("look at %q: %w", e.path, err)
	}
	if stampOf(fi) != e.before {
		return changed(e.path, "it has been written to")
	}
	return nil
}

// builder is what the workers of one Build share.
type builder struct {
	opts  BuildOptions
	stop  context.CancelCauseFunc
	total dssn.ByteCount

	mu   sync.Mutex // guards done and calls of Progress
	done dssn.ByteCount
}

func (b *builder) work(ctx context.Context, jobs <-chan job) {
	var h Hasher
	buf := make([]byte, blockBytes)
	cvs := make([]cv, blockGroups)
	out := make([]byte, 0, blockGroups*cvBytes)
	for j := range jobs {
		if ctx.Err() != nil {
			continue
		}
		if err := b.block(j, &h, buf, cvs, out); err != nil {
			b.stop(err)
		}
	}
}

// block hashes one block, and the whole file when the block was its last.
func (b *builder) block(j job, h *Hasher, buf []byte, cvs []cv, out []byte) error {
	e, at := j.e, j.block*blockBytes
	buf = buf[:min(e.before.size-at, blockBytes)]
	if n, err := e.file.ReadAt(buf, at); n < len(buf) {
		if err == nil || errors.Is(err, io.EOF) {
			return changed(e.path, "it has become shorter")
		}
		return fmt.Errorf("read %q at offset %d: %w", e.path, at, err)
	}
	n := len(buf)
	if e.before.size <= GroupBytes {
		e.only = h.only(buf)
	} else {
		first := uint64(at) / GroupBytes
		cvs, out = cvs[:0], out[:0]
		for len(buf) > 0 {
			data := buf[:min(len(buf), GroupBytes)]
			c := h.group(first+uint64(len(cvs)), data)
			d := c.digest()
			cvs, out, buf = append(cvs, c), append(out, d[:]...), buf[len(data):]
		}
		if b.opts.Outboard != nil {
			to := e.at + OutboardHeadSize(dssn.ByteCount(e.before.size)) + int64(first)*cvBytes
			if _, err := b.opts.Outboard.WriteAt(out, to); err != nil {
				return fmt.Errorf("write the outboard of %q: %w", e.path, err)
			}
		}
		// A file of a single block is folded to its root here and now; a
		// block of a larger one to a chaining value.
		single := e.before.size <= blockBytes
		e.blocks[j.block] = fold(cvs, single)
	}
	if e.left.Add(-1) == 0 {
		if err := b.finish(e); err != nil {
			return err
		}
	}
	if b.opts.Progress != nil {
		b.mu.Lock()
		b.done += dssn.ByteCount(n)
		b.opts.Progress(b.done, b.total)
		b.mu.Unlock()
	}
	return nil
}

// finish folds blocks to segments and segments to the root, writes the
// outboard's head and closes the file.
func (b *builder) finish(e *entry) error {
	if err := same(e); err != nil {
		return err
	}
	size := dssn.ByteCount(e.before.size)
	const perSegment = SegmentGroups / blockGroups
	var segs []cv
	switch {
	case size <= GroupBytes:
		e.root = e.only
	case len(e.blocks) == 1:
		e.root = e.blocks[0].digest()
	case len(e.blocks) <= perSegment:
		e.root = fold(e.blocks, true).digest()
	default:
		for s := range slices.Chunk(e.blocks, perSegment) {
			segs = append(segs, fold(s, false))
		}
		e.root = fold(slices.Clone(segs), true).digest()
	}
	e.blocks = nil
	if b.opts.Outboard != nil {
		if _, err := b.opts.Outboard.WriteAt(appendOutboardHead(nil, size, e.root, segs), e.at); err != nil {
			return fmt.Errorf("write the outboard of %q: %w", e.path, err)
		}
	}
	err := e.file.Close()
	e.file = nil
	return err
}
