package core

import (
	"math"
	"slices"
	"time"

	"dssn"
	"dssn/controller/southbound"
	"dssn/topology"
	"dssn/topology/paths"
)

// The network is a backbone, the nodes and links of the topology, and terminals,
// each behind one access link to its hub. A terminal carries nothing for others,
// so what leads to it is what leads to its hub and one link more: forwarding is
// computed on the backbone only, and a terminal that comes, moves or goes
// concerns itself, its hub and those it talks to. In the joined graph the
// backbone's nodes and links come first and have the backbone's own numbers.

// accessLatencyMicros is what an access link is taken to add, one way.
const accessLatencyMicros = 50

// stub is what others depend on of a terminal that has a hub.
type stub struct {
	hub      string
	down     bool
	sid      dssn.SID
	access   dssn.Bandwidth
	features southbound.Features
}

// rebuild makes the graph: the topology's nodes and links, and each terminal
// with its access link. A link is up when both ends have joined and each sees
// the other.
func (x *step) rebuild() {
	backbone, fresh := x.backboneNow()
	nodes, links := slices.Clone(backbone.Nodes()), slices.Clone(backbone.Links())
	index := make(map[string]int, len(nodes)+len(x.s.Nodes))
	for i, n := range nodes {
		index[n.Name] = i
	}
	hubs := len(nodes)
	stubs := make(map[string]stub, len(x.s.Nodes))
	for _, name := range sortedKeys(x.s.Nodes) {
		n := x.s.Nodes[name]
		hub, ok := index[n.Hub]
		if n.Role != southbound.RoleTerminal || !ok || hub >= hubs {
			continue
		}
		i := len(nodes)
		index[name] = i
		down := !x.adjacent(n.Hub, name)
		stubs[name] = stub{n.Hub, down, n.SID, n.Access, n.Features}
		nodes = append(nodes, topology.Node{Name: name, SID: n.SID})
		links = append(links,
			topology.Link{Src: i, Dst: hub, Capacity: n.Access, LatencyMicros: accessLatencyMicros, Down: down},
			topology.Link{Src: hub, Dst: i, Capacity: n.Access, LatencyMicros: accessLatencyMicros, Down: down})
	}
	g, err := topology.Build(backbone.Name, nodes, links)
	if err != nil {
		// SIDs, names and capacities were checked as they came in.
		panic("the network cannot be joined: " + err.Error())
	}
	if x.graph != nil { // a new network has no working links; a restored one has said so before
		x.sayLinks(backbone, stubs)
		x.s.Promises++
	}
	steers := x.canSteer()
	if fresh || steers != x.steers || !steers {
		x.rebuilt = true
	}
	was := x.stubs
	x.graph, x.index, x.stubs, x.steers = g, index, stubs, steers
	if fresh {
		x.backbone, x.forwarding = backbone, newForwarding(backbone)
	}
	x.touchStubs(was)
}

// backboneNow returns the configured network as its nodes see it; fresh is false
// if it is as before.
func (x *step) backboneNow() (g *topology.Graph, fresh bool) {
	base := x.baseGraph()
	nodes, links := slices.Clone(base.Nodes()), slices.Clone(base.Links())
	for i := range nodes {
		if n := x.s.Nodes[nodes[i].Name]; n != nil {
			nodes[i].SID = n.SID
		}
	}
	for i := range links {
		l := &links[i]
		l.Down = !x.adjacent(nodes[l.Src].Name, nodes[l.Dst].Name)
	}
	old := x.backbone
	if old != nil && x.backboneOf == base &&
		slices.EqualFunc(old.Nodes(), nodes, func(a, b topology.Node) bool { return a.SID == b.SID && a.Name == b.Name }) &&
		slices.EqualFunc(old.Links(), links, func(a, b topology.Link) bool { return a.Down == b.Down }) {
		return old, false
	}
	g, err := topology.Build(base.Name, nodes, links)
	if err != nil {
		panic("the network cannot be joined: " + err.Error()) // as in rebuild
	}
	x.backboneOf = base
	return g, true
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

// sayLinks tells which links work now and did not, or the other way round.
func (x *step) sayLinks(backbone *topology.Graph, stubs map[string]stub) {
	say := func(name, a, b string, down bool) {
		if !down {
			x.event("link-up", "", 0, "the link %s works", name)
		} else {
			x.event("link-down", "", 0, "the link %s does not work: %s", name, x.whyDown(a, b))
		}
	}
	if backbone != x.backbone {
		was := map[string]bool{}
		if x.backbone != nil {
			for i := range x.backbone.NumLinks() {
				was[x.backbone.LinkName(i)] = !x.backbone.Link(i).Down
			}
		}
		for i := range backbone.NumLinks() {
			name, l := backbone.LinkName(i), backbone.Link(i)
			if l.Src < l.Dst && was[name] == l.Down { // both directions go together: say it once
				say(name, backbone.Node(l.Src).Name, backbone.Node(l.Dst).Name, l.Down)
			}
		}
	}
	for _, name := range sortedKeys(stubs) {
		now := stubs[name]
		if old, had := x.stubs[name]; now.down == (had && !old.down && old.hub == now.hub) {
			say(now.hub+">"+name, now.hub, name, now.down)
		}
	}
}

// touchStubs finds whom a change of terminals concerns.
func (x *step) touchStubs(was map[string]stub) {
	changed := map[string]bool{}
	for name, now := range x.stubs {
		if old, had := was[name]; !had || old != now {
			changed[name] = true
			x.touchNode(old.hub)
			x.touchNode(now.hub)
		}
	}
	for name, old := range was {
		if _, has := x.stubs[name]; !has {
			changed[name] = true
			x.touchNode(old.hub)
		}
	}
	if len(changed) == 0 {
		return
	}
	x.regrant = true
	for name := range changed {
		x.touchNode(name)
		for _, r := range x.relOf[name] {
			x.touchNode(r.holder.Name)
			x.touchNode(r.consumer.Name)
		}
	}
	for key, k := range x.s.Pairs {
		if changed[k.Ingress] || changed[k.Egress] {
			x.move(key)
		}
	}
}

// changedNode takes note that a node came, went or has other features. What
// concerns a terminal only is found out by touchStubs.
func (x *step) changedNode(n *Node) {
	x.relink = true
	x.touchNode(n.Name)
	x.rebuilt = x.rebuilt || n.Role == southbound.RoleBackbone
}

// move makes the end of the step look after a pair.
func (x *step) move(pair string) {
	if x.moved == nil {
		x.moved = map[string]bool{}
	}
	x.moved[pair] = true
}

// hubOf returns a terminal's hub and its access link, up and down; a backbone
// node is its own and has none.
func (c *Core) hubOf(u int) (hub int, up, down int32) {
	first := c.backbone.NumNodes()
	if u < first {
		return u, -1, -1
	}
	up = int32(c.backbone.NumLinks() + 2*(u-first))
	return c.graph.Link(int(up)).Dst, up, up + 1
}

// inner returns what of a path lies in the backbone, and whether it goes on to a
// terminal from there.
func (c *Core) inner(p paths.Path) (mid paths.Path, toTerminal bool) {
	links := int32(c.backbone.NumLinks())
	if n := len(p); n > 0 && p[n-1] >= links && int(c.graph.Link(int(p[n-1])).Dst) >= c.backbone.NumNodes() {
		p, toTerminal = p[:n-1], true
	}
	if len(p) > 0 && p[0] >= links {
		p = p[1:]
	}
	return p, toTerminal
}

// segments writes a path as the fewest waypoints that make the forwarding follow
// it. The hub is always one before a terminal behind it, unless the path begins
// there: no other node has a route to the terminal.
func (c *Core) segments(p paths.Path) (way []int, err error) {
	mid, toTerminal := c.inner(p)
	if len(mid) > 0 {
		if way, err = c.forwarding.f.Segments(mid); err != nil {
			return nil, err
		}
	}
	if toTerminal || len(way) == 0 {
		way = append(way, c.graph.Link(int(p[len(p)-1])).Dst)
	}
	return way, nil
}

// shortest is paths.Shortest in the joined graph.
func (c *Core) shortest(u, v int, limits paths.Constraint) (p paths.Path, ok bool) {
	hu, up, _ := c.hubOf(u)
	hv, _, down := c.hubOf(v)
	may := func(li int32) bool {
		l := c.graph.Link(int(li))
		return l.Usable() && (limits.Free == nil || limits.Free[li] >= limits.MinFree) && !slices.Contains(limits.AvoidLinks, li)
	}
	if up >= 0 {
		if !may(up) {
			return nil, false
		}
		p = append(p, up)
	}
	if hu != hv {
		mid, err := paths.Shortest(c.backbone, hu, hv, limits)
		if err != nil {
			return nil, false
		}
		p = append(p, mid...)
	}
	if down >= 0 {
		if !may(down) {
			return nil, false
		}
		p = append(p, down)
	}
	return p, len(p) > 0
}

// forwarding is the backbone's next hops and distances, each computed when asked for.
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
	hu, up, _ := c.hubOf(u)
	hv, _, down := c.hubOf(v)
	d := c.forwarding.distances(hv)[hu]
	if d < 0 {
		return 0, false
	}
	micros := d / hopUnit
	for _, li := range []int32{up, down} {
		if li < 0 || u == v {
			continue
		}
		l := c.graph.Link(int(li))
		if !l.Usable() {
			return 0, false
		}
		micros += l.LatencyMicros
	}
	return time.Duration(micros) * time.Microsecond, true
}
