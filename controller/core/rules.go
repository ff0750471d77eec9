package core

import (
	"slices"
	"strings"

	"dssn"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// The conditions of grants: what each needs to be, whom it lets in, and what
// uses it up.

// Limits on the conditions of one grant.
const (
	maxPurpose   = 500
	maxTransfers = 1000
	maxHubs      = 64
	maxRoles     = 32
)

const rolePrefix = "role:"

// checkTerms reports what is wrong with the conditions of a grant.
func (c *Core) checkTerms(q *northbound.Terms) error {
	for _, g := range q.Grades {
		if !g.Valid() {
			return refuse(Invalid, "%d is not a grade: use open, general-1 to general-4, important or core", g)
		}
	}
	for _, k := range q.Categories {
		if k > 0xf {
			return refuse(Invalid, "%d is not a category: see the list in the institution's guide", k)
		}
	}
	switch {
	case len(q.Purpose) > maxPurpose:
		return refuse(Invalid, "a purpose of %d bytes is too long: say it in %d", len(q.Purpose), maxPurpose)
	case q.Transfers < 0 || q.Transfers > maxTransfers:
		return refuse(Invalid, "a grant can allow 1 to %d transfers: change --transfers", maxTransfers)
	case len(q.Hubs) > maxHubs:
		return refuse(Invalid, "%d hubs are more than the %d that a grant can name", len(q.Hubs), maxHubs)
	}
	for _, h := range q.Hubs {
		if _, known := c.index[h]; !known {
			return refuse(Unknown, "no backbone node is named %q: the hubs are in `dssn status`", h)
		}
		if n := c.s.Nodes[h]; n != nil && n.Role != southbound.RoleBackbone {
			return refuse(Invalid, "%s is a terminal: a grant is fenced by hubs, which are backbone nodes", h)
		}
	}
	return c.checkWindows(q.Windows)
}

// reaches reports whether g is for node n: its institution, itself, or a role
// that it or its institution has.
func (c *Core) reaches(g *northbound.Grant, n *Node) bool {
	if g.ToRole != "" {
		i := c.s.Institutions[n.Institution]
		return slices.Contains(n.Roles, g.ToRole) || i != nil && slices.Contains(i.Roles, g.ToRole)
	}
	return g.To == n.Institution && (g.ToNode == "" || g.ToNode == n.Name)
}

// permits reports whether g lets node n reach d now.
func (c *Core) permits(g *northbound.Grant, n *Node, id dssn.DataID) bool {
	return c.hindrance(g, n, id) == ""
}

// hindrance says why g does not let n reach id now, empty if it does. The reasons
// are in the words of "grant g-1 does not help: …".
func (c *Core) hindrance(g *northbound.Grant, n *Node, id dssn.DataID) string {
	switch {
	case !g.Ended.IsZero():
		return "it has ended (" + g.Reason + ")"
	case !g.Data.Contains(id.Addr()):
		return "it is of other data"
	case !c.reaches(g, n):
		return "it is for somebody else"
	case len(g.Grades) > 0 && !slices.Contains(g.Grades, id.Grade()):
		return "it is of other grades than " + id.Grade().String()
	case len(g.Categories) > 0 && !slices.Contains(g.Categories, id.Category()):
		return "it is of other categories than " + id.Category().String()
	case id.Grade()&dssn.GradeImportant != 0 && g.Approved == "":
		return "it waits for a second approval"
	case g.Shut:
		return "its window is shut until " + g.Edge.Format("2006-01-02T15:04:05Z07:00")
	case len(g.Hubs) > 0 && !slices.Contains(g.Hubs, n.Hub):
		where := n.Hub
		if where == "" {
			where = "no hub"
		}
		return "it is fenced to the hubs " + strings.Join(g.Hubs, ", ") + ", and " + n.Name + " is at " + where
	}
	return c.forbidden(g, n, id)
}

// unlimited reports whether nothing uses g up.
func unlimited(g *northbound.Grant) bool { return g.Quota == 0 && g.Terms.Transfers == 0 }

// grantOf returns the grant by which a terminal is permitted some data, or nil.
func (c *Core) grantOf(consumer string, data dssn.DataID) *northbound.Grant {
	for _, rel := range c.relOf[consumer] {
		if rel.dataset.Record.ID == data && rel.consumer.Name == consumer {
			return rel.grant
		}
	}
	return nil
}

// spend counts bytes that a holder's meter sent against the quota of the grant
// that permits them; one that is used up ends.
func (x *step) spend(n *Node, r *Reservation, before, after southbound.Count) {
	if n.Name != r.Ingress || r.Data.IsZero() || !r.From.IsSingleIP() || r.From.Addr() != r.Data.Addr() || after.SentBytes <= before.SentBytes {
		return
	}
	g := x.grantOf(r.Egress, r.Data)
	if g == nil || g.Quota == 0 {
		return
	}
	g.Used += dssn.ByteCount(after.SentBytes - before.SentBytes)
	if g.Used >= g.Quota && g.Ended.IsZero() {
		x.endGrant(g, "its quota of "+g.Quota.String()+" is used up")
		x.decided("grant-used-up", northbound.OperatorInstitution, g)
	}
}

// begun notes that a transfer began, under which grant, and tells the holder
// where that counts.
func (x *step) begun(t *northbound.Transfer) {
	g := x.grantOf(t.Receiver, t.Data)
	if g == nil {
		return
	}
	t.Grant = g.ID
	if g.Terms.Transfers == 0 || len(g.Begun) >= g.Terms.Transfers {
		return
	}
	g.Begun = append(g.Begun, t.ID)
	for _, d := range x.covered(g.Data) {
		for _, h := range d.Holders {
			x.touchNode(h)
		}
	}
	x.replan = true
}

// over notes that a transfer is no longer running; a grant whose transfers are
// all over has nothing left to give.
func (x *step) over(t *northbound.Transfer) {
	g := x.s.Grants[t.Grant]
	if g == nil || !g.Ended.IsZero() || g.Terms.Transfers == 0 || len(g.Begun) < g.Terms.Transfers {
		return
	}
	for _, id := range g.Begun {
		if other := x.s.Transfers[id]; other != nil && other.State == northbound.TransferRunning {
			return
		}
	}
	x.endGrant(g, "all its transfers are over")
	x.decided("grant-used-up", northbound.OperatorInstitution, g)
}

// SetRoles gives a party its roles, all of them at once.
type SetRoles struct {
	By      Principal              `json:"by"`
	Request northbound.RoleRequest `json:"request"`
}

// setRoles is the operator's word: a role is what others' grants trust.
func (x *step) setRoles(in *SetRoles) (*northbound.Roles, error) {
	if err := operatorOnly(in.By, "set roles"); err != nil {
		return nil, err
	}
	inst, node, err := x.party(in.Request.Party)
	if err != nil {
		return nil, err
	}
	roles := slices.Clone(in.Request.Roles)
	slices.Sort(roles)
	roles = slices.Compact(roles)
	if len(roles) > maxRoles {
		return nil, refuse(Invalid, "%d roles are more than the %d that a party can have", len(roles), maxRoles)
	}
	for _, r := range roles {
		if err := checkName("a role", r); err != nil {
			return nil, err
		}
	}
	if n := x.s.Nodes[node]; n != nil {
		n.Roles = roles
	} else {
		x.s.Institutions[inst].Roles = roles
	}
	x.regrant = true
	out := &northbound.Roles{Institution: inst, Node: node, Roles: roles}
	x.decided("roles", who(in.By), out)
	x.event("roles", node, 0, "%s has the roles [%s] now", in.Request.Party, strings.Join(roles, " "))
	return out, nil
}
