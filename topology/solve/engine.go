// The engine: master and pricing in turn, until the proof is good enough.
//
//	price     least-price trees from every source: a bound, and columns that would help
//	classify  demands into classes, links that became tight into rows
//	centre    the master at the present prices
//	step      a few interior-point steps towards a smaller μ
//	deal      the classes' amounts out to demands, when the gap is small enough
//
// All objectives share it; they differ in what a demand's mass is, whether
// traffic may be refused, and what they make of the bound.

package solve

import (
	"math"
	"slices"
)

type engine struct {
	net                    *net
	work                   *workload
	store                  *pathStore
	cols                   *columns
	ip                     *interior
	refuse                 bool
	weight                 []float64 // by demand: what it gains per level, nil for flow
	fixed                  []float64 // by demand: what it has at any level, nil for flow
	cost                   []float64 // by link: price with tie's hair
	price                  []float64 // by link
	load                   []float64 // by link, all of it
	chains                 *chains
	tolls                  *tolls
	trees                  []*priceTree
	finds                  []find
	worth                  []float64 // by class: what its best column (or refusal) costs
	liveOf                 []int32   // by class: its place in the master or its fate
	classMass, classWeight []float64
	patPrice               []float64
	dist                   []float64 // by demand: its least price; filled where not nil
	top                    float64   // level problems: where the level ends at the latest
	topPrice               float64   // and the price of that row
}

// find is what pricing one source turned up.
type find struct {
	worker    int
	from, to  int // in the worker's finder
	bound     float64
	unreached int
}

// finder is one goroutine's list of promising paths.
type finder struct {
	demand []int32
	end    []int
	links  []int32
}

func newEngine(n *net, w *workload, refuse bool) *engine {
	e := &engine{net: n, work: w, refuse: refuse, store: newPathStore(len(w.dst)),
		cost: make([]float64, n.links), price: make([]float64, n.links), load: make([]float64, n.links)}
	e.cols = newColumns(e.store, n.links)
	e.ip = &interior{refuse: refuse}
	e.chains = newChains(n)
	e.tolls = e.chains.newTolls()
	for range workers() {
		e.trees = append(e.trees, newPriceTree(n))
	}
	e.finds = make([]find, len(w.sources))
	return e
}

// pricing is what a round of pricing found out.
type pricing struct {
	value     float64 // Σ mass·min(dist, 1) with refusal, Σ mass·dist without
	supply    float64 // Σ capacity·price
	columns   int     // new columns
	unreached int     // demands without any path
}

// priceOut grows all trees at the present prices and adds every path that is
// cheaper by more than tolerance than what its demand's class has.
func (e *engine) priceOut(tolerance float64) (out pricing) {
	return e.priceAlong(e.price, tolerance)
}

// priceAlong is priceOut with trees grown by other prices than those that judge
// their paths; what it returns is no bound then.
func (e *engine) priceAlong(along []float64, tolerance float64) (out pricing) {
	for i, y := range along {
		e.cost[i] = y + e.net.tie[i]
	}
	limit := math.Inf(1)
	first := e.worth == nil
	if e.refuse && !first && e.work.bound == nil {
		limit = 1 + hair
	}
	e.chains.measure(e.tolls, e.cost, e.price)
	finders := make([]finder, len(e.trees))
	inParallel(len(e.work.sources), len(e.trees), func(worker, k int) {
		f := &e.finds[k]
		*f = find{worker: worker, from: len(finders[worker].demand)}
		e.priceSource(e.trees[worker], &finders[worker], k, f, limit, tolerance, first)
		f.to = len(finders[worker].demand)
	})
	for k := range e.finds {
		f := &e.finds[k]
		out.value += f.bound
		out.unreached += f.unreached
		g := &finders[f.worker]
		for i := f.from; i < f.to; i++ {
			start := 0
			if i > 0 {
				start = g.end[i-1]
			}
			d, links := g.demand[i], g.links[start:g.end[i]]
			if first {
				e.store.add(d, links)
				continue
			}
			p := e.store.find(d, links)
			if p < 0 {
				p = e.store.add(d, links)
			}
			e.cols.join(d, p)
			out.columns++
		}
	}
	for i, y := range e.price {
		out.supply += y * e.net.capacity[i]
	}
	return out
}

func (e *engine) priceSource(t *priceTree, out *finder, k int, f *find, limit, tolerance float64, first bool) {
	w := e.work
	e.chains.grow(e.net, t, e.tolls, w.sources[k], e.cost, e.price, limit)
	if w.bound != nil {
		e.priceBounded(t, out, k, f, tolerance, first)
		return
	}
	for d := w.from[k]; d < w.from[k+1]; d++ {
		v := w.dst[d]
		p := t.price[v]
		if e.dist != nil {
			e.dist[d] = p
		}
		switch {
		case math.IsInf(p, 1) && math.IsInf(t.dist[v], 1):
			e.offer(out, f, d, p, nil, tolerance, first)
		case first || p < e.worth[e.cols.classOf[d]]-tolerance:
			e.offer(out, f, d, p, t.walk(e.net, v), tolerance, first)
		case e.refuse:
			f.bound += w.mass[d] * math.Min(1, p)
		default:
			f.bound += w.mass[d] * p
		}
	}
}

// offer books a demand's least price (+Inf: there is no path) under the bound, and
// its path among the finds if it promises anything.
func (e *engine) offer(out *finder, f *find, d int32, price float64, path []int32, tolerance float64, first bool) {
	if e.dist != nil {
		e.dist[d] = price
	}
	if path == nil {
		if first && math.IsInf(price, 1) {
			f.unreached++
		}
		if e.refuse {
			f.bound += e.work.mass[d]
		}
		return
	}
	if e.refuse {
		f.bound += e.work.mass[d] * math.Min(1, price)
	} else {
		f.bound += e.work.mass[d] * price
	}
	if first || price < e.worth[e.cols.classOf[d]]-tolerance {
		out.demand = append(out.demand, d)
		out.links = append(out.links, path...)
		out.end = append(out.end, len(out.links))
	}
}

// The fate of a class without a place in the master.
const (
	absent = -1 - iota // no members
	forced             // all its traffic takes its one column
	dead               // all its traffic is refused
)

// gatherClasses tells the master which classes have a choice worth weighing:
// columns dearer than window above a class's best are left out, and so are
// classes with only one thing to do. It returns false where what is forced leaves
// a row without room, so that the window must be wider.
func (e *engine) gatherClasses(window float64) bool {
	c, ip := e.cols, e.ip
	e.valueClasses()
	e.prune(window)
	n := c.classes.len()
	mass := cleared(e.classMass, n)
	fixed := e.work.mass
	if e.weight != nil {
		fixed = e.fixed
	}
	for d, k := range c.classOf {
		mass[k] += fixed[d]
	}
	e.classMass = mass
	var weight []float64
	if e.weight != nil {
		weight = cleared(e.classWeight, n)
		for d, k := range c.classOf {
			weight[k] += e.weight[d]
		}
		e.classWeight = weight
	}
	e.liveOf = slices.Grow(e.liveOf[:0], n)[:n]
	ip.colAt, ip.colPat = append(ip.colAt[:0], 0), ip.colPat[:0]
	ip.fixed, ip.pull, ip.weight = ip.fixed[:0], ip.pull[:0], ip.weight[:0]
	ip.patterns, ip.rows = c.patterns, len(c.rows)
	base := cleared(ip.patT, c.patterns.len())
	e.liveOf[0] = absent
	still := e.pullOfFixed()
	for k := 1; k < n; k++ {
		e.liveOf[k] = absent
		if mass[k] == 0 && (weight == nil || weight[k] == 0) {
			continue
		}
		only := c.classes.parent[k] == 0
		if e.refuse && e.worth[k] >= 1 && e.bestColumn(int32(k)) > 1+window {
			e.liveOf[k] = dead
			continue
		}
		if only && (c.classes.last[k] == 0 || e.refuse && e.worth[k] < 1-window || weight != nil && weight[k] == 0) {
			e.liveOf[k] = forced
			base[c.classes.last[k]] += mass[k]
			continue
		}
		e.liveOf[k] = int32(len(ip.fixed))
		from := len(ip.colPat)
		for i := int32(k); i > 0; i = c.classes.parent[i] {
			ip.colPat = append(ip.colPat, c.classes.last[i])
		}
		slices.Reverse(ip.colPat[from:])
		ip.colAt = append(ip.colAt, int32(len(ip.colPat)))
		ip.fixed = append(ip.fixed, mass[k])
		if weight == nil {
			ip.pull = append(ip.pull, mass[k])
		} else {
			ip.weight = append(ip.weight, weight[k])
			ip.pull = append(ip.pull, weight[k]+mass[k]*still)
		}
	}
	ceiling := weight != nil && len(ip.fixed) > 0
	if weight != nil {
		ip.rows++ // the level's ceiling
	}
	if ceiling {
		e.addCeiling()
		for len(base) < c.patterns.len() {
			base = append(base, 0)
		}
	}
	ip.patT = base
	total := 0.0
	for _, m := range ip.pull {
		total += m
	}
	ip.omega = omegaPart * math.Max(total, 1) / math.Max(1, float64(ip.rows))

	ip.capacity = cleared(ip.capacity, ip.rows)
	ip.gather(base, ip.capacity)
	if weight != nil {
		ip.capacity[ip.rows-1] = 1
	}
	if ceiling {
		ip.capacity[ip.rows-1] = e.top * ip.weight[len(ip.weight)-1]
	}
	for r, l := range c.rows {
		ip.capacity[r] = e.net.capacity[l] - ip.capacity[r]
		if least := 0.01 * e.net.capacity[l]; ip.capacity[r] < least {
			if e.refuse && window <= 1 {
				return false
			}
			ip.capacity[r] = math.Max(ip.capacity[r], 1e-9*e.net.capacity[l])
		}
	}
	ip.resize(len(e.trees))
	return true
}

// pullOfFixed is what a unit of fixed traffic counts for on the central path of a
// level: all of it together no more than all that rises, or else the path would be
// about what cannot change.
func (e *engine) pullOfFixed() float64 {
	rising, fixed := 0.0, 0.0
	for d := range e.weight {
		rising += e.weight[d]
		fixed += e.fixed[d]
	}
	if fixed == 0 {
		return 0
	}
	if rising == 0 {
		return 1 / e.top
	}
	return math.Min(1/e.ip.t, rising/fixed)
}

// addCeiling gives a level master one more row and a class that alone crosses it,
// so that the level ends at top even where no link is tight.
func (e *engine) addCeiling() {
	ip := e.ip
	total := 0.0
	for k, w := range ip.weight {
		total += math.Max(w, ip.pull[k])
	}
	ip.colPat = append(ip.colPat, e.cols.patterns.child(0, int32(ip.rows-1)))
	ip.colAt = append(ip.colAt, int32(len(ip.colPat)))
	ip.fixed = append(ip.fixed, 0)
	w := total / 100
	ip.weight, ip.pull = append(ip.weight, w), append(ip.pull, w)
}

func (e *engine) bestColumn(k int32) float64 {
	best := math.Inf(1)
	for ; k > 0; k = e.cols.classes.parent[k] {
		best = math.Min(best, e.patPrice[e.cols.classes.last[k]])
	}
	return best
}

// prune moves demands to the classes of the columns that are worth keeping.
func (e *engine) prune(window float64) {
	c := e.cols
	n := c.classes.len()
	to := slices.Grow(e.liveOf[:0], n)[:n]
	used := make([]bool, n)
	for _, k := range c.classOf {
		used[k] = true
	}
	changed := false
	for k := int32(0); k < int32(n); k++ {
		to[k] = k
		if !used[k] || k == 0 {
			continue
		}
		least := e.bestColumn(k)
		keep := c.set[:0]
		all := true
		free := false
		for i := k; i > 0; i = c.classes.parent[i] {
			p := c.classes.last[i]
			if e.patPrice[p] <= least+window {
				keep = append(keep, p)
			} else {
				all = false
			}
			free = free || p == 0
		}
		if free && len(keep) > 1 {
			keep, all = append(keep[:0], 0), false
		}
		c.set = keep
		if !all {
			to[k] = c.classFor(keep)
			changed = true
		}
	}
	if changed {
		for d, k := range c.classOf {
			c.classOf[d] = to[k]
		}
		e.valueClasses()
	}
	e.liveOf = to
}

// valueClasses notes for every class what its best choice costs at the present prices.
func (e *engine) valueClasses() {
	c := e.cols
	rowPrice := make([]float64, len(c.rows)+1)
	for r, l := range c.rows {
		rowPrice[r] = e.price[l]
	}
	e.patPrice = c.patternPrices(rowPrice, e.patPrice)
	n := c.classes.len()
	e.worth = grown(e.worth, n)
	e.worth[0] = math.Inf(1)
	if e.refuse {
		e.worth[0] = 1
	}
	for k := 1; k < n; k++ {
		e.worth[k] = math.Min(e.worth[c.classes.parent[k]], e.patPrice[c.classes.last[k]])
	}
}

// loads computes what every link would carry if members shared in their class's
// amounts; classes outside the master use their path that meets no row.
func (e *engine) loads() {
	n := len(e.trees)
	part := make([][]float64, n)
	for i := range part {
		part[i] = make([]float64, e.net.links)
	}
	total := len(e.store.head)
	inParallel(n, n, func(_, shard int) {
		load := part[shard]
		for d := total * shard / n; d < total*(shard+1)/n; d++ {
			e.eachShare(int32(d), func(p int32, amount float64) {
				for _, l := range e.store.path(p) {
					load[l] += amount
				}
			})
		}
	})
	copy(e.load, part[0])
	for _, p := range part[1:] {
		for i, v := range p {
			e.load[i] += v
		}
	}
}

// eachShare calls f for every path of d with its share of the class's amounts.
func (e *engine) eachShare(d int32, f func(p int32, amount float64)) {
	class := e.cols.classOf[d]
	if class == 0 {
		return
	}
	k := e.liveOf[class]
	switch k {
	case absent, dead:
		return
	case forced:
		f(e.cols.pathFor(d, e.cols.classes.last[class]), e.mass(d))
		return
	}
	ip := e.ip
	part := e.mass(d) / ip.amount(int(k))
	for c := ip.colAt[k]; c < ip.colAt[k+1]; c++ {
		f(e.cols.pathFor(d, ip.colPat[c]), part*ip.x[c])
	}
}

func (e *engine) mass(d int32) float64 {
	if e.weight == nil {
		return e.work.mass[d]
	}
	return e.fixed[d] + e.weight[d]*e.ip.t
}

// tighten makes rows of the links whose load exceeds part of their capacity, and
// forgets rows with more than half their capacity free. Prices stay with their links.
func (e *engine) tighten(part float64) int {
	var rows []int32
	added := 0
	for l, load := range e.load {
		r := e.cols.row[l]
		switch {
		case r < 0 && load > part*e.net.capacity[l]:
			added++
		case r < 0 || len(e.cols.rows) > 400 && load < 0.4*e.net.capacity[l]:
			continue
		}
		rows = append(rows, int32(l))
	}
	if added > 0 || e.cols.classes.len() == 1 { // the first time, to sort demands at all
		for _, l := range e.cols.rows {
			if len(e.cols.rows) > 400 && e.load[l] < 0.4*e.net.capacity[l] {
				e.price[l] = 0
			}
		}
		e.cols.setRows(rows)
	}
	return added
}
