// Disjoint pairs by Suurballe's method: the shortest path, then the shortest
// augmenting path in the residual graph with reduced costs, then the two are
// untangled. J. W. Suurballe, R. E. Tarjan, "A quick method for finding shortest
// pairs of disjoint paths", Networks 14 (1984). Node-disjointness is
// link-disjointness after splitting every node into an arriving and a leaving half.

package paths

import (
	"fmt"

	"dssn/topology"
)

// Disjointness says what two paths may not share.
type Disjointness uint8

// Paths that are LinkDisjoint share no link; NodeDisjoint ones share no node
// but their ends either.
const (
	LinkDisjoint Disjointness = iota
	NodeDisjoint
)

// DisjointPair returns the two paths from src to dst, disjoint as asked, whose
// latencies have the least sum; the first is the shorter. c applies to both,
// except that MaxLatency is checked at the end. The error is a *NoPathError where no
// such pair exists.
func DisjointPair(g *topology.Graph, src, dst int, how Disjointness, c Constraint) (first, second Path, err error) {
	if err := checkEnds(g, src, dst); err != nil {
		return nil, nil, err
	}
	w := newWeave(g, how, c.filter(g))
	s, t := w.leave(src), w.arrive(dst)
	for range 2 {
		if !w.augment(s, t) {
			return nil, nil, fmt.Errorf("disjoint pair: %w", &NoPathError{Src: g.Node(src).Name, Dst: g.Node(dst).Name})
		}
	}
	first, second = w.take(g, src, dst), w.take(g, src, dst)
	a, b := first.Latency(g), second.Latency(g)
	if b < a || b == a && len(second) < len(first) {
		first, second, a, b = second, first, b, a
	}
	if c.MaxLatency > 0 && b > c.MaxLatency {
		return nil, nil, fmt.Errorf("disjoint pair: %w", &NoPathError{g.Node(src).Name, g.Node(dst).Name, b, c.MaxLatency})
	}
	return first, second, nil
}

// weave is a unit-capacity flow network: arc 2k is an original arc, arc 2k+1 its
// reverse. Costs count latency, with hops as the tie-break, as one pair.
type weave struct {
	split bool
	head  []int32
	link  []int32 // link index of an original arc, -1 for a node's inner arc
	cost  []cost
	full  []bool // original arc carries a path; its reverse is open then
	out   [][]int32
	pot   []cost
	dist  []cost
	via   []int32
	heap  costHeap
}

func newWeave(g *topology.Graph, how Disjointness, allowed []bool) *weave {
	w := &weave{split: how == NodeDisjoint}
	n := g.NumNodes()
	if w.split {
		n *= 2
	}
	w.out = make([][]int32, n)
	w.pot, w.dist, w.via = make([]cost, n), make([]cost, n), make([]int32, n)
	if w.split {
		for u := range g.NumNodes() {
			w.arc(w.arrive(u), w.leave(u), -1, cost{})
		}
	}
	for e, l := range g.Links() {
		if allowed[e] {
			w.arc(w.leave(l.Src), w.arrive(l.Dst), int32(e), cost{l.LatencyMicros, 1})
		}
	}
	return w
}

func (w *weave) arrive(u int) int {
	if w.split {
		return 2 * u
	}
	return u
}

func (w *weave) leave(u int) int {
	if w.split {
		return 2*u + 1
	}
	return u
}

func (w *weave) arc(u, v int, link int32, c cost) {
	k := int32(len(w.head))
	w.head = append(w.head, int32(v), int32(u))
	w.link = append(w.link, link, link)
	w.cost = append(w.cost, c, cost{-c.micros, -c.hops})
	w.full = append(w.full, false, false)
	w.out[u] = append(w.out[u], k)
	w.out[v] = append(w.out[v], k+1)
}

// open reports whether residual arc k can be used.
func (w *weave) open(k int32) bool { return w.full[k&^1] == (k&1 == 1) }

// augment sends one more path from s to t at least cost.
func (w *weave) augment(s, t int) bool {
	for i := range w.dist {
		w.dist[i], w.via[i] = cost{micros: unreached}, -1
	}
	w.dist[s] = cost{}
	w.heap = append(w.heap[:0], heapItem{cost{}, int32(s)})
	for len(w.heap) > 0 {
		it := w.heap.pop()
		u := int(it.node)
		if it.cost != w.dist[u] {
			continue
		}
		for _, k := range w.out[u] {
			if !w.open(k) {
				continue
			}
			v := int(w.head[k])
			d := cost{it.micros + w.cost[k].micros + w.pot[u].micros - w.pot[v].micros,
				it.hops + w.cost[k].hops + w.pot[u].hops - w.pot[v].hops}
			if d.less(w.dist[v]) {
				w.dist[v], w.via[v] = d, k
				w.heap.push(heapItem{d, int32(v)})
			}
		}
	}
	if w.via[t] < 0 {
		return false
	}
	for i, d := range w.dist {
		if d.micros < unreached { // unreached nodes stay unreachable later on
			w.pot[i] = cost{w.pot[i].micros + d.micros, w.pot[i].hops + d.hops}
		}
	}
	for v := t; v != s; {
		k := w.via[v]
		w.full[k&^1] = k&1 == 0
		v = int(w.head[k^1])
	}
	return true
}

// take removes one path from the flow, at each node by the smallest arc.
func (w *weave) take(g *topology.Graph, src, dst int) (p Path) {
	for at := w.leave(src); at != w.arrive(dst); {
		for _, k := range w.out[at] {
			if k&1 == 0 && w.full[k] {
				w.full[k] = false
				if w.link[k] >= 0 {
					p = append(p, w.link[k])
				}
				at = int(w.head[k])
				break
			}
		}
	}
	return p
}
