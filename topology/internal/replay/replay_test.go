package replay

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"dssn"
	"dssn/topology"
	"dssn/topology/solve"
)

// ringWithChords is a national network in little: a ring, chords over it, and demands
// between all pairs that ask for more than it has.
func ringWithChords(t *testing.T, n int) *solve.Instance {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(n), 7))
	nodes := make([]topology.Node, n)
	for i := range nodes {
		nodes[i].Name = "n" + strconv.Itoa(i)
	}
	var links []topology.Link
	fibre := func(u, v int) {
		l := topology.Link{Src: u, Dst: v, Capacity: dssn.Bandwidth(1+r.IntN(4)) * 100 * dssn.Gbps, LatencyMicros: int64(100 + r.IntN(2000))}
		back := l
		back.Src, back.Dst = v, u
		links = append(links, l, back)
	}
	for u := range n {
		fibre(u, (u+1)%n)
		if u%2 == 0 {
			fibre(u, (u+3+2*r.IntN(n/4))%n)
		}
	}
	g, err := topology.Build("ring", nodes, links)
	if err != nil {
		t.Fatal(err)
	}
	in := &solve.Instance{Name: "ring", Graph: g}
	for s := range n {
		for d := range n {
			if s != d {
				in.Demands.Add(s, d, dssn.Bandwidth(1+r.IntN(9_000_000_000)), float64(int(1)<<r.IntN(4)), 0)
			}
		}
	}
	return in
}

func TestAfterEveryEventOfADayThereIsAVerifiedAnswer(t *testing.T) {
	for _, c := range []struct {
		objective solve.Objective
		events    int
		gap       float64
	}{{solve.MaxFlow, 120, 2e-3}, {solve.MaxLambda, 40, 2e-3}, {solve.MaxMinFair, 12, 1e-2}} {
		d := New(ringWithChords(t, 24), 3)
		last, err := solve.Solve(d.In, solve.Options{Objective: c.objective, Gap: c.gap})
		if err != nil {
			t.Fatal(err)
		}
		happened := map[string]int{}
		unserved := 0
		for i := range c.events {
			before := d.In
			what := d.Next()
			happened[what[strings.LastIndex(what, " ")+1:]]++
			if before == d.In {
				t.Fatalf("event %d, %s: the instance before was changed", i, what)
			}
			a, err := solve.Solve(d.In, solve.Options{Objective: c.objective, Gap: c.gap, Warm: last})
			if err != nil {
				t.Fatalf("%v, event %d, %s: %v", c.objective, i, what, err)
			}
			v, err := solve.Verify(d.In, a)
			if err != nil {
				t.Fatalf("%v, event %d, %s: %v", c.objective, i, what, err)
			}
			// A factor above 1 is as good as 1, and where a demand has no path it is 0.
			bound := v.Bound
			if c.objective == solve.MaxLambda {
				bound = min(bound, 1)
			}
			if c.objective != solve.MaxMinFair && v.Value < bound*(1-1.01*c.gap) {
				t.Errorf("%v, event %d, %s: %g of at most %g", c.objective, i, what, v.Value, bound)
			}
			if v.Unproved > 0 {
				t.Errorf("event %d, %s: %d rates have no proof", i, what, v.Unproved)
			}
			unserved += a.Unserved
			steps(t, d.In, last, a)
			last = a
		}
		if c.events > 100 && (len(happened) < 5 || unserved == 0) {
			t.Errorf("not much happened: %v, %d unserved", happened, unserved)
		}
	}
}

// steps checks that the way from one answer to the next overloads nothing.
func steps(t *testing.T, in *solve.Instance, from, to *solve.Allocation) {
	t.Helper()
	g := in.Graph
	capacity := make([]float64, g.NumLinks())
	for e, l := range g.Links() {
		if l.Usable() {
			capacity[e] = float64(l.Capacity)
		}
	}
	way, err := solve.Transition(capacity, from, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := map[string]float64{}
	load := make([]float64, g.NumLinks())
	key := func(d int32, path []int32) string {
		b := []byte{byte(d), byte(d >> 8), byte(d >> 16)}
		for _, e := range path {
			b = append(b, byte(e), byte(e>>8))
		}
		return string(b)
	}
	for _, f := range from.Flows {
		now[key(f.Demand, f.Path)] += f.Rate
		for _, e := range f.Path {
			load[e] += f.Rate
		}
	}
	for i, s := range way {
		// While a step is under way every flow may be at its old rate or at its new one.
		worst := append([]float64(nil), load...)
		for _, c := range s.Changes {
			k := key(c.Demand, c.Path)
			for _, e := range c.Path {
				worst[e] += max(0, c.To-now[k])
				load[e] += c.To - now[k]
			}
			now[k] = c.To
		}
		for e, x := range worst {
			if x > capacity[e]*(1+1e-6) && capacity[e] > 0 {
				t.Fatalf("step %d of %d puts %g on link %d, which carries %g", i, len(way), x, e, capacity[e])
			}
		}
	}
}
