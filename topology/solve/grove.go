// Groves: what the demands of one source hold.
//
// All known paths of a source are one tree of links, beginnings shared, so that what
// every path costs is known after one pass over the tree, and a path found twice is
// the same node. A demand's rates hang on nodes of the tree as a list of holdings.

package solve

// grove is one source's paths and holdings.
type grove struct {
	source       int32   // node
	parent, link []int32 // by twig; twig 0 is the source itself
	first        []int32 // by node, its newest twig, -1: none
	next         []int32 // by twig, the next one at the same node
	held         []holding
	free         int32 // list of unused holdings
	live         int   // twigs when it was last pruned
}

// holding is a rate over the path that ends in a twig.
type holding struct {
	twig int32
	next int32 // the demand's next holding, -1: none
	rate float64
}

func newGrove(source int32, nodes, demands int) grove {
	g := grove{source: source, first: make([]int32, nodes), free: -1, held: make([]holding, 0, demands+demands/8)}
	size := min(nodes, 4*demands)
	g.parent, g.link, g.next = make([]int32, 1, size), make([]int32, 1, size), make([]int32, 1, size)
	g.reset()
	return g
}

func (g *grove) reset() {
	g.parent, g.link, g.next = append(g.parent[:0], -1), append(g.link[:0], -1), append(g.next[:0], -1)
	for v := range g.first {
		g.first[v] = -1
	}
	g.first[g.source] = 0
}

// sprout returns the twig that prolongs the twig at by link e into node v.
func (g *grove) sprout(at, e, v int32) int32 {
	for t := g.first[v]; t >= 0; t = g.next[t] {
		if g.parent[t] == at && g.link[t] == e {
			return t
		}
	}
	t := int32(len(g.parent))
	g.parent, g.link, g.next = append(g.parent, at), append(g.link, e), append(g.next, g.first[v])
	g.first[v] = t
	return t
}

// hold adds rate to the list at head.
func (g *grove) hold(head *int32, twig int32, rate float64) {
	for h := *head; h >= 0; h = g.held[h].next {
		if g.held[h].twig == twig {
			g.held[h].rate += rate
			return
		}
	}
	h := g.free
	if h >= 0 {
		g.free = g.held[h].next
		g.held[h] = holding{twig, *head, rate}
	} else {
		h = int32(len(g.held))
		g.held = append(g.held, holding{twig, *head, rate})
	}
	*head = h
}

// release takes holding h off the list at head.
func (g *grove) release(head *int32, h int32) {
	for at := head; ; at = &g.held[*at].next {
		if *at == h {
			*at = g.held[h].next
			g.held[h].next = g.free
			g.free = h
			return
		}
	}
}

// prune forgets paths that nobody holds. heads are the lists of the grove's demands.
func (g *grove) prune(n *net, heads []int32) {
	oldParent, oldLink := append([]int32(nil), g.parent...), append([]int32(nil), g.link...)
	to := make([]int32, len(oldParent))
	for _, h := range heads {
		for ; h >= 0; h = g.held[h].next {
			for t := g.held[h].twig; t > 0 && to[t] == 0; t = oldParent[t] {
				to[t] = 1
			}
		}
	}
	g.reset()
	for t := 1; t < len(to); t++ { // parents come before their children
		if to[t] == 0 {
			continue
		}
		v := n.dst[oldLink[t]]
		to[t] = int32(len(g.parent))
		g.parent, g.link, g.next = append(g.parent, to[oldParent[t]]), append(g.link, oldLink[t]), append(g.next, g.first[v])
		g.first[v] = to[t]
	}
	for _, h := range heads {
		for ; h >= 0; h = g.held[h].next {
			g.held[h].twig = to[g.held[h].twig]
		}
	}
	g.live = len(g.parent)
}

// prices returns what the path of every twig costs, in at if it is large enough.
func (g *grove) prices(at, price []float64) []float64 {
	at = grown(at, len(g.parent))
	parent, link := g.parent[:len(at)], g.link[:len(at)]
	at[0] = 0
	for t := 1; t < len(at); t++ {
		at[t] = at[parent[t]] + price[link[t]]
	}
	return at
}

// path appends the links of a twig's path in travelling order.
func (g *grove) path(out []int32, twig int32) []int32 {
	from := len(out)
	for t := twig; t > 0; t = g.parent[t] {
		out = append(out, g.link[t])
	}
	for i, j := from, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}
