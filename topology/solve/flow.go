// The greatest total rate: sweeps, and the proof that they are near.

package solve

import "math"

// Shape of the sweeps, found by trial (see DESIGN.md).
const (
	kappaFirst              = 2.0  // price that one capacity too much adds
	kappaStep               = 1.15 // by round
	kappaMost               = 50
	kappaEarly              = 6 // rounds in which it only grows
	settles                 = 3 // in a round
	strideLeast, strideMost = 0.5, 16.0
	leaps                   = 4 // at most in a round
	tolFirst                = 1e-2
	tolPart                 = 0.1 // of the gap: what a move must gain
	tolLeast                = 1e-4
	measureIn               = 8  // rounds between two exact sums of the loads
	patience                = 40 // rounds without halving the gap before the central path is asked
)

// flowSearch is the state of solveFlow.
type flowSearch struct {
	s        *sweep
	o        Options
	total    float64
	best     []float64 // prices of the best bound
	bound    float64
	last     float64   // what the present multipliers prove
	before   []float64 // multipliers before the last raise
	raised   []float64 // what it added to them
	far      []float64 // scratch
	stride   float64   // how far leap tries to go, in raises
	round    int
	unserved int
}

// solveFlow finds the greatest total rate.
func solveFlow(in *Instance, n *net, w *workload, o Options) (*Allocation, error) {
	if o.Gap < centralGap {
		return solveCentral(in, n, w, o)
	}
	f := &flowSearch{s: newSweep(n, w, true), o: o, best: make([]float64, n.links), before: make([]float64, n.links), raised: make([]float64, n.links), far: make([]float64, n.links), stride: 1}
	for _, m := range w.mass {
		f.total += m
	}
	s := f.s
	f.start(in)
	f.learn()
	least, stale, kappa := math.Inf(1), 0, kappaFirst
	for f.round = 1; ; f.round++ {
		s.reprice(kappa)
		s.pass()
		for range settles {
			s.settle()
		}
		if f.round%measureIn == 0 {
			s.measure()
		}
		copy(f.before, s.y)
		s.raise()
		f.learn()
		if f.straightOn() {
			f.leap()
		}
		value := s.worth()
		gap := (f.bound - value) / f.bound
		kappa = f.balance(kappa, value)
		if o.Progress != nil {
			o.Progress(Progress{Round: f.round, Value: value, Bound: f.bound, Columns: s.holdings()})
		}
		stopped := o.Stop != nil && o.Stop()
		if !(gap > 3*o.Gap) || stopped {
			if a := f.answer(stopped); a != nil {
				return a, nil
			}
		}
		if stale++; gap < 0.5*least {
			least, stale = gap, 0
		}
		if stale >= patience {
			break
		}
		s.tol = math.Max(tolLeast, math.Min(tolFirst, tolPart*gap))
	}
	// The sweeps no longer come nearer; what they found is a good start for the
	// central path.
	o.Warm, o.WarmDemand = f.answer(true), nil
	return solveCentral(in, n, w, o)
}

// answer returns an allocation if it is proved to the gap or anything will do.
func (f *flowSearch) answer(anything bool) *Allocation {
	cuts, value := f.s.harvest()
	if !anything && f.bound-value > f.o.Gap*f.bound {
		return nil
	}
	return &Allocation{Objective: MaxFlow, Flows: f.s.export(cuts), Prices: f.best, Value: value, Bound: f.bound,
		Rounds: f.round, Iterations: f.s.moves, Unserved: f.unserved}
}

// balance chooses the next stiffness. What keeps value from the bound is that loads
// exceed capacities, which stiffness mends, and that prices have not come far enough,
// which it delays.
func (f *flowSearch) balance(kappa, value float64) float64 {
	served := f.total
	for _, x := range f.s.short {
		served -= x
	}
	over, behind := served-value, f.bound-served
	switch {
	case f.round <= kappaEarly || over > behind:
		return math.Min(kappaMost, kappa*kappaStep)
	case over < 0.3*behind:
		return math.Max(kappaFirst, kappa/kappaStep)
	}
	return kappa
}

// straightOn reports whether the last raise went the way of the one before, within some
// forty degrees.
func (f *flowSearch) straightOn() bool {
	dot, now, then := 0.0, 0.0, 0.0
	for e, y := range f.s.y {
		d := y - f.before[e]
		dot, now, then = dot+d*f.raised[e], now+d*d, then+f.raised[e]*f.raised[e]
		f.raised[e] = d
	}
	return dot > 0.75*math.Sqrt(now*then)
}

// leap goes on in the direction of the last raise where that proves more. Prices that
// must rise far before anybody gives way move by steady small steps otherwise.
func (f *flowSearch) leap() {
	s := f.s
	for range leaps {
		for e, y := range s.y {
			f.far[e] = math.Max(0, math.Min(1, y+f.stride*f.raised[e]))
		}
		b := s.bound(f.far)
		if b >= f.last {
			f.stride = math.Max(strideLeast, f.stride/4)
			return
		}
		copy(s.y, f.far)
		f.stride = math.Min(strideMost, f.stride*2)
		f.last = b
		f.keep()
	}
}

// learn finds out what the multipliers prove.
func (f *flowSearch) learn() {
	f.last = f.s.bound(f.s.y)
	f.keep()
}

// keep keeps the multipliers if they prove more than any before.
func (f *flowSearch) keep() {
	if f.last < f.bound || f.round == 0 {
		f.bound = f.last
		copy(f.best, f.s.y)
	}
}

// raise makes the prices the multipliers: half as they are after the last sweep,
// half as they were on average during it, which takes the swing out of them. A price
// above 1 says no more than 1, that nobody gains by the link.
func (s *sweep) raise() {
	for e, y := range s.price {
		s.y[e] = math.Min(1, 0.5*(y+s.mean[e]/s.means))
	}
}

// bound evaluates what the prices prove: no total is greater.
func (s *sweep) bound(y []float64) float64 {
	p := &s.snap[0]
	sum := 0.0
	for e, x := range y {
		p.price[e] = math.Min(1, x)
		p.cost[e] = p.price[e] + s.n.tie[e]
		sum += p.price[e] * s.n.capacity[e]
	}
	s.c.measure(p.tolls, p.cost, p.price)
	w := s.w
	s.overGroves(func(sc *scout, k int) {
		t := sc.tree
		s.c.grow(s.n, t, p.tolls, s.groves[k].source, p.cost, p.price, 1+hair)
		v := 0.0
		if w.bound != nil {
			s.eachBounded(sc, p, k, func(d int32, price float64, _ []int32) {
				v += w.mass[d] * math.Max(0, 1-price)
			})
		} else {
			for d := w.from[k]; d < w.from[k+1]; d++ {
				if x := t.price[w.dst[d]]; x < 1 {
					v += w.mass[d] * (1 - x)
				}
			}
		}
		s.sums[k] = v
	})
	for _, v := range s.sums {
		sum += v
	}
	return sum
}

// holdings counts the paths in use.
func (s *sweep) holdings() (n int) {
	for k := range s.groves {
		n += len(s.groves[k].held)
	}
	return n
}

// start counts the demands that nothing can serve and takes in the warm answer.
func (f *flowSearch) start(in *Instance) {
	s := f.s
	p := &s.snap[0]
	s.take(p)
	s.overGroves(func(sc *scout, k int) {
		s.c.grow(s.n, sc.tree, p.tolls, s.groves[k].source, p.cost, p.price, math.Inf(1))
		s.sums[k] = 0
		count := func(d int32, price float64, _ []int32) {
			if math.IsInf(price, 1) {
				s.sums[k]++
			}
		}
		if s.w.bound != nil {
			s.eachBounded(sc, p, k, count)
			return
		}
		for d := s.w.from[k]; d < s.w.from[k+1]; d++ {
			count(d, sc.tree.price[s.w.dst[d]], nil)
		}
	})
	for _, x := range s.sums {
		f.unserved += int(x)
	}
	s.tol = tolFirst
	if f.o.Warm != nil {
		s.resume(in, f.o.Warm, f.o.WarmDemand)
	}
}

// resume takes in the holdings and prices of an earlier answer, where these are still
// possible.
func (s *sweep) resume(in *Instance, warm *Allocation, become []int32) {
	place, source := make([]int32, in.Demands.Len()), make([]int32, len(s.w.of))
	for i := range place {
		place[i] = -1
	}
	for k := range s.groves {
		for d := s.w.from[k]; d < s.w.from[k+1]; d++ {
			place[s.w.of[d]], source[d] = d, int32(k)
		}
	}
	for _, x := range warm.Flows {
		i := x.Demand
		if become != nil {
			if i < 0 || int(i) >= len(become) {
				continue
			}
			i = become[i]
		}
		if i < 0 || int(i) >= len(place) || place[i] < 0 || !(x.Rate > 0) {
			continue
		}
		d := place[i]
		if !usable(s.n, s.w, d, x.Path) {
			continue
		}
		g, twig := &s.groves[source[d]], int32(0)
		for _, e := range x.Path {
			twig = g.sprout(twig, e, s.n.dst[e])
		}
		if r := math.Min(x.Rate, s.short[d]); r > 0 {
			g.hold(&s.head[d], twig, r)
			s.short[d] -= r
		}
	}
	s.measure()
	if len(warm.Prices) == s.n.links {
		for e, y := range warm.Prices {
			if s.n.capacity[e] > 0 && y > 0 {
				s.y[e] = math.Min(y, 1)
			}
		}
	}
}
