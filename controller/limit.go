package controller

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"dssn/controller/northbound"
	"dssn/controller/northbound/camara"
)

// Limits on strangers: each network may fail failureBurst times at once and
// failureRate times a second from then on. Only failures count, so a whole rack
// can join at once. At most maxStrangers networks are remembered.
const (
	failureRate  = 10
	failureBurst = 200
	maxStrangers = 4096
)

// strangers remembers which networks have sent requests that failed to
// authenticate. It is one virtual-scheduling number (GCRA) per network: the time
// until which its failures are paid for.
type strangers struct {
	mu   sync.Mutex // guards paid
	paid map[netip.Prefix]time.Time
}

// network is whom failures are counted by: a /64, or a single IPv4 address.
func network(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	a := ap.Addr().Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// wait returns how long a network has to wait; not positive if it need not.
func (s *strangers) wait(n netip.Prefix, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, known := s.paid[n]
	if !known {
		return 0
	}
	return at.Sub(now) - failureBurst*time.Second/failureRate
}

// failed counts one failure.
func (s *strangers) failed(n netip.Prefix, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paid == nil {
		s.paid = map[netip.Prefix]time.Time{}
	}
	at := s.paid[n]
	if at.Before(now) {
		at = now
	}
	if _, known := s.paid[n]; !known && len(s.paid) >= maxStrangers {
		s.forget(now)
	}
	s.paid[n] = at.Add(time.Second / failureRate)
}

// forget makes room: everything that is paid for, or else the least guilty half.
func (s *strangers) forget(now time.Time) {
	for n, at := range s.paid {
		if !at.After(now) {
			delete(s.paid, n)
		}
	}
	for limit := now; len(s.paid) >= maxStrangers; limit = limit.Add(time.Second) {
		for n, at := range s.paid {
			if at.Before(limit) && len(s.paid) >= maxStrangers/2 {
				delete(s.paid, n)
			}
		}
	}
}

// statusRecorder remembers what was answered.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (w *statusRecorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController through.
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// knownKey leads to a bool that is set once a request's caller is known.
type knownKey struct{}

// guard turns strangers away who have failed too often, before their request is
// read. Callers with a node's certificate pass: the handshake has proved them.
func (c *Controller) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			next.ServeHTTP(w, r)
			return
		}
		n, now := network(r.RemoteAddr), c.clock()
		if c.strangers.wait(n, now) > 0 {
			w.Header().Set("Retry-After", "1")
			if onCAMARA(r.URL.Path) {
				camara.WriteError(w, camara.Fail(camara.CodeTooManyRequests, ""))
				return
			}
			northbound.WriteProblem(w, northbound.NewProblem("too-many", http.StatusTooManyRequests, "too many requests from %s failed to authenticate: wait a second, and check the token", n))
			return
		}
		rec, known := &statusRecorder{ResponseWriter: w, status: http.StatusOK}, false
		next.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), knownKey{}, &known)))
		if known {
			return // whatever was wrong, it was no guess at a token
		}
		switch rec.status {
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusGone, http.StatusRequestEntityTooLarge:
			c.strangers.failed(n, now)
		}
	})
}
