package transfer

import (
	"sync"
	"time"

	"dssn/content"
)

// piece is a part of a file that one worker fetches by one request.
type piece struct {
	file *file
	span span
}

// queue hands out pieces and keeps the count. Everything in it and in its files
// is guarded by mu.
type queue struct {
	streams int64
	mu      sync.Mutex
	ready   sync.Cond
	files   []*file // not yet whole, in order
	next    int     // files before it have nothing pending, unless given back
	running int     // pieces with workers
	stopped bool

	remaining int64 // bytes pending
	have      int64 // verified bytes of the files asked for
	count     int64 // distinct bytes verified during this transfer
	fetched   int64 // bytes verified in this run
	whole     int
	failures  int
	lastByte  time.Time
}

func newQueue(g *get) *queue {
	q := &queue{streams: int64(g.Streams), count: g.others, lastByte: time.Now()}
	q.ready.L = &q.mu
	for _, f := range g.files {
		q.have += f.have.total()
		q.count += f.counted.total()
		if f.whole {
			q.whole++
			continue
		}
		f.pending = f.have.missing(int64(f.Size))
		for _, s := range f.pending {
			q.remaining += s.len()
		}
		q.files = append(q.files, f)
	}
	return q
}

// take returns the next piece. With wait it waits while others might still give
// some back, and ok false means that there is nothing left to do.
func (q *queue) take(wait bool) (p piece, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.stopped {
			return piece{}, false
		}
		for q.next < len(q.files) {
			f := q.files[q.next]
			if len(f.pending) > 0 {
				q.running++
				return piece{f, q.cut(f)}, true
			}
			q.next++
		}
		if q.running == 0 || !wait {
			return piece{}, false
		}
		q.ready.Wait()
	}
}

// cut takes a piece off the first pending span: a quarter of an equal share of
// what is left, within bounds, ending at a group and within a segment.
func (q *queue) cut(f *file) span {
	s := &f.pending[0]
	n := min(max(q.remaining/(4*q.streams), minPiece), maxPiece)
	end := (s.from + n) / content.GroupBytes * content.GroupBytes
	end = min(end, (s.from/content.SegmentBytes+1)*content.SegmentBytes)
	out := span{s.from, min(end, s.to)}
	if s.from = out.to; s.from == s.to {
		f.pending = f.pending[1:]
	}
	q.remaining -= out.len()
	return out
}

// done takes back what is left of a piece, which may be nothing.
func (q *queue) done(p piece) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	if p.span.len() > 0 {
		p.file.pending = append([]span{p.span}, p.file.pending...)
		q.remaining += p.span.len()
		q.next = 0
	}
	q.ready.Broadcast()
}

// failed counts a connection that had to be replaced.
func (q *queue) failed() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failures++
}

// stop makes every take return.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.ready.Broadcast()
}

// verified counts bytes that are verified and on disk. whole says that they
// were the last ones of the file.
func (q *queue) verified(f *file, s span, now time.Time) (whole bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := f.have.add(s)
	q.have += n
	q.fetched += n
	q.count += f.counted.add(s)
	q.lastByte = now
	return f.have.total() == int64(f.Size)
}

func (q *queue) counted() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return uint64(q.count)
}

func (q *queue) fetchedBytes() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return uint64(q.fetched)
}

func (q *queue) retries() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failures
}

// silence returns how long no byte has been verified.
func (q *queue) silence(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return now.Sub(q.lastByte)
}
