package core

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// TunnelPort is the UDP port of every node's tunnels.
const TunnelPort = 51820

// setRelations takes what grants permit, and sorts it by the terminals that it
// concerns, each list in its fixed order.
func (x *step) setRelations(rel []relation) {
	was := x.relOf
	x.rel, x.relOf = rel, map[string][]relation{}
	for _, r := range rel {
		x.relOf[r.holder.Name] = append(x.relOf[r.holder.Name], r)
		x.relOf[r.consumer.Name] = append(x.relOf[r.consumer.Name], r)
	}
	for name, now := range x.relOf {
		if !slices.Equal(now, was[name]) {
			x.touchNode(name)
		}
	}
	for name := range was {
		if x.relOf[name] == nil {
			x.touchNode(name)
		}
	}
}

// assign compiles the assignments that may have changed (all where the graph
// has) and issues those whose content did: a generation grows only if there is
// something new in it.
func (x *step) assign() {
	x.retag()
	names := sortedKeys(x.touched)
	if x.rebuilt {
		names = sortedKeys(x.s.Nodes)
	}
	for _, name := range names {
		if n := x.s.Nodes[name]; n != nil {
			x.issue(name, x.compile(n))
		}
	}
}

func (x *step) issue(name string, a *southbound.Assignment) {
	b, err := json.Marshal(a)
	if err != nil {
		panic(fmt.Sprintf("the assignment of %s cannot be written: %v", name, err)) // plain data
	}
	sum := sha256.Sum256(b)
	digest := hex.EncodeToString(sum[:])
	was := x.s.Issued[name]
	if was == nil {
		was = &Issue{}
		x.s.Issued[name] = was
	}
	if was.Digest == digest {
		return
	}
	was.Generation, was.Digest = was.Generation+1, digest
	a.Generation = was.Generation
	x.assignments[name] = a
	x.effects = append(x.effects, Effect{Assignment: a})
}

// compile writes what n is told, generation 0. Lists are in a fixed order.
func (x *step) compile(n *Node) *southbound.Assignment {
	a := &southbound.Assignment{
		Node: n.Node, SID: n.SID, Block: x.s.Block, Steering: x.steering(),
		Neighbours: []southbound.Neighbour{}, Routes: []southbound.Route{},
		Peers: []southbound.Peer{}, Meters: []southbound.Meter{}, Permits: []southbound.Permit{},
	}
	u, placed := x.index[n.Name]
	if !placed {
		return a // a terminal that has no neighbour yet
	}
	for _, li := range x.graph.Out(u) {
		v := x.graph.Node(x.graph.Link(int(li)).Dst)
		if m := x.s.Nodes[v.Name]; m != nil {
			a.Neighbours = append(a.Neighbours, southbound.Neighbour{Node: m.Node, Name: m.Name, SID: m.SID, Terminal: m.Role == southbound.RoleTerminal})
		}
	}
	slices.SortFunc(a.Neighbours, func(p, q southbound.Neighbour) int { return p.Node.Compare(q.Node) })
	if n.Role == southbound.RoleTerminal {
		if hub := x.s.Nodes[n.Hub]; hub != nil {
			a.Routes = append(a.Routes, southbound.Route{Prefix: x.s.Block, Via: hub.Node})
		}
		x.tunnels(a, n)
		return a
	}
	a.Transit = x.transitOf(n.Name)
	x.routes(a, u)
	return a
}

// routes tells a backbone node how to reach the others, and the terminals behind
// it. Where some node cannot shift carriers, packets name the terminal only, and
// every node has a route to every terminal.
func (x *step) routes(a *southbound.Assignment, u int) {
	hops := make([]southbound.Route, x.backbone.NumNodes()) // the way to each backbone node, without its prefix
	for v := range hops {
		if v == u {
			continue
		}
		next := x.forwarding.f.NextHops(v)[u]
		if next < 0 {
			continue
		}
		via := x.backbone.Link(int(next)).Dst
		hops[v].Via = x.s.Nodes[x.backbone.Node(via).Name].Node
		if b := x.forwarding.alternate(u, v, via); b >= 0 {
			hops[v].Backup = x.s.Nodes[x.backbone.Node(b).Name].Node
		}
		if m := x.s.Nodes[x.backbone.Node(v).Name]; m != nil {
			r := hops[v]
			r.Prefix = m.SID.Locator(x.s.Block)
			a.Routes = append(a.Routes, r)
		}
	}
	add := func(v int) {
		m := x.s.Nodes[x.graph.Node(v).Name]
		hub, _, down := x.hubOf(v)
		r := hops[hub]
		if hub == u {
			r.Via = m.Node
		}
		if l := x.graph.Link(int(down)); l.Usable() && !r.Via.IsZero() {
			r.Prefix = m.SID.Locator(x.s.Block)
			a.Routes = append(a.Routes, r)
		}
	}
	if x.steering() {
		for _, li := range x.graph.Out(u) {
			if v := x.graph.Link(int(li)).Dst; v >= len(hops) {
				add(v)
			}
		}
	} else {
		for v := len(hops); v < x.graph.NumNodes(); v++ {
			add(v)
		}
	}
	slices.SortFunc(a.Routes, func(p, q southbound.Route) int { return comparePrefix(p.Prefix, q.Prefix) })
}

// tunnels adds peers, meters and permits: what a terminal may reach, and who
// may reach it.
func (x *step) tunnels(a *southbound.Assignment, n *Node) {
	allowed := map[string][]netip.Prefix{}
	for _, r := range x.relOf[n.Name] {
		data := r.dataset.Record.ID.Prefix()
		switch n.Name {
		case r.consumer.Name:
			allowed[r.holder.Name] = append(allowed[r.holder.Name], data)
		case r.holder.Name:
			if _, known := allowed[r.consumer.Name]; !known {
				allowed[r.consumer.Name] = nil
			}
			a.Permits = append(a.Permits, permitOf(r))
		}
	}
	for _, name := range sortedKeys(allowed) {
		m := x.s.Nodes[name]
		p := southbound.Peer{
			Node: m.Node, Name: m.Name, SID: m.SID, TunnelKey: m.TunnelKey, PresharedKey: x.presharedKey(n, m), Port: TunnelPort, Suite: suite(n, m), Lanes: lanes(n, m),
			Allowed: append([]netip.Prefix{netip.PrefixFrom(m.Node.Addr(), 128)}, allowed[name]...),
			Paths:   x.pathsTo(n.Name, name),
		}
		if pair := x.s.Pairs[pairKey(n.Name, name)]; pair != nil && pair.Spread {
			p.Lanes = spreadLanes(p.Lanes)
		}
		if len(p.Paths) == 0 {
			continue // there has never been a way; nothing could be sent
		}
		slices.SortFunc(p.Allowed, comparePrefix)
		a.Peers = append(a.Peers, p)
	}
	for _, r := range x.meters(n.Name) {
		m := southbound.Meter{
			Reservation: r.ID, From: r.From, To: r.To, Ingress: r.Ingress == n.Name, Class: r.Class,
			Committed: committedAt(r, x.s.Now), Ceiling: ceilingAt(r, x.s.Now), Allocated: r.Allocated, Burst: burst(r),
		}
		if m.Ingress {
			m.Parts, m.Tag = r.Parts, x.s.Tags[r.ID]
		}
		a.Meters = append(a.Meters, m)
	}
}

// permitOf is what the holder of a relation is told.
func permitOf(r relation) southbound.Permit {
	p := southbound.Permit{Data: r.dataset.Record.ID.Prefix(), To: r.consumer.Node, Until: r.until}
	if limit := r.grant.Terms.Transfers; limit > 0 {
		p.Grant, p.Limit, p.Begun = r.grant.ID, limit, slices.Clone(r.grant.Begun)
	}
	return p
}

func comparePrefix(p, q netip.Prefix) int {
	if c := p.Addr().Compare(q.Addr()); c != 0 {
		return c
	}
	return p.Bits() - q.Bits()
}

// burst is the policer's depth: what was asked for, or burstTime at the
// allocated rate (assuredBurst at the committed one), at least minBurst.
func burst(r *Reservation) dssn.ByteCount {
	if r.Burst != 0 {
		return r.Burst
	}
	if r.Bounded {
		return max(minBurst, r.Committed.BytesIn(assuredBurst))
	}
	return max(minBurst, r.Allocated.BytesIn(burstTime))
}

// pathsTo lists the ways from one edge to another in order of preference, each
// with its way back.
func (x *step) pathsTo(from, to string) (out []southbound.Path) {
	pair := x.s.Pairs[pairKey(from, to)]
	if pair == nil || pair.Path == nil {
		return nil
	}
	for _, names := range append([][]string{pair.Path}, pair.Repairs...) {
		car, ok := x.carrier(names)
		back := slices.Clone(names)
		slices.Reverse(back)
		ret, ok2 := x.carrier(back)
		if !ok || !ok2 {
			continue
		}
		links, _ := x.linksOf(names)
		var micros int64
		for _, li := range links {
			micros += x.graph.Link(int(li)).LatencyMicros
		}
		p := southbound.Path{Carrier: car, Return: ret, Hops: names, Latency: time.Duration(micros) * time.Microsecond}
		for _, name := range names {
			if n := x.s.Nodes[name]; n != nil {
				p.SIDs = append(p.SIDs, n.SID)
			}
		}
		if !slices.ContainsFunc(out, func(o southbound.Path) bool { return o.Carrier == car }) {
			out = append(out, p)
		}
	}
	return out
}

// suite is what seals the packets between two nodes: AES-256-GCM where both have
// instructions for it, WireGuard's own suite otherwise. A change of features is
// one step, so both ends are told at the same time.
func suite(a, b *Node) southbound.Suite {
	if a.Features.AES256GCM && b.Features.AES256GCM {
		return southbound.SuiteAES256GCM
	}
	return southbound.SuiteChaCha20Poly1305
}

// lanes join the workers of a to those of b, so that every worker has at least one;
// none if both have one worker only or either knows no lanes. Seen from b they are
// the same lanes in the same order.
func lanes(a, b *Node) (out []southbound.Lane) {
	here, there := min(a.Features.Workers, southbound.MaxWorkers), min(b.Features.Workers, southbound.MaxWorkers)
	if here < 1 || there < 1 || here*there == 1 {
		return nil
	}
	for k := range max(here, there) {
		out = append(out, southbound.Lane{Here: k % here, There: k % there})
	}
	return out
}

// presharedKey is the secret of two nodes, the same for both: HMAC-SHA-256 of
// their identity keys under the controller's secret. New identities give new keys.
func (c *Core) presharedKey(a, b *Node) southbound.Key {
	if a.Node.Compare(b.Node) > 0 {
		a, b = b, a
	}
	m := hmac.New(sha256.New, c.s.Secret)
	m.Write([]byte("dssn preshared key"))
	m.Write(a.Key)
	m.Write(b.Key)
	return m.Sum(nil)
}

// Assignment returns the newest assignment of a node, or nil.
func (c *Core) Assignment(name string) *southbound.Assignment { return c.assignments[name] }

// view returns a reservation as people see it.
func (c *Core) view(r *Reservation) *northbound.Reservation {
	v := r.Reservation
	v.Burst, v.Parts = burst(r), slices.Clone(r.Parts)
	if !ended(r) {
		v.Ceiling = ceilingAt(r, c.s.Now)
	}
	if pair := c.s.Pairs[pairKey(r.Ingress, r.Egress)]; pair != nil && !ended(r) {
		if pair.Fault != "" && (r.State == northbound.StateReserved || r.State == northbound.StateHeld) {
			v.Reason = "at risk: " + pair.Fault
		}
		v.Path, v.Repairs = slices.Clone(pair.Path), slices.Clone(pair.Repairs)
		if links, _ := c.linksOf(pair.Path); links != nil {
			v.Latency = links.Latency(c.graph)
		}
	}
	return &v
}
