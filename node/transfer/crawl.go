package transfer

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// One kcp-go session in some tens crawls for no reason that could be found, at
// hundredths of its rate, and never recovers, while those beside it run. So the
// sessions of a Get are looked at together, and one that crawls is closed: what
// it was asked for goes to another.
const (
	crawlLook   = time.Second
	crawlLooks  = 3  // in a row
	crawlFactor = 16 // so much slower than the best of the others, or than itself before
	crawlLeast  = 64 << 10
)

// tempo is one session at one look.
type tempo struct {
	waiting bool   // somebody waits for its bytes
	bytes   uint64 // since the look before
	slow    int    // looks in a row at which it crawled
	best    uint64 // most bytes of any look
}

// crawlers updates all sessions after a look and returns the indexes of those to
// be given up.
func crawlers(all []*tempo) (out []int) {
	for i, t := range all {
		t.best = max(t.best, t.bytes)
		standard := t.best
		for j, o := range all {
			if i != j {
				standard = max(standard, o.bytes)
			}
		}
		if t.waiting && standard >= crawlLeast && t.bytes < standard/crawlFactor {
			t.slow++
		} else {
			t.slow = 0
		}
		if t.slow >= crawlLooks {
			out = append(out, i)
		}
	}
	return out
}

// herd watches the sessions that a Get has open.
type herd struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu       sync.Mutex // guards what follows
	sessions map[*watchedConn]*tempo
	stop     func() // nil while nobody looks
	replaced int
}

// watchedConn is one session.
type watchedConn struct {
	net.Conn
	herd    *herd
	bytes   atomic.Uint64
	reading atomic.Bool
	closed  atomic.Bool
}

// Dial opens a session and watches it.
func (h *herd) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := h.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	w := &watchedConn{Conn: c, herd: h}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions == nil {
		h.sessions = map[*watchedConn]*tempo{}
	}
	h.sessions[w] = &tempo{}
	if h.stop == nil {
		done := make(chan struct{})
		h.stop = sync.OnceFunc(func() { close(done) })
		go h.watch(done)
	}
	return w, nil
}

// watch looks until the last session is closed.
func (h *herd) watch(done <-chan struct{}) {
	tick := time.NewTicker(crawlLook)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			for _, w := range h.look() {
				w.Close()
			}
		}
	}
}

func (h *herd) look() (out []*watchedConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var order []*watchedConn
	var all []*tempo
	for w, t := range h.sessions {
		t.bytes = w.bytes.Swap(0)
		t.waiting = w.reading.Load()
		order, all = append(order, w), append(all, t)
	}
	for _, i := range crawlers(all) {
		out = append(out, order[i])
	}
	h.replaced += len(out)
	return out
}

// Read implements io.Reader.
func (w *watchedConn) Read(b []byte) (int, error) {
	if w.closed.Load() {
		return 0, net.ErrClosed // kcp-go would first hand out what it has
	}
	w.reading.Store(true)
	n, err := w.Conn.Read(b)
	w.reading.Store(false)
	w.bytes.Add(uint64(n))
	return n, err
}

// Close implements net.Conn.
func (w *watchedConn) Close() error {
	w.closed.Store(true)
	w.herd.mu.Lock()
	delete(w.herd.sessions, w)
	if len(w.herd.sessions) == 0 && w.herd.stop != nil {
		w.herd.stop()
		w.herd.stop = nil
	}
	w.herd.mu.Unlock()
	return w.Conn.Close()
}
