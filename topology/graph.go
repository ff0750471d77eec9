// The graph: nodes and directed links, each known by its index from 0.
//
// A Graph's shape (nodes, ends of links, adjacency) never changes after Build
// and is shared by its clones; what changes from one minute to the next (capacity,
// latency, drained, down, risk groups) lives in one flat slice that Clone copies: a clone of
// a thousand links is one 64 KB copy, and changing a link touches one entry.

package topology

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dssn"
)

// Limits on what Build accepts: absurd sizes are refused before memory is asked for.
const (
	MaxNodes         = 1 << 20
	MaxLinks         = 1 << 22
	MaxCapacity      = dssn.Bandwidth(1e15)  // a petabit per second
	MaxLatencyMicros = int64(10_000_000_000) // ten thousand seconds
)

// Node is a place where links meet.
type Node struct {
	// Name is not empty. It need not be unique: real maps have five nodes named
	// "None". A node is known by its index; NodeByName finds unique names only.
	Name string
	// Lat and Lon are in degrees; they mean something only if Located.
	Lat, Lon float64
	Located  bool
	SID      dssn.SID // unique; zero where the node has none
}

// Link is one direction of a fibre.
type Link struct {
	Src, Dst      int // node indexes, not equal
	Capacity      dssn.Bandwidth
	LatencyMicros int64    // one way, ≥ 0
	SRLGs         []uint32 // shared-risk groups; replaced as a whole, never edited
	Drained       bool     // carries nothing new, forwarding avoids it
	Down          bool     // has failed
	// Wire is how a lab shall emulate the link, in the words of dssn/perf/wire
	// ("delay=from-latency loss=0.1%"); empty where nothing is said. It is not
	// read here.
	Wire string
}

// Usable reports whether paths may use the link.
func (l *Link) Usable() bool { return !l.Drained && !l.Down }

// Graph is a network. Reading is safe from any number of goroutines while none
// changes it; Clone first, change the clone, publish it.
type Graph struct {
	Name            string
	Source, Licence string // where the data came from; free text

	nodes  []Node
	links  []Link // owned by this Graph, all else is shared with clones
	out    []int32
	outAt  []int32 // links leaving u: out[outAt[u]:outAt[u+1]], ascending
	in     []int32
	inAt   []int32
	byName map[string]int
	bySID  map[dssn.SID]int
}

// Build checks nodes and links and joins them into a Graph, keeping the slices
// (the caller gives them away). An error is one sentence that names the element.
func Build(name string, nodes []Node, links []Link) (*Graph, error) {
	if len(nodes) == 0 {
		return nil, fmt.Errorf("the topology has no nodes")
	}
	if len(nodes) > MaxNodes || len(links) > MaxLinks {
		return nil, fmt.Errorf("the topology has %d nodes and %d links: at most %d and %d are supported", len(nodes), len(links), MaxNodes, MaxLinks)
	}
	g := &Graph{Name: name, nodes: nodes, links: links,
		byName: make(map[string]int, len(nodes)), bySID: make(map[dssn.SID]int)}
	for i, n := range nodes {
		if err := checkNode(i, n); err != nil {
			return nil, err
		}
		if _, dup := g.byName[n.Name]; dup {
			g.byName[n.Name] = ambiguous
		} else {
			g.byName[n.Name] = i
		}
		if n.SID == 0 {
			continue
		}
		if j, dup := g.bySID[n.SID]; dup {
			return nil, fmt.Errorf("node %q and node %q both have SID %s", nodes[j].Name, n.Name, n.SID)
		}
		g.bySID[n.SID] = i
	}
	for i := range links {
		if err := g.checkLink(i); err != nil {
			return nil, err
		}
	}
	g.out, g.outAt = adjacency(len(nodes), links, func(l *Link) int { return l.Src })
	g.in, g.inAt = adjacency(len(nodes), links, func(l *Link) int { return l.Dst })
	for u := range nodes {
		leaving := slices.Clone(g.Out(u))
		slices.SortStableFunc(leaving, func(a, b int32) int { return links[a].Dst - links[b].Dst })
		for k := 1; k < len(leaving); k++ {
			if a, b := leaving[k-1], leaving[k]; links[a].Dst == links[b].Dst {
				return nil, fmt.Errorf("link %d and link %d both lead from %q to %q: merge them into one", a, b, nodes[u].Name, nodes[links[a].Dst].Name)
			}
		}
	}
	return g, nil
}

func checkNode(i int, n Node) error {
	switch {
	case n.Name == "":
		return fmt.Errorf("node %d has no name", i)
	case n.Located && !(n.Lat >= -90 && n.Lat <= 90 && n.Lon >= -180 && n.Lon <= 180):
		return fmt.Errorf("node %d (%q) lies at latitude %g, longitude %g, which is not on Earth", i, n.Name, n.Lat, n.Lon)
	}
	return nil
}

func (g *Graph) checkLink(i int) error {
	l := &g.links[i]
	switch n := len(g.nodes); {
	case l.Src < 0 || l.Src >= n:
		return fmt.Errorf("link %d starts at node %d, but there are only nodes 0 to %d", i, l.Src, n-1)
	case l.Dst < 0 || l.Dst >= n:
		return fmt.Errorf("link %d ends at node %d, but there are only nodes 0 to %d", i, l.Dst, n-1)
	case l.Src == l.Dst:
		return fmt.Errorf("link %d leads from node %q to itself", i, g.nodes[l.Src].Name)
	}
	if err := checkCapacity(i, l.Capacity); err != nil {
		return err
	}
	return checkLatency(i, l.LatencyMicros)
}

func checkCapacity(i int, c dssn.Bandwidth) error {
	if c == 0 || c > MaxCapacity {
		return fmt.Errorf("link %d has capacity %d bps: it must be between 1 and %d", i, uint64(c), uint64(MaxCapacity))
	}
	return nil
}

func checkLatency(i int, us int64) error {
	if us < 0 || us > MaxLatencyMicros {
		return fmt.Errorf("link %d has latency %d us: it must be between 0 and %d", i, us, MaxLatencyMicros)
	}
	return nil
}

// adjacency groups link indexes by end, ascending inside a group.
func adjacency(n int, links []Link, end func(*Link) int) (list, at []int32) {
	at = make([]int32, n+1)
	for i := range links {
		at[end(&links[i])+1]++
	}
	for u := range n {
		at[u+1] += at[u]
	}
	next := slices.Clone(at[:n])
	list = make([]int32, len(links))
	for i := range links {
		u := end(&links[i])
		list[next[u]] = int32(i)
		next[u]++
	}
	return list, at
}

// NumNodes returns how many nodes there are.
func (g *Graph) NumNodes() int { return len(g.nodes) }

// NumLinks returns how many directed links there are.
func (g *Graph) NumLinks() int { return len(g.links) }

// Node returns node i.
func (g *Graph) Node(i int) Node { return g.nodes[i] }

// Link returns link i by value; use the setters to change it.
func (g *Graph) Link(i int) Link { return g.links[i] }

// Links returns all links, borrowed: read only, valid until the next change.
func (g *Graph) Links() []Link { return g.links }

// Nodes returns all nodes, borrowed: read only.
func (g *Graph) Nodes() []Node { return g.nodes }

// Out returns the indexes of the links leaving node u, ascending; borrowed, read only.
func (g *Graph) Out(u int) []int32 { return g.out[g.outAt[u]:g.outAt[u+1]] }

// In returns the indexes of the links arriving at node u, ascending; borrowed, read only.
func (g *Graph) In(u int) []int32 { return g.in[g.inAt[u]:g.inAt[u+1]] }

// ambiguous marks a name that several nodes bear.
const ambiguous = -1

// NodeByName finds the one node of that name; ok is false where there is none or
// more than one.
func (g *Graph) NodeByName(name string) (i int, ok bool) {
	i, ok = g.byName[name]
	return i, ok && i != ambiguous
}

// FindNode finds a node by what a person wrote: a unique name, or # and an index.
func (g *Graph) FindNode(s string) (int, error) {
	if digits, ok := strings.CutPrefix(s, "#"); ok {
		if i, err := strconv.Atoi(digits); err == nil && i >= 0 && i < len(g.nodes) {
			return i, nil
		}
		return 0, fmt.Errorf("there is no node %s: indexes run from #0 to #%d", s, len(g.nodes)-1)
	}
	switch i, ok := g.byName[s]; {
	case !ok:
		return 0, fmt.Errorf("there is no node named %q: write a name as the topology has it, or # and an index", s)
	case i == ambiguous:
		var all []string
		for i, n := range g.nodes {
			if n.Name == s {
				all = append(all, "#"+strconv.Itoa(i))
			}
		}
		return 0, fmt.Errorf("%d nodes are named %q: write one of %s", len(all), s, strings.Join(all, ", "))
	default:
		return i, nil
	}
}

// NodeLabel returns the node's name, with #index behind it where the name is not unique.
func (g *Graph) NodeLabel(i int) string {
	if name := g.nodes[i].Name; g.byName[name] != ambiguous {
		return name
	}
	return g.nodes[i].Name + "#" + strconv.Itoa(i)
}

// NodeBySID finds the node that a segment identifier names.
func (g *Graph) NodeBySID(s dssn.SID) (int, bool) { i, ok := g.bySID[s]; return i, ok }

// LinkBetween finds the link from src to dst.
func (g *Graph) LinkBetween(src, dst int) (int, bool) {
	for _, e := range g.Out(src) {
		if g.links[e].Dst == dst {
			return int(e), true
		}
	}
	return 0, false
}

// LinkName returns "src>dst" by the labels of the ends, for people.
func (g *Graph) LinkName(i int) string {
	return g.NodeLabel(g.links[i].Src) + ">" + g.NodeLabel(g.links[i].Dst)
}

// Clone returns a Graph whose links may be changed without touching g.
func (g *Graph) Clone() *Graph {
	c := *g
	c.links = slices.Clone(g.links)
	return &c
}

// SetCapacity changes the capacity of link i. After an error nothing has changed.
func (g *Graph) SetCapacity(i int, c dssn.Bandwidth) error {
	if err := checkCapacity(i, c); err != nil {
		return err
	}
	g.links[i].Capacity = c
	return nil
}

// SetLatency changes the latency of link i. After an error nothing has changed.
func (g *Graph) SetLatency(i int, micros int64) error {
	if err := checkLatency(i, micros); err != nil {
		return err
	}
	g.links[i].LatencyMicros = micros
	return nil
}

// SetDown marks link i as failed or working.
func (g *Graph) SetDown(i int, down bool) { g.links[i].Down = down }

// SetDrained takes link i out of use, or returns it.
func (g *Graph) SetDrained(i int, drained bool) { g.links[i].Drained = drained }

// SetSRLGs replaces the shared-risk groups of link i; the slice is given away.
func (g *Graph) SetSRLGs(i int, groups []uint32) { g.links[i].SRLGs = groups }

// DrainNode drains every link that touches node u.
func (g *Graph) DrainNode(u int, drained bool) {
	for _, e := range g.Out(u) {
		g.links[e].Drained = drained
	}
	for _, e := range g.In(u) {
		g.links[e].Drained = drained
	}
}
