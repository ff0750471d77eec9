package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"
	"time"

	"dssn/content"
)

// How much is asked for and handled at once. A piece is what one request asks
// for; pieces become shorter towards the end, when all streams should end
// together. A worker asks for the next pieces while one is arriving, up to
// aheadBytes or aheadPieces. A block is what is read, verified and written in
// one go; on a slow line blocks are shorter, so that little is lost when the
// line breaks.
const (
	maxPiece = 32 << 20
	minPiece = 4 << 20
	maxBlock = 1 << 20
	minBlock = 4 * content.GroupBytes

	aheadBytes  = 2 << 20
	aheadPieces = 64

	// A block arrives in about blockTime, a quarter of it at a wake-up, so a
	// line of 16 kbit/s still shows a sign of life before it counts as stalled.
	blockTime = 50 * time.Millisecond
)

// fetchAll runs the workers until everything is there or something is final.
func (g *get) fetchAll(ctx context.Context, cancel context.CancelCauseFunc) error {
	for _, f := range g.queue.files {
		if f.have.total() == int64(f.Size) {
			if f.Size == 0 && f.Root != content.Digest(content.Hash()) {
				return &content.CorruptError{Path: f.Path}
			}
			if err := g.complete(f); err != nil {
				return err
			}
		}
	}
	stop := context.AfterFunc(ctx, g.queue.stop)
	defer stop()
	var wg sync.WaitGroup
	for range g.Streams {
		wg.Go(func() {
			w := &worker{get: g, buf: make([]byte, maxBlock), block: minBlock}
			if err := w.work(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	for _, f := range g.queue.files {
		if f.open != nil {
			f.open.Close()
			f.open = nil
		}
	}
	return context.Cause(ctx)
}

// complete gives f its name; nobody writes to it any more.
func (g *get) complete(f *file) error {
	g.queue.mu.Lock()
	open := f.open
	f.open = nil
	g.queue.mu.Unlock()
	if open != nil {
		if err := open.Close(); err != nil {
			return fullDisk(g.out.dir, fmt.Errorf("close %s: %w", path.Join(g.out.dir, f.part), pathError(err)))
		}
	}
	if err := g.out.complete(f); err != nil {
		return err
	}
	f.tree.forget()
	g.queue.mu.Lock()
	defer g.queue.mu.Unlock()
	f.whole = true
	g.queue.whole++
	return nil
}

// openPart returns the open part of f, for all workers.
func (g *get) openPart(f *file) (*os.File, error) {
	g.queue.mu.Lock()
	defer g.queue.mu.Unlock()
	if f.open == nil {
		p, err := g.out.root.OpenFile(f.part, os.O_WRONLY, 0)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", path.Join(g.out.dir, f.part), pathError(err))
		}
		f.open = p
	}
	return f.open, nil
}

// worker fetches pieces over one connection at a time.
type worker struct {
	*get
	hasher content.Hasher
	buf    []byte
	block  int64 // what is read at once, between minBlock and maxBlock
	got    int64 // bytes verified over the present connection
	ahead  []errand
}

// errand is a piece that was asked for, or is about to be; answers come in the
// order of errands.
type errand struct {
	piece
	asked    bool
	outboard bool // asked for together with the file's outboard
}

func (w *worker) work(ctx context.Context) error {
	wait := w.remote.firstWait
	for {
		w.got = 0
		err := w.converse(ctx)
		for _, e := range w.ahead {
			w.queue.done(e.piece)
		}
		w.ahead = w.ahead[:0]
		var t *temporary
		switch {
		case err == nil || ctx.Err() != nil:
			return nil // done, or somebody else has said why
		case !errors.As(err, &t):
			return err
		case w.queue.silence(time.Now()) > w.Patience:
			return gaveUp(w.Patience, err)
		}
		w.queue.failed()
		if w.got > 0 {
			wait = w.remote.firstWait
		}
		if sleep(ctx, wait) != nil {
			return nil
		}
		wait = min(2*wait, lastWait)
	}
}

// converse fetches piece after piece over one connection, until nothing is left
// to do or something fails.
func (w *worker) converse(ctx context.Context) error {
	if !w.enlist(true) {
		return nil
	}
	s, err := w.remote.openStream(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	for w.enlist(true) {
		if err := w.ask(s); err != nil {
			return err
		}
		if err := w.receive(ctx, s, &w.ahead[0]); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
		w.queue.done(w.ahead[0].piece)
		w.ahead = append(w.ahead[:0], w.ahead[1:]...)
	}
	return nil
}

// enlist takes pieces to be asked for ahead; it waits for the first one if
// told to. It reports whether there is any.
func (w *worker) enlist(wait bool) bool {
	var ahead int64
	for _, e := range w.ahead[min(1, len(w.ahead)):] {
		ahead += e.span.len()
	}
	for len(w.ahead) < 2 || ahead < aheadBytes && len(w.ahead) < aheadPieces {
		p, ok := w.queue.take(wait && len(w.ahead) == 0)
		if !ok {
			break
		}
		if len(w.ahead) > 0 {
			ahead += p.span.len()
		}
		w.ahead = append(w.ahead, errand{piece: p})
	}
	return len(w.ahead) > 0
}

// ask sends the requests that have not been sent. A file's outboard is asked
// for just before its first piece, unless it is so large that segment fetches
// parts of it.
func (w *worker) ask(s *stream) error {
	verified := w.queue.counted()
	for i := range w.ahead {
		e := &w.ahead[i]
		if e.asked {
			continue
		}
		f := e.file
		e.asked = true
		if f.Size > content.GroupBytes && f.Size <= content.SegmentBytes && f.haveSegment(0) == nil {
			e.outboard = true
			s.ask(pathOutboard+f.Path, span{0, content.OutboardSize(f.Size)}, "", 0)
		}
		s.ask("/"+f.Path, e.span, w.transfer, verified)
	}
	return s.flush()
}

// receive brings one piece: its tree, then block by block read, verify, write,
// note. The errand's span is what is still missing of it.
func (w *worker) receive(ctx context.Context, s *stream, e *errand) error {
	f := e.file
	seg, err := w.treeOf(ctx, s, e)
	if err != nil {
		return err
	}
	out, err := w.openPart(f)
	if err != nil {
		return err
	}
	body, err := s.answer("/"+f.Path, e.span, int64(f.Size))
	if err != nil {
		return err
	}
	for e.span.len() > 0 {
		block := span{e.span.from, min(e.span.from+w.block, e.span.to)}
		buf := w.buf[:block.len()]
		began := time.Now()
		n, err := s.fill(body, buf, w.block/4)
		if err != nil {
			// Whole groups that came before the break are kept.
			buf = buf[:n/content.GroupBytes*content.GroupBytes]
			block.to = block.from + int64(len(buf))
			err = s.broken(err)
		}
		if bad := w.take(f, seg, out, block, buf); bad != nil {
			return bad
		}
		e.span.from = block.to
		w.got += block.len()
		if err != nil {
			return err
		}
		w.adapt(time.Since(began))
	}
	// The body's end, which is no bytes, frees the stream for the next answer.
	if _, err := io.ReadFull(body, w.buf[:1]); err != io.EOF {
		return s.broken(err)
	}
	return nil
}

// treeOf returns the segment that verifies an errand's piece, from the answer
// that precedes it if one was asked for.
func (w *worker) treeOf(ctx context.Context, s *stream, e *errand) (*content.Segment, error) {
	f := e.file
	if !e.outboard {
		return w.segment(ctx, f, e.span.from)
	}
	whole := span{0, content.OutboardSize(f.Size)}
	body, err := s.answer(pathOutboard+f.Path, whole, whole.to)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, s.broken(err)
	}
	return f.adopt(b)
}

// take verifies a block, writes it, notes it in the journal and counts it, in
// this order.
func (w *worker) take(f *file, seg *content.Segment, out *os.File, block span, buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	group := uint64(block.from) / content.GroupBytes
	for at := 0; at < len(buf); at += content.GroupBytes {
		if err := seg.Check(&w.hasher, group, buf[at:min(at+content.GroupBytes, len(buf))]); err != nil {
			return err
		}
		group++
	}
	if _, err := out.WriteAt(buf, block.from); err != nil {
		return fullDisk(w.out.dir, fmt.Errorf("write %s: %w", path.Join(w.out.dir, f.part), pathError(err)))
	}
	if err := w.journal.add(journalRecord{uint32(f.index), kindHeld, block}); err != nil {
		return fullDisk(w.out.dir, err)
	}
	if w.queue.verified(f, block, time.Now()) {
		return w.complete(f)
	}
	return nil
}

// adapt doubles or halves the block towards blockTime.
func (w *worker) adapt(took time.Duration) {
	switch {
	case took < blockTime/2 && w.block < maxBlock:
		w.block *= 2
	case took > 2*blockTime && w.block > minBlock:
		w.block /= 2
	}
}
