package solve

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"dssn"
	"dssn/topology"
)

// exactStages is the slow twin: stage by stage and level by level by linear programs
// over all paths; rates by demand.
func exactStages(in *Instance, byClass bool) []float64 {
	d := &in.Demands
	rate := make([]float64, d.Len())
	for _, s := range stages(d, byClass) {
		rising := make([]bool, d.Len())
		speed, most := make([]float64, d.Len()), make([]float64, d.Len())
		for i := range rate {
			if s.Kind != Together && s.Class != AllClasses && d.Class[i] != s.Class {
				continue
			}
			speed[i], most[i] = d.Weight[i], float64(d.Rate[i])
			if s.Kind == Committed {
				speed[i], most[i] = float64(d.Committed[i]), float64(d.Committed[i])
			}
			rising[i] = most[i] > rate[i]+1e-9
		}
		for slices.Contains(rising, true) {
			// The greatest level at which max(rate, min(most, speed·level)) fits, by bisection.
			amounts := func(level float64) []float64 {
				out := slices.Clone(rate)
				for i, r := range rising {
					if r {
						out[i] = math.Max(out[i], math.Min(most[i], speed[i]*level))
					}
				}
				return out
			}
			lo, hi := 0.0, 0.0
			for i, r := range rising {
				if r {
					hi = math.Max(hi, most[i]/speed[i])
				}
			}
			if !fits(in, amounts(hi)) {
				for range 60 {
					if mid := (lo + hi) / 2; fits(in, amounts(mid)) {
						lo = mid
					} else {
						hi = mid
					}
				}
			} else {
				lo = hi
			}
			now := amounts(lo)
			// Who can have no more while nobody falls stops.
			stopped := 0
			for i, r := range rising {
				if !r {
					continue
				}
				more := slices.Clone(now)
				more[i] += math.Max(1e-3, 1e-5*more[i])
				if now[i] >= most[i]-1e-9 || now[i] > rate[i]-1e-9 && speed[i]*lo >= now[i]-1e-6 && !fits(in, more) {
					rate[i], rising[i] = now[i], false
					stopped++
				}
			}
			if stopped == 0 {
				// Demands that wait above the level, or rounding: hold the tightest.
				for i, r := range rising {
					if more := slices.Clone(now); r {
						more[i] += math.Max(1e-3, 1e-4*more[i])
						if !fits(in, more) {
							rate[i], rising[i] = now[i], false
							stopped++
						}
					}
				}
			}
			if stopped == 0 {
				panic("the twin does not end")
			}
		}
	}
	return rate
}

// fits says whether everybody can have these rates at once.
func fits(in *Instance, rate []float64) bool {
	sub := &Instance{Graph: in.Graph.Clone()}
	total := 0.0
	const unit = 1e4 // rates are whole numbers in an instance
	for e, l := range in.Graph.Links() {
		if err := sub.Graph.SetCapacity(e, l.Capacity*unit); err != nil {
			panic(err)
		}
	}
	for i, r := range rate {
		if r > 1e-9 {
			b := dssn.Bandwidth(math.Round(r * unit))
			sub.Demands.Add(int(in.Demands.Src[i]), int(in.Demands.Dst[i]), max(1, b), 1, 0)
			total += float64(max(1, b))
		}
	}
	return sub.Demands.Len() == 0 || exactFlow(sub) >= total-10
}

func TestCommittedComesFirstAndClassBeforeClassOverAllPaths(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 3))
	short, proved, all := 0, 0, 0
	for i := range 120 {
		in := randomInstance(r, false)
		d := &in.Demands
		byClass := i%2 == 0
		if i%3 > 0 {
			d.Committed = make([]dssn.Bandwidth, d.Len())
			for k, b := range d.Rate {
				if r.IntN(3) > 0 {
					d.Committed[k] = 1 + dssn.Bandwidth(r.Uint64N(uint64(b)))
				}
			}
		}
		want := exactStages(in, byClass)
		a, err := Solve(in, Options{Objective: MaxMinFair, ByClass: byClass})
		if err != nil {
			t.Fatal(err)
		}
		v, err := Verify(in, a)
		if err != nil {
			t.Fatal(err)
		}
		all++
		if v.Unproved == 0 {
			proved++
		}
		got := a.Rates(d.Len())
		for k := range got {
			if math.Abs(got[k]-want[k]) > 0.01*math.Max(want[k], 1)+0.1 {
				t.Fatalf("instance %d, by class %v, %d unproved: got %v, the twin %v\nlinks %+v\ndemands %+v", i, byClass, v.Unproved, got, want, in.Graph.Links(), in.Demands)
			}
		}
		if d.Committed == nil {
			continue
		}
		missing := map[int32]bool{}
		for _, s := range a.Short {
			missing[s.Demand] = true
			short++
			if s.Level < 0 {
				continue
			}
			// Without the links of the cut the demand has no path, and they are full.
			cut := in.Graph.Clone()
			load := a.Loads(in.Graph.NumLinks())
			for _, e := range s.Cut {
				cut.SetDown(int(e), true)
				if load[e] < float64(in.Graph.Link(int(e)).Capacity)*(1-1e-6) {
					t.Errorf("instance %d: demand %d goes short because of link %d, which is not full", i, s.Demand, e)
				}
			}
			alone := &Instance{Graph: cut}
			alone.Demands.Add(int(d.Src[s.Demand]), int(d.Dst[s.Demand]), 1, 1, 0)
			if exactFlow(alone) > 0 {
				t.Errorf("instance %d: demand %d has a path beside the cut %v", i, s.Demand, s.Cut)
			}
		}
		for k := range got {
			if m := float64(d.Committed[k]); got[k] < m*(1-1e-6) != missing[int32(k)] {
				t.Errorf("instance %d: demand %d has %g of %g committed; short: %v", i, k, got[k], m, missing[int32(k)])
			}
		}
	}
	t.Logf("%d instances, %d proved, %d demands short of what they were promised", all, proved, short)
	if short < 30 || proved < all*9/10 {
		t.Errorf("%d demands short, %d of %d instances proved", short, proved, all)
	}
}

func TestAStageProofIsReadBackAndAWrongOneProvesNothing(t *testing.T) {
	g, err := topology.Build("line", []topology.Node{{Name: "a"}, {Name: "b"}, {Name: "c"}}, []topology.Link{
		{Src: 0, Dst: 1, Capacity: 1000}, {Src: 1, Dst: 2, Capacity: 600}})
	if err != nil {
		t.Fatal(err)
	}
	in := &Instance{Name: "line", Graph: g}
	in.Demands.Add(0, 2, 500, 1, 0)
	in.Demands.Add(1, 2, 500, 4, 1)
	in.Demands.Committed = []dssn.Bandwidth{400, 400}
	a, err := Solve(in, Options{Objective: MaxMinFair, ByClass: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := a.Rates(2); math.Abs(got[0]-400) > 1 || math.Abs(got[1]-200) > 1 {
		t.Errorf("rates %v, want 400 (committed, the more urgent class) and 200", got)
	}
	if len(a.Short) != 1 || a.Short[0].Demand != 1 || !slices.Equal(a.Short[0].Cut, []int32{1}) {
		t.Errorf("short: %+v, want demand 1 because of link 1", a.Short)
	}
	back, _, err := ReadAllocation(a.AppendJSON(nil, in.Name))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := Verify(in, back); err != nil || v.Unproved != 0 {
		t.Errorf("read back: %+v, %v", v, err)
	}
	for i := range back.Levels {
		back.Levels[i].Stage = Stage{Ceiling, 1} // nothing is as urgent as it was
		back.Levels[i].Rate = 1
	}
	if v, err := Verify(in, back); err != nil || v.Unproved == 0 {
		t.Errorf("a level of the wrong stage still proves everything: %+v, %v", v, err)
	}
}
