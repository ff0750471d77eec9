// The search: sweeps, multipliers, and the proof that they are near.
//
//	pass      over all paths, then settle over the known ones: loads answer to prices
//	raise     the prices become the multipliers
//	learn     what the multipliers prove; leap where they keep going the same way
//	answer    rates that fit, once they are near enough to the proof

package solve

import "math"

// Shape of the search, found by trial (see DESIGN.md). Prices are in units of what a
// demand pays at most (flow) or on average (λ).
const (
	kappaFirst  = 2.0  // price that one capacity too much adds
	kappaStep   = 1.15 // by round
	kappaMost   = 50.0
	kappaEarly  = 6 // rounds in which it only grows
	settles     = 3 // in a round
	leaps       = 4 // at most in a round
	strideLeast = 0.5
	strideMost  = 16.0
	tolFirst    = 1e-2
	tolPart     = 0.1 // of the gap: what a move must gain
	tolLeast    = 1e-4
	measureIn   = 8  // rounds between two exact sums of the loads
	patience    = 40 // rounds without halving the gap before the central path is asked
)

// search is the state of the loop.
type search struct {
	s        *sweep
	o        Options
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

func newSearch(n *net, w *workload, refuse bool, o Options) *search {
	f := &search{s: newSweep(n, w, refuse), o: o, stride: 1, bound: math.Inf(1)}
	for _, x := range []*[]float64{&f.best, &f.before, &f.raised, &f.far} {
		*x = make([]float64, n.links)
	}
	return f
}

// run searches until the proof is near enough or time is up. It returns nil where the sweeps
// no longer come nearer.
func (f *search) run() *Allocation {
	s, o := f.s, f.o
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
				return a
			}
		}
		if stale++; gap < 0.5*least {
			least, stale = gap, 0
		}
		if stale >= patience {
			return nil
		}
		s.tol = s.unit * math.Max(tolLeast, math.Min(tolFirst, tolPart*gap))
	}
}

// answer returns an allocation if it is proved to the gap or anything will do.
func (f *search) answer(anything bool) *Allocation {
	cuts, value := f.s.harvest()
	if !anything && f.bound-value > f.o.Gap*f.bound {
		return nil
	}
	return &Allocation{Objective: f.o.Objective, Flows: f.s.export(cuts), Prices: f.best, Value: value, Bound: f.bound,
		Rounds: f.round, Iterations: f.s.moves, Unserved: f.unserved}
}

// balance chooses the next stiffness. What keeps value from the bound is that loads
// exceed capacities, which stiffness mends, and that prices have not come far enough,
// which it delays.
func (f *search) balance(kappa, value float64) float64 {
	hoped := f.s.hoped()
	over, behind := hoped-value, f.bound-hoped
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
func (f *search) straightOn() bool {
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
func (f *search) leap() {
	s := f.s
	for range leaps {
		for e, y := range s.y {
			f.far[e] = s.within(y + f.stride*f.raised[e])
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
func (f *search) learn() {
	f.last = f.s.bound(f.s.y)
	f.keep()
}

// keep keeps the multipliers if they prove more than any before.
func (f *search) keep() {
	if f.last < f.bound {
		f.bound = f.last
		copy(f.best, f.s.y)
	}
}

// raise makes the prices the multipliers: half as they are after the last sweep,
// half as they were on average during it, which takes the swing out of them.
func (s *sweep) raise() {
	for e, y := range s.price {
		s.y[e] = s.within(0.5 * (y + s.mean[e]/s.means))
	}
}

// within keeps a price in its bounds. With refusal a price above 1 says no more than 1,
// that nobody gains by the link.
func (s *sweep) within(y float64) float64 {
	if s.refuse {
		y = math.Min(y, 1)
	}
	return math.Max(y, 0)
}

// holdings counts the paths in use.
func (s *sweep) holdings() (n int) {
	for k := range s.groves {
		n += len(s.groves[k].held)
	}
	return n
}
