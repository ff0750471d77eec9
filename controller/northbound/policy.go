package northbound

import (
	"time"

	"dssn"
)

// PolicyRequest replaces the operator's policies; an empty text takes them away.
type PolicyRequest struct {
	Text string `json:"text"` // Cedar, with tests that hold; see controller/policy
}

// Policy is the operator's policies in force.
type Policy struct {
	Text     string    `json:"text"`
	Policies []string  `json:"policies"` // their names
	Tests    int       `json:"tests"`    // that held when they were taken
	By       string    `json:"by"`
	Since    time.Time `json:"since"`
}

// ReachRequest asks whether a node can reach data now, and why.
type ReachRequest struct {
	Node string      `json:"node"`
	Data dssn.DataID `json:"data"`
}

// Reach is the answer: by which grant, or why not.
type Reach struct {
	Allowed bool   `json:"allowed"`
	Grant   string `json:"grant,omitempty"`
	Detail  string `json:"detail"` // one sentence
	Rules   []Rule `json:"rules,omitempty"`
}
