package core

import (
	"maps"
	"math"
	"slices"
	"time"

	"dssn"
	"dssn/controller/southbound"
	"dssn/topology"
	"dssn/topology/paths"
)

// accessLatencyMicros is what an access link is taken to add, one way.
const accessLatencyMicros = 50

// rebuild makes the graph: the topology's nodes and links, and each terminal
// with its access link. A link is up when both ends have joined and each sees
// the other.
func (x *step) rebuild() {
	base := x.baseGraph()
	nodes, links := slices.Clone(base.Nodes()), slices.Clone(base.Links())
	for i := range nodes {
		if n := x.s.Nodes[nodes[i].Name]; n != nil {
			nodes[i].SID = n.SID
		}
	}
	index := map[string]int{}
	for i, n := range nodes {
		index[n.Name] = i
	}
	for _, name := range sortedKeys(x.s.Nodes) {
		n := x.s.Nodes[name]
		hub, ok := index[n.Hub]
		if n.Role != southbound.RoleTerminal || !ok {
			continue
		}
		i := len(nodes)
		index[name] = i
		nodes = append(nodes, topology.Node{Name: name, SID: n.SID})
		links = append(links,
			topology.Link{Src: i, Dst: hub, Capacity: n.Access, LatencyMicros: accessLatencyMicros},
			topology.Link{Src: hub, Dst: i, Capacity: n.Access, LatencyMicros: accessLatencyMicros})
	}
	was := map[string]bool{}
	if x.graph != nil {
		for i := range x.graph.NumLinks() {
			was[x.graph.LinkName(i)] = !x.graph.Link(i).Down
		}
	}
	for i := range links {
		l := &links[i]
		l.Down = !x.adjacent(nodes[l.Src].Name, nodes[l.Dst].Name)
	}
	g, err := topology.Build(base.Name, nodes, links)
	if err != nil {
		// SIDs, names and capacities were checked as they came in.
		panic("the network cannot be joined: " + err.Error())
	}
	for i := range g.NumLinks() {
		if x.graph == nil {
			break // a new network has no working links; a restored one has said so before
		}
		name, l := g.LinkName(i), g.Link(i)
		if l.Src < l.Dst && was[name] == l.Down { // both directions go together: say it once
			if !l.Down {
				x.event("link-up", "", 0, "the link %s works", name)
			} else {
				x.event("link-down", "", 0, "the link %s does not work: %s", name, x.whyDown(g.Node(l.Src).Name, g.Node(l.Dst).Name))
			}
		}
	}
	x.graph, x.index, x.forwarding, x.steers = g, index, newForwarding(g), x.canSteer()
	x.rebuilt = true
}

// baseGraph returns the configured topology, read once.
func (c *Core) baseGraph() *topology.Graph {
	if c.base == nil || c.baseText != c.s.Topology {
		g, err := topology.Read([]byte(c.s.Topology))
		if err != nil {
			panic("the configured topology does not read: " + err.Error()) // configure has read it
		}
		c.base, c.baseText = g, c.s.Topology
	}
	return c.base
}

func (c *Core) adjacent(a, b string) bool {
	na, nb := c.s.Nodes[a], c.s.Nodes[b]
	return na != nil && nb != nil && na.Neighbours[b] && nb.Neighbours[a]
}

func (c *Core) whyDown(a, b string) string {
	na, nb := c.s.Nodes[a], c.s.Nodes[b]
	switch {
	case na == nil:
		return a + " is not a member"
	case nb == nil:
		return b + " is not a member"
	case !na.Neighbours[b] && !nb.Neighbours[a]:
		return "neither end sees the other"
	case !na.Neighbours[b]:
		return a + " does not see " + b
	}
	return b + " does not see " + a
}

// Redundant reports whether an input would change nothing, so that it need not
// be journaled: a node repeats its adjacencies and features whenever it attaches.
func (c *Core) Redundant(in Input) bool {
	switch {
	case in.Adjacencies != nil:
		n := c.s.Nodes[in.Adjacencies.Node]
		return n != nil && maps.Equal(n.Neighbours, neighbours(in.Adjacencies.Links)) && (n.Role != southbound.RoleTerminal || n.Hub != "")
	case in.Hello != nil:
		n := c.s.Nodes[in.Hello.Node]
		return n != nil && n.Features == in.Hello.Features
	case in.PathUse != nil:
		n, p := c.s.Nodes[in.PathUse.Node], c.nodeByID(in.PathUse.Peer)
		return n == nil || p == nil || n.InUse[p.Name] == in.PathUse.Carrier
	}
	return false
}

func neighbours(links []southbound.Adjacency) map[string]bool {
	up := map[string]bool{}
	for _, l := range links {
		if l.Up && l.Neighbour != "" {
			up[l.Neighbour] = true
		}
	}
	return up
}

func (x *step) hello(in *Hello) error {
	n := x.s.Nodes[in.Node]
	if n == nil {
		return refuse(Unknown, "no node is named %q: join first", in.Node)
	}
	if n.Features != in.Features {
		n.Features = in.Features
		x.relink = true // carriers depend on who can steer
		x.event("features-changed", n.Name, 0, "%s now says: next-csid %v, carrier-egress %v, AES-256-GCM %v, %d workers %s", n.Name, in.Features.NextCSID, in.Features.CarrierEgress, in.Features.AES256GCM, in.Features.Workers, in.Features.Why)
	}
	return nil
}

// adjacencies takes what a node sees of its neighbours. A terminal's first
// neighbour among the backbone becomes its hub.
func (x *step) adjacencies(in *Adjacencies) error {
	n := x.s.Nodes[in.Node]
	if n == nil {
		return refuse(Unknown, "no node is named %q: join first", in.Node)
	}
	up := neighbours(in.Links)
	if maps.Equal(up, n.Neighbours) && (n.Role != southbound.RoleTerminal || n.Hub != "") {
		return nil
	}
	n.Neighbours = up
	if n.Role == southbound.RoleTerminal && n.Hub == "" {
		for _, name := range sortedKeys(up) {
			if _, isHub := x.index[name]; isHub && (x.s.Nodes[name] == nil || x.s.Nodes[name].Role == southbound.RoleBackbone) {
				n.Hub = name
				x.event("access-added", n.Name, 0, "%s is behind %s with %s", n.Name, n.Hub, n.Access)
				break
			}
		}
	}
	x.relink = true
	return nil
}

// pathUse remembers that an edge moved.
func (x *step) pathUse(in *PathUse) error {
	n, p := x.s.Nodes[in.Node], x.nodeByID(in.Peer)
	if n == nil || p == nil {
		return refuse(Unknown, "the path belongs to no known pair of nodes")
	}
	if n.InUse == nil {
		n.InUse = map[string]dssn.Carrier{}
	}
	if old, had := n.InUse[p.Name]; had && old != in.Carrier {
		x.event("path-taken", n.Name, 0, "%s moved its traffic to %s from %s to %s", n.Name, p.Name, old, in.Carrier)
	}
	n.InUse[p.Name] = in.Carrier
	return nil
}

// forwarding is the network's next hops and distances, each computed when asked for.
type forwarding struct {
	g    *topology.Graph
	f    *paths.Forwarding
	dist map[int][]int64 // by destination: composite distance of every node, -1 unreachable
}

func newForwarding(g *topology.Graph) *forwarding {
	return &forwarding{g: g, f: paths.NewForwarding(g), dist: map[int][]int64{}}
}

// hopUnit lets hops break ties of latency: the distance is microseconds times
// this plus hops, exact for paths below 2^20 hops.
const hopUnit = 1 << 20

// distances returns every node's distance to dst along the forwarding.
func (f *forwarding) distances(dst int) []int64 {
	if d := f.dist[dst]; d != nil {
		return d
	}
	next := f.f.NextHops(dst)
	d := make([]int64, len(next))
	for i := range d {
		d[i] = math.MinInt64
	}
	d[dst] = 0
	var walk func(u int) int64
	walk = func(u int) int64 {
		if d[u] != math.MinInt64 {
			return d[u]
		}
		if next[u] < 0 {
			d[u] = -1
			return -1
		}
		l := f.g.Link(int(next[u]))
		if rest := walk(l.Dst); rest >= 0 {
			d[u] = rest + l.LatencyMicros*hopUnit + 1
		} else {
			d[u] = -1
		}
		return d[u]
	}
	for u := range d {
		walk(u)
	}
	f.dist[dst] = d
	return d
}

// alternate returns the neighbour of s over which dst can be reached without
// coming back to s, other than primary: the loop-free alternate of RFC 5286,
// inequality 1, nearest to dst; -1 where there is none.
func (f *forwarding) alternate(s, dst, primary int) int {
	best, bestCost := -1, int64(math.MaxInt64)
	toDst, toS := f.distances(dst), f.distances(s)
	for _, li := range f.g.Out(s) {
		l := f.g.Link(int(li))
		if n := l.Dst; l.Usable() && n != primary && toDst[n] >= 0 && toS[n] >= 0 && toDst[n] < toS[n]+toDst[s] {
			if cost := l.LatencyMicros*hopUnit + 1 + toDst[n]; cost < bestCost {
				best, bestCost = n, cost
			}
		}
	}
	return best
}

// distance returns the one-way latency from a to b along the forwarding.
func (c *Core) distance(a, b string) (time.Duration, bool) {
	u, ok1 := c.index[a]
	v, ok2 := c.index[b]
	if !ok1 || !ok2 {
		return 0, false
	}
	d := c.forwarding.distances(v)[u]
	return time.Duration(d/hopUnit) * time.Microsecond, d >= 0
}
