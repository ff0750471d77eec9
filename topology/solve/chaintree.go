// Trees over chains: junctions by Dijkstra's method, then every chain from its ends.

package solve

import "math"

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
		from, to := c.outAt[top.node], c.outAt[top.node+1]
		tolls := l.way[from:to]
		for k, w := range c.ways[from:to] {
			v := c.junction[w.to]
			if d := top.key + tolls[k]; d < dist[v] {
				dist[v], via[v] = d, w.link
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
	// An end that was reached through the chain serves none of it, even where prices
	// are so far apart that the way back is lost to rounding.
	throughA := ch.lastB >= 0 && t.via[ja] == ch.lastB
	throughB := ch.b >= 0 && ch.lastA >= 0 && t.via[c.junction[ch.b]] == ch.lastA
	j := from
	for ; j < to && !throughA; j++ {
		x := da + l.fore[j]
		if !(x <= db+l.aft[j] || throughB) || math.IsInf(x, 1) {
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
