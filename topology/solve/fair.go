// Weighted max-min fairness, level by level, with a proof for every level.
//
// At each level all demands that are not yet settled rise together, each at the
// speed of its weight, until a set of full links stops some of them; a demand that reaches
// its wish stops by itself. The level is a master problem (interior.go) over all paths of all
// unsettled demands; its prices show which demands are stopped: those whose every
// path has a price. They are settled with the paths they have, what they use is
// taken off the links, the full links are closed, and the rest rises on.
//
// The proof of level ℓ is y_ℓ plus large multiples of the prices of the levels
// before it. Those multiples cost nothing, because the links they price are
// exactly full of demands that are no better off, and they keep the verifier from
// sending settled demands over links that are already spent.
//
// D. Nace, M. Pióro, "Max-min fairness and its applications to routing and
// load-balancing in communication networks", IEEE Comm. Surveys 10(4) (2008).

package solve

import (
	"math"
	"slices"

	"dssn"
)

// levelGap is how exactly a level is solved: the proof weighs what is left over
// against the smallest demand of the level.
const levelGap = 1e-9

// fair is the state between levels.
type fair struct {
	in      *Instance
	o       Options
	n       *net // capacity is what is left
	whole   []float64
	active  []int32
	flows   []Flow
	levels  []Level
	paths   map[int32][][]int32 // by demand, the paths that the last level used
	sum     []float64           // Σ of earlier levels' prices, normalised
	rounds  int
	steps   int
	reached float64
}

func solveFair(in *Instance, n *net, o Options) (*Allocation, error) {
	f := &fair{in: in, o: o, n: n, whole: slices.Clone(n.capacity), paths: map[int32][][]int32{}, sum: make([]float64, n.links)}
	d := &in.Demands
	a := &Allocation{Objective: MaxMinFair}
	for i := range d.Len() {
		f.active = append(f.active, int32(i))
	}
	f.dropUnreachable(a)
	for len(f.active) > 0 {
		if !f.level() {
			break
		}
	}
	a.Flows, a.Levels, a.Rounds, a.Iterations = f.flows, f.levels, f.rounds, f.steps
	slices.SortStableFunc(a.Flows, func(x, y Flow) int { return int(x.Demand) - int(y.Demand) })
	a.Value = math.Inf(1)
	for i, r := range a.Rates(d.Len()) {
		a.Value = math.Min(a.Value, r/d.Weight[i])
	}
	a.Bound = a.Value
	return a, nil
}

// dropUnreachable leaves out demands that no path can serve.
func (f *fair) dropUnreachable(a *Allocation) {
	w := newWorkload(&f.in.Demands, func(int) float64 { return 1 })
	e := newEngine(f.n, w, false)
	e.dist = make([]float64, len(w.of))
	e.priceOut(0)
	reach := make([]bool, len(w.of))
	for k, i := range w.of {
		reach[i] = e.store.head[k] >= 0
	}
	f.active = slices.DeleteFunc(f.active, func(i int32) bool {
		if !reach[i] {
			a.Unserved++
		}
		return !reach[i]
	})
}

// level raises everybody active to the next level and settles those it stops. It
// returns false when nothing is left to do.
func (f *fair) level() bool {
	d := &f.in.Demands
	var sub Demands
	for _, i := range f.active {
		sub.Src, sub.Dst = append(sub.Src, d.Src[i]), append(sub.Dst, d.Dst[i])
		if d.MaxLatencyMicros != nil {
			sub.MaxLatencyMicros = append(sub.MaxLatencyMicros, d.MaxLatencyMicros[i])
		}
	}
	w := newWorkload(&sub, func(k int) float64 { return float64(d.Rate[f.active[k]]) })
	for k, i := range w.of {
		w.of[k] = f.active[i]
	}
	r := newRise(f, w)
	stopped := f.o.Stop != nil && f.o.Stop()
	if !stopped {
		r.climb(4)
		if math.IsInf(r.bound, 1) && !r.done && f.finish(w) {
			// No link had held anybody back so far, and indeed none does any more.
			return false
		}
		r.climb(120)
	}
	f.rounds += r.s.round
	f.steps += r.e.ip.Iterations
	if r.flows == nil {
		f.shareRest(r)
		return false
	}
	f.reached = r.level
	if f.o.Progress != nil {
		f.o.Progress(Progress{Round: f.rounds, Value: r.level, Bound: r.level, Columns: len(f.flows)})
	}
	return f.settle(r) && !stopped
}

// finish tries to give everybody active all they wish, as a flow problem, which
// has an interior where a level problem has none. It returns false, and has changed
// nothing, where that does not fit.
func (f *fair) finish(w *workload) bool {
	a, err := solveFlow(f.in, f.n, w, Options{Gap: 1e-7, Stop: f.o.Stop})
	if err != nil {
		return false
	}
	got := map[int32]float64{}
	for _, x := range a.Flows {
		got[x.Demand] += x.Rate
	}
	for k, i := range w.of {
		if got[i] < w.mass[k]*(1-1e-5) {
			return false
		}
	}
	left := slices.Clone(f.n.capacity)
	for i, x := range a.Flows {
		x.Rate *= float64(f.in.Demands.Rate[x.Demand]) / got[x.Demand]
		a.Flows[i] = x
		for _, l := range x.Path {
			if left[l] -= x.Rate; left[l] < -1e-10*f.whole[l] {
				return false
			}
		}
	}
	f.flows = append(f.flows, a.Flows...)
	f.active = nil
	return true
}

// shareRest ends the climb where no level could be solved at all: everybody active
// shares what is left by water-filling over the path it has. There is no proof for
// these.
func (f *fair) shareRest(r *rise) {
	e, w := r.e, r.e.work
	capacity := make([]dssn.Bandwidth, len(f.n.capacity))
	for l, c := range f.n.capacity {
		capacity[l] = dssn.Bandwidth(math.Max(c, 0))
	}
	var demands []PathDemand
	var of []int
	for k := range w.of {
		if p := e.store.head[k]; p >= 0 {
			demands = append(demands, PathDemand{Links: e.store.path(p), Ceiling: dssn.Bandwidth(r.wish[k]), Weight: r.speed[k]})
			of = append(of, k)
		}
	}
	shares, err := MaxMin(capacity, demands)
	if err != nil {
		return
	}
	for i, s := range shares {
		if s.Rate > 0 {
			f.flows = append(f.flows, Flow{Demand: w.of[of[i]], Rate: float64(s.Rate), Path: slices.Clone(demands[i].Links)})
		}
	}
	f.active = nil
}

// settle takes the stopped demands' flows and the links they fill out of play. It
// returns false when everybody is settled.
func (f *fair) settle(r *rise) bool {
	e, w := r.e, r.e.work
	flows := r.flows
	r.trim(flows)
	flows = e.squeeze(flows, e.loadOf(flows))
	r.cleanPrices()
	stops := make([]bool, len(w.of))
	moving, any := 0, false
	for k := range w.of {
		switch {
		case r.dist[k] > 0:
			stops[k] = true
			any = any || r.e.weight[k] > 0
		case r.e.weight[k] > 0:
			moving++
		}
	}
	if !any || moving == 0 {
		// Nobody is stopped by a link, or nobody is left to rise: this was the last level.
		for k := range stops {
			stops[k] = true
		}
	}
	if any {
		y := make([]float64, len(f.sum))
		for l := range y {
			y[l] = r.price[l] + 1e3*f.sum[l]
		}
		f.levels = append(f.levels, Level{Rate: r.level, Prices: y})
		for l := range y {
			f.sum[l] += r.price[l]
		}
	}
	f.closeSpent(r, flows, stops)
	clear(f.paths)
	for _, x := range flows {
		path := slices.Clone(e.store.path(x.path))
		if !stops[x.demand] {
			f.paths[w.of[x.demand]] = append(f.paths[w.of[x.demand]], path)
			continue
		}
		f.flows = append(f.flows, Flow{Demand: w.of[x.demand], Rate: x.rate, Path: path})
	}
	f.active = f.active[:0]
	for k, i := range w.of {
		if !stops[k] {
			f.active = append(f.active, i)
		}
	}
	slices.Sort(f.active)
	return len(f.active) > 0
}

// closeSpent takes the stopped demands' rates off the links and closes the links
// that are priced or used up. Whoever has no known way left then is stopped too.
func (f *fair) closeSpent(r *rise, flows []dealt, stops []bool) {
	e := r.e
	take := func(wanted func(k int32) bool) {
		for _, x := range flows {
			if wanted(x.demand) {
				for _, l := range e.store.path(x.path) {
					f.n.capacity[l] -= x.rate
				}
			}
		}
	}
	take(func(k int32) bool { return stops[k] })
	for l, y := range r.price {
		if y > 0 || f.n.capacity[l] < 1e-9*f.whole[l] {
			f.n.capacity[l] = 0
		}
	}
	cornered := make([]bool, len(stops))
	for k := range stops {
		if stops[k] {
			continue
		}
		cornered[k] = true
		for p := e.store.head[k]; p >= 0 && cornered[k]; p = e.store.prev[p] {
			cornered[k] = slices.ContainsFunc(e.store.path(p), func(l int32) bool { return f.n.capacity[l] == 0 })
		}
		stops[k] = cornered[k]
	}
	take(func(k int32) bool { return cornered[k] })
	for l := range f.n.capacity {
		f.n.capacity[l] = math.Max(f.n.capacity[l], 0)
	}
	f.n.close()
}

// close takes links without capacity out of the adjacency.
func (n *net) close() {
	arcs := n.arcs[:0]
	from := int32(0)
	for u := range n.nodes {
		to := n.outAt[u+1]
		for _, a := range n.arcs[from:to] {
			if n.capacity[a.link] > 0 {
				arcs = append(arcs, a)
			}
		}
		from = to
		n.outAt[u+1] = int32(len(arcs))
	}
	n.arcs = arcs
}

// trim sets demands that are within the accuracy of the level of their wish to
// exactly that.
func (r *rise) trim(flows []dealt) {
	got := make([]float64, len(r.wish))
	for _, x := range flows {
		got[x.demand] += x.rate
	}
	for i := range flows {
		if k := flows[i].demand; got[k] > r.wish[k]*(1-1e-5) {
			flows[i].rate *= r.wish[k] / got[k]
		}
	}
}

// rise is the search for one level.
type rise struct {
	e     *engine
	s     *descent
	wish  []float64 // by demand of the workload
	speed []float64
	level float64
	bound float64
	price []float64 // of the best bound
	dist  []float64
	done  bool
	flows []dealt // of the last round, dealt before new columns mixed the classes
}

func newRise(f *fair, w *workload) *rise {
	e := newEngine(f.n, w, false)
	r := &rise{e: e, s: &descent{e: e, o: f.o, best: make([]float64, f.n.links), bound: math.Inf(1), fall: 0.2, mix: 1, wide: 1, least: math.Inf(1)},
		wish: w.mass, price: make([]float64, f.n.links), bound: math.Inf(1)}
	for _, i := range w.of {
		r.speed = append(r.speed, f.in.Demands.Weight[i])
	}
	e.weight, e.fixed = make([]float64, len(w.of)), make([]float64, len(w.of))
	e.dist = make([]float64, len(w.of))
	r.dist = make([]float64, len(w.of))
	e.priceOut(0)
	for k, i := range w.of {
		for _, p := range f.paths[i] {
			if e.usable(int32(k), p) && e.store.find(int32(k), p) < 0 {
				e.store.add(int32(k), p)
			}
		}
	}
	top := 0.0
	for k, b := range r.wish {
		top = math.Max(top, b/r.speed[k])
	}
	r.divide(top)
	e.top = top
	e.ip.t = f.reached
	return r
}

// divide sorts the demands into those that have their wish at the level and those
// that still rise there.
func (r *rise) divide(level float64) (rising int) {
	for k, b := range r.wish {
		if r.speed[k]*level < b*(1-1e-9) {
			r.e.weight[k], r.e.fixed[k] = r.speed[k], 0
			rising++
		} else {
			r.e.weight[k], r.e.fixed[k] = 0, b
		}
	}
	return rising
}

// carried is Σ dist·min(wish, speed·level) and its slope.
func (r *rise) carried(level float64) (sum, slope float64) {
	for k, b := range r.wish {
		if x := r.speed[k] * level; x < b {
			sum += r.e.dist[k] * x
			slope += r.e.dist[k] * r.speed[k]
		} else {
			sum += r.e.dist[k] * b
		}
	}
	return sum, slope
}

// cut returns the level above which the prices' links cannot go: where what the
// demands must carry over them equals supply. Newton's steps on a concave function
// come from below and never pass it.
func (r *rise) cut(supply float64) float64 {
	level := 0.0
	for range 100 {
		sum, slope := r.carried(level)
		if slope <= 0 {
			if sum < supply*(1-1e-12) {
				return math.Inf(1)
			}
			return level
		}
		next := level + (supply-sum)/slope
		if !(next > level*(1+1e-15)) {
			break
		}
		level = next
	}
	return level
}

// climb finds the level to within levelGap, or as near as arithmetic goes in the
// given number of rounds. Called again, it goes on.
func (r *rise) climb(rounds int) {
	if r.s.round == 0 {
		r.start()
	}
	if !r.done {
		r.ascend(rounds)
	}
}

// start finds a level at which the first paths have room for everybody, and the
// first rows and prices.
func (r *rise) start() {
	e, top := r.e, r.e.top
	e.ip.mu = firstMu
	for at := top; ; at *= 0.7 {
		r.divide(at)
		e.ip.t = at
		e.allOnNewest()
		fits := true
		for l, x := range e.load {
			fits = fits && x <= e.net.capacity[l]
		}
		if fits {
			break
		}
	}
	e.tighten(0.3)
	r.flatPrices()
}

// flatPrices gives every row the same share of what demands pay in all.
func (r *rise) flatPrices() {
	e := r.e
	clear(e.price)
	for _, l := range e.cols.rows {
		e.price[l] = r.weight() / float64(len(e.cols.rows)) / e.net.capacity[l]
	}
}

func (r *rise) weight() (sum float64) {
	for _, x := range r.speed {
		sum += x
	}
	return sum
}

// paid returns what those who still rise pay for a unit of level, and how much that
// is when the ceiling takes no part of the price.
func (r *rise) paid() (paid, speed float64) {
	for k, w := range r.e.weight {
		if w > 0 && !math.IsInf(r.e.dist[k], 1) {
			paid += w * r.e.dist[k]
			speed += w
		}
	}
	return paid, speed
}

func (r *rise) ascend(rounds int) {
	e, s, top := r.e, r.s, r.e.top
	bestGap, since := math.Inf(1), 0
	for ; s.round < rounds; s.round++ {
		startMu, imbalance := s.masterRound()
		e.loads()
		level := e.ip.t
		if !(level > 0 && imbalance < 0.5) {
			// The arithmetic has come to its end: what an earlier round had stands, and
			// the climb begins again from there, from prices without any history.
			if since += 3; since > 12 || s.stopped() || r.level == 0 {
				r.done = true
				break
			}
			e.ip.mu, e.ip.t, s.fall = firstMu, 0.9*r.level, 0.2
			e.topPrice = 0
			r.flatPrices()
			continue
		}
		over := e.overload()
		if r.flows == nil || over < 1e-6 && imbalance < 1e-3 {
			r.flows, r.level = e.shares(), level
		}
		e.valueClasses()
		p := e.priceOut(e.ip.mu * 0.1)
		bound := r.cut(p.supply)
		if !e.normalise(r.paid()) {
			bound = math.Inf(1)
		}
		if bound < r.bound {
			r.bound = bound
			copy(r.price, e.price)
			copy(r.dist, e.dist)
			copy(s.best, e.price)
		}
		gap := 1.0
		if !math.IsInf(r.bound, 1) {
			gap = math.Abs(r.bound-level) / r.bound
		}
		if over > 1e-9 {
			gap = math.Max(gap, over)
		}
		if gap < levelGap && p.columns == 0 || level >= top*(1-1e-6) && over < 1e-9 {
			r.done = true
			break
		}
		if since++; gap < 0.5*bestGap {
			bestGap, since = gap, 0
		}
		if since > 12 || s.stopped() {
			r.done = true
			break
		}
		rows := e.tighten(1 + 1e-12)
		s.nextMu(level*gap/math.Max(level, 1e-300), startMu, imbalance, rows, 1)
		if rows == 0 && p.columns == 0 {
			s.fall = 1e-3
		}
		// Demands whose wish lies between this level and the true one rise a little too
		// far in the next round, and are held at their wish in the one after.
		if over < 1e-6 && imbalance < 1e-6 {
			if r.divide(math.Min(level, top)) == 0 {
				r.level, r.done = top, true
				break
			}
		}
	}
}

// overload is the largest relative excess over a link that is not a row.
func (e *engine) overload() (worst float64) {
	for l, x := range e.load {
		if c := e.net.capacity[l]; c > 0 && e.cols.row[l] < 0 {
			worst = math.Max(worst, x/c-1)
		}
	}
	return worst
}

// cleanPrices drops prices that are only the central path's breath, and measures
// the demands' distances again.
func (r *rise) cleanPrices() {
	top := 0.0
	for _, y := range r.price {
		top = math.Max(top, y)
	}
	for l, y := range r.price {
		if y < 1e-6*top {
			r.price[l] = 0
		}
	}
	copy(r.e.price, r.price)
	r.e.valueClasses()
	r.e.priceOut(math.Inf(1))
	copy(r.dist, r.e.dist)
}
