// The greatest common fraction λ of their wishes that all demands can have.

package solve

import "math"

// solveLambdaCentral finds the greatest λ ≤ 1 along the central path.
func solveLambdaCentral(in *Instance, n *net, w *workload, o Options) (*Allocation, error) {
	e := newEngine(n, w, false)
	total := 0.0
	for _, m := range w.mass {
		total += m
	}
	e.weight, e.fixed = w.mass, make([]float64, len(w.mass))
	s := &descent{e: e, o: o, scale: 1, best: make([]float64, n.links), bound: math.Inf(1), fall: 0.2, mix: 1, wide: 1, least: math.Inf(1)}
	s.begin(in)
	zero := &Allocation{Objective: MaxLambda, Unserved: s.unserved}
	if s.unserved > 0 {
		// Somebody can have nothing, so the common fraction is nothing; prices of
		// zero prove it, because the verifier finds no path for that demand either.
		zero.Prices = make([]float64, n.links)
		return zero, nil
	}
	e.ip.mu = firstMu
	e.top = 1
	// The level at which the first paths just fit is the start.
	e.ip.t = 1
	e.allOnNewest()
	for l, x := range e.load {
		if x > 0 && e.net.capacity[l] > 0 {
			e.ip.t = math.Min(e.ip.t, e.net.capacity[l]/x)
		}
	}
	return e.raise(in, s, total)
}

// raise climbs to the greatest level.
func (e *engine) raise(in *Instance, s *descent, total float64) (*Allocation, error) {
	o := s.o
	for l := range e.load {
		e.load[l] *= e.ip.t
	}
	e.tighten(0.5)
	for _, l := range e.cols.rows {
		if e.price[l] == 0 {
			e.price[l] = total / float64(len(e.cols.rows)) / e.net.capacity[l]
		}
	}
	var best *Allocation
	for s.round = 0; s.round < maxRounds; s.round++ {
		startMu, imbalance := s.masterRound()
		e.loads()
		level := e.ip.t
		if level >= math.Min(s.bound, 1)*(1-3*o.Gap) || s.round%6 == 5 || s.stopped() {
			best = better(best, e.dealLevel())
		}
		e.valueClasses()
		p := e.priceOut(e.ip.mu)
		bound := math.Inf(1)
		if e.normalise(p.value, total) {
			bound = p.supply / p.value
		}
		s.learn(bound)
		target := math.Min(s.bound, 1) // nobody can have more than all
		s.value = level
		s.tell()
		if best != nil && best.Value >= target*(1-o.Gap) || best != nil && s.stopped() {
			s.round++
			break
		}
		rows := e.tighten(1)
		s.nextMu(level*(1-level/math.Min(bound, 1)), startMu, imbalance, rows, p.columns)
		e.ip.t = math.Max(level, 1e-12)
	}
	best.Prices, best.Bound = s.best, math.Min(s.bound, 1)
	best.Rounds, best.Iterations = s.round, e.ip.Iterations
	return best, nil
}

// normalise scales prices so that demands pay their whole mass for a unit of level.
// It returns false, and leaves them, where they hardly pay at all, because the
// ceiling takes the price: ties' hair is not small against such prices, and no
// bound follows from them.
func (e *engine) normalise(paid, mass float64) bool {
	if !(paid > 0.01*mass) {
		return false
	}
	scale := mass / paid
	for l := range e.price {
		e.price[l] *= scale
	}
	e.topPrice *= scale
	for k := range e.dist {
		e.dist[k] *= scale
	}
	return true
}

// dealLevel deals the classes' amounts out and shrinks all of it by one factor
// until it fits.
func (e *engine) dealLevel() *Allocation {
	flows := e.shares()
	load := e.loadOf(flows)
	fit := 1 / math.Max(1, e.ip.t)
	for l, x := range load {
		if x > 0 {
			fit = math.Min(fit, e.net.capacity[l]/x)
		}
	}
	a := &Allocation{Objective: MaxLambda, Value: e.ip.t * fit}
	for i := range flows {
		flows[i].rate *= fit
	}
	a.Flows = e.export(flows)
	return a
}
