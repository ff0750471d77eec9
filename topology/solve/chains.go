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

// grow computes least prices from s into t. Nodes dearer than limit may be given
// a way that is not the cheapest, but dearer than limit as well.
func (c *chains) grow(n *net, t *priceTree, l *tolls, s int32, cost, y []float64, limit float64) {
	dist, price, via := t.dist, t.price, t.via
	for i := range dist {
		dist[i] = math.Inf(1)
	}
	for i := range price {
		price[i] = math.Inf(1)
	}
	for i := range via {
		via[i] = -1
	}
	dist[s], price[s] = 0, 0
	t.way, t.settled = slices.Grow(t.way[:0], len(c.junction))[:len(c.junction)], t.settled[:0]
	h := t.heap[:0]
	own := int32(-1)
	if i := c.at[s]; i >= 0 {
		h = append(h, nodeKey{0, i})
	} else {
		i = -1 - i
		own = c.chainOf[i]
		h = c.leave(n, t, h, i, cost, y)
	}
	for len(h) > 0 {
		top := h[0]
		last := h[len(h)-1]
		h = h[:len(h)-1]
		if len(h) > 0 {
			siftDown(h, last)
		}
		u := c.junction[top.node]
		if top.key > dist[u] {
			continue
		}
		if top.key > limit {
			break
		}
		t.settled = append(t.settled, top.node)
		from, to := c.outAt[top.node], c.outAt[top.node+1]
		tolls := l.way[from:to]
		for k, w := range c.ways[from:to] {
			v := c.junction[w.to]
			if d := top.key + tolls[k]; d < dist[v] {
				dist[v], via[v] = d, w.link
				t.way[w.to] = from + int32(k)
				price[v] = price[u] + l.wayPrice[int(from)+k]
				h = append(h, nodeKey{d, w.to})
				siftUp(h)
			}
		}
	}
	t.heap = h
	for i := range c.list {
		if int32(i) == own {
			c.fillOwn(t, l, &c.list[i], -1-c.at[s])
		} else {
			c.fill(t, l, &c.list[i], c.list[i].from, c.list[i].to)
		}
	}
}

// leave walks from inner node i to both ends of its chain.
func (c *chains) leave(n *net, t *priceTree, h []nodeKey, i int32, cost, y []float64) []nodeKey {
	ch := &c.list[c.chainOf[i]]
	step := func(e, into int32, x, p float64) (float64, float64, bool) {
		if e < 0 {
			return 0, 0, false
		}
		x, p = x+cost[e], p+y[e]
		if x < t.dist[into] {
			t.dist[into], t.price[into], t.via[into] = x, p, e
		}
		return x, p, true
	}
	x, p, ok := 0.0, 0.0, true
	for j := i + 1; ok && j < ch.to; j++ {
		x, p, ok = step(c.forward[j], c.inner[j], x, p)
	}
	if ok && ch.b >= 0 {
		if _, _, ok = step(ch.lastA, c.junction[ch.b], x, p); ok {
			t.way[ch.b] = -1
			h = append(h, nodeKey{t.dist[c.junction[ch.b]], ch.b})
			siftUp(h)
		}
	}
	x, p, ok = 0, 0, true
	for j := i - 1; ok && j >= ch.from; j-- {
		x, p, ok = step(c.backward[j], c.inner[j], x, p)
	}
	if ok {
		if _, _, ok = step(ch.lastB, c.junction[ch.a], x, p); ok {
			t.way[ch.a] = -1
			h = append(h, nodeKey{t.dist[c.junction[ch.a]], ch.a})
			siftUp(h)
		}
	}
	return h
}

// fill gives inner nodes from to to their distances over the nearer end of the
// chain. The nodes served from a are a beginning of the chain, those from b the
// rest; this is decided once and not node by node, lest rounding send two
// neighbours to each other.
func (c *chains) fill(t *priceTree, l *tolls, ch *chain, from, to int32) {
	ja := c.junction[ch.a]
	da, pa := t.dist[ja], t.price[ja]
	db, pb := math.Inf(1), 0.0
	if ch.b >= 0 {
		db, pb = t.dist[c.junction[ch.b]], t.price[c.junction[ch.b]]
	}
	j := from
	for ; j < to; j++ {
		x := da + l.fore[j]
		if !(x <= db+l.aft[j]) || math.IsInf(x, 1) {
			break
		}
		v := c.inner[j]
		t.dist[v], t.price[v], t.via[v] = x, pa+l.forePrice[j], c.forward[j]
	}
	for ; j < to; j++ {
		if x := db + l.aft[j]; !math.IsInf(x, 1) {
			v := c.inner[j]
			t.dist[v], t.price[v], t.via[v] = x, pb+l.aftPrice[j], c.backward[j]
		}
	}
}

// fillOwn does for the source's own chain what fill does for the others: a node
// between the source and an end is reached from the nearer of the two.
func (c *chains) fillOwn(t *priceTree, l *tolls, ch *chain, i int32) {
	ja := c.junction[ch.a]
	da, pa := t.dist[ja], t.price[ja]
	for j := ch.from; j < i; j++ {
		v := c.inner[j]
		x := da + l.fore[j]
		if !(x < t.dist[v]) {
			break
		}
		t.dist[v], t.price[v], t.via[v] = x, pa+l.forePrice[j], c.forward[j]
	}
	if ch.b < 0 {
		return
	}
	db, pb := t.dist[c.junction[ch.b]], t.price[c.junction[ch.b]]
	for j := ch.to - 1; j > i; j-- {
		v := c.inner[j]
		x := db + l.aft[j]
		if !(x < t.dist[v]) {
			break
		}
		t.dist[v], t.price[v], t.via[v] = x, pb+l.aftPrice[j], c.backward[j]
	}
}

// pour sends what waits at the nodes over the tree that grow made from s, adding it to
// load, and what passes whole chains to wayLoad (see drain). waiting is used up.
func (c *chains) pour(n *net, t *priceTree, s int32, waiting, load, wayLoad []float64) {
	own := int32(-1)
	if i := c.at[s]; i < 0 {
		own = c.chainOf[-1-i]
	}
	for i := range c.list {
		c.pourChain(t, &c.list[i], waiting, load)
	}
	for k := len(t.settled) - 1; k >= 0; k-- {
		j := t.settled[k]
		v := c.junction[j]
		x := waiting[v]
		if v == s || x == 0 {
			continue
		}
		waiting[v] = 0
		e := t.via[v]
		from := n.src[e]
		if w := t.way[j]; w < 0 {
			load[e] += x // out of the source's own chain
		} else if wayLoad[w] += x; c.ways[w].chain >= 0 {
			from = c.other(w)
		}
		waiting[from] += x
	}
	if own >= 0 { // once more, for what came back from its ends
		waiting[s] = 0
		c.pourChain(t, &c.list[own], waiting, load)
	}
	waiting[s] = 0
}

// other returns the node where way w, which passes a chain, begins.
func (c *chains) other(w int32) int32 {
	ch := &c.list[c.ways[w].chain]
	if c.ways[w].back {
		return c.junction[ch.b]
	}
	return c.junction[ch.a]
}

func (c *chains) pourChain(t *priceTree, ch *chain, waiting, load []float64) {
	x := 0.0
	for j := ch.to - 1; j >= ch.from; j-- {
		if v := c.inner[j]; t.via[v] >= 0 && t.via[v] == c.forward[j] {
			x += waiting[v]
			waiting[v] = 0
			load[c.forward[j]] += x
		} else if x > 0 {
			waiting[v] += x
			x = 0
		}
	}
	waiting[c.junction[ch.a]] += x
	x = 0
	for j := ch.from; j < ch.to; j++ {
		if v := c.inner[j]; t.via[v] >= 0 && t.via[v] == c.backward[j] {
			x += waiting[v]
			waiting[v] = 0
			load[c.backward[j]] += x
		} else if x > 0 {
			waiting[v] += x
			x = 0
		}
	}
	if ch.b >= 0 {
		waiting[c.junction[ch.b]] += x
	}
}

// drain spreads the loads of ways over their links.
func (c *chains) drain(wayLoad, load []float64) {
	for i, x := range wayLoad {
		if x == 0 {
			continue
		}
		w := &c.ways[i]
		load[w.link] += x
		if w.chain < 0 {
			continue
		}
		ch := &c.list[w.chain]
		for j := ch.from; j < ch.to; j++ {
			if w.back {
				load[c.backward[j]] += x
			} else {
				load[c.forward[j]] += x
			}
		}
	}
}
