package core

import (
	"errors"
	"slices"
	"strings"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
	"dssn/topology/paths"
)

// maxRepairs is how many further paths an edge is told.
const maxRepairs = 2

func pairKey(ingress, egress string) string { return ingress + ">" + egress }

// live reports whether a reservation takes part in sharing.
func live(r *Reservation) bool {
	return r.State == northbound.StateActive || r.State == northbound.StateDegraded
}

func ended(r *Reservation) bool { return r.State == northbound.StateTerminated }

// booked reports whether a reservation's committed rate is taken on its path.
func booked(r *Reservation) bool { return !ended(r) && !r.Implicit }

// linksOf finds the links of a path of names; ok is false where one is missing
// or not usable.
func (c *Core) linksOf(names []string) (p paths.Path, ok bool) {
	ok = len(names) > 1
	for i := 1; i < len(names); i++ {
		u, ok1 := c.index[names[i-1]]
		v, ok2 := c.index[names[i]]
		if !ok1 || !ok2 {
			return p, false
		}
		li, has := c.graph.LinkBetween(u, v)
		if !has {
			return p, false
		}
		l := c.graph.Link(li)
		ok = ok && l.Usable()
		p = append(p, int32(li))
	}
	return p, ok
}

func (c *Core) namesOf(p paths.Path) (names []string) {
	for _, u := range p.Nodes(c.graph) {
		names = append(names, c.graph.Node(u).Name)
	}
	return names
}

// steering reports whether every node can take part in path steering; if not,
// every path is the shortest one. It is found out when the graph is made: every
// change of nodes and features makes a new one.
func (c *Core) steering() bool { return c.steers }

func (c *Core) canSteer() bool {
	for _, n := range c.s.Nodes {
		if n.Role == southbound.RoleBackbone && !n.Features.NextCSID || n.Role == southbound.RoleTerminal && !n.Features.CarrierEgress {
			return false
		}
	}
	return true
}

// choose returns the shortest path under limits that a carrier can pin. A link
// that node segments cannot express is left out and another path sought.
func (c *Core) choose(ingress, egress string, limits paths.Constraint) (paths.Path, bool) {
	u, ok1 := c.index[ingress]
	v, ok2 := c.index[egress]
	if !ok1 || !ok2 || u == v {
		return nil, false
	}
	if !c.steering() {
		// Packets follow the forwarding whatever is wished: only that path counts.
		p, ok := c.shortest(u, v, paths.Constraint{})
		if !ok {
			return nil, false
		}
		for _, li := range p {
			if limits.Free != nil && limits.Free[li] < limits.MinFree || slices.Contains(limits.AvoidLinks, li) {
				return nil, false
			}
		}
		return p, true
	}
	limits.AvoidLinks = slices.Clone(limits.AvoidLinks)
	for range 64 {
		p, ok := c.shortest(u, v, limits)
		if !ok {
			return nil, false
		}
		way, err := c.segments(p)
		if err == nil && len(way) <= dssn.MaxCarrierSIDs {
			return p, true
		}
		mid, _ := c.inner(p)
		if len(mid) == 0 {
			return nil, false
		}
		var un *paths.UnpinnableError
		bad := longestLink(c, mid)
		if errors.As(err, &un) {
			bad = un.Index
		}
		limits.AvoidLinks = append(limits.AvoidLinks, bad)
	}
	return nil, false
}

func longestLink(c *Core, p paths.Path) (worst int32) {
	worst = p[0]
	for _, li := range p {
		if c.graph.Link(int(li)).LatencyMicros > c.graph.Link(int(worst)).LatencyMicros {
			worst = li
		}
	}
	return worst
}

// pinnable reports whether carriers can still express a path on the present
// forwarding.
func (c *Core) pinnable(p paths.Path) bool {
	if !c.steering() {
		u, v := c.graph.Link(int(p[0])).Src, c.graph.Link(int(p[len(p)-1])).Dst
		q, ok := c.shortest(u, v, paths.Constraint{})
		return ok && slices.Equal(p, q)
	}
	way, err := c.segments(p)
	return err == nil && len(way) <= dssn.MaxCarrierSIDs
}

// repairs returns further paths beside p: first one that shares no backbone
// node or link with it but the hubs of both edges, then ones that share no link
// with those before.
func (c *Core) repairs(ingress, egress string, p paths.Path) (out [][]string) {
	if !c.steering() || len(p) < 3 {
		return nil
	}
	inner := p[1 : len(p)-1] // the access links have no alternative
	var nodes []int32
	for _, li := range inner[:len(inner)-1] {
		nodes = append(nodes, int32(c.graph.Link(int(li)).Dst))
	}
	avoid := slices.Clone(inner)
	try := func(k paths.Constraint) {
		q, ok := c.choose(ingress, egress, k)
		if !ok || len(out) == maxRepairs {
			return
		}
		names := c.namesOf(q)
		if slices.ContainsFunc(out, func(o []string) bool { return slices.Equal(o, names) }) {
			return
		}
		out = append(out, names)
		avoid = append(avoid, q[1:len(q)-1]...)
	}
	try(paths.Constraint{AvoidNodes: nodes, AvoidLinks: slices.Clone(avoid)})
	try(paths.Constraint{AvoidLinks: slices.Clone(avoid)})
	try(paths.Constraint{AvoidLinks: slices.Clone(inner)})
	return out
}

// ensurePair keeps a pair's path while it works and carries what the pair is
// promised, now and later, and finds another otherwise. It returns false, having
// changed nothing, where no path does although one leads there; give in to have the
// best that is left, and the fault said. A pair without any usable path keeps its
// last: nothing better is known, and links come back.
func (x *step) ensurePair(p *promises, ingress, egress string, giveIn bool) bool {
	key := pairKey(ingress, egress)
	cl := &claim{ingress: ingress, egress: egress}
	links, ok := x.route(p, cl, 0)
	fault := ""
	if !ok {
		any, leads := x.choose(ingress, egress, paths.Constraint{})
		if leads && !giveIn && len(p.of[key]) > 0 {
			return false
		}
		if links, fault = x.makeDo(p, cl, any); leads {
			ok = true
		}
	}
	pair := x.s.Pairs[key]
	if pair == nil {
		pair = &Pair{Ingress: ingress, Egress: egress}
		x.s.Pairs[key] = pair
	}
	if fault != pair.Fault {
		if pair.Fault = fault; fault != "" {
			x.tally.faulty[key] = true
			x.event("pair-degraded", ingress, 0, "from %s to %s: %s", ingress, egress, fault)
		} else {
			delete(x.tally.faulty, key)
			x.event("pair-restored", ingress, 0, "from %s to %s all is well again", ingress, egress)
		}
	}
	if !ok {
		return true
	}
	if names := x.namesOf(links); !slices.Equal(names, pair.Path) {
		if pair.Path == nil {
			x.event("path-chosen", ingress, 0, "from %s to %s by %s", ingress, egress, strings.Join(names, " → "))
		} else {
			x.event("path-changed", ingress, 0, "from %s to %s by %s instead of %s", ingress, egress, strings.Join(names, " → "), strings.Join(pair.Path, " → "))
		}
		// A path that is left because it fails, or to those who rank above, is left at once.
		x.without(p, key, func() { pair.Path, pair.Leaving = names, nil })
		x.rerouted(pair)
		x.moves = true
		x.s.Promises++
		x.touchNode(ingress)
	}
	if repairs := x.repairs(ingress, egress, links); !slices.EqualFunc(repairs, pair.Repairs, slices.Equal[[]string]) {
		pair.Repairs = repairs
		x.rerouted(pair)
		x.touchNode(ingress)
	}
	return true
}

// makeDo finds the path that serves a pair best where none carries all that it is
// promised, and says what is missing: one that carries what is owed now, else the
// present one if it works, else any.
func (x *step) makeDo(p *promises, cl *claim, any paths.Path) (paths.Path, string) {
	if any == nil {
		return nil, "no path leads from " + cl.ingress + " to " + cl.egress + " at present"
	}
	var owed dssn.Bandwidth
	var later time.Time
	for id := range p.of[cl.key()] {
		r := x.s.Reservations[id]
		owed += committedAt(r, x.now)
		if r.Start.After(x.now) && (later.IsZero() || r.Start.Before(later)) {
			later = r.Start
		}
	}
	// What is owed in this second, and nothing else of the pair.
	bare := &claim{ingress: cl.ingress, egress: cl.egress, start: x.now.Unix(), end: x.now.Unix() + 1}
	var best paths.Path
	var rate dssn.Bandwidth
	var bottleneck string
	x.without(p, cl.key(), func() {
		if links, ok := x.route(p, bare, owed); ok {
			best, rate = links, owed
			return
		}
		_, rate, bottleneck = x.widest(p, bare)
	})
	switch pair := x.s.Pairs[cl.key()]; {
	case best != nil && !later.IsZero():
		return best, "what is promised from " + later.Format(time.RFC3339) + " on does not fit at present"
	case best != nil:
		return best, "what is promised for later does not fit at present"
	case pair != nil:
		if old, works := x.linksOf(pair.Path); works && x.pinnable(old) {
			any = old
		}
	}
	return any, "only " + rate.String() + " of the committed " + owed.String() + " fits: " + bottleneck + " is full"
}

// carrier writes a path of names as an address; without steering it names the
// egress only.
func (c *Core) carrier(names []string) (dssn.Carrier, bool) {
	links, ok := c.linksOf(names)
	if ok && c.steering() {
		if way, err := c.segments(links); err == nil {
			if car, err := paths.Carrier(c.graph, c.s.Block, way); err == nil {
				return car, true
			}
		}
	}
	n := c.s.Nodes[names[len(names)-1]]
	if n == nil {
		return dssn.Carrier{}, false
	}
	car, err := dssn.NewCarrier(c.s.Block, n.SID)
	return car, err == nil
}
