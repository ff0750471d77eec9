package solve

import (
	"math"
	"math/rand/v2"
	"testing"

	"dssn"
)

// climbOn prepares an instance for pouring: everybody on the fastest path.
func climbOn(in *Instance) *climb {
	c := newClimb(in, newNet(in.Graph), Options{})
	for k, i := range c.w.of {
		c.speed[k], c.most[k] = in.Demands.Weight[i], float64(in.Demands.Rate[i])
	}
	for _, k := range c.firstPaths() {
		c.speed[k] = 0
	}
	return c
}

func TestPouringIsTheSlowFillingOfThePaths(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 3))
	short := 0
	for i := range 60 {
		in := denseInstance(r, 5+i/4)
		// Whole bits per second are coarse for MaxMin's rounding: scale up.
		for i := range in.Demands.Rate {
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
		p := newPourer(c, nil)
		p.pour()
		got := make([]float64, len(c.speed))
		for _, f := range p.flows() {
			got[f.demand] += f.rate
		}
		var demands []PathDemand
		for d := range c.speed {
			demands = append(demands, PathDemand{Links: c.store.path(c.store.head[d]), Ceiling: dssn.Bandwidth(c.most[d]), Weight: c.speed[d]})
		}
		want, err := MaxMin(capacity, demands)
		if err != nil {
			t.Fatal(err)
		}
		for d, s := range want {
			if math.Abs(got[d]-float64(s.Rate)) > 1e-6*float64(s.Rate)+2 {
				t.Fatalf("instance %d, demand %d: poured %g, filled %d", i, d, got[d], s.Rate)
			}
			if s.Rate < demands[d].Ceiling {
				short++
			}
		}
	}
	if short < 1000 {
		t.Errorf("only %d demands went short: the cases are too easy", short)
	}
}
