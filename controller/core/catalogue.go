package core

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"time"

	"dssn"
	"dssn/content"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// publish takes a signed record into the catalogue. The same registrant and
// name with new content is a new version; the same record again adds a holder.
func (x *step) publish(in *Publish) (*northbound.Dataset, error) {
	holder := x.s.Nodes[in.Holder]
	if holder == nil || holder.Role != southbound.RoleTerminal {
		return nil, refuse(Unknown, "no terminal is named %q: publish from one that has joined", in.Holder)
	}
	if !in.By.Operator && in.By.Node != in.Holder {
		return nil, refuse(Denied, "%s cannot publish for %s: publish on the terminal that holds the data", who(in.By), in.Holder)
	}
	r := in.Record
	if err := r.Verify(); err != nil {
		return nil, refuse(Invalid, "%v", err)
	}
	inst := x.s.Institutions[holder.Institution]
	if r.Registrant != inst.Registrant {
		return nil, refuse(Denied, "the record of %q is minted from %s, but %s has %s: publish with the terminal's own identity", r.Name, r.Registrant, inst.Name, inst.Registrant)
	}
	if !slices.ContainsFunc(inst.Keys, func(k []byte) bool { return bytes.Equal(k, r.RegistrantKey) }) {
		return nil, refuse(Denied, "the record of %q is signed by a key that %s did not register: publish with the terminal's own identity", r.Name, inst.Name)
	}
	newest, named := x.s.Names[r.Name]
	if named && x.s.Datasets[newest].Institution != inst.Name {
		return nil, refuse(Conflict, "the name %q belongs to %s (%s): choose another with --name", r.Name, x.s.Datasets[newest].Institution, newest)
	}
	if d := x.s.Datasets[r.ID]; d != nil {
		if d.Record.Root != r.Root || d.Record.Length != r.Length {
			return nil, refuse(Conflict, "the identifier %s already names other content (%q): publish with the next salt, %d", r.ID, d.Record.Name, r.Salt+1)
		}
		if d.Record.Name != r.Name {
			return nil, refuse(Conflict, "this content is already published as %q (%s): use that name", d.Record.Name, r.ID)
		}
		if !slices.Contains(d.Holders, holder.Name) {
			d.Holders = append(d.Holders, holder.Name)
			x.regrant = true
			x.event("replica-added", holder.Name, 0, "%s also holds %q (%s)", holder.Name, r.Name, r.ID)
		}
		if newest != r.ID { // an old version is published again: it is the newest now
			x.supersede(newest, d)
		}
		return cloneDataset(d), nil
	}
	d := &northbound.Dataset{Record: r, Institution: inst.Name, Holders: []string{holder.Name}, Registered: x.now}
	x.s.Datasets[r.ID] = d
	if named {
		x.supersede(newest, d)
	}
	x.s.Names[r.Name] = r.ID
	x.regrant = true
	x.decided("publish", who(in.By), r)
	x.event("published", holder.Name, 0, "%s published %q as %s (%s, %s)", inst.Name, r.Name, r.ID, r.Grade, r.Length)
	return cloneDataset(d), nil
}

// supersede makes d the newest version of its name, after the one at old.
func (x *step) supersede(old dssn.DataID, d *northbound.Dataset) {
	x.s.Datasets[old].SupersededBy = d.Record.ID
	d.Supersedes, d.SupersededBy = old, dssn.DataID{}
	x.s.Names[d.Record.Name] = d.Record.ID
}

func cloneDataset(d *northbound.Dataset) *northbound.Dataset {
	c := *d
	c.Holders = slices.Clone(d.Holders)
	return &c
}

// owner returns the institution whose /64 holds data.
func (c *Core) owner(data netip.Prefix) *northbound.Institution {
	if data.Bits() < 64 {
		return nil
	}
	for _, i := range c.s.Institutions {
		if i.Registrant.Contains(data.Addr()) {
			return i
		}
	}
	return nil
}

// party finds the institution, and the node of it, that a person named.
func (c *Core) party(s string) (inst, node string, err error) {
	if c.s.Institutions[s] != nil {
		return s, "", nil
	}
	n := c.s.Nodes[s]
	if id, e := dssn.ParseNodeID(s); n == nil && e == nil {
		n = c.nodeByID(id)
	}
	if n == nil {
		return "", "", refuse(Unknown, "no institution or node is called %q: see `dssn status`", s)
	}
	return n.Institution, n.Name, nil
}

// addressee is party, or the role that a grant is for.
func (c *Core) addressee(s string) (inst, node, role string, err error) {
	if role, is := strings.CutPrefix(s, rolePrefix); is {
		return "", "", role, checkName("a role", role)
	}
	inst, node, err = c.party(s)
	return inst, node, "", err
}

func (x *step) grant(in *Grant) (*northbound.Grant, error) {
	q := in.Request
	if in.ID == "" || x.s.Grants[in.ID] != nil {
		return nil, refuse(Invalid, "the grant has no proper identifier: ask again")
	}
	if !q.Data.IsValid() || !q.Data.Addr().Is6() || q.Data.Bits() < 64 {
		return nil, refuse(Invalid, "%s is not a dataset or a part of one institution's /64: name a dataset's identifier or a longer prefix", q.Data)
	}
	q.Data = q.Data.Masked()
	owner := x.owner(q.Data)
	if owner == nil {
		return nil, refuse(Unknown, "%s belongs to no institution here: take an identifier from `dssn datasets`", prefixText(q.Data))
	}
	if err := mayDecide(in.By, "grant"); err != nil {
		return nil, err
	}
	if !in.By.Operator && in.By.Institution != owner.Name {
		return nil, refuse(Denied, "%s belongs to %s: only its owner can grant it", prefixText(q.Data), owner.Name)
	}
	if q.Data.Bits() == 128 {
		id, err := dssn.DataIDFromAddr(q.Data.Addr())
		if err != nil || x.s.Datasets[id] == nil {
			return nil, refuse(Unknown, "%s is not in the catalogue: publish it first, or check it in `dssn datasets`", q.Data.Addr())
		}
	}
	to, node, role, err := x.addressee(q.To)
	if err != nil {
		return nil, err
	}
	if err := x.checkTerms(&q.Terms); err != nil {
		return nil, err
	}
	if !q.Until.After(x.now) {
		return nil, refuse(Invalid, "the grant would end at %s, which is past: give a later --until", q.Until.UTC().Format(time.RFC3339))
	}
	g := &northbound.Grant{ID: in.ID, Data: q.Data, Owner: owner.Name, To: to, ToNode: node, ToRole: role, Until: q.Until.UTC(), Created: x.now, By: who(in.By), Terms: q.Terms}
	g.Rules = northbound.RulesOf(g)
	if g.Waits = fourEyes(g); g.Waits {
		x.event("grant-waits", "", 0, "the grant %s reaches data of grade important or core: somebody else of %s must approve it", g.ID, owner.Name)
	}
	x.s.Grants[g.ID] = g
	x.wake(dueGrant, g.ID, 0)
	x.regrant = true
	x.decided("grant", g.By, g)
	x.turn(g)
	x.event("granted", "", 0, "%s lets %s reach %s until %s (grant %s)", owner.Name, partyName(g), prefixText(g.Data), g.Until.Format(time.RFC3339), g.ID)
	out := *g
	return &out, nil
}

func partyName(g *northbound.Grant) string {
	if g.ToRole != "" {
		return "every " + g.ToRole
	}
	if g.ToNode != "" {
		return g.ToNode
	}
	return g.To
}

// prefixText leaves the length of a single address away.
func prefixText(p netip.Prefix) string {
	return strings.TrimSuffix(p.String(), "/128")
}

func (x *step) revoke(in *Revoke) (*northbound.Grant, error) {
	g := x.s.Grants[in.ID]
	if g == nil {
		return nil, refuse(Unknown, "no grant is called %q: take it from the answer of `dssn grant`", in.ID)
	}
	if err := mayDecide(in.By, "revoke grants"); err != nil {
		return nil, err
	}
	if !in.By.Operator && in.By.Institution != g.Owner {
		return nil, refuse(Denied, "the grant %s was given by %s: only its owner can revoke it", g.ID, g.Owner)
	}
	if g.Ended.IsZero() {
		x.endGrant(g, "revoked by "+who(in.By))
		x.decided("revoke", who(in.By), g)
	}
	out := *g
	return &out, nil
}

func (x *step) endGrant(g *northbound.Grant, reason string) {
	g.Ended, g.Reason = x.now, reason
	x.regrant = true
	x.event("grant-ended", "", 0, "%s can no longer reach %s: %s (grant %s)", partyName(g), prefixText(g.Data), reason, g.ID)
}

// grantFor returns the grant by which n may reach id for the longest time, or
// nil: there is none, or a freeze covers it.
func (c *Core) grantFor(n *Node, id dssn.DataID) (best *northbound.Grant) {
	if c.frozen(n, id) != nil {
		return nil
	}
	for _, g := range c.s.Grants {
		if c.permits(g, n, id) && (best == nil || outlasts(g, best)) {
			best = g
		}
	}
	return best
}

// outlasts orders grants: those that nothing uses up first, then the longer ones,
// then by identifier.
func outlasts(g, h *northbound.Grant) bool {
	if unlimited(g) != unlimited(h) {
		return unlimited(g)
	}
	return g.Until.After(h.Until) || g.Until.Equal(h.Until) && g.ID < h.ID
}

// holderFor returns the holder of d nearest to n that is linked to the network:
// least latency, then the order of publishing. nil where there is none.
func (c *Core) holderFor(d *northbound.Dataset, n *Node) (best *Node) {
	var least time.Duration
	for _, name := range d.Holders {
		h := c.s.Nodes[name]
		if h == nil || h.Name == n.Name {
			continue
		}
		if dist, ok := c.distance(h.Name, n.Name); best == nil || ok && dist < least {
			best, least = h, never.Sub(c.s.Now)
			if ok {
				least = dist
			}
		}
	}
	return best
}

// CheckRecord is what a shell calls before it journals a publication.
func CheckRecord(r *content.Record) error {
	if r == nil {
		return refuse(Invalid, "the request has no record: publish with `dssn publish`")
	}
	if err := r.Verify(); err != nil {
		return refuse(Invalid, "%v", err)
	}
	return nil
}
