// Chains: least-price trees over a network with its degree-two nodes taken out.
//
// Backbones are rings and long lines of nodes with two neighbours each. Such a run of
// nodes between two junctions is a chain; a tree is grown over the junctions alone, and then every
// chain is filled in from its two ends, which takes an addition per node and no heap.
// Two thirds of Kdl's nodes and eleven twelfths of a metro-ring network lie on
// chains.
//
//	    forward links  ──>                        a, b: junctions (b may be missing:
//	a ──── n0 ──── n1 ──── n2 ──── b              the chain is a dead end)
//	    <──  backward links

package solve

import (
	"math"
	"slices"
)

// chains is the contracted picture of a net. It does not change.
type chains struct {
	junction []int32 // node of the j-th junction
	at       []int32 // by node: its junction, or -1-i where it is inner node i
	inner    []int32 // inner nodes, chain after chain: the node
	forward  []int32 // by inner node: the link into it from the a side, -1: none
	backward []int32 // by inner node: the link into it from the b side, -1: none
	chainOf  []int32 // by inner node
	list     []chain
	outAt    []int32 // ways from junction j: ways[outAt[j]:outAt[j+1]]
	ways     []way
}

// chain is inner nodes from to to, between junctions a and b.
type chain struct {
	from, to int32
	a, b     int32 // junctions; b is -1 for a dead end
	lastA    int32 // link from the last inner node into b, -1: none
	lastB    int32 // link from the first inner node into a, -1: none
}

// way leads from a junction to another: a link, or a chain passed from end to end.
type way struct {
	to    int32 // junction
	link  int32 // the last link of the way
	chain int32 // -1: the way is a single link
	back  bool  // the chain is passed from b to a
}

// tolls are what the ways cost at some prices.
type tolls struct {
	way      []float64 // by way, with tie's hair
	wayPrice []float64 // and without
	// By inner node: from a forwards to it and from b backwards to it.
	fore, forePrice []float64
	aft, aftPrice   []float64
}

// neighbours returns up to three distinct nodes that v shares links with.
func (n *net) neighbours(v int32, in [][]int32, buffer []int32) []int32 {
	out := buffer[:0]
	add := func(u int32) {
		if len(out) < 3 && !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	for _, a := range n.arcs[n.outAt[v]:n.outAt[v+1]] {
		add(a.dst)
	}
	for _, u := range in[v] {
		add(u)
	}
	return out
}

func newChains(n *net) *chains {
	c := &chains{at: make([]int32, n.nodes)}
	in := make([][]int32, n.nodes)
	link := make(map[[2]int32]int32, len(n.arcs))
	parallel := make([]bool, n.nodes)
	for u := range int32(n.nodes) {
		for _, a := range n.arcs[n.outAt[u]:n.outAt[u+1]] {
			in[a.dst] = append(in[a.dst], u)
			key := [2]int32{u, a.dst}
			if _, ok := link[key]; ok {
				parallel[u], parallel[a.dst] = true, true
			}
			link[key] = a.link
		}
	}
	linkOf := func(u, v int32) int32 {
		if e, ok := link[[2]int32{u, v}]; ok {
			return e
		}
		return -1
	}
	// A node is inner if it has one or two neighbours and one link each way at most.
	const unknown = math.MinInt32
	buffer := make([]int32, 0, 3)
	for v := range int32(n.nodes) {
		c.at[v] = unknown
		k := len(n.neighbours(v, in, buffer))
		if k == 0 || k > 2 || parallel[v] {
			c.addJunction(v)
		}
	}
	walk := func(a, first int32) {
		ch := chain{from: int32(len(c.inner)), a: c.at[a], b: -1, lastA: -1, lastB: linkOf(first, a)}
		before, v := a, first
		for c.at[v] == unknown {
			c.at[v] = -1 - int32(len(c.inner))
			c.inner = append(c.inner, v)
			c.chainOf = append(c.chainOf, int32(len(c.list)))
			c.forward = append(c.forward, linkOf(before, v))
			next := int32(-1)
			for _, u := range n.neighbours(v, in, buffer) {
				if u != before {
					next = u
				}
			}
			if next < 0 {
				c.backward = append(c.backward, -1)
				v = -1
				break
			}
			c.backward = append(c.backward, linkOf(next, v))
			before, v = v, next
		}
		ch.to = int32(len(c.inner))
		if v >= 0 {
			ch.b, ch.lastA = c.at[v], linkOf(before, v)
		}
		c.list = append(c.list, ch)
	}
	for j := 0; j < len(c.junction); j++ {
		u := c.junction[j]
		for _, v := range n.neighboursAll(u, in) {
			if c.at[v] == unknown {
				walk(u, v)
			}
		}
	}
	for v := range int32(n.nodes) { // what has no junction at all: lines and rings of their own
		if c.at[v] != unknown {
			continue
		}
		c.addJunction(v)
		for _, u := range n.neighboursAll(v, in) {
			if c.at[u] == unknown {
				walk(v, u)
			}
		}
	}
	c.addWays(n)
	return c
}

func (n *net) neighboursAll(v int32, in [][]int32) (out []int32) {
	for _, a := range n.arcs[n.outAt[v]:n.outAt[v+1]] {
		out = append(out, a.dst)
	}
	return append(out, in[v]...)
}

func (c *chains) addJunction(v int32) {
	c.at[v] = int32(len(c.junction))
	c.junction = append(c.junction, v)
}

func (c *chains) addWays(n *net) {
	out := make([][]way, len(c.junction))
	for i, ch := range c.list {
		if ch.b < 0 || ch.a == ch.b {
			continue
		}
		if ch.lastA >= 0 {
			out[ch.a] = append(out[ch.a], way{ch.b, ch.lastA, int32(i), false})
		}
		if ch.lastB >= 0 {
			out[ch.b] = append(out[ch.b], way{ch.a, ch.lastB, int32(i), true})
		}
	}
	for j, u := range c.junction {
		for _, a := range n.arcs[n.outAt[u]:n.outAt[u+1]] {
			if to := c.at[a.dst]; to >= 0 {
				out[j] = append(out[j], way{to, a.link, -1, false})
			}
		}
	}
	c.outAt = append(c.outAt, 0)
	for _, w := range out {
		c.ways = append(c.ways, w...)
		c.outAt = append(c.outAt, int32(len(c.ways)))
	}
}

func (c *chains) newTolls() *tolls {
	t := &tolls{way: make([]float64, len(c.ways)), wayPrice: make([]float64, len(c.ways))}
	for _, s := range []*[]float64{&t.fore, &t.forePrice, &t.aft, &t.aftPrice} {
		*s = make([]float64, len(c.inner))
	}
	return t
}

// measure sets the tolls for links that cost cost, of which price is the price.
func (c *chains) measure(t *tolls, cost, price []float64) {
	toll := func(e int32) (float64, float64) {
		if e < 0 {
			return math.Inf(1), math.Inf(1)
		}
		return cost[e], price[e]
	}
	for i := range c.list {
		ch := &c.list[i]
		x, p := 0.0, 0.0
		for j := ch.from; j < ch.to; j++ {
			dx, dp := toll(c.forward[j])
			x, p = x+dx, p+dp
			t.fore[j], t.forePrice[j] = x, p
		}
		x, p = 0, 0
		for j := ch.to - 1; j >= ch.from; j-- {
			dx, dp := toll(c.backward[j])
			x, p = x+dx, p+dp
			t.aft[j], t.aftPrice[j] = x, p
		}
	}
	for i := range c.ways {
		w := &c.ways[i]
		x, p := toll(w.link)
		if w.chain >= 0 {
			if ch := &c.list[w.chain]; w.back {
				x, p = x+t.aft[ch.from], p+t.aftPrice[ch.from]
			} else {
				x, p = x+t.fore[ch.to-1], p+t.forePrice[ch.to-1]
			}
		}
		t.way[i], t.wayPrice[i] = x, p
	}
}
