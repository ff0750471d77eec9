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
