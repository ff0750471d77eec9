// Solve: the loop of pricing and master, for flow and λ.

package solve

import (
	"fmt"
	"math"
)

// Options steer Solve. The zero value asks for the default gap without any limit.
type Options struct {
	Objective Objective
	Gap       float64 // stop at this proven relative gap; 0 means 1e-4
	// ByClass makes MaxMinFair serve class before class, and weights count inside a
	// class only. Committed rates come before everything else in either case.
	ByClass bool
	// Stop, if not nil, is asked after every round; once it returns true, the best
	// answer so far is returned with the gap it has reached. Time is the caller's.
	Stop func() bool
	// Progress, if not nil, is told after every round what is known.
	Progress func(Progress)
	// Warm is an earlier answer to a similar instance: the same links by index. Its
	// prices and paths are the start; nothing in it is trusted.
	Warm *Allocation
	// WarmDemand says which demand of this instance demand i of Warm has become,
	// -1: none. Nil means the same index.
	WarmDemand []int32
}

// Progress is what a long solve can say of itself.
type Progress struct {
	Round        int
	Value, Bound float64 // as in Allocation; Value is an estimate until the end
	Columns      int     // paths found so far, or in use
}

// Solve answers in, which must pass Check. Demands that no usable path can serve
// get nothing and are counted in Unserved; that is an answer, not an error. For
// MaxLambda a single such demand makes the factor zero.
func Solve(in *Instance, o Options) (*Allocation, error) {
	if o.Gap == 0 {
		o.Gap = 1e-4
	}
	if !(o.Gap > 0 && o.Gap < 1) {
		return nil, fmt.Errorf("gap %g makes no sense: use a number between 0 and 1 such as 0.001", o.Gap)
	}
	if in.Demands.Len() == 0 {
		return &Allocation{Objective: o.Objective, Prices: make([]float64, in.Graph.NumLinks())}, nil
	}
	n := newNet(in.Graph)
	switch o.Objective {
	case MaxFlow:
		w := newWorkload(&in.Demands, func(i int) float64 { return float64(in.Demands.Rate[i]) })
		return solveFlow(in, n, w, o)
	case MaxLambda:
		w := newWorkload(&in.Demands, func(i int) float64 { return float64(in.Demands.Rate[i]) })
		return solveLambda(in, n, w, o)
	case MaxMinFair:
		return solveFair(in, n, o)
	}
	return nil, fmt.Errorf("%v is not an objective that can be solved", o.Objective)
}

// Shape of the central path and of the descent along it, found by trial on the
// development topologies (see DESIGN.md).
const (
	firstMu   = 0.1
	omegaPart = 0.3  // the rows' part in the mass of the central path
	gapToMu   = 0.2  // μ never runs further ahead of the proven gap than this
	windowMu  = 30.0 // columns dearer than this many μ wait outside the master
	stepsMax  = 6    // primal-dual steps in a round
)

// descent is the state of the loop.
type descent struct {
	e        *engine
	o        Options
	scale    float64   // what a value is relative to
	best     []float64 // prices of the best bound
	bound    float64
	value    float64 // the master's estimate in the last round
	fall     float64
	mix      float64 // how far to go from the best prices towards the master's
	round    int
	stale    int // rounds since the gap last fell by half
	least    float64
	wide     float64 // factor on the window: pruning may throw out what the next round needs
	unserved int
}

// masterRound solves the master approximately at the present prices and leaves
// its prices in e.price, mixed with the best known ones.
func (s *descent) masterRound() (startMu, imbalance float64) {
	e, ip := s.e, s.e.ip
	window := math.Min(2, math.Max(1e-6, windowMu*s.wide*ip.mu))
	if !e.refuse {
		window = math.Inf(1) // prices of a level have no natural scale to measure by
	}
	for !e.gatherClasses(window) {
		window *= 4 // from 1 on nothing is forced, and everything fits
	}
	ip.y = grown(ip.y, ip.rows)
	for r, l := range e.cols.rows {
		ip.y[r] = math.Max(e.price[l], ip.mu*ip.omega/e.net.capacity[l])
	}
	startMu = ip.mu
	if len(ip.fixed) == 0 { // nobody has a choice, and no row holds anybody back
		ip.mu *= s.fall
		clear(e.price)
		ip.t, e.topPrice = e.top, 1
		return startMu, 0
	}
	if !e.refuse {
		ip.y[ip.rows-1] = math.Max(e.topPrice, ip.mu*ip.omega/ip.capacity[ip.rows-1])
	}
	if e.refuse {
		ip.approach(15)
	} else {
		ip.settle()
	}
	steps := stepsMax
	if !e.refuse {
		steps = 30
	}
	for range steps {
		p, d, ok := ip.step(startMu * s.fall)
		if !ok || p > 0.9 && d > 0.9 && ip.mu < 1.5*startMu*s.fall {
			break
		}
	}
	if !(ip.mu < startMu) {
		ip.mu = startMu
	}
	clear(e.price)
	for r, l := range e.cols.rows {
		y := ip.y[r]
		if e.refuse {
			y = math.Min(y, 1)
		}
		e.price[l] = y
	}
	if !e.refuse {
		e.topPrice = ip.y[ip.rows-1]
	}
	if s.mix < 1 {
		for l := range e.price {
			e.price[l] = s.best[l] + s.mix*(e.price[l]-s.best[l])
		}
	}
	return startMu, ip.imbalance()
}

// learn takes in a new bound.
func (s *descent) learn(bound float64) {
	if bound <= s.bound*(1+1e-9) {
		s.bound = bound
		copy(s.best, s.e.price)
		s.mix = 1
	} else {
		s.mix = 0.4
	}
}

// nextMu decides how far along the central path the next round starts.
func (s *descent) nextMu(gap, startMu, imbalance float64, rows, columns int) {
	if s.round > 1 {
		s.fall = 0.05
	}
	if imbalance > 0.01 {
		gap = math.Max(gap, 5*startMu)
	}
	if rows > 0 {
		gap = math.Max(gap, startMu)
	}
	if rows > 0 || columns > 0 || imbalance > 1e-6 {
		// The master is not the whole problem yet: no further ahead than the proof.
		s.e.ip.mu = math.Min(firstMu, math.Max(s.e.ip.mu, s.pace()*gap/s.wide))
	}
	// Where rounds come and go without getting anywhere, columns that one round
	// prunes are those that the next one needs: prune less.
	if s.stale++; gap < 0.5*s.least {
		s.least, s.stale = gap, 0
	}
	if s.stale >= 3 {
		s.wide *= 8
		s.stale = 0
	}
}

// pace is gapToMu for instances whose rounds are cheap. Where pricing and master are
// dear, and paths so long that many small prices add up, μ must be smaller for
// the same gap.
func (s *descent) pace() float64 {
	if len(s.e.work.of) > manyDemands {
		return 0.4 * gapToMu
	}
	return gapToMu
}

const manyDemands = 100_000

func (s *descent) stopped() bool { return s.o.Stop != nil && s.o.Stop() }

func (s *descent) tell() {
	if s.o.Progress != nil {
		s.o.Progress(Progress{Round: s.round, Value: s.value * s.scale, Bound: s.bound * s.scale, Columns: len(s.e.store.prev)})
	}
}

const maxRounds = 300

// solveCentral finds the greatest total rate along the central path.
func solveCentral(in *Instance, n *net, w *workload, o Options) (*Allocation, error) {
	e := newEngine(n, w, true)
	total := 0.0
	for _, m := range w.mass {
		total += m
	}
	s := &descent{e: e, o: o, scale: 1, best: make([]float64, n.links), bound: total, fall: 0.2, mix: 1, wide: 1, least: math.Inf(1)}
	e.ip.mu = firstMu
	if o.Warm != nil {
		e.ip.mu = firstMu / 3
	}
	s.begin(in)
	e.allOnNewest()
	e.tighten(0.8)
	var best *Allocation
	for s.round = 0; s.round < maxRounds; s.round++ {
		startMu, imbalance := s.masterRound()
		e.loads()
		served := total - e.refused()
		dealt := false
		if (s.bound-served)/s.bound < 3*o.Gap || s.round%6 == 5 || s.stopped() {
			// The answer belongs to the classes as they are now, before new columns.
			best = better(best, e.deal(in, o.Objective))
			dealt = true
		}
		e.valueClasses()
		p := e.priceOut(e.ip.mu)
		bound := total - p.value + p.supply
		s.learn(bound)
		if !dealt && (s.bound-served)/s.bound < 1.2*o.Gap && len(e.cols.rows) > 0 && p.columns == 0 {
			best = better(best, e.deal(in, o.Objective))
		}
		s.value = served
		s.tell()
		if best != nil && (s.bound-best.Value) <= o.Gap*s.bound || best != nil && s.stopped() {
			s.round++
			break
		}
		rows := e.tighten(1)
		s.nextMu((bound-served)/s.bound, startMu, imbalance, rows, p.columns)
	}
	best.Prices, best.Bound = s.best, s.bound
	best.Rounds, best.Iterations, best.Unserved = s.round, e.ip.Iterations, s.unserved
	return best, nil
}

func better(a, b *Allocation) *Allocation {
	if a == nil || b.Value > a.Value {
		return b
	}
	return a
}

// begin finds every demand's first path and, from a warm start, its former ones.
func (s *descent) begin(in *Instance) {
	e := s.e
	if s.o.Warm != nil && len(s.o.Warm.Prices) == e.net.links {
		// What is left of the central path on links that are not tight would make rows
		// of them.
		top := 0.0
		for _, y := range s.o.Warm.Prices {
			top = math.Max(top, y)
		}
		for l, y := range s.o.Warm.Prices {
			if e.net.capacity[l] > 0 && y > 1e-3*top && !math.IsInf(y, 1) {
				e.price[l] = y
			}
		}
	}
	p := e.priceOut(0)
	s.unserved = p.unreached
	if e.refuse {
		s.learn(s.bound - p.value + p.supply)
	}
	if s.o.Warm != nil {
		s.addWarmPaths(in)
	}
}

// refused is what the master and the dead classes leave unserved.
func (e *engine) refused() (sum float64) {
	if len(e.ip.fixed) > 0 {
		for _, x := range e.ip.s {
			sum += x
		}
	}
	for k, m := range e.classMass {
		if e.liveOf[k] == dead {
			sum += m
		}
	}
	for d, p := range e.store.head {
		if p < 0 {
			sum += e.work.mass[d]
		}
	}
	return sum
}

// allOnNewest sets the loads to everybody wholly on the newest path.
func (e *engine) allOnNewest() {
	clear(e.load)
	for d, p := range e.store.head {
		if p < 0 {
			continue
		}
		m := e.work.mass[d]
		if e.weight != nil {
			m = e.mass(int32(d))
		}
		for _, l := range e.store.path(p) {
			e.load[l] += m
		}
	}
	for l, y := range e.price {
		if y > 0 {
			e.load[l] = math.Max(e.load[l], e.net.capacity[l])
		}
	}
}
