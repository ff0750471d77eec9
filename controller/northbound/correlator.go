package northbound

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
)

// Every request has an x-correlator, its own or a new one, which its answer and
// the controller's log repeat.

var correlatorForm = regexp.MustCompile(`^[a-zA-Z0-9\-_:;./<>{}]{0,256}$`)

type correlatorKey struct{}

// Correlator returns the request's x-correlator, or a new one where it has none;
// ok is false where it has one that is not allowed.
func Correlator(r *http.Request) (c string, ok bool) {
	vs, sent := r.Header["X-Correlator"]
	if sent && len(vs) == 1 && correlatorForm.MatchString(vs[0]) {
		return vs[0], true
	}
	return NewUUID(), !sent
}

// CorrelatorOf returns the correlator of the request that ctx belongs to, or "".
func CorrelatorOf(ctx context.Context) string {
	c, _ := ctx.Value(correlatorKey{}).(string)
	return c
}

// WithCorrelator returns a context of a request with a correlator.
func WithCorrelator(ctx context.Context, c string) context.Context {
	return context.WithValue(ctx, correlatorKey{}, c)
}

// NewUUID returns a random UUID (RFC 9562, version 4).
func NewUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// correlated gives every request its correlator.
func correlated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := Correlator(r)
		w.Header().Set("X-Correlator", c)
		if !ok {
			WriteProblem(w, NewProblem("invalid", http.StatusBadRequest, "the header x-correlator is not one: use at most 256 letters, digits and -_:;./<>{}"))
			return
		}
		next.ServeHTTP(w, r.WithContext(WithCorrelator(r.Context(), c)))
	})
}
