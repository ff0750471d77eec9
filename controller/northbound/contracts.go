package northbound

import (
	"time"

	"dssn"
)

// RatePiece is a rate during part of a bulk transfer's plan.
type RatePiece struct {
	Rate dssn.Bandwidth `json:"rate_bps"`
	From time.Time      `json:"from"`
	To   time.Time      `json:"to"`
}

// BoostRequest raises a contract's committed rate for a window of its own.
type BoostRequest struct {
	// Committed is the whole committed rate during the boost, above the contract's own.
	Committed dssn.Bandwidth `json:"committed_bps"`
	// Start is zero for now. Until must lie inside the contract's window.
	Start time.Time `json:"start,omitzero"`
	Until time.Time `json:"until"`
}

// BoostState is where a boost is in its life: waiting → running → over.
type BoostState string

// The states of a boost.
const (
	BoostWaiting BoostState = "waiting"
	BoostRunning BoostState = "running"
	BoostOver    BoostState = "over"
)

// Boost is a temporary raise of a contract, billed as boost-bandwidth.
type Boost struct {
	Extra dssn.Bandwidth `json:"extra_bps"` // above the committed rate of the contract
	Start time.Time      `json:"start"`
	Until time.Time      `json:"until"`
	State BoostState     `json:"state"`
}

// ExtendRequest moves the end of a contract or hold.
type ExtendRequest struct {
	Until time.Time `json:"until"`
}

// Resize is a change of the committed rate of a running contract: the new promise was
// made before the old one was given up, and what both ends' meters say of the packets
// from Since, when they last stood still before it, to Measured.
type Resize struct {
	At       time.Time      `json:"at"`
	From     dssn.Bandwidth `json:"from_bps"`
	To       dssn.Bandwidth `json:"to_bps"`
	OldPath  []string       `json:"old_path,omitempty"` // where the path changed with it
	NewPath  []string       `json:"new_path,omitempty"`
	Since    time.Time      `json:"since,omitzero"`
	Measured time.Time      `json:"measured,omitzero"` // zero: nothing was reported since
	Sent     uint64         `json:"sent_packets"`
	Lost     uint64         `json:"lost_packets"`
	// Exact is set when the meters stood still again; until then Lost includes what is
	// on its way, or was sent since the other end's report.
	Exact bool `json:"exact"`
}

// Change is one entry of the answer to "why did my rate or path change".
type Change struct {
	At time.Time `json:"at"`
	// Cause is one sentence; what concerns others is told without their names.
	Cause string           `json:"cause"`
	State ReservationState `json:"state"`
	Rate  dssn.Bandwidth   `json:"rate_bps"` // allocated from At on
	Was   dssn.Bandwidth   `json:"was_bps"`
	Path  []string         `json:"path,omitempty"`
	Old   []string         `json:"old_path,omitempty"` // where the path changed
	Limit string           `json:"limit,omitempty"`    // the link that keeps the rate under the ceiling
	Note  string           `json:"note,omitempty"`     // of the state
}

// Why explains a reservation at a moment.
type Why struct {
	Reservation dssn.ReservationID `json:"reservation"`
	At          time.Time          `json:"at"`
	Answer      string             `json:"answer"` // one sentence
	// Change is the one in force at At, Before and After are its neighbours.
	Change *Change  `json:"change,omitempty"`
	Before []Change `json:"before,omitempty"` // newest last
	After  []Change `json:"after,omitempty"`  // oldest first
}
