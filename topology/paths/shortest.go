// Shortest path trees towards a destination.
//
// Dijkstra runs backwards from the destination, because forwarding is by
// destination: each node's entry is the link it would take. Cost is the pair
// (latency, hops), so links of zero latency cannot make a loop.

package paths

import (
	"fmt"
	"time"

	"dssn"
	"dssn/topology"
)

// Path is a list of link indexes in travelling order.
type Path []int32

// Latency returns the sum of the links' one-way latencies.
func (p Path) Latency(g *topology.Graph) time.Duration {
	links := g.Links()
	var us int64
	for _, e := range p {
		us += links[e].LatencyMicros
	}
	return time.Duration(us) * time.Microsecond
}

// Nodes returns the nodes that p visits, both ends included; nil for an empty path.
func (p Path) Nodes(g *topology.Graph) []int {
	if len(p) == 0 {
		return nil
	}
	links := g.Links()
	out := make([]int, 0, len(p)+1)
	out = append(out, links[p[0]].Src)
	for _, e := range p {
		out = append(out, links[e].Dst)
	}
	return out
}

// Check returns an error, naming the place, unless p is a loop-free path from
// src to dst over usable links.
func (p Path) Check(g *topology.Graph, src, dst int) error {
	at, seen := src, map[int]bool{src: true}
	for i, e := range p {
		if e < 0 || int(e) >= g.NumLinks() {
			return fmt.Errorf("hop %d names link %d, which does not exist", i, e)
		}
		l := g.Link(int(e))
		switch {
		case l.Src != at:
			return fmt.Errorf("hop %d (%s) does not start at %q", i, g.LinkName(int(e)), g.Node(at).Name)
		case !l.Usable():
			return fmt.Errorf("hop %d (%s) is down or drained", i, g.LinkName(int(e)))
		case seen[l.Dst]:
			return fmt.Errorf("the path visits %q twice", g.Node(l.Dst).Name)
		}
		at = l.Dst
		seen[at] = true
	}
	if at != dst {
		return fmt.Errorf("the path ends at %q, not at %q", g.Node(at).Name, g.Node(dst).Name)
	}
	return nil
}

// Constraint narrows the paths that may be used. The zero value allows all.
type Constraint struct {
	MaxLatency time.Duration // one way; 0 means no limit
	AvoidLinks []int32
	AvoidNodes []int32 // the ends of the path may not be among them
	AvoidSRLGs []uint32
	// MinFree excludes links with less than this left. What is left is Free by
	// link index, or the links' capacities where Free is nil.
	MinFree dssn.Bandwidth
	Free    []dssn.Bandwidth
}

// NoPathError says why there is no path.
type NoPathError struct {
	Src, Dst string
	// Best is the latency of the least-latency path that obeys everything but
	// MaxLatency; 0 where there is no path at all.
	Best, Max time.Duration
}

func (e *NoPathError) Error() string {
	if e.Best > 0 {
		return fmt.Sprintf("the fastest path from %q to %q takes %v, more than the allowed %v: allow at least %v", e.Src, e.Dst, e.Best, e.Max, e.Best)
	}
	return fmt.Sprintf("no path leads from %q to %q within the constraints: relax what is avoided or ask for less", e.Src, e.Dst)
}

// Shortest returns the least-latency path from src to dst under c. The error is
// a *NoPathError where there is none.
func Shortest(g *topology.Graph, src, dst int, c Constraint) (Path, error) {
	if err := checkEnds(g, src, dst); err != nil {
		return nil, err
	}
	t := newTree(g.NumNodes())
	t.grow(g, dst, src, c.filter(g))
	if t.next[src] < 0 {
		return nil, &NoPathError{Src: g.Node(src).Name, Dst: g.Node(dst).Name}
	}
	p := t.walk(g, src, dst)
	if l := p.Latency(g); c.MaxLatency > 0 && l > c.MaxLatency {
		return nil, &NoPathError{g.Node(src).Name, g.Node(dst).Name, l, c.MaxLatency}
	}
	return p, nil
}

// NextHops returns, for each node, the index of the link that it takes towards
// dst, or -1 at dst itself and where dst cannot be reached. This is the
// network's forwarding: every node must route dst's locator over exactly this link.
func NextHops(g *topology.Graph, dst int) []int32 {
	t := newTree(g.NumNodes())
	t.grow(g, dst, -1, Constraint{}.filter(g))
	return t.next
}

func checkEnds(g *topology.Graph, src, dst int) error {
	n := g.NumNodes()
	switch {
	case src < 0 || src >= n || dst < 0 || dst >= n:
		return fmt.Errorf("path from node %d to node %d: there are only nodes 0 to %d", src, dst, n-1)
	case src == dst:
		return fmt.Errorf("path from %q to itself: choose two different nodes", g.Node(src).Name)
	}
	return nil
}

// filter returns the usable links under c as a bitmap by link; node exclusions
// are folded in.
func (c Constraint) filter(g *topology.Graph) []bool {
	links := g.Links()
	ok := make([]bool, len(links))
	for i := range links {
		l := &links[i]
		free := l.Capacity
		if c.Free != nil {
			free = c.Free[i]
		}
		ok[i] = l.Usable() && free >= c.MinFree && !sharesRisk(l.SRLGs, c.AvoidSRLGs)
	}
	for _, e := range c.AvoidLinks {
		if e >= 0 && int(e) < len(ok) {
			ok[e] = false
		}
	}
	for _, u := range c.AvoidNodes {
		if u < 0 || int(u) >= g.NumNodes() {
			continue
		}
		for _, e := range g.Out(int(u)) {
			ok[e] = false
		}
		for _, e := range g.In(int(u)) {
			ok[e] = false
		}
	}
	return ok
}

func sharesRisk(a, b []uint32) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}

// cost orders paths: latency first, then hops.
type cost struct {
	micros int64
	hops   int32
}

func (a cost) less(b cost) bool {
	return a.micros < b.micros || a.micros == b.micros && a.hops < b.hops
}

const unreached = int64(1) << 62

// tree is a shortest-path tree towards one node.
type tree struct {
	next []int32 // link taken, -1: none
	dist []cost
	heap costHeap
}

func newTree(n int) *tree {
	return &tree{next: make([]int32, n), dist: make([]cost, n)}
}

// grow computes the tree towards dst over allowed links; it may stop once
// until (if ≥ 0) is settled.
func (t *tree) grow(g *topology.Graph, dst, until int, allowed []bool) {
	for i := range t.next {
		t.next[i] = -1
		t.dist[i] = cost{micros: unreached}
	}
	links := g.Links()
	t.dist[dst] = cost{}
	t.heap = append(t.heap[:0], heapItem{cost{}, int32(dst)})
	for len(t.heap) > 0 {
		it := t.heap.pop()
		v := int(it.node)
		if it.cost != t.dist[v] {
			continue // a better entry has been settled
		}
		if v == until {
			// Everything on the way from until is settled, and every link that
			// could tie at until has been seen, because its head is nearer.
			return
		}
		for _, e := range g.In(v) {
			if !allowed[e] {
				continue
			}
			u := links[e].Src
			d := cost{it.micros + links[e].LatencyMicros, it.hops + 1}
			switch {
			case d.less(t.dist[u]):
				t.dist[u], t.next[u] = d, e
				t.heap.push(heapItem{d, int32(u)})
			case d == t.dist[u] && u != dst && e < t.next[u]:
				t.next[u] = e
			}
		}
	}
}

func (t *tree) walk(g *topology.Graph, src, dst int) (p Path) {
	for u := src; u != dst; {
		e := t.next[u]
		p = append(p, e)
		u = g.Links()[e].Dst
	}
	return p
}

type heapItem struct {
	cost
	node int32
}

// costHeap is a binary min-heap; equal costs leave in any order, which changes
// no result because ties are settled by link index.
type costHeap []heapItem

func (h *costHeap) push(it heapItem) {
	*h = append(*h, it)
	s := *h
	i := len(s) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !it.less(s[p].cost) {
			break
		}
		s[i] = s[p]
		i = p
	}
	s[i] = it
}

func (h *costHeap) pop() heapItem {
	s := *h
	top := s[0]
	last := s[len(s)-1]
	s = s[:len(s)-1]
	*h = s
	i := 0
	for 2*i+1 < len(s) {
		c := 2*i + 1
		if c+1 < len(s) && s[c+1].less(s[c].cost) {
			c++
		}
		if !s[c].less(last.cost) {
			break
		}
		s[i] = s[c]
		i = c
	}
	if len(s) > 0 {
		s[i] = last
	}
	return top
}
