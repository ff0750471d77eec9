package core

import (
	"bytes"
	"crypto/subtle"
	"slices"
	"strings"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/controller/northbound/camara"
	"dssn/controller/southbound"
)

const (
	defaultPersonTTL = 30 * 24 * time.Hour
	maxPersonTTL     = 366 * 24 * time.Hour
)

// mayDecide reports why a principal may not grant, revoke, approve or freeze
// for its institution: members and auditors may not.
func mayDecide(by Principal, what string) error {
	if by.Person != "" && by.Role != northbound.RoleAdmin && by.Role != northbound.RoleOperator {
		return refuse(Denied, "%s is %s of %s and may not %s: ask an admin of it", by.Person, article(by.Role), by.Institution, what)
	}
	return nil
}

func article(r northbound.Role) string {
	if r == northbound.RoleMember {
		return "a " + string(r)
	}
	return "an " + string(r)
}

// addPerson registers a person or, for one already known, replaces role and token.
func (x *step) addPerson(in *AddPerson) (*northbound.Person, error) {
	q := in.Request
	if err := checkName("a person", q.Name); err != nil {
		return nil, err
	}
	if in.Token == "" || len(in.Hash) != 32 {
		return nil, refuse(Invalid, "the token has no proper identifier and hash: ask again")
	}
	switch q.Role {
	case northbound.RoleOperator:
		q.Institution = northbound.OperatorInstitution
	case northbound.RoleAdmin, northbound.RoleMember, northbound.RoleAuditor:
		if x.s.Institutions[q.Institution] == nil || q.Institution == northbound.OperatorInstitution {
			return nil, refuse(Unknown, "no institution is named %q: say which one %s is of", q.Institution, q.Name)
		}
	default:
		return nil, refuse(Invalid, "%q is not a role: use operator, admin, member or auditor", q.Role)
	}
	if !in.By.Operator && (in.By.Role != northbound.RoleAdmin || q.Role == northbound.RoleOperator || q.Institution != in.By.Institution) {
		return nil, refuse(Denied, "%s may not make %s of %s: ask the operator", who(in.By), article(q.Role), q.Institution)
	}
	if old := x.s.People[q.Name]; old != nil && old.Institution != q.Institution {
		return nil, refuse(Conflict, "the name %s belongs to somebody of %s: choose another", q.Name, old.Institution)
	}
	if err := x.checkScopes(&q); err != nil {
		return nil, err
	}
	ttl := time.Duration(q.TTLSeconds) * time.Second
	switch {
	case q.TTLSeconds == 0:
		ttl = defaultPersonTTL
	case q.TTLSeconds < 0 || q.TTLSeconds > int64(maxPersonTTL/time.Second):
		return nil, refuse(Invalid, "a person's token can live from 1 second to 366 days: change --ttl")
	}
	p := &Person{Person: northbound.Person{Name: q.Name, Institution: q.Institution, Role: q.Role, Expires: x.now.Add(ttl), Scopes: q.Scopes, Device: q.Device}, TokenID: in.Token, Hash: bytes.Clone(in.Hash)}
	if old := x.s.People[q.Name]; old != nil {
		p.Tokens = old.Tokens
	}
	x.s.People[q.Name] = p
	x.decided("person", who(in.By), p.Person)
	x.event("person-added", "", 0, "%s is now %s of %s", q.Name, article(q.Role), q.Institution)
	out := p.Person
	return &out, nil
}

// checkScopes checks what a person's token is to be good for.
func (x *step) checkScopes(q *northbound.PersonRequest) error {
	known := append(camara.Scopes(), northbound.ScopeV1)
	for _, s := range q.Scopes {
		if !slices.Contains(known, s) {
			return refuse(Invalid, "%q is not a scope: use some of %s", s, strings.Join(known, ", "))
		}
	}
	n := x.s.Nodes[q.Device]
	if q.Device != "" && (n == nil || n.Role != southbound.RoleTerminal || n.Institution != q.Institution && q.Role != northbound.RoleOperator) {
		return refuse(Unknown, "%s has no terminal named %q: name one of its own", q.Institution, q.Device)
	}
	return nil
}

func (x *step) removePerson(in *RemovePerson) error {
	p := x.s.People[in.Name]
	if p == nil || !mayRead(in.By, p.Institution) {
		return refuse(Unknown, "no person of yours is named %q: see the list of people", in.Name)
	}
	if !in.By.Operator && in.By.Role != northbound.RoleAdmin {
		return refuse(Denied, "%s may not remove people: ask an admin of %s", who(in.By), p.Institution)
	}
	delete(x.s.People, in.Name)
	x.decided("remove-person", who(in.By), p.Person)
	x.event("person-removed", "", 0, "%s is no longer %s of %s", p.Name, article(p.Role), p.Institution)
	return nil
}

// People lists the accounts that the asker may see.
func (c *Core) People(by Principal) (out []northbound.Person) {
	for _, name := range sortedKeys(c.s.People) {
		if p := c.s.People[name]; mayRead(by, p.Institution) {
			out = append(out, p.Person)
		}
	}
	return out
}

// AuthenticatePerson returns the principal whose token this is.
func (c *Core) AuthenticatePerson(now time.Time, token string, hash []byte) (Principal, error) {
	for _, p := range c.s.People {
		if p.TokenID != token || subtle.ConstantTimeCompare(p.Hash, hash) != 1 {
			continue
		}
		if !p.Expires.After(now) {
			return Principal{}, refuse(Denied, "the token of %s expired at %s: ask for a new one", p.Name, p.Expires.Format(time.RFC3339))
		}
		return Principal{Person: p.Name, Role: p.Role, Institution: p.Institution, Operator: p.Role == northbound.RoleOperator, Scopes: p.Scopes, Device: p.Device}, nil
	}
	if by, found, err := c.byAPIToken(now, token, hash); found {
		return by, err
	}
	return Principal{}, refuse(Denied, "the token is not known here: ask an admin of your institution for a new one")
}

// fourEyes reports whether a grant may reach grades important or core, the upper
// half of a registrant's /64.
func fourEyes(g *northbound.Grant) bool {
	if len(g.Grades) > 0 && !slices.ContainsFunc(g.Grades, func(k dssn.Grade) bool { return k&dssn.GradeImportant != 0 }) {
		return false
	}
	return g.Data.Bits() == 64 || g.Data.Addr().As16()[8]&0x80 != 0
}

// approve is the second decision on a grant, by somebody else than the first.
func (x *step) approve(in *Approve) (*northbound.Grant, error) {
	g := x.s.Grants[in.ID]
	if g == nil {
		return nil, refuse(Unknown, "no grant is called %q: take it from the answer of `dssn grant`", in.ID)
	}
	if err := mayDecide(in.By, "approve grants"); err != nil {
		return nil, err
	}
	switch {
	case !in.By.Operator && in.By.Institution != g.Owner:
		return nil, refuse(Denied, "the grant %s was given by %s: only they can approve it", g.ID, g.Owner)
	case who(in.By) == g.By:
		return nil, refuse(Denied, "the grant %s was given by %s: somebody else must approve it", g.ID, g.By)
	case !g.Ended.IsZero():
		return nil, refuse(Expired, "the grant %s has ended (%s): grant again", g.ID, g.Reason)
	case g.Approved == "":
		g.Approved, g.Waits = who(in.By), false
		x.regrant = true
		x.decided("approve", g.Approved, g)
		x.event("grant-approved", "", 0, "%s approved the grant %s of %s", g.Approved, g.ID, g.By)
	}
	out := *g
	return &out, nil
}

// frozen returns the freeze that keeps n from reaching id, or nil.
func (c *Core) frozen(n *Node, id dssn.DataID) *northbound.Freeze {
	if len(c.s.Freezes) == 0 {
		return nil
	}
	owner := ""
	if d := c.s.Datasets[id]; d != nil {
		owner = d.Institution
	}
	for _, key := range sortedKeys(c.s.Freezes) {
		f := c.s.Freezes[key]
		if !f.Lifted.IsZero() {
			continue
		}
		switch {
		case f.Data.IsValid() && f.Data.Contains(id.Addr()),
			f.Node != "" && f.Node == n.Name,
			f.Institution != "" && f.Node == "" && (f.Institution == n.Institution || f.Institution == owner):
			return f
		}
	}
	return nil
}

// freeze stops all reach of some data, or of a party, in the same step: the
// assignments that follow hold no permit, meter or peer of it.
func (x *step) freeze(in *Freeze) (*northbound.Freeze, error) {
	q := in.Request
	if in.ID == "" || x.s.Freezes[in.ID] != nil {
		return nil, refuse(Invalid, "the freeze has no proper identifier: ask again")
	}
	if err := mayDecide(in.By, "freeze"); err != nil {
		return nil, err
	}
	if q.Reason == "" {
		return nil, refuse(Invalid, "a freeze needs a reason: those whom it stops will read it")
	}
	f := &northbound.Freeze{ID: in.ID, Reason: q.Reason, By: who(in.By), At: x.now, InFlight: []string{}}
	switch {
	case q.Data.IsValid() == (q.Party != ""):
		return nil, refuse(Invalid, "freeze either data or a party: name exactly one")
	case q.Party != "":
		var err error
		if f.Institution, f.Node, err = x.party(q.Party); err != nil {
			return nil, err
		}
		if !in.By.Operator && in.By.Institution != f.Institution {
			return nil, refuse(Denied, "%s belongs to %s: only they and the operator can freeze it", q.Party, f.Institution)
		}
	default:
		if !q.Data.Addr().Is6() {
			return nil, refuse(Invalid, "%s is not an identifier or a prefix of such: write an IPv6 prefix", q.Data)
		}
		f.Data = q.Data.Masked()
		if owner := x.owner(f.Data); !in.By.Operator && (owner == nil || owner.Name != in.By.Institution) {
			return nil, refuse(Denied, "%s is not a part of %s: only its owner and the operator can freeze it", prefixText(f.Data), in.By.Institution)
		}
	}
	x.s.Freezes[f.ID] = f
	for _, id := range sortedKeys(x.s.Transfers) {
		t := x.s.Transfers[id]
		if n := x.s.Nodes[t.Receiver]; t.State == northbound.TransferRunning && n != nil && x.frozen(n, t.Data) == f {
			f.InFlight = append(f.InFlight, id)
		}
	}
	x.regrant = true
	x.decided("freeze", f.By, *f)
	x.event("frozen", f.Node, 0, "%s froze %s: %s; %d transfers were in flight (freeze %s)", f.By, frozenWhat(f), f.Reason, len(f.InFlight), f.ID)
	out := *f
	return &out, nil
}

func frozenWhat(f *northbound.Freeze) string {
	switch {
	case f.Data.IsValid():
		return prefixText(f.Data)
	case f.Node != "":
		return f.Node
	}
	return f.Institution
}

func (x *step) unfreeze(in *Unfreeze) (*northbound.Freeze, error) {
	f := x.s.Freezes[in.ID]
	if f == nil {
		return nil, refuse(Unknown, "no freeze is called %q: see the list of freezes", in.ID)
	}
	if err := mayDecide(in.By, "lift freezes"); err != nil {
		return nil, err
	}
	if !in.By.Operator && !x.mayLift(in.By, f) {
		return nil, refuse(Denied, "the freeze %s was made by %s: only they and the operator can lift it", f.ID, f.By)
	}
	if f.Lifted.IsZero() {
		f.Lifted, f.LiftedBy = x.now, who(in.By)
		x.regrant = true
		x.decided("unfreeze", f.LiftedBy, *f)
		x.event("unfrozen", f.Node, 0, "%s lifted the freeze %s of %s", f.LiftedBy, f.ID, frozenWhat(f))
	}
	out := *f
	return &out, nil
}

// mayLift: what the operator froze, only the operator lifts.
func (x *step) mayLift(by Principal, f *northbound.Freeze) bool {
	if p := x.s.People[f.By]; p != nil {
		return p.Institution == by.Institution
	}
	n := x.s.Nodes[f.By]
	return n != nil && n.Institution == by.Institution
}

// Freezes lists the freezes that concern the asker.
func (c *Core) Freezes(by Principal) (out []northbound.Freeze) {
	for _, id := range sortedKeys(c.s.Freezes) {
		f := c.s.Freezes[id]
		owner := ""
		if f.Data.IsValid() {
			if i := c.owner(f.Data); i != nil {
				owner = i.Name
			}
		}
		if mayRead(by, f.Institution, owner) {
			out = append(out, *f)
		}
	}
	return out
}
