package northbound

import (
	"net/netip"
	"time"
)

// Role is what a person may do for their institution.
type Role string

// The roles: an operator may do everything; an admin everything for their
// institution; a member may use but neither grant nor freeze; an auditor may
// only read.
const (
	RoleOperator Role = "operator"
	RoleAdmin    Role = "admin"
	RoleMember   Role = "member"
	RoleAuditor  Role = "auditor"
)

// ScopeV1 is the scope of a person's token that is good for /v1.
const ScopeV1 = "v1"

// PersonRequest registers a person, or gives one a new token.
type PersonRequest struct {
	Name        string `json:"name"`
	Institution string `json:"institution,omitempty"` // not of operators
	Role        Role   `json:"role"`
	// TTLSeconds is how long the token lives; 0 means 30 days.
	TTLSeconds int64 `json:"ttl_seconds,omitempty"`
	// Scopes, if there are any, are all that the token is good for: "v1" for /v1,
	// and those of CAMARA, such as quality-on-demand:sessions:create.
	Scopes []string `json:"scopes,omitempty"`
	// Device, if set, is the terminal for which the token is good alone: what OAuth
	// calls a three-legged token.
	Device string `json:"device,omitempty"`
}

// Person is an account. Token is its text, shown once to whoever made it.
type Person struct {
	Name        string    `json:"name"`
	Institution string    `json:"institution"`
	Role        Role      `json:"role"`
	Expires     time.Time `json:"expires"`
	Scopes      []string  `json:"scopes,omitempty"`
	Device      string    `json:"device,omitempty"`
	Token       string    `json:"token,omitempty"`
}

// FreezeRequest stops all reach of some data, or of a party, at once. Exactly
// one of Data and Party is set.
type FreezeRequest struct {
	Data   netip.Prefix `json:"data,omitzero"`
	Party  string       `json:"party,omitempty"` // an institution or a node
	Reason string       `json:"reason"`
}

// Freeze is such a stop. While it lasts no grant has effect on what it covers.
type Freeze struct {
	ID          string       `json:"id"`
	Data        netip.Prefix `json:"data,omitzero"`
	Institution string       `json:"institution,omitempty"` // the party,
	Node        string       `json:"node,omitempty"`        // or that node of it
	Reason      string       `json:"reason"`
	By          string       `json:"by"`
	At          time.Time    `json:"at"`
	// InFlight are the transfers that were running when it began.
	InFlight []string  `json:"in_flight"`
	Lifted   time.Time `json:"lifted,omitzero"`
	LiftedBy string    `json:"lifted_by,omitempty"`
}
