package solve

import (
	"math"
	"math/rand/v2"
	"testing"

	"dssn"
)

// fairness is the geometric mean of min(got/want, want/got), as ../../../shared/te has it.
func fairness(got, want []float64) float64 {
	sum := 0.0
	for i, x := range want {
		if x > 0 {
			sum += math.Log(math.Max(1e-9, math.Min(got[i]/x, x/got[i])))
		}
	}
	return math.Exp(sum / float64(len(want)))
}

// evenOn returns the rates of the even sweeps for an instance, as an allocation without a proof.
func evenOn(in *Instance, o Options) *Allocation {
	c := newClimb(in, newNet(in.Graph), o)
	c.firstPaths()
	c.enter(Stage{})
	return &Allocation{Objective: MaxMinFair, Flows: c.export(c.fit(c.evenly().flows))}
}

func TestEvenSweepsAreFairAtOnce(t *testing.T) {
	all := developmentInstances(t, 120)
	real := len(all)
	r := rand.New(rand.NewPCG(9, 3))
	for range 20 {
		all = append(all, denseInstance(r, 20))
	}
	sum := 0.0
	for i, in := range all {
		exact, err := Solve(in, Options{Objective: MaxMinFair})
		if err != nil {
			t.Fatal(err)
		}
		a := evenOn(in, Options{})
		if _, err := Verify(in, a); err != nil {
			t.Fatalf("%s: %v", in.Name, err)
		}
		n := in.Demands.Len()
		fair := fairness(a.Rates(n), exact.Rates(n))
		if i < real && fair < 0.99 {
			t.Errorf("%s: %.4f fair", in.Name, fair)
		}
		if i >= real {
			sum += fair / 20
		}
	}
	t.Logf("%d networks, and made-up ones %.4f fair on average", real, sum)
	if sum < 0.92 {
		t.Errorf("made-up networks: %.4f fair on average", sum)
	}
}

func TestEvenPouringIsTheSlowFillingOfSinglePaths(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 5))
	short := 0
	for i := range 40 {
		in := denseInstance(r, 5+i/4)
		for i := range in.Demands.Rate { // whole bits per second are coarse for MaxMin's rounding
			in.Demands.Rate[i] *= 1_000_000
		}
		capacity := make([]dssn.Bandwidth, in.Graph.NumLinks())
		for e := range capacity {
			capacity[e] = in.Graph.Link(e).Capacity * 1_000_000
			if err := in.Graph.SetCapacity(e, capacity[e]); err != nil {
				t.Fatal(err)
			}
		}
		c := climbOn(in)
		s := newSweep(c.n, c.w, true)
		s.even = &evenness{speed: c.speed}
		var demands []PathDemand
		for k := range s.groves {
			g := &s.groves[k]
			for d := s.w.from[k]; d < s.w.from[k+1]; d++ {
				twig, path := int32(0), c.store.path(c.store.head[d])
				for _, e := range path {
					twig = g.sprout(twig, e, s.n.dst[e])
				}
				g.hold(&s.head[d], twig, s.w.mass[d])
				demands = append(demands, PathDemand{Links: path, Ceiling: dssn.Bandwidth(c.most[d]), Weight: c.speed[d]})
			}
		}
		p := s.pourEven()
		want, err := MaxMin(capacity, demands)
		if err != nil {
			t.Fatal(err)
		}
		for d, x := range want {
			if math.Abs(p.rate[d]-float64(x.Rate)) > 1e-6*float64(x.Rate)+2 {
				t.Fatalf("instance %d, demand %d: poured %g, filled %d", i, d, p.rate[d], x.Rate)
			}
			if x.Rate < demands[d].Ceiling {
				short++
			}
		}
	}
	if short < 500 {
		t.Errorf("only %d demands went short: the cases are too easy", short)
	}
}

// TestFairnessStartsWarm goes on from the answer before after a failure, a drain and changed
// demands: the rates are proved, and so the same as from nothing.
func TestFairnessStartsWarm(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 9))
	for _, in := range developmentInstances(t, 60) {
		before, err := Solve(in, Options{Objective: MaxMinFair})
		if err != nil {
			t.Fatal(err)
		}
		for _, what := range []string{"failure", "drain", "demands"} {
			after := &Instance{Name: in.Name, Graph: in.Graph.Clone(), Demands: in.Demands}
			o := Options{Objective: MaxMinFair, Warm: before}
			e := r.IntN(in.Graph.NumLinks())
			switch what {
			case "failure":
				after.Graph.SetDown(e, true)
			case "drain":
				after.Graph.SetDrained(e, true)
			case "demands":
				var d Demands // half the first demand more, and the second one gone
				for i := range in.Demands.Len() {
					o.WarmDemand = append(o.WarmDemand, int32(d.Len()))
					rate := in.Demands.Rate[i]
					switch i {
					case 0:
						rate += rate / 2
					case 1:
						o.WarmDemand[i] = -1
						continue
					}
					d.Add(int(in.Demands.Src[i]), int(in.Demands.Dst[i]), rate, in.Demands.Weight[i], in.Demands.Class[i])
				}
				after.Demands = d
			}
			warm, err := Solve(after, o)
			if err != nil {
				t.Fatal(err)
			}
			v, err := Verify(after, warm)
			if err != nil {
				t.Fatalf("%s, %s: %v", in.Name, what, err)
			}
			cold, err := Solve(after, Options{Objective: MaxMinFair})
			if err != nil {
				t.Fatal(err)
			}
			n := after.Demands.Len()
			if fair := fairness(warm.Rates(n), cold.Rates(n)); v.Unproved > 0 || fair < 0.999 {
				t.Errorf("%s, %s: %d without a proof, %.5f of the cold rates", in.Name, what, v.Unproved, fair)
			}
		}
	}
}

// TestFairnessStoppedAtOnceIsFeasibleAndFair: an answer can be taken at any time.
func TestFairnessStoppedAtOnceIsFeasibleAndFair(t *testing.T) {
	for _, in := range developmentInstances(t, 115) {
		exact, err := Solve(in, Options{Objective: MaxMinFair})
		if err != nil {
			t.Fatal(err)
		}
		n, last := in.Demands.Len(), 0.0
		for _, asked := range []int{0, 6, 40, 120, 300, 600} {
			count := 0
			a, err := Solve(in, Options{Objective: MaxMinFair, Stop: func() bool { count++; return count > asked }})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(in, a); err != nil {
				t.Fatalf("%s stopped after %d: %v", in.Name, asked, err)
			}
			fair := fairness(a.Rates(n), exact.Rates(n))
			if fair < 0.9 || fair < last-0.02 {
				t.Errorf("%s stopped after %d: %.4f fair, %.4f before", in.Name, asked, fair, last)
			}
			last = fair
		}
	}
}
