package northbound

import "time"

// Scope is what a token lets its holder do of what its person may.
type Scope string

// The scopes: read is what an auditor may, all is what the person may.
const (
	ScopeRead Scope = "read"
	ScopeAll  Scope = "all"
)

// APITokenRequest gives a person a further token, for a program of theirs.
type APITokenRequest struct {
	Name  string `json:"name"`
	Scope Scope  `json:"scope"`
	// TTLSeconds is how long it lives; 0 means 30 days.
	TTLSeconds int64 `json:"ttl_seconds,omitempty"`
}

// APIToken is such a token. Token is its text, shown once to whoever made it.
type APIToken struct {
	Name    string    `json:"name"`
	ID      string    `json:"id"`
	Scope   Scope     `json:"scope"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Token   string    `json:"token,omitempty"`
}
