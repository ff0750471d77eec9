package solve

import (
	"math"
	"math/rand/v2"
	"testing"
)

// lines makes a net of junctions, chains, dead ends, rings and islands, in which
// some links lack their other direction.
func lines(r *rand.Rand) *net {
	n := &net{nodes: 1}
	type pair struct{ u, v int32 }
	seen := map[pair]bool{}
	out := [][]arc{nil}
	join := func(u, v int32) {
		if u == v || seen[pair{u, v}] && r.IntN(3) > 0 {
			return
		}
		seen[pair{u, v}] = true
		out[u] = append(out[u], arc{int32(n.links), v})
		n.src, n.dst = append(n.src, u), append(n.dst, v)
		n.capacity, n.micros, n.tie = append(n.capacity, 1), append(n.micros, 1), append(n.tie, 1e-10*(1+r.Float64()))
		n.links++
	}
	both := func(u, v int32) {
		switch r.IntN(12) {
		case 0:
			join(u, v)
		case 1:
			join(v, u)
		default:
			join(u, v)
			join(v, u)
		}
	}
	node := func() int32 {
		n.nodes++
		out = append(out, nil)
		return int32(n.nodes - 1)
	}
	for range 2 + r.IntN(8) {
		u := int32(r.IntN(n.nodes))
		if r.IntN(8) == 0 {
			u = node()
		}
		for range r.IntN(5) {
			v := node()
			both(u, v)
			u = v
		}
		if r.IntN(3) > 0 {
			both(u, int32(r.IntN(n.nodes)))
		}
	}
	n.outAt = []int32{0}
	for _, a := range out {
		n.arcs = append(n.arcs, a...)
		n.outAt = append(n.outAt, int32(len(n.arcs)))
	}
	return n
}

func TestTreesOverChainsAreThoseOverNodes(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1))
	inner := 0
	for range 3000 {
		n := lines(r)
		c := newChains(n)
		inner += len(c.inner)
		cost, price := make([]float64, n.links), make([]float64, n.links)
		for l := range price {
			if r.IntN(2) == 0 {
				price[l] = float64(r.IntN(4)) / 4
			}
			cost[l] = price[l] + n.tie[l]
		}
		limit := math.Inf(1)
		if r.IntN(2) == 0 {
			limit = r.Float64() * 2
		}
		tolls := c.newTolls()
		c.measure(tolls, cost, price)
		slow, fast := newPriceTree(n), newPriceTree(n)
		for s := range int32(n.nodes) {
			slow.grow(n, s, cost, price, math.Inf(1))
			c.grow(n, fast, tolls, s, cost, price, limit)
			for v := range int32(n.nodes) {
				if fast.dist[v] > limit || math.IsInf(fast.dist[v], 1) {
					if slow.dist[v] < math.Min(limit, math.MaxFloat64)-1e-9 {
						t.Fatalf("node %d is %g from %d, but was given up at %g", v, slow.dist[v], s, limit)
					}
					continue
				}
				if math.Abs(slow.dist[v]-fast.dist[v]) > 1e-12 || math.Abs(slow.price[v]-fast.price[v]) > 1e-12 {
					t.Fatalf("from %d to %d: %g (price %g), want %g (price %g)", s, v, fast.dist[v], fast.price[v], slow.dist[v], slow.price[v])
				}
				at, sum := s, 0.0
				for _, l := range fast.walk(n, v) {
					if n.src[l] != at {
						t.Fatalf("the way from %d to %d is broken at link %d", s, v, l)
					}
					at, sum = n.dst[l], sum+cost[l]
				}
				if at != v || math.Abs(sum-fast.dist[v]) > 1e-12 {
					t.Fatalf("the way from %d to %d ends at %d and costs %g, not %g", s, v, at, sum, fast.dist[v])
				}
			}
		}
	}
	if inner < 10000 {
		t.Errorf("only %d inner nodes were tried", inner)
	}
}
