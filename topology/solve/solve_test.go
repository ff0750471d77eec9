package solve

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"dssn"
	"dssn/topology"
)

// randomInstance makes up to six nodes, few links, contended demands, sometimes with
// latency bounds or nothing between two nodes.
func randomInstance(r *rand.Rand, bounds bool) *Instance {
	for {
		n := 3 + r.IntN(4)
		nodes := make([]topology.Node, n)
		for i := range nodes {
			nodes[i].Name = "n" + strconv.Itoa(i)
		}
		var links []topology.Link
		for u := range n {
			for v := range n {
				if u != v && r.IntN(5) < 2 {
					links = append(links, topology.Link{Src: u, Dst: v, Capacity: dssn.Bandwidth(100 + r.IntN(900)), LatencyMicros: int64(1 + r.IntN(5)), Down: r.IntN(15) == 0})
				}
			}
		}
		g, err := topology.Build("random", nodes, links)
		if err != nil {
			panic(err)
		}
		in := &Instance{Name: "random", Graph: g}
		for range 1 + r.IntN(6) {
			s, t := r.IntN(n), r.IntN(n)
			if s == t {
				continue
			}
			in.Demands.Add(s, t, dssn.Bandwidth(50+r.IntN(900)), float64(1+r.IntN(4)), int32(r.IntN(3)))
		}
		if bounds {
			for range in.Demands.Len() {
				b := NoLatencyBound
				if r.IntN(2) == 0 {
					b = int64(2 + r.IntN(6))
				}
				in.Demands.MaxLatencyMicros = append(in.Demands.MaxLatencyMicros, b)
			}
		}
		if in.Demands.Len() > 0 {
			return in
		}
	}
}

func TestFlowAndLambdaAreTheExactOptimaOnSmallGraphs(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	contended := 0
	for i := range 800 {
		bounds := i%4 == 3
		in := randomInstance(r, bounds)
		for _, o := range []Objective{MaxFlow, MaxLambda} {
			want := exactFlow(in)
			if o == MaxLambda {
				want = exactLambda(in)
			}
			a, err := Solve(in, Options{Objective: o})
			if err != nil {
				t.Fatal(err)
			}
			v, err := Verify(in, a)
			if err != nil {
				t.Fatalf("%v: %v", o, err)
			}
			if math.Abs(v.Value-want) > 1.1e-4*want+1e-6 {
				t.Fatalf("instance %d, %v: value %g, the simplex method finds %g\nlinks %+v\ndemands %+v", i, o, v.Value, want, in.Graph.Links(), in.Demands)
			}
			if v.Bound < want*(1-1e-9) {
				t.Fatalf("%v: bound %g is below the optimum %g", o, v.Bound, want)
			}
			if !bounds && (o == MaxFlow || want > 0 && want < 0.9998) && v.Gap > 1.1e-4 {
				t.Fatalf("instance %d, %v: proven gap %g", i, o, v.Gap)
			}
			if v.Satisfied < 0.99 {
				contended++
			}
		}
	}
	if contended < 400 {
		t.Errorf("only %d cases were contended", contended)
	}
}

func TestFairRatesAreTheExactOnesOnSmallGraphs(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	same, all, proved := 0, 0, 0
	for range 300 {
		in := randomInstance(r, false)
		want := exactFair(in)
		a, err := Solve(in, Options{Objective: MaxMinFair})
		if err != nil {
			t.Fatal(err)
		}
		v, err := Verify(in, a)
		if err != nil {
			t.Fatal(err)
		}
		got := a.Rates(in.Demands.Len())
		all++
		if v.Unproved == 0 {
			proved++
		}
		close := true
		for i := range got {
			close = close && math.Abs(got[i]-want[i]) <= 0.01*math.Max(want[i], 1)
		}
		if close {
			same++
		} else if v.Unproved == 0 {
			t.Fatalf("proved rates %v differ from the exact %v\nlinks %+v\ndemands %+v", got, want, in.Graph.Links(), in.Demands)
		}
	}
	t.Logf("%d instances: %d exact, %d proved", all, same, proved)
	if same < all || proved < all {
		t.Errorf("of %d instances only %d are exact and %d proved", all, same, proved)
	}
}

// denseInstance makes a connected network of n nodes whose demands compete for much
// more than it has, over many ways each.
func denseInstance(r *rand.Rand, n int) *Instance {
	nodes := make([]topology.Node, n)
	var links []topology.Link
	for u := range n {
		nodes[u].Name = "n" + strconv.Itoa(u)
		for k := range 3 {
			v := (u + 1 + k*r.IntN(n-1)) % n
			if v == u || slices.ContainsFunc(links, func(l topology.Link) bool { return l.Src == u && l.Dst == v }) {
				continue
			}
			// Round capacities make ties, and ties are where levels are hard.
			links = append(links, topology.Link{Src: u, Dst: v, Capacity: dssn.Bandwidth(1000 * (1 + r.IntN(3))), LatencyMicros: int64(1 + r.IntN(5))})
		}
	}
	g, err := topology.Build("dense", nodes, links)
	if err != nil {
		panic(err)
	}
	in := &Instance{Name: "dense", Graph: g}
	for range n * n / 2 {
		s, t := r.IntN(n), r.IntN(n)
		if s != t {
			in.Demands.Add(s, t, dssn.Bandwidth(1+r.IntN(400)), float64(int(1)<<r.IntN(4)), 0)
		}
	}
	return in
}

func TestFairRatesAreProved(t *testing.T) {
	all := developmentInstances(t, 70)
	real := len(all)
	r := rand.New(rand.NewPCG(6, 3))
	for i := range 60 {
		all = append(all, denseInstance(r, 6+i/3))
	}
	levels, open := 0, 0
	for i, in := range all {
		a, err := Solve(in, Options{Objective: MaxMinFair})
		if err != nil {
			t.Fatalf("instance %d, %s: %v", i, in.Name, err)
		}
		v, err := Verify(in, a)
		if err != nil {
			t.Fatalf("instance %d, %s: %v", i, in.Name, err)
		}
		if v.Unproved > 0 {
			open++
			if i < real {
				t.Errorf("%s: %d of %d demands have no proof", in.Name, v.Unproved, in.Demands.Len())
			}
		}
		levels += len(a.Levels)
	}
	t.Logf("%d instances, %d levels, %d instances with demands that have no proof", len(all), levels, open)
	if levels < 2*len(all) {
		t.Errorf("only %d levels in %d instances: they are not hard enough", levels, len(all))
	}
	if open > 5 {
		t.Errorf("%d of %d instances have demands without a proof", open, len(all))
	}
}

func TestMoreCapacityNeverLowersLambdaAndScaleDoesNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 150 {
		in := randomInstance(r, false)
		value := func(in *Instance) float64 {
			a, err := Solve(in, Options{Objective: MaxLambda})
			if err != nil {
				t.Fatal(err)
			}
			v, err := Verify(in, a)
			if err != nil {
				t.Fatal(err)
			}
			return v.Value
		}
		before := value(in)
		if in.Graph.NumLinks() == 0 {
			continue
		}
		wider := &Instance{Name: in.Name, Graph: in.Graph.Clone(), Demands: in.Demands}
		e := r.IntN(in.Graph.NumLinks())
		if err := wider.Graph.SetCapacity(e, 2*in.Graph.Link(e).Capacity); err != nil {
			t.Fatal(err)
		}
		if after := value(wider); after < before*(1-2e-4) {
			t.Fatalf("doubling link %d lowered λ from %g to %g", e, before, after)
		}
		scaled := &Instance{Name: in.Name, Graph: in.Graph.Clone(), Demands: in.Demands}
		scaled.Demands.Rate = slices.Clone(in.Demands.Rate)
		const factor = 1_000_003
		for e := range in.Graph.NumLinks() {
			if err := scaled.Graph.SetCapacity(e, factor*in.Graph.Link(e).Capacity); err != nil {
				t.Fatal(err)
			}
		}
		for i := range scaled.Demands.Rate {
			scaled.Demands.Rate[i] *= factor
		}
		if after := value(scaled); math.Abs(after-before) > 2e-4*before {
			t.Fatalf("scaling everything changed λ from %g to %g", before, after)
		}
	}
}

func TestAWarmStartReachesTheSameOptimum(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 3))
	for range 200 {
		in := randomInstance(r, false)
		for _, o := range []Objective{MaxFlow, MaxLambda} {
			first, err := Solve(in, Options{Objective: o})
			if err != nil {
				t.Fatal(err)
			}
			if in.Graph.NumLinks() == 0 {
				continue
			}
			after := &Instance{Name: in.Name, Graph: in.Graph.Clone(), Demands: in.Demands}
			after.Graph.SetDown(r.IntN(in.Graph.NumLinks()), true)
			warm, err := Solve(after, Options{Objective: o, Warm: first})
			if err != nil {
				t.Fatal(err)
			}
			v, err := Verify(after, warm)
			if err != nil {
				t.Fatal(err)
			}
			want := exactFlow(after)
			if o == MaxLambda {
				want = exactLambda(after)
			}
			if math.Abs(v.Value-want) > 1.1e-4*want+1e-6 {
				t.Fatalf("%v warm: %g, exact %g", o, v.Value, want)
			}
		}
	}
}

func TestAnAnswerCanBeTakenAtAnyTime(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 3))
	for range 100 {
		in := randomInstance(r, false)
		for _, o := range []Objective{MaxFlow, MaxLambda, MaxMinFair} {
			for stopAt := range 3 {
				asked := 0
				a, err := Solve(in, Options{Objective: o, Stop: func() bool { asked++; return asked > stopAt }})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := Verify(in, a); err != nil {
					t.Fatalf("%v stopped after %d: %v", o, stopAt, err)
				}
			}
		}
	}
}

func TestVerifyRefusesWhatIsWrong(t *testing.T) {
	g, err := topology.Build("line", []topology.Node{{Name: "a"}, {Name: "b"}, {Name: "c"}}, []topology.Link{
		{Src: 0, Dst: 1, Capacity: 100, LatencyMicros: 5}, {Src: 1, Dst: 2, Capacity: 50, LatencyMicros: 5}, {Src: 1, Dst: 0, Capacity: 100}, {Src: 2, Dst: 1, Capacity: 9, Down: true}})
	if err != nil {
		t.Fatal(err)
	}
	in := &Instance{Graph: g}
	in.Demands.Add(0, 2, 60, 1, 0)
	in.Demands.Add(2, 0, 10, 1, 0)
	in.Demands.MaxLatencyMicros = []int64{10, 10}
	good := func() *Allocation {
		return &Allocation{Flows: []Flow{{0, 50, []int32{0, 1}}}, Prices: []float64{0, 1, 0, 0}}
	}
	v, err := Verify(in, good())
	if err != nil || v.Value != 50 || v.Bound != 50 {
		t.Fatalf("the right allocation: %+v, %v", v, err)
	}
	for name, spoil := range map[string]func(a *Allocation){
		"no such demand":  func(a *Allocation) { a.Flows[0].Demand = 2 },
		"negative demand": func(a *Allocation) { a.Flows[0].Demand = -1 },
		"NaN":             func(a *Allocation) { a.Flows[0].Rate = math.NaN() },
		"infinite":        func(a *Allocation) { a.Flows[0].Rate = math.Inf(1) },
		"zero":            func(a *Allocation) { a.Flows[0].Rate = 0 },
		"overfull":        func(a *Allocation) { a.Flows[0].Rate = 51 },
		"gap in path":     func(a *Allocation) { a.Flows[0].Path = []int32{1} },
		"short path":      func(a *Allocation) { a.Flows[0].Path = []int32{0} },
		"no path":         func(a *Allocation) { a.Flows[0].Path = nil },
		"loop":            func(a *Allocation) { a.Flows[0].Path = []int32{0, 2, 0, 1} },
		"no such link":    func(a *Allocation) { a.Flows[0].Path = []int32{0, 7} },
		"down link":       func(a *Allocation) { a.Flows[0] = Flow{1, 5, []int32{3, 2}} },
		"twice":           func(a *Allocation) { a.Flows[0].Rate = 20; a.Flows = append(a.Flows, a.Flows[0]) },
		"few prices":      func(a *Allocation) { a.Prices = a.Prices[:3] },
		"negative price":  func(a *Allocation) { a.Prices[0] = -1 },
		"NaN price":       func(a *Allocation) { a.Prices[0] = math.NaN() },
		"infinite price":  func(a *Allocation) { a.Prices[0] = math.Inf(1) },
		"too slow":        func(*Allocation) { in.Demands.MaxLatencyMicros[0] = 9 },
	} {
		a := good()
		spoil(a)
		if _, err := Verify(in, a); err == nil {
			t.Errorf("%s was accepted", name)
		}
		in.Demands.MaxLatencyMicros[0] = 10
	}
}

// developmentInstances builds all-pairs gravity-like demands on the smaller real
// topologies that lie beside the repository; there are none where they do not.
func developmentInstances(t testing.TB, largest int) (all []*Instance) {
	files, err := filepath.Glob("../../../shared/topologies/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		g, err := topology.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		if g.NumNodes() <= largest {
			all = append(all, gravity(g, 0.5))
		}
	}
	return all
}

// gravity makes demands between all pairs in proportion to the product of the nodes'
// capacities, scaled so that all on their shortest paths use load of the network.
func gravity(g *topology.Graph, load float64) *Instance {
	in := &Instance{Name: strings.Clone(g.Name), Graph: g}
	r := rand.New(rand.NewPCG(uint64(g.NumNodes()), 1))
	mass := make([]float64, g.NumNodes())
	capacity := 0.0
	for _, l := range g.Links() {
		mass[l.Src] += 1
		capacity += float64(l.Capacity)
	}
	for u := range mass {
		mass[u] /= 1 - r.Float64()*(1-1.0/50)
	}
	n := newNet(g)
	t := newPriceTree(n)
	volume := 0.0
	var raw []float64
	for s := range g.NumNodes() {
		t.grow(n, int32(s), n.tie, make([]float64, n.links), math.Inf(1))
		for d := range g.NumNodes() {
			if s != d {
				x := mass[s] * mass[d] * (0.5 + r.Float64())
				raw = append(raw, x)
				volume += x * float64(len(t.walk(n, int32(d))))
				class := int32(r.IntN(4))
				in.Demands.Add(s, d, 1, float64(int(8)>>class), class)
			}
		}
	}
	for i, x := range raw {
		in.Demands.Rate[i] = max(1, dssn.Bandwidth(x*load*capacity/volume))
	}
	return in
}

func TestDevelopmentTopologiesAreSolvedToTheGap(t *testing.T) {
	for _, in := range developmentInstances(t, 120) {
		for _, o := range []Objective{MaxFlow, MaxLambda} {
			a, err := Solve(in, Options{Objective: o})
			if err != nil {
				t.Fatalf("%s %v: %v", in.Name, o, err)
			}
			v, err := Verify(in, a)
			if err != nil {
				t.Fatalf("%s %v: %v", in.Name, o, err)
			}
			if v.Gap > 1.01e-4 {
				t.Errorf("%s %v: proven gap %.3g", in.Name, o, v.Gap)
			}
		}
	}
}
