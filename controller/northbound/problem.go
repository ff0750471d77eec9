package northbound

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"dssn"
)

// Problem is an RFC 9457 problem document, and the error that a Client returns.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail is one sentence with a next step.
	Detail string `json:"detail"`
	// Bottleneck and BestOffer come with a refusal for lack of capacity.
	Bottleneck string         `json:"bottleneck,omitempty"`
	BestOffer  dssn.Bandwidth `json:"best_offer_bps,omitempty"`
	// BestStart, BestDelay and BestFinish are when all of it would be admitted, the
	// delay bound that could be promised, and the deadline that would be accepted.
	BestStart  time.Time     `json:"best_start,omitzero"`
	BestDelay  time.Duration `json:"best_delay_ns,omitempty"`
	BestFinish time.Time     `json:"best_finish,omitzero"`
}

// problemBase is what types of problems begin with; they are names, not pages.
const problemBase = "urn:dssn:problem:"

// problemKinds are all kinds of problems, for the document; a test holds them to
// the source.
var problemKinds = []struct {
	kind    string
	status  int
	meaning string
}{
	{"invalid", http.StatusBadRequest, "the request makes no sense"},
	{"unauthenticated", http.StatusUnauthorized, "nobody is known to ask"},
	{"denied", http.StatusForbidden, "it is not permitted to the asker"},
	{"unknown", http.StatusNotFound, "there is no such thing"},
	{"conflict", http.StatusConflict, "something stands in the way"},
	{"capacity", http.StatusConflict, "a link is full; bottleneck and best_offer_bps say which and what would fit"},
	{"expired", http.StatusGone, "its time is over"},
	{"precondition", http.StatusPreconditionFailed, "it is not as the asker saw it (If-Match)"},
	{"too-large", http.StatusRequestEntityTooLarge, "the request is larger than is read"},
	{"reused", http.StatusUnprocessableEntity, "the Idempotency-Key was used for another request"},
	{"too-many", http.StatusTooManyRequests, "wait; Retry-After says how long"},
	{"internal", http.StatusInternalServerError, "the controller could not do it; its log says why"},
	{"unavailable", http.StatusServiceUnavailable, "the controller is stopping"},
}

// NewProblem makes a problem of a kind ("capacity") and status.
func NewProblem(kind string, status int, format string, args ...any) *Problem {
	return &Problem{Type: problemBase + kind, Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// WriteProblem answers with a problem document.
func WriteProblem(w http.ResponseWriter, p *Problem) {
	b, err := json.Marshal(p)
	if err != nil {
		b = []byte(`{"status":500}`)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	w.Write(append(b, '\n'))
}
