package transfer

import (
	"context"
	"sync"

	"dssn/content"
)

// treeOnce holds a file's verified outboard: the head, and the segments in use.
type treeOnce struct {
	mu       sync.Mutex
	tree     *content.Tree
	segments map[uint64]*content.Segment
}

// forget frees what a whole file needs no more.
func (t *treeOnce) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tree, t.segments = nil, nil
}

// haveSegment returns the segment that covers offset at of f if it is there.
func (f *file) haveSegment(at int64) *content.Segment {
	t := &f.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.segments[uint64(at)/content.SegmentBytes]
}

// adopt takes a whole outboard, of a file of a single segment, and returns
// that segment if it verifies.
func (f *file) adopt(outboard []byte) (*content.Segment, error) {
	head := content.OutboardHeadSize(f.Size)
	tree, err := content.ParseOutboardHead(f.File, outboard[:head])
	if err != nil {
		return nil, err
	}
	s, err := tree.Segment(0, outboard[head:])
	if err != nil {
		return nil, err
	}
	t := &f.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tree, t.segments = tree, map[uint64]*content.Segment{0: s}
	return s, nil
}

// segment returns the verified segment that covers offset at of f, fetching
// what of the outboard is missing.
func (g *get) segment(ctx context.Context, f *file, at int64) (*content.Segment, error) {
	t := &f.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	url := pathOutboard + f.Path
	if t.tree == nil {
		if f.Size <= content.GroupBytes {
			// The root alone verifies the only group.
			t.tree, t.segments = content.SingleGroup(f.File), map[uint64]*content.Segment{}
		} else {
			head, err := g.remote.part(ctx, url, 0, content.OutboardHeadSize(f.Size))
			if err != nil {
				return nil, err
			}
			if t.tree, err = content.ParseOutboardHead(f.File, head); err != nil {
				return nil, err
			}
			t.segments = map[uint64]*content.Segment{}
		}
	}
	i := uint64(at) / content.SegmentBytes
	if s := t.segments[i]; s != nil {
		return s, nil
	}
	off, n := content.SegmentRange(f.Size, i)
	b, err := g.remote.part(ctx, url, off, n)
	if err != nil {
		return nil, err
	}
	s, err := t.tree.Segment(i, b)
	if err != nil {
		return nil, err
	}
	// Pieces are handed out in order, so a segment is done with soon after
	// the next but one begins.
	delete(t.segments, i-2)
	t.segments[i] = s
	return s, nil
}
