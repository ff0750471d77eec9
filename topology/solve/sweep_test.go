package solve

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

func TestSweepsAndTheCentralPathFindTheSameFlow(t *testing.T) {
	for _, in := range developmentInstances(t, 70) {
		a, err := Solve(in, Options{Objective: MaxFlow})
		if err != nil {
			t.Fatal(err)
		}
		w := newWorkload(&in.Demands, func(i int) float64 { return float64(in.Demands.Rate[i]) })
		b, err := solveCentral(in, newNet(in.Graph), w, Options{Gap: 1e-4})
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(a.Value-b.Value) > 2e-4*b.Value {
			t.Errorf("%s: sweeps find %g, the central path %g", in.Name, a.Value, b.Value)
		}
	}
}

func TestTheNumberOfProcessorsDoesNotMatter(t *testing.T) {
	for _, in := range developmentInstances(t, 45) {
		var first *Allocation
		for _, n := range []int{1, 2, 5} {
			before := runtime.GOMAXPROCS(n)
			a, err := Solve(in, Options{Objective: MaxFlow})
			runtime.GOMAXPROCS(before)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = a
				continue
			}
			same := slices.EqualFunc(first.Flows, a.Flows, func(x, y Flow) bool {
				return x.Demand == y.Demand && x.Rate == y.Rate && slices.Equal(x.Path, y.Path)
			})
			if !same || !slices.Equal(first.Prices, a.Prices) {
				t.Errorf("%s: the answer on %d processors is another than on one", in.Name, n)
			}
		}
	}
}

func TestLatencyBoundsHoldAndCostLittle(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 1))
	for _, in := range developmentInstances(t, 45) {
		free, err := Solve(in, Options{Objective: MaxFlow})
		if err != nil {
			t.Fatal(err)
		}
		n := newNet(in.Graph)
		tree, micros := newPriceTree(n), make([]float64, n.links)
		for l := range micros {
			micros[l] = float64(n.micros[l])
		}
		last := int32(-1)
		in.Demands.MaxLatencyMicros = make([]int64, in.Demands.Len())
		for i, s := range in.Demands.Src {
			if s != last {
				tree.grow(n, s, micros, micros, math.Inf(1))
				last = s
			}
			in.Demands.MaxLatencyMicros[i] = NoLatencyBound
			if r.IntN(3) > 0 { // up to half as long again as the fastest way
				in.Demands.MaxLatencyMicros[i] = int64(tree.dist[in.Demands.Dst[i]] * (1 + r.Float64()/2))
			}
		}
		a, err := Solve(in, Options{Objective: MaxFlow})
		if err != nil {
			t.Fatal(err)
		}
		v, err := Verify(in, a)
		if err != nil {
			t.Fatalf("%s: %v", in.Name, err)
		}
		if v.Value > free.Bound*(1+1e-9) || v.Value < 0.8*free.Value || a.Gap() > 1.01e-4 {
			t.Errorf("%s: value %g with bounds, %g without, gap %g", in.Name, v.Value, free.Value, a.Gap())
		}
	}
}

func TestADemandHasFewPaths(t *testing.T) {
	for _, in := range developmentInstances(t, 120) {
		a, err := Solve(in, Options{Objective: MaxFlow})
		if err != nil {
			t.Fatal(err)
		}
		paths := make([]int, in.Demands.Len())
		served, most := 0, 0
		for _, f := range a.Flows {
			if paths[f.Demand]++; paths[f.Demand] == 1 {
				served++
			}
			most = max(most, paths[f.Demand])
		}
		if most > pathsMost || float64(len(a.Flows)) > 1.25*float64(served) {
			t.Errorf("%s: up to %d paths, %d for %d demands", in.Name, most, len(a.Flows), served)
		}
	}
}

func TestPruningForgetsOnlyWhatNobodyHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 1))
	for range 300 {
		n := lines(r)
		g := newGrove(0, n.nodes, 4)
		var twigs []int32
		for range 40 { // random walks
			at, v := int32(0), int32(0)
			for range 1 + r.IntN(6) {
				out := n.arcs[n.outAt[v]:n.outAt[v+1]]
				if len(out) == 0 {
					break
				}
				a := out[r.IntN(len(out))]
				at, v = g.sprout(at, a.link, a.dst), a.dst
			}
			if at > 0 {
				twigs = append(twigs, at)
			}
		}
		if len(twigs) == 0 {
			continue
		}
		heads := []int32{-1, -1, -1, -1}
		want := map[int][][]int32{}
		for i := range 12 {
			if d := i % 4; r.IntN(3) > 0 {
				t := twigs[r.IntN(len(twigs))]
				g.hold(&heads[d], t, 1)
				if path := g.path(nil, t); !slices.ContainsFunc(want[d], func(p []int32) bool { return slices.Equal(p, path) }) {
					want[d] = append(want[d], path)
				}
			} else if h := heads[d]; h >= 0 {
				path := g.path(nil, g.held[h].twig)
				want[d] = slices.DeleteFunc(want[d], func(p []int32) bool { return slices.Equal(p, path) })
				g.release(&heads[d], h)
			}
		}
		g.prune(n, heads)
		for d, h := range heads {
			held := 0
			for ; h >= 0; h = g.held[h].next {
				held++
				path := g.path(nil, g.held[h].twig)
				if !slices.ContainsFunc(want[d], func(p []int32) bool { return slices.Equal(p, path) }) {
					t.Fatalf("demand %d holds %v after pruning, not one of %v", d, path, want[d])
				}
			}
			if held != len(want[d]) {
				t.Fatalf("demand %d holds %d paths after pruning, not %d", d, held, len(want[d]))
			}
		}
	}
}
