// Pricing: for every source one least-price tree, and from it the exact value of
// every demand's cheapest path.
//
// This is where "over all paths, generated on demand" happens, and where the
// proof comes from: given any prices, the sum of the trees' distances bounds the
// optimum, whatever the master thinks.

package solve

import "math"

// priceTree is one goroutine's scratch for least-price trees.
type priceTree struct {
	dist  []float64 // with ties' hair
	price []float64 // without
	via   []int32   // link taken into the node, -1 at the source
	heap  []nodeKey
	path  []int32

	bounded boundedTree
}

type nodeKey struct {
	key  float64
	node int32
}

func newPriceTree(n *net) *priceTree {
	return &priceTree{dist: make([]float64, n.nodes), price: make([]float64, n.nodes), via: make([]int32, n.nodes)}
}

// grow computes least prices from s; nodes dearer than limit stay at infinity.
func (t *priceTree) grow(n *net, s int32, cost, y []float64, limit float64) {
	dist, via := t.dist, t.via
	for i := range dist {
		dist[i] = math.Inf(1)
		t.price[i] = math.Inf(1)
		via[i] = -1
	}
	dist[s], t.price[s] = 0, 0
	h := append(t.heap[:0], nodeKey{0, s})
	for len(h) > 0 {
		top := h[0]
		last := h[len(h)-1]
		h = h[:len(h)-1]
		if len(h) > 0 {
			siftDown(h, last)
		}
		u := top.node
		if top.key > dist[u] {
			continue
		}
		if top.key > limit {
			break
		}
		if e := via[u]; e >= 0 {
			t.price[u] = t.price[n.src[e]] + y[e]
		}
		for _, a := range n.arcs[n.outAt[u]:n.outAt[u+1]] {
			if d := top.key + cost[a.link]; d < dist[a.dst] {
				dist[a.dst], via[a.dst] = d, a.link
				h = append(h, nodeKey{d, a.dst})
				siftUp(h)
			}
		}
	}
	t.heap = h
}

func siftUp(h []nodeKey) {
	i := len(h) - 1
	it := h[i]
	for i > 0 {
		p := (i - 1) >> 1
		if h[p].key <= it.key {
			break
		}
		h[i] = h[p]
		i = p
	}
	h[i] = it
}

func siftDown(h []nodeKey, it nodeKey) {
	i := 0
	for {
		c := 2*i + 1
		if c >= len(h) {
			break
		}
		if c+1 < len(h) && h[c+1].key < h[c].key {
			c++
		}
		if h[c].key >= it.key {
			break
		}
		h[i] = h[c]
		i = c
	}
	h[i] = it
}

// walk returns the links of the tree's path into v, in travelling order, borrowed
// until the next walk.
func (t *priceTree) walk(n *net, v int32) []int32 {
	p := t.path[:0]
	for e := t.via[v]; e >= 0; e = t.via[v] {
		p = append(p, e)
		v = n.src[e]
	}
	for i, j := 0, len(p)-1; i < j; i, j = i+1, j-1 {
		p[i], p[j] = p[j], p[i]
	}
	t.path = p
	return p
}
