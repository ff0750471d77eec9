package transfer

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// underway are the admitted requests that are being answered. Rights can end
// while an answer is on its way: a grant is revoked, data or a party is frozen.
// Safe for concurrent use; the zero value is ready.
type underway struct {
	mu       sync.Mutex
	requests map[*request]struct{}
}

func (u *underway) begin(q *request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.requests == nil {
		u.requests = map[*request]struct{}{}
	}
	u.requests[q] = struct{}{}
}

func (u *underway) end(q *request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.requests, q)
}

func (u *underway) list() []*request {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make([]*request, 0, len(u.requests))
	for q := range u.requests {
		out = append(out, q)
	}
	return out
}

// Recheck asks Admit again for every answer on its way and ends those that are
// no longer admitted, with their connections: nothing more of them is sent. It
// returns how many ended. Call it whenever rights may have changed.
func (s *Server) Recheck() (ended int) {
	for _, q := range s.underway.list() {
		if _, err := s.opts.Admit(q.ask()); err == nil {
			continue
		}
		ended++
		q.cut()
	}
	return ended
}

// cut ends a request under the goroutine that answers it.
func (q *request) cut() {
	if c, ok := q.r.Context().Value(connKey{}).(net.Conn); ok {
		// Not Close, which is the goroutine's: its books are kept there.
		if c.SetDeadline(time.Unix(1, 0)) == nil {
			return
		}
	}
	// A connection without deadlines ends at the next write, if at all; Admit
	// refuses whatever is asked on it afterwards.
	_ = http.NewResponseController(q.w).SetWriteDeadline(time.Unix(1, 0))
}
