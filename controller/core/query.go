package core

import (
	"slices"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
	"dssn/topology"
)

// Institutions lists the registered institutions by name.
func (c *Core) Institutions() (out []northbound.Institution) {
	for _, name := range sortedKeys(c.s.Institutions) {
		out = append(out, *c.s.Institutions[name])
	}
	return out
}

// Datasets lists the catalogue by identifier.
func (c *Core) Datasets() (out []northbound.Dataset) {
	for _, id := range sortedKeys(c.s.Datasets) {
		out = append(out, *cloneDataset(c.s.Datasets[id]))
	}
	return out
}

// Dataset returns one catalogue entry.
func (c *Core) Dataset(id dssn.DataID) (northbound.Dataset, error) {
	if d := c.s.Datasets[id]; d != nil {
		return *cloneDataset(d), nil
	}
	return northbound.Dataset{}, c.unknownData(id)
}

// Resolve says who holds id, if the asker may have it.
func (c *Core) Resolve(by Principal, id dssn.DataID) (northbound.Resolution, error) {
	d := c.s.Datasets[id]
	if d == nil {
		return northbound.Resolution{}, c.unknownData(id)
	}
	r := northbound.Resolution{Dataset: *cloneDataset(d)}
	n := c.s.Nodes[by.Node]
	if n == nil || n.Institution == d.Institution && slices.Contains(d.Holders, n.Name) {
		if n == nil && !by.Operator && by.Institution != d.Institution {
			return northbound.Resolution{}, c.noGrant(who(by), by.Institution, d)
		}
		if len(d.Holders) > 0 {
			r.Holder = d.Holders[0]
			if n != nil {
				r.Holder = n.Name
			}
			r.HolderNode = c.s.Nodes[r.Holder].Node
		}
		return r, nil
	}
	g := c.grantFor(n, id)
	if g == nil {
		return northbound.Resolution{}, c.noReach(n, d)
	}
	h := c.source(d, n)
	if h == nil {
		return northbound.Resolution{}, refuse(Conflict, "no terminal holds %s at present: ask its owner %s", id, d.Institution)
	}
	r.Holder, r.HolderNode, r.Grant, r.Until = h.Name, h.Node, g.ID, g.Until
	for _, key := range sortedKeys(c.tally.at[n.Name]) {
		res := c.s.Reservations[key]
		if res.Data == id && res.Ingress == h.Name && res.Egress == n.Name && (r.Route == nil || r.Route.Implicit) {
			r.Route = c.view(res)
		}
	}
	if r.Route != nil {
		r.Path, r.Latency = r.Route.Path, r.Route.Latency
	}
	return r, nil
}

// mayRead reports whether a principal may see what concerns an institution.
func mayRead(by Principal, institutions ...string) bool {
	return by.Operator || slices.Contains(institutions, by.Institution)
}

// Grants lists the grants that concern the asker.
func (c *Core) Grants(by Principal) (out []northbound.Grant) {
	for _, id := range sortedKeys(c.s.Grants) {
		if g := c.s.Grants[id]; c.mayReadGrant(by, g) {
			out = append(out, *g)
		}
	}
	return out
}

// mayReadGrant: its owner, and whom it is for.
func (c *Core) mayReadGrant(by Principal, g *northbound.Grant) bool {
	if i := c.s.Institutions[by.Institution]; g.ToRole != "" && i != nil && slices.Contains(i.Roles, g.ToRole) {
		return true
	}
	return mayRead(by, g.Owner, g.To)
}

// Reservations lists the reservations that concern the asker, by number.
func (c *Core) Reservations(by Principal) (out []northbound.Reservation) {
	for _, id := range sortedKeys(c.s.Reservations) {
		if r := c.s.Reservations[id]; mayRead(by, r.Institution) {
			out = append(out, *c.view(r))
		}
	}
	return out
}

// Reservation returns one reservation.
func (c *Core) Reservation(by Principal, id dssn.ReservationID) (northbound.Reservation, error) {
	r := c.s.Reservations[id]
	if r == nil || !mayRead(by, r.Institution) {
		return northbound.Reservation{}, refuse(Unknown, "no reservation of yours is called %s: see `dssn reservations`", id)
	}
	return *c.view(r), nil
}

// Usage is what both ends metered, as far as it concerns the asker.
func (c *Core) Usage(by Principal) northbound.Usage {
	u := northbound.Usage{Reservations: []northbound.ReservationUsage{}, Transfers: []northbound.Transfer{}}
	for _, id := range sortedKeys(c.s.Reservations) {
		r := c.s.Reservations[id]
		owner := ""
		if d := c.s.Datasets[r.Data]; d != nil {
			owner = d.Institution
		}
		if mayRead(by, r.Institution, owner) {
			u.Reservations = append(u.Reservations, c.usageOf(r))
		}
	}
	for _, id := range sortedKeys(c.s.Transfers) {
		if t := c.s.Transfers[id]; mayRead(by, t.Owner, t.Payer) {
			u.Transfers = append(u.Transfers, *t)
		}
	}
	slices.SortStableFunc(u.Transfers, func(a, b northbound.Transfer) int { return a.Started.Compare(b.Started) })
	return u
}

func (c *Core) usageOf(r *Reservation) northbound.ReservationUsage {
	u := northbound.ReservationUsage{Reservation: r.ID, Institution: r.Institution, Implicit: r.Implicit, Data: r.Data,
		Ingress: c.count(r.Ingress, r.ID), Egress: c.count(r.Egress, r.ID)}
	if u.Ingress.SentPackets > u.Egress.ReceivedPackets {
		u.LostPackets = u.Ingress.SentPackets - u.Egress.ReceivedPackets
	}
	if u.Ingress.SentBytes > u.Egress.ReceivedBytes {
		u.LostBytes = u.Ingress.SentBytes - u.Egress.ReceivedBytes
	}
	return u
}

// count adds a node's counters of a reservation over all epochs.
func (c *Core) count(node string, id dssn.ReservationID) northbound.Count {
	var sum southbound.Count
	for _, e := range c.s.Counters[node] {
		sum = added(sum, e.Counts[id])
	}
	return northbound.Count{Node: node,
		SentPackets: sum.SentPackets, SentBytes: sum.SentBytes,
		PolicedPackets: sum.PolicedPackets, PolicedBytes: sum.PolicedBytes,
		ReceivedPackets: sum.ReceivedPackets, ReceivedBytes: sum.ReceivedBytes,
	}
}

// Events lists what happened from a sequence number on, oldest first.
func (c *Core) Events(by Principal, after int64, limit int) (out []northbound.Event) {
	for _, e := range c.s.Events {
		if e.Sequence <= after {
			continue
		}
		if !by.Operator && !c.concerns(by, e) {
			continue
		}
		if out = append(out, e); limit > 0 && len(out) == limit {
			break
		}
	}
	return out
}

func (c *Core) concerns(by Principal, e northbound.Event) bool {
	if r := c.s.Reservations[e.Reservation]; r != nil {
		return r.Institution == by.Institution
	}
	n := c.s.Nodes[e.Node]
	return n != nil && n.Institution == by.Institution
}

// Status fills in what the core knows of the network; what is live (who is
// connected, what the probes see) is the shell's to add.
func (c *Core) Status(by Principal) northbound.Status {
	s := northbound.Status{Now: c.s.Now, Block: c.s.Block, Operator: c.s.Operator, LogSize: c.s.Leaves,
		Institutions: []northbound.Institution{}, Nodes: []northbound.Node{}, Links: []northbound.Link{}, Datasets: len(c.s.Datasets)}
	if c.graph == nil {
		return s
	}
	s.Network = c.graph.Name
	for _, i := range c.Institutions() {
		if mayRead(by, i.Name) {
			s.Institutions = append(s.Institutions, i)
		}
	}
	for _, name := range sortedKeys(c.s.Nodes) {
		n := c.s.Nodes[name]
		if !mayRead(by, n.Institution) {
			continue
		}
		v := northbound.Node{Name: n.Name, Node: n.Node, Role: n.Role, Institution: n.Institution, SID: n.SID, Hub: n.Hub, Features: n.Features, Joined: n.Joined}
		if is := c.s.Issued[name]; is != nil {
			v.Issued = is.Generation
		}
		s.Nodes = append(s.Nodes, v)
	}
	for _, g := range c.s.Grants {
		if g.Ended.IsZero() && c.mayReadGrant(by, g) {
			s.Grants++
		}
	}
	for _, r := range c.s.Reservations {
		if !ended(r) && mayRead(by, r.Institution) {
			s.Reservations++
		}
	}
	if by.Operator {
		s.Links = c.links()
	}
	return s
}

func (c *Core) links() []northbound.Link {
	committed, allocated := make([]dssn.Bandwidth, c.graph.NumLinks()), make([]dssn.Bandwidth, c.graph.NumLinks())
	for _, id := range c.tally.open {
		r := c.s.Reservations[id]
		pair := c.s.Pairs[pairKey(r.Ingress, r.Egress)]
		if pair == nil {
			continue
		}
		rate := r.Allocated
		if r.Implicit && c.tally.replaced[flowKey(r)] > 0 {
			rate = 0
		}
		if len(r.Parts) > 0 && len(pair.Repairs) > 0 {
			second, _ := c.linksOf(pair.Repairs[0])
			for _, li := range second {
				allocated[li] += r.Parts[1]
			}
			rate = r.Parts[0]
		}
		links, _ := c.linksOf(pair.Path)
		for _, li := range links {
			committed[li] += committedAt(r, c.s.Now)
			allocated[li] += rate
		}
	}
	out := []northbound.Link{}
	for i := range c.graph.NumLinks() {
		l := c.graph.Link(i)
		n := c.graph.Node(l.Src)
		m := c.graph.Node(l.Dst)
		out = append(out, northbound.Link{Name: c.graph.LinkName(i), From: n.Name, To: m.Name, Up: l.Usable(), Capacity: l.Capacity,
			Access: c.isTerminal(n) || c.isTerminal(m), Committed: committed[i], Allocated: allocated[i], Latency: time.Duration(l.LatencyMicros) * time.Microsecond})
	}
	return out
}

func (c *Core) isTerminal(n topology.Node) bool {
	m := c.s.Nodes[n.Name]
	return m != nil && m.Role == southbound.RoleTerminal
}

// HopsOf returns the node names of one of an edge's paths by its carrier, or nil.
func (c *Core) HopsOf(node string, peer dssn.NodeID, car dssn.Carrier) (name string, hops []string) {
	p := c.nodeByID(peer)
	a := c.assignments[node]
	if p == nil || a == nil {
		return "", nil
	}
	for _, q := range a.Peers {
		if q.Node != peer {
			continue
		}
		for _, path := range q.Paths {
			if path.Carrier == car {
				return p.Name, path.Hops
			}
		}
	}
	return p.Name, nil
}

// SuiteOf returns what seals the packets between a node and a peer.
func (c *Core) SuiteOf(node string, peer dssn.NodeID) southbound.Suite {
	n, p := c.s.Nodes[node], c.nodeByID(peer)
	if n == nil || p == nil {
		return southbound.SuiteChaCha20Poly1305
	}
	return suite(n, p)
}

// NodeName returns the name of a node, or "".
func (c *Core) NodeName(id dssn.NodeID) string {
	if n := c.nodeByID(id); n != nil {
		return n.Name
	}
	return ""
}

// Configured reports whether the network is already as in says.
func (c *Core) Configured(in Configure) bool {
	return c.s.Topology == in.Topology && c.s.Block == in.Block.Masked() && c.s.Operator == in.Operator.Masked()
}

// NodeRole returns the role of a node by its name.
func (c *Core) NodeRole(name string) (southbound.Role, bool) {
	n := c.s.Nodes[name]
	if n == nil {
		return "", false
	}
	return n.Role, true
}

// OldestEvent is the number of the oldest event that is remembered; of the next
// one where none is.
func (c *Core) OldestEvent() int64 {
	if len(c.s.Events) == 0 {
		return c.s.EventCount + 1
	}
	return c.s.Events[0].Sequence
}
