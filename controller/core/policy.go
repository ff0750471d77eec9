package core

import (
	"fmt"
	"slices"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/controller/policy"
)

// The operator's policies stand above all grants. They are text in the state, and
// what is compiled from it follows: a replay decides as it was decided then.

// SetPolicy replaces the operator's policies.
type SetPolicy struct {
	By      Principal                `json:"by"`
	Request northbound.PolicyRequest `json:"request"`
}

func (x *step) setPolicy(in *SetPolicy) (*northbound.Policy, error) {
	if err := operatorOnly(in.By, "set policies"); err != nil {
		return nil, err
	}
	set, err := policy.Parse(in.Request.Text)
	if err != nil {
		return nil, refuse(Invalid, "%v; try it with `dssn policy check`", err)
	}
	n, failures := set.Check()
	if len(failures) > 0 {
		return nil, refuse(Invalid, "%d of the policies' tests do not hold, the first: %s; see all with `dssn policy check`", len(failures), failures[0].Text)
	}
	p := &northbound.Policy{Text: in.Request.Text, Policies: set.IDs(), Tests: n, By: who(in.By), Since: x.now}
	x.s.Policy, x.policies, x.regrant = p, set, true
	x.decided("policy", p.By, p)
	x.event("policy", "", 0, "%s put %d policies in force, with %d tests that hold", p.By, len(p.Policies), n)
	return clonePolicy(p), nil
}

func clonePolicy(p *northbound.Policy) *northbound.Policy {
	if p == nil {
		return &northbound.Policy{Policies: []string{}}
	}
	c := *p
	c.Policies = append([]string{}, p.Policies...)
	return &c
}

// Policy returns the operator's policies; everybody may read what binds them.
func (c *Core) Policy() northbound.Policy { return *clonePolicy(c.s.Policy) }

// compilePolicy reads the policies of the state. What was taken could be read then;
// a snapshot whose policies cannot be read now is refused rather than let through.
func (c *Core) compilePolicy() error {
	if c.s.Policy == nil {
		return nil
	}
	set, err := policy.Parse(c.s.Policy.Text)
	if err != nil {
		return fmt.Errorf("read the policies of the snapshot: %w", err)
	}
	c.policies = set
	return nil
}

// forbidden says why the operator's policies do not let n reach id by g, empty if
// they do.
func (c *Core) forbidden(g *northbound.Grant, n *Node, id dssn.DataID) string {
	if c.policies == nil {
		return ""
	}
	roles := slices.Clone(n.Roles)
	if i := c.s.Institutions[n.Institution]; i != nil {
		roles = append(roles, i.Roles...)
	}
	return c.policies.Decide(policy.Request{
		Node: n.Name, Institution: n.Institution, Hub: n.Hub, Roles: roles, Data: id.String(), Owner: g.Owner,
		Grade: id.Grade().String(), Level: int64(id.Grade()), Category: id.Category().String(), Purpose: g.Purpose,
	}).Why
}

// Reach says whether a node can reach data now: by which grant, or why not.
func (c *Core) Reach(by Principal, q northbound.ReachRequest) (northbound.Reach, error) {
	d := c.s.Datasets[q.Data]
	if d == nil {
		return northbound.Reach{}, c.unknownData(q.Data)
	}
	n := c.s.Nodes[q.Node]
	if n == nil || !mayRead(by, n.Institution, d.Institution) {
		return northbound.Reach{}, refuse(Unknown, "no node that you may ask about is named %q: see `dssn status`", q.Node)
	}
	if slices.Contains(d.Holders, n.Name) {
		return northbound.Reach{Allowed: true, Detail: n.Name + " holds it"}, nil
	}
	if g := c.grantFor(n, q.Data); g != nil {
		return northbound.Reach{Allowed: true, Grant: g.ID, Rules: northbound.RulesOf(g),
			Detail: fmt.Sprintf("%s may reach it by the grant %s of %s until %s", n.Name, g.ID, g.Owner, untilOf(g).Format(time.RFC3339))}, nil
	}
	return northbound.Reach{Detail: c.noReach(n, d).Error()}, nil
}
