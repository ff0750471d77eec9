package transfer

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"dssn"
	"dssn/content"
)

// file is one file that was asked for. Its fields are guarded by queue.mu once
// fetching has begun, except those that never change.
type file struct {
	content.File
	index int
	part  string // its name until it is whole

	have    ranges   // on disk, verified
	counted ranges   // verified in this transfer, once each
	kept    bool     // an earlier transfer from another holder brought some of it
	whole   bool     // under its own name
	pending []span   // of what is missing, not yet handed to a worker
	open    *os.File // while pieces are fetched

	tree treeOnce
}

// plan decides what is to be fetched: it reads the journal of an earlier run,
// looks at what is on disk, and makes room for the rest.
func (g *get) plan(ctx context.Context, m *content.Manifest, want string) (err error) {
	if g.files, err = choose(m, g.res.Record.Name, want); err != nil {
		return err
	}
	head, records, resuming := readJournal(g.out.root, g.res.Record.ID)
	boot := bootID()
	if !resuming || head.data != g.res.Record.ID || head.root != g.res.Record.Root {
		head = journalHead{data: g.res.Record.ID, root: g.res.Record.Root, boot: boot, holder: g.res.Holder}
		rand.Read(head.transfer[:]) // never fails (crypto/rand)
		records, resuming = nil, false
	}
	if head.holder != g.res.Holder {
		// One transfer has one holder: what came from the other stays and is its.
		g.leave(ctx, transferText(head.transfer), head.holder, countOf(records))
		rand.Read(head.transfer[:])
		head.holder = g.res.Holder
		records = keep(records)
	}
	trusted := head.boot == boot && boot != [16]byte{}
	head.boot = boot
	g.transfer = transferText(head.transfer)
	kept := g.apply(records)
	for _, f := range g.files {
		g.total += f.Size
		if err := g.look(ctx, f, trusted, resuming); err != nil {
			return err
		}
	}
	if err := g.out.checkSpace(g.files); err != nil {
		return err
	}
	// The journal comes before the parts: parts without one are not ours.
	if g.journal, err = startJournal(g.out.root, head, append(kept, foundRecords(g.files)...)); err != nil {
		return fullDisk(g.out.dir, err)
	}
	if err := g.out.makeRoom(g.files); err != nil {
		g.journal.file.Close()
		if !resuming {
			g.out.finish(g.res.Record.ID)
		}
		return err
	}
	g.queue = newQueue(g)
	return nil
}

// countOf returns how many distinct bytes the transfer of these records has counted.
func countOf(records []journalRecord) (n uint64) {
	files := map[uint32]*ranges{}
	for _, r := range records {
		if r.kind == kindKept {
			continue
		}
		if files[r.file] == nil {
			files[r.file] = new(ranges)
		}
		n += uint64(files[r.file].add(r.span))
	}
	return n
}

// keep returns what records say is on disk, for a transfer that did not bring it.
func keep(records []journalRecord) (kept []journalRecord) {
	for _, r := range records {
		if r.kind != kindCounted {
			kept = append(kept, journalRecord{r.file, kindKept, r.span})
		}
	}
	return kept
}

// apply gives each file its ranges. It returns the records of files that are
// not asked for this time, and counts them too: they belong to the same transfer.
func (g *get) apply(records []journalRecord) (kept []journalRecord) {
	asked := make(map[uint32]*file, len(g.files))
	for _, f := range g.files {
		asked[uint32(f.index)] = f
	}
	others := map[uint32]*ranges{}
	for _, r := range records {
		if f := asked[r.file]; f != nil {
			if r.span.to <= int64(f.Size) {
				if r.kind != kindKept {
					f.counted.add(r.span)
				}
				if r.kind != kindCounted {
					f.have.add(r.span)
				}
				f.kept = f.kept || r.kind == kindKept
			}
			continue
		}
		kept = append(kept, r)
		g.unasked = true
		if r.kind == kindKept {
			continue
		}
		if others[r.file] == nil {
			others[r.file] = new(ranges)
		}
		g.others += others[r.file].add(r.span)
	}
	return kept
}

// foundRecords returns the records that the journal of files begins with.
func foundRecords(files []*file) (out []journalRecord) {
	for _, f := range files {
		for _, s := range f.counted.spans {
			out = append(out, journalRecord{uint32(f.index), kindCounted, s})
		}
		if f.counted.total() == 0 && !f.kept {
			continue // whatever is here was here before the transfer
		}
		for _, s := range f.have.spans {
			out = append(out, journalRecord{uint32(f.index), kindKept, s})
		}
	}
	return out
}

// choose returns the files that the path of a URI means.
func choose(m *content.Manifest, name, want string) ([]*file, error) {
	var out []*file
	for i, f := range m.Files {
		if want == "" || f.Path == want || strings.HasSuffix(want, "/") && strings.HasPrefix(f.Path, want) {
			out = append(out, &file{File: f, index: i, part: partName(m, f.Path)})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%q holds no file %q: leave the path away to get all, or name a folder with a slash at its end", name, want)
	}
	return out, nil
}

// partName returns the name of path while it is not whole: no file of the
// dataset has it.
func partName(m *content.Manifest, path string) string {
	for {
		path += ".part"
		if _, taken := m.Find(path); !taken {
			return path
		}
	}
}

// look finds out what of f is on disk.
func (g *get) look(ctx context.Context, f *file, trusted, resuming bool) error {
	size := int64(f.Size)
	fi, err := g.out.root.Lstat(f.Path)
	if err == nil {
		claimed := f.have.total() == size && (f.counted.total() > 0 || f.kept)
		ok := fi.Mode().IsRegular() && fi.Size() == size
		if ok && !(claimed && trusted) {
			ok, err = g.out.matches(ctx, f)
			if err != nil {
				return err
			}
		}
		if !ok {
			return fmt.Errorf("%s exists and differs from the published one: move it away or choose another folder with -o", path.Join(g.out.dir, f.Path))
		}
		if claimed {
			g.resumed += f.Size
		} else {
			g.reused += f.Size
		}
		f.have = ranges{}
		f.have.add(span{0, size})
		f.whole = true
		return nil
	}
	fi, err = g.out.root.Lstat(f.part)
	if err == nil && !resuming {
		return fmt.Errorf("%s is in the way and not from an unfinished get: move it away or choose another folder with -o", path.Join(g.out.dir, f.part))
	}
	if err != nil || !fi.Mode().IsRegular() || fi.Size() != size {
		f.have = ranges{}
	}
	if f.have.total() > 0 && !trusted {
		if err := g.recheck(ctx, f); err != nil {
			return err
		}
	}
	g.resumed += dssn.ByteCount(f.have.total())
	return nil
}

// recheck verifies the ranges that a journal of another boot claims, and keeps
// the groups that are really there.
func (g *get) recheck(ctx context.Context, f *file) error {
	in, err := g.out.root.Open(f.part)
	if err != nil {
		f.have = ranges{}
		return nil
	}
	defer in.Close()
	claimed := f.have.spans
	f.have = ranges{}
	var h content.Hasher
	buf := make([]byte, content.GroupBytes)
	for _, c := range claimed {
		for at := c.from / content.GroupBytes * content.GroupBytes; at < c.to; at += content.GroupBytes {
			s := span{at, min(at+content.GroupBytes, int64(f.Size))}
			seg, err := g.segment(ctx, f, at)
			if err != nil {
				return err
			}
			if _, err := in.ReadAt(buf[:s.len()], at); err != nil {
				break
			}
			if seg.Check(&h, uint64(at)/content.GroupBytes, buf[:s.len()]) == nil {
				f.have.add(s)
			}
		}
	}
	return nil
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
