// Cheapest paths under a latency bound.
//
// Where a demand's cheapest path is too slow, labels (price, latency) are settled
// from the source in order of price; a label is worth keeping only if it is faster
// than every cheaper one at its node, so the first label to settle at the
// destination within the bound is the cheapest path that is fast enough.
// H. Joksch, "The shortest route problem with constraints", J. Math. Anal. Appl. 14
// (1966), in the order of M. Desrochers and F. Soumis (1988).

package solve

import "math"

// label is a way from the source to a node.
type label struct {
	key    float64 // price with tie's hair
	micros int64
	node   int32
	via    int32 // link, -1 at the source
	prev   int32 // label
}

// boundedTree is one goroutine's scratch.
type boundedTree struct {
	labels  []label
	heap    []nodeKey // node is the label's index
	fastest []int64   // by node, of the labels settled so far
	path    []int32
}

// search settles labels from s that stay within longest, and calls settled with
// each; it ends when settled returns false.
func (b *boundedTree) search(n *net, s int32, cost []float64, longest int64, settled func(l int32, node int32, micros int64) bool) {
	if b.fastest == nil {
		b.fastest = make([]int64, n.nodes)
	}
	for i := range b.fastest {
		b.fastest[i] = math.MaxInt64
	}
	b.labels = append(b.labels[:0], label{0, 0, s, -1, -1})
	h := append(b.heap[:0], nodeKey{0, 0})
	for len(h) > 0 {
		top := h[0]
		last := h[len(h)-1]
		h = h[:len(h)-1]
		if len(h) > 0 {
			siftDown(h, last)
		}
		l := b.labels[top.node]
		if l.micros >= b.fastest[l.node] {
			continue
		}
		b.fastest[l.node] = l.micros
		if !settled(top.node, l.node, l.micros) {
			break
		}
		for _, a := range n.arcs[n.outAt[l.node]:n.outAt[l.node+1]] {
			micros := l.micros + n.micros[a.link]
			if micros > longest || micros >= b.fastest[a.dst] {
				continue
			}
			b.labels = append(b.labels, label{l.key + cost[a.link], micros, a.dst, a.link, top.node})
			h = append(h, nodeKey{l.key + cost[a.link], int32(len(b.labels) - 1)})
			siftUp(h)
		}
	}
	b.heap = h
}

// walk returns the links of a label's way, borrowed until the next walk.
func (b *boundedTree) walk(l int32) []int32 {
	p := b.path[:0]
	for ; b.labels[l].via >= 0; l = b.labels[l].prev {
		p = append(p, b.labels[l].via)
	}
	for i, j := 0, len(p)-1; i < j; i, j = i+1, j-1 {
		p[i], p[j] = p[j], p[i]
	}
	b.path = p
	return p
}

// priceBounded does for a source with bounded demands what priceSource does for
// the others.
func (e *engine) priceBounded(t *priceTree, out *finder, k int, f *find, tolerance float64, first bool) {
	w := e.work
	waiting := map[int32][]int32{} // by node, the demands whose bound the tree's path breaks
	var longest int64
	open := 0
	for d := w.from[k]; d < w.from[k+1]; d++ {
		v := w.dst[d]
		if !math.IsInf(t.price[v], 1) && t.latency(e.net, v) <= w.bound[d] {
			e.offer(out, f, d, t.price[v], t.walk(e.net, v), tolerance, first)
			continue
		}
		waiting[v] = append(waiting[v], d)
		if w.bound[d] != NoLatencyBound {
			longest = max(longest, w.bound[d])
		} else {
			longest = NoLatencyBound
		}
		open++
	}
	if open == 0 {
		return
	}
	b := &t.bounded
	b.search(e.net, w.sources[k], e.cost, longest, func(l, node int32, micros int64) bool {
		still := waiting[node][:0]
		for _, d := range waiting[node] {
			if micros > w.bound[d] {
				still = append(still, d)
				continue
			}
			path := b.walk(l)
			price := 0.0
			for _, link := range path {
				price += e.price[link]
			}
			e.offer(out, f, d, price, path, tolerance, first)
			open--
		}
		waiting[node] = still
		return open > 0
	})
	for _, demands := range waiting {
		for _, d := range demands {
			e.offer(out, f, d, math.Inf(1), nil, tolerance, first)
		}
	}
}

// latency returns the latency of the tree's path into v.
func (t *priceTree) latency(n *net, v int32) (micros int64) {
	for e := t.via[v]; e >= 0; e = t.via[v] {
		micros += n.micros[e]
		v = n.src[e]
	}
	return micros
}

// eachBounded calls f for every demand of source k with the price of its cheapest
// path that is fast enough (+Inf: there is none) and, where that is not the one on the
// scout's tree, the path itself, borrowed during the call.
func (s *sweep) eachBounded(sc *scout, p *snapshot, k int, f func(d int32, price float64, path []int32)) {
	w, t := s.w, sc.tree
	waiting := map[int32][]int32{} // by node, the demands whose bound the tree's path breaks
	var longest int64
	open := 0
	for d := w.from[k]; d < w.from[k+1]; d++ {
		v := w.dst[d]
		if x := t.price[v]; w.bound[d] == NoLatencyBound || math.IsInf(x, 1) || t.latency(s.n, v) <= w.bound[d] {
			f(d, x, nil)
			continue
		}
		waiting[v] = append(waiting[v], d)
		longest = max(longest, w.bound[d])
		open++
	}
	if open == 0 {
		return
	}
	b := &t.bounded
	b.search(s.n, w.sources[k], p.cost, longest, func(l, node int32, micros int64) bool {
		still := waiting[node][:0]
		for _, d := range waiting[node] {
			if micros > w.bound[d] {
				still = append(still, d)
				continue
			}
			path, price := b.walk(l), 0.0
			for _, e := range path {
				price += p.price[e]
			}
			f(d, price, path)
			open--
		}
		waiting[node] = still
		return open > 0
	})
	for v := range w.from[k+1] - w.from[k] { // in the demands' order, for what nothing serves
		d := w.from[k] + v
		for _, x := range waiting[w.dst[d]] {
			if x == d {
				f(d, math.Inf(1), nil)
			}
		}
	}
}
