package core

import (
	"errors"
	"slices"
	"strings"

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

// loads are the committed rates: of each pair together, and on each link.
type loads struct {
	need map[string]dssn.Bandwidth // by pair
	link []dssn.Bandwidth
}

func (l *loads) add(p paths.Path, need dssn.Bandwidth) {
	for _, li := range p {
		l.link[li] += need
	}
}

func (l *loads) remove(p paths.Path, need dssn.Bandwidth) {
	for _, li := range p {
		l.link[li] -= need
	}
}

// free returns, per link, the capacity that no committed rate has taken,
// leaving the pair named skip out of account.
func (c *Core) free(l *loads, skip string) []dssn.Bandwidth {
	if p := c.s.Pairs[skip]; p != nil && l.need[skip] > 0 {
		links, _ := c.linksOf(p.Path)
		l.remove(links, l.need[skip])
		defer l.add(links, l.need[skip])
	}
	out := make([]dssn.Bandwidth, c.graph.NumLinks())
	for i := range out {
		if k := c.graph.Link(i); k.Usable() {
			out[i] = k.Capacity - min(l.link[i], k.Capacity)
		}
	}
	return out
}

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
		p, err := paths.Shortest(c.graph, u, v, paths.Constraint{})
		if err != nil {
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
		p, err := paths.Shortest(c.graph, u, v, limits)
		if err != nil {
			return nil, false
		}
		way, err := c.forwarding.f.Segments(p)
		if err == nil && len(way) <= dssn.MaxCarrierSIDs {
			return p, true
		}
		var un *paths.UnpinnableError
		bad := longestLink(c, p)
		if errors.As(err, &un) {
			for _, li := range p {
				if c.graph.LinkName(int(li)) == un.Link {
					bad = li
				}
			}
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

// route finds a path for a pair that can carry rate besides what others have
// committed: the present one if it can, else the shortest that can.
func (c *Core) route(l *loads, ingress, egress string, rate dssn.Bandwidth) (paths.Path, bool) {
	key := pairKey(ingress, egress)
	free := c.free(l, key)
	if p := c.s.Pairs[key]; p != nil {
		if links, ok := c.linksOf(p.Path); ok && c.pinnable(links) && minFree(links, free) >= rate {
			return links, true
		}
	}
	return c.choose(ingress, egress, paths.Constraint{MinFree: rate, Free: free})
}

// pinnable reports whether carriers can still express a path on the present
// forwarding.
func (c *Core) pinnable(p paths.Path) bool {
	if !c.steering() {
		u, v := c.graph.Link(int(p[0])).Src, c.graph.Link(int(p[len(p)-1])).Dst
		q, err := paths.Shortest(c.graph, u, v, paths.Constraint{})
		return err == nil && slices.Equal(p, q)
	}
	way, err := c.forwarding.f.Segments(p)
	return err == nil && len(way) <= dssn.MaxCarrierSIDs
}

func minFree(p paths.Path, free []dssn.Bandwidth) dssn.Bandwidth {
	least := dssn.Bandwidth(1<<64 - 1)
	for _, li := range p {
		least = min(least, free[li])
	}
	return least
}

// widest returns the path that can carry the most besides what others have
// committed, that rate, and the link that bounds it.
func (c *Core) widest(l *loads, ingress, egress string) (p paths.Path, rate dssn.Bandwidth, bottleneck string) {
	free := c.free(l, pairKey(ingress, egress))
	steps := slices.Clone(free)
	slices.Sort(steps)
	steps = slices.Compact(steps)
	lo, hi := 0, len(steps)-1
	for lo <= hi { // the largest step that some path can carry
		mid := (lo + hi) / 2
		if q, ok := c.choose(ingress, egress, paths.Constraint{MinFree: steps[mid], Free: free}); ok {
			p, rate, lo = q, steps[mid], mid+1
		} else {
			hi = mid - 1
		}
	}
	if p == nil {
		return nil, 0, ""
	}
	rate = minFree(p, free)
	for _, li := range p {
		if free[li] == rate {
			bottleneck = c.graph.LinkName(int(li))
			break
		}
	}
	return p, rate, bottleneck
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

// ensurePair keeps a pair's path while it works and carries what is committed,
// and finds another otherwise. A pair without any usable path keeps its last:
// nothing better is known, and links come back.
func (x *step) ensurePair(l *loads, ingress, egress string) {
	key := pairKey(ingress, egress)
	p := x.s.Pairs[key]
	if p == nil {
		p = &Pair{Ingress: ingress, Egress: egress}
		x.s.Pairs[key] = p
	}
	need := l.need[key]
	was, _ := x.linksOf(p.Path)
	links, ok := x.route(l, ingress, egress, need)
	fault := ""
	if !ok {
		_, rate, bottleneck := x.widest(l, ingress, egress)
		if old, works := x.linksOf(p.Path); works && x.pinnable(old) {
			links, ok = old, true
		} else {
			links, ok = x.choose(ingress, egress, paths.Constraint{})
		}
		if ok {
			fault = "only " + rate.String() + " of the committed " + need.String() + " fits: " + bottleneck + " is full"
		} else {
			fault = "no path leads from " + ingress + " to " + egress + " at present"
		}
	}
	if fault != p.Fault {
		if p.Fault = fault; fault != "" {
			x.tally.faulty[key] = true
			x.event("pair-degraded", ingress, 0, "from %s to %s: %s", ingress, egress, fault)
		} else {
			delete(x.tally.faulty, key)
			x.event("pair-restored", ingress, 0, "from %s to %s all is well again", ingress, egress)
		}
	}
	if !ok {
		return
	}
	if names := x.namesOf(links); !slices.Equal(names, p.Path) {
		if p.Path == nil {
			x.event("path-chosen", ingress, 0, "from %s to %s by %s", ingress, egress, strings.Join(names, " → "))
		} else {
			x.event("path-changed", ingress, 0, "from %s to %s by %s instead of %s", ingress, egress, strings.Join(names, " → "), strings.Join(p.Path, " → "))
		}
		p.Path = names
		x.rerouted(p)
		l.remove(was, need)
		l.add(links, need)
		x.touchNode(ingress)
	}
	if repairs := x.repairs(ingress, egress, links); !slices.EqualFunc(repairs, p.Repairs, slices.Equal[[]string]) {
		p.Repairs = repairs
		x.rerouted(p)
		x.touchNode(ingress)
	}
}

// carrier writes a path of names as an address; without steering it names the
// egress only.
func (c *Core) carrier(names []string) (dssn.Carrier, bool) {
	links, ok := c.linksOf(names)
	if ok && c.steering() {
		if way, err := c.forwarding.f.Segments(links); err == nil {
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
