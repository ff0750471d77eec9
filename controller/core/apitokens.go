package core

import (
	"bytes"
	"crypto/subtle"
	"time"

	"dssn/controller/northbound"
)

// maxAPITokens bounds the further tokens of one person.
const maxAPITokens = 32

// APIToken is a further token of a person, for a program of theirs.
type APIToken struct {
	northbound.APIToken
	Hash []byte `json:"hash"`
}

// AddAPIToken gives a person a further token; the core learns only its hash.
type AddAPIToken struct {
	By      Principal                  `json:"by"`
	Person  string                     `json:"person"`
	Request northbound.APITokenRequest `json:"request"`
	ID      string                     `json:"id"` // random
	Hash    []byte                     `json:"secret_hash"`
}

// RemoveAPIToken ends one of them at once.
type RemoveAPIToken struct {
	By     Principal `json:"by"`
	Person string    `json:"person"`
	Name   string    `json:"name"`
}

// mayToken returns a person whose tokens the asker may change: their own, an
// admin's of their institution, the operator.
func (x *step) mayToken(by Principal, name string) (*Person, error) {
	p := x.s.People[name]
	if p == nil || !mayRead(by, p.Institution) {
		return nil, refuse(Unknown, "no person of yours is named %q: see the list of people", name)
	}
	if !by.Operator && by.Person != name && by.Role != northbound.RoleAdmin {
		return nil, refuse(Denied, "%s may not change the tokens of %s: ask them, or an admin of %s", who(by), name, p.Institution)
	}
	return p, nil
}

func (x *step) addAPIToken(in *AddAPIToken) (*northbound.APIToken, error) {
	p, err := x.mayToken(in.By, in.Person)
	if err != nil {
		return nil, err
	}
	q := in.Request
	if err := checkName("a token", q.Name); err != nil {
		return nil, err
	}
	ttl := time.Duration(q.TTLSeconds) * time.Second
	switch {
	case in.ID == "" || len(in.Hash) != 32:
		return nil, refuse(Invalid, "the token has no proper identifier and hash: ask again")
	case q.Scope != northbound.ScopeRead && q.Scope != northbound.ScopeAll:
		return nil, refuse(Invalid, "%q is not a scope: use read or all", q.Scope)
	case p.Tokens[q.Name] != nil && p.Tokens[q.Name].Expires.After(x.now):
		return nil, refuse(Conflict, "%s already has a token %s: revoke it first, or choose another name", in.Person, q.Name)
	case len(p.Tokens) >= maxAPITokens && p.Tokens[q.Name] == nil:
		return nil, refuse(Conflict, "%s already has %d tokens: revoke one first", in.Person, len(p.Tokens))
	case q.TTLSeconds == 0:
		ttl = defaultPersonTTL
	case q.TTLSeconds < 0 || q.TTLSeconds > int64(maxPersonTTL/time.Second):
		return nil, refuse(Invalid, "a token can live from 1 second to 366 days: change --ttl")
	}
	t := &APIToken{northbound.APIToken{Name: q.Name, ID: in.ID, Scope: q.Scope, Created: x.now, Expires: x.now.Add(ttl)}, bytes.Clone(in.Hash)}
	if p.Tokens == nil {
		p.Tokens = map[string]*APIToken{}
	}
	p.Tokens[q.Name] = t
	x.decided("api-token", who(in.By), map[string]any{"person": in.Person, "token": t.APIToken})
	x.event("token-created", "", 0, "%s has a token %s (%s) until %s", in.Person, q.Name, q.Scope, t.Expires.Format(time.RFC3339))
	out := t.APIToken
	return &out, nil
}

func (x *step) removeAPIToken(in *RemoveAPIToken) error {
	p, err := x.mayToken(in.By, in.Person)
	if err != nil {
		return err
	}
	t := p.Tokens[in.Name]
	if t == nil {
		return refuse(Unknown, "%s has no token named %q", in.Person, in.Name)
	}
	delete(p.Tokens, in.Name)
	x.decided("remove-api-token", who(in.By), map[string]any{"person": in.Person, "token": t.APIToken})
	x.event("token-removed", "", 0, "the token %s of %s is revoked", in.Name, in.Person)
	return nil
}

// byAPIToken finds whose further token this is. One that may only read acts as an
// auditor does.
func (c *Core) byAPIToken(now time.Time, token string, hash []byte) (by Principal, found bool, err error) {
	for _, p := range c.s.People {
		for _, t := range p.Tokens {
			if t.ID != token || subtle.ConstantTimeCompare(t.Hash, hash) != 1 {
				continue
			}
			if !t.Expires.After(now) {
				return by, true, refuse(Denied, "the token %s of %s expired at %s: make a new one", t.Name, p.Name, t.Expires.Format(time.RFC3339))
			}
			by = Principal{Person: p.Name, Role: p.Role, Institution: p.Institution, Operator: p.Role == northbound.RoleOperator}
			if t.Scope == northbound.ScopeRead {
				by.Role = northbound.RoleAuditor
			}
			return by, true, nil
		}
	}
	return by, false, nil
}
