// Sweeps: one source after another moves its demands to cheaper paths, at prices
// that answer at once.
//
// A link's price is its multiplier y plus κ times what its load exceeds its
// capacity by, in parts of the capacity, and never negative: the augmented Lagrangian of the capacities.
// To be refused costs 1. A demand moves from a dear path to the cheapest, or to or from
// refusal, as far as it gains, the prices following every move (Gauss and
// Seidel's way; moving many at once at the same prices makes them swing to and fro).
// After a sweep over all sources the prices are the next multipliers.
//
// Moves are made one by one, but which are worth trying is found out ahead, for
// a batch of sources at a time on all processors, while the moves of the batch before
// are made. A proposal is judged again, exactly, when its turn comes.
// Nothing depends on how many processors there are.
//
//	propose  batch 1   batch 2   batch 3 ...      prices as they were when the
//	move               batch 1   batch 2 ...      batch before began to move
//
// M. Hestenes (1969) and M. Powell (1969) for the method of multipliers; R. Jayakrishnan et al. (1994) for
// path moves in traffic assignment.

package solve

import (
	"math"
	"sync"
	"sync/atomic"
)

// proposal is a demand's wish to leave holding from (-1: refusal) for the path of
// twig to (-1: refusal).
type proposal struct{ demand, from, to int32 }

// sweep is the state of the method.
type sweep struct {
	n      *net
	w      *workload
	c      *chains
	refuse bool
	total  float64 // Σ of the demands' rates
	kappa  float64 // price that a whole capacity of load adds
	u      float64 // λ: utilisation from which on load has a price
	unit   float64 // of prices: what demands pay at most (flow) or on average (λ)
	tol    float64 // moves that gain less per unit of rate are not worth it
	batch  int     // sources

	y        []float64 // by link: multiplier
	off, inv []float64 // by link: its price is off + inv·load, if positive
	load     []float64
	price    []float64
	mean     []float64 // Σ of the price after every batch of the present pass,
	means    float64   // and their number

	groves []grove
	head   []int32   // by demand: its first holding
	short  []float64 // by demand: what is refused

	scouts    []*scout
	proposals [2][][]proposal // by place in the batch
	snap      [2]snapshot
	at        []float64 // by twig, for the source whose turn it is
	mark      []int32   // by link
	stamp     int32
	lose, win []int32
	landed    []proposal // those of the present source that made a holding larger
	moves     int        // so far
	few       []proposal
	even      *evenness // where not nil, refusal has no fixed price: see even.go
	sums      []float64 // by source
}

// snapshot is prices as they were at some time.
type snapshot struct {
	price, cost []float64
	tolls       *tolls
}

// scout is one goroutine's scratch for proposing.
type scout struct {
	tree         *priceTree
	at           []float64 // price by twig
	twig, twigAt []int32   // by node, on the present tree
	stamp        int32
	stack        []int32
	load         []float64 // by link
}

// scouts is how many goroutines share the work at most. The number is fixed, so that
// sums come out the same on every machine.
const scouts = 8

func newSweep(n *net, w *workload, refuse bool) *sweep {
	s := &sweep{n: n, w: w, c: newChains(n), refuse: refuse, unit: 1, tol: tolFirst}
	for _, f := range []*[]float64{&s.y, &s.off, &s.inv, &s.load, &s.price, &s.mean} {
		*f = make([]float64, n.links)
	}
	s.mark = make([]int32, n.links)
	s.head = make([]int32, len(w.dst))
	for i := range s.head {
		s.head[i] = -1
	}
	s.short = append([]float64(nil), w.mass...)
	for _, m := range w.mass {
		s.total += m
	}
	s.sums = make([]float64, len(w.sources))
	for k, v := range w.sources {
		s.groves = append(s.groves, newGrove(v, n.nodes, int(w.from[k+1]-w.from[k])))
	}
	s.batch = max(1, min(16, len(w.sources)/24))
	for i := range s.snap {
		s.snap[i] = snapshot{make([]float64, n.links), make([]float64, n.links), s.c.newTolls()}
		s.proposals[i] = make([][]proposal, s.batch)
	}
	for range scouts {
		s.scouts = append(s.scouts, &scout{tree: newPriceTree(n), twig: make([]int32, n.nodes), twigAt: make([]int32, n.nodes),
			load: make([]float64, n.links)})
	}
	return s
}

// take makes p the present prices.
func (s *sweep) take(p *snapshot) {
	copy(p.price, s.price)
	for e, x := range p.price {
		p.cost[e] = x + s.n.tie[e]
	}
	s.c.measure(p.tolls, p.cost, p.price)
}

// pass lets every source reconsider once, over all paths.
func (s *sweep) pass() {
	n := len(s.groves)
	s.take(&s.snap[0])
	s.inTurn(0, 0, nil)
	for from, b := 0, 0; from < n; from, b = from+s.batch, 1-b {
		next := from + s.batch
		if next < n {
			s.take(&s.snap[1-b])
		}
		s.inTurn(next, 1-b, func() {
			for i := range min(s.batch, n-from) {
				s.decide(&s.groves[from+i], s.proposals[b][i])
			}
			s.note()
		})
	}
}

// settle lets every source reconsider once, over the paths it knows. That takes a tenth of the
// time of a pass, too little to share.
func (s *sweep) settle() {
	s.means = 0
	clear(s.mean)
	for k := range s.groves {
		g := &s.groves[k]
		s.at = g.prices(s.at, s.price)
		s.few = s.proposeKnown(g, k, s.few[:0])
		s.decide(g, s.few)
		if k%s.batch == s.batch-1 || k == len(s.groves)-1 {
			s.note()
		}
	}
}

// note is called after every batch: it finds the level anew, and adds the prices to their mean.
func (s *sweep) note() {
	s.means++
	if s.even != nil {
		for e, c := range s.n.capacity {
			if c > 0 {
				s.mean[e] += s.levelAt(int32(e), s.load[e])
			}
		}
		return
	}
	s.level()
	for e, x := range s.price {
		s.mean[e] += x
	}
}

// inTurn makes the proposals of the batch that begins at source from, while
// meanwhile runs.
func (s *sweep) inTurn(from, b int, meanwhile func()) {
	todo := max(0, min(s.batch, len(s.groves)-from))
	var next atomic.Int64
	help := func(sc *scout) {
		for i := int(next.Add(1)) - 1; i < todo; i = int(next.Add(1)) - 1 {
			s.proposals[b][i] = s.propose(sc, &s.snap[b], from+i, s.proposals[b][i][:0])
		}
	}
	var wg sync.WaitGroup
	if todo > 1 || meanwhile != nil && todo > 0 {
		for _, sc := range s.scouts[1:min(workers(), scouts)] {
			wg.Go(func() { help(sc) })
		}
	}
	if meanwhile != nil {
		meanwhile()
	}
	help(s.scouts[0])
	wg.Wait()
}

// propose lists what the demands of source k would rather have at the snapshot's prices.
func (s *sweep) propose(sc *scout, p *snapshot, k int, out []proposal) []proposal {
	g, w := &s.groves[k], s.w
	limit := math.Inf(1)
	if s.refuse && s.even == nil {
		limit = 1 + hair
	}
	if from, to := w.from[k], w.from[k+1]; len(g.parent) > 2*g.live+64 && g.live > 0 {
		g.prune(s.n, s.head[from:to])
	} else if g.live == 0 {
		g.live = len(g.parent)
	}
	s.c.grow(s.n, sc.tree, p.tolls, g.source, p.cost, p.price, limit)
	sc.stamp++
	sc.at = g.prices(sc.at, p.price)
	known := int32(len(g.parent))
	if w.bound != nil {
		s.eachBounded(sc, p, k, func(d int32, best float64, path []int32) {
			to := int32(unsprouted)
			if path != nil {
				to = 0
				for _, e := range path {
					to = g.sprout(to, e, s.n.dst[e])
				}
			}
			out = s.proposeFor(sc, g, d, best, to, known, out)
		})
		return out
	}
	for d := w.from[k]; d < w.from[k+1]; d++ {
		out = s.proposeFor(sc, g, d, sc.tree.price[w.dst[d]], unsprouted, known, out)
	}
	return out
}

// proposeKnown is propose over the twigs that there are, priced in s.at.
func (s *sweep) proposeKnown(g *grove, k int, out []proposal) []proposal {
	w := s.w
	for d := w.from[k]; d < w.from[k+1]; d++ {
		best, to := math.Inf(1), int32(-1)
		if w.bound == nil || w.bound[d] == NoLatencyBound {
			for t := g.first[w.dst[d]]; t >= 0; t = g.next[t] {
				if s.at[t] < best {
					best, to = s.at[t], t
				}
			}
		} else {
			for h := s.head[d]; h >= 0; h = g.held[h].next {
				if t := g.held[h].twig; s.at[t] < best {
					best, to = s.at[t], t
				}
			}
		}
		if s.even != nil {
			out = s.proposeEven(s.at, g, d, best, to, int32(len(s.at)), nil, out)
			continue
		}
		if s.refuse && best > 1 {
			best, to = 1, -1
		}
		if s.refuse && s.short[d] > 0 && best < 1-s.tol {
			out = append(out, proposal{d, -1, to})
		}
		for h := s.head[d]; h >= 0; h = g.held[h].next {
			if s.at[g.held[h].twig] > best+s.tol {
				out = append(out, proposal{d, h, to})
			}
		}
	}
	return out
}

// unsprouted stands for the path on the scout's tree while its twig is not known.
const unsprouted = -2

// proposeFor proposes for demand d, whose cheapest path costs best and ends in twig to.
// Twigs from known on have no price yet.
func (s *sweep) proposeFor(sc *scout, g *grove, d int32, best float64, to, known int32, out []proposal) []proposal {
	if s.even != nil {
		return s.proposeEven(sc.at, g, d, best, to, known, func() int32 { return s.twig(sc, g, s.w.dst[d]) }, out)
	}
	if s.refuse && best > 1 {
		best, to = 1, -1
	}
	ask := func(from int32) {
		if to == unsprouted {
			to = s.twig(sc, g, s.w.dst[d])
		}
		out = append(out, proposal{d, from, to})
	}
	if s.short[d] > 0 && (best < 1-s.tol || !s.refuse && !math.IsInf(best, 1)) {
		ask(-1)
	}
	for h := s.head[d]; h >= 0; h = g.held[h].next {
		if t := g.held[h].twig; t < known && sc.at[t] > best+s.tol {
			ask(h)
		}
	}
	return out
}

// twig returns the twig of the scout's tree's path to v.
func (s *sweep) twig(sc *scout, g *grove, v int32) int32 {
	stack := sc.stack[:0]
	for v != g.source && sc.twigAt[v] != sc.stamp {
		stack = append(stack, v)
		v = s.n.src[sc.tree.via[v]]
	}
	at := int32(0)
	if v != g.source {
		at = sc.twig[v]
	}
	for i := len(stack) - 1; i >= 0; i-- {
		u := stack[i]
		at = g.sprout(at, sc.tree.via[u], u)
		sc.twig[u], sc.twigAt[u] = at, sc.stamp
	}
	sc.stack = stack
	return at
}

// decide goes through the proposals of a source. Once one turns out to gain nothing any
// more, neither do most of those that remain: the paths are priced anew to tell.
func (s *sweep) decide(g *grove, list []proposal) {
	priced := false
	s.landed = s.landed[:0]
	for i, p := range list {
		if priced {
			from, to := 1.0, 1.0
			if p.from >= 0 {
				from = s.at[g.held[p.from].twig]
			}
			if p.to >= 0 {
				to = s.at[p.to]
			}
			if s.even != nil {
				if p.from >= 0 && p.to >= 0 && !s.even.worthMoving(from, to) {
					continue
				}
				from, to = 1, 0
			}
			if from-to <= s.tol && (s.refuse || p.from >= 0) {
				continue
			}
		}
		if !s.move(g, p) && len(list)-i > 8 {
			s.at = g.prices(s.at, s.price)
			priced = true
		}
	}
	for _, p := range s.landed {
		s.fold(g, p.demand, p.to)
	}
}

// move carries out a proposal as far as it gains at the present prices, and reports
// whether it does.
func (s *sweep) move(g *grove, p proposal) bool {
	if s.even != nil {
		return s.moveEven(g, p)
	}
	d := p.demand
	amount, gain, slope := s.short[d], 1.0, 0.0
	if !s.refuse {
		gain = math.Inf(1)
	}
	from := int32(0)
	if p.from >= 0 {
		from, amount, gain = g.held[p.from].twig, g.held[p.from].rate, 0
	}
	if from == p.to && p.from >= 0 || amount <= 0 {
		return true
	}
	s.stamp++
	for t := from; t > 0; t = g.parent[t] {
		s.mark[g.link[t]] = s.stamp
	}
	s.lose, s.win = s.lose[:0], s.win[:0]
	if p.to < 0 {
		gain--
	}
	for t := p.to; t > 0; t = g.parent[t] {
		e := g.link[t]
		if s.mark[e] == s.stamp {
			s.mark[e] = 0
			continue
		}
		s.win = append(s.win, e)
		if s.off[e]+s.inv[e]*(s.load[e]+amount) > 0 {
			gain -= s.price[e]
			slope += s.inv[e]
		}
	}
	for t := from; t > 0; t = g.parent[t] {
		if e := g.link[t]; s.mark[e] == s.stamp {
			s.lose = append(s.lose, e)
			if s.price[e] > 0 {
				gain += s.price[e]
				slope += s.inv[e]
			}
		}
	}
	if gain <= s.tol {
		return false
	}
	if gain < slope*amount {
		amount = gain / slope
	}
	s.carry(g, p, amount)
	return true
}

// carry carries out a proposal for an amount; lose and win are the links that lose it and win it.
func (s *sweep) carry(g *grove, p proposal, amount float64) {
	d := p.demand
	s.moves++
	for _, e := range s.lose {
		s.add(e, -amount)
	}
	for _, e := range s.win {
		s.add(e, amount)
	}
	crumb := 1e-9 * s.w.mass[d]
	if p.from < 0 {
		s.short[d] -= amount
		if s.short[d] < crumb {
			s.short[d] = 0
		}
	} else if g.held[p.from].rate -= amount; g.held[p.from].rate <= crumb {
		g.release(&s.head[d], p.from)
	}
	if p.to < 0 {
		s.short[d] += amount
	} else {
		g.hold(&s.head[d], p.to, amount)
		s.landed = append(s.landed, p)
	}
}

// pathsMost is how many paths a demand may have at once.
const pathsMost = 8

// fold moves a demand's least holding over to twig to while it has too many.
func (s *sweep) fold(g *grove, d, to int32) {
	count, least := 0, int32(-1)
	for h := s.head[d]; h >= 0; h = g.held[h].next {
		if count++; g.held[h].twig != to && (least < 0 || g.held[h].rate < g.held[least].rate) {
			least = h
		}
	}
	if count <= pathsMost || least < 0 {
		return
	}
	rate := g.held[least].rate
	for t := g.held[least].twig; t > 0; t = g.parent[t] {
		s.add(g.link[t], -rate)
	}
	for t := to; t > 0; t = g.parent[t] {
		s.add(g.link[t], rate)
	}
	g.release(&s.head[d], least)
	g.hold(&s.head[d], to, rate)
}

func (s *sweep) add(e int32, x float64) {
	s.load[e] += x
	if s.even != nil {
		s.price[e] = s.even.priceOf(s.levelAt(e, s.load[e]))
		return
	}
	s.price[e] = math.Max(0, s.off[e]+s.inv[e]*s.load[e])
}

// measure sums the loads anew, lest rounding pile up.
func (s *sweep) measure() {
	s.overGroves(func(sc *scout, k int) {
		g := &s.groves[k]
		at := cleared(sc.at, len(g.parent))
		sc.at = at
		for d := s.w.from[k]; d < s.w.from[k+1]; d++ {
			for h := s.head[d]; h >= 0; h = g.held[h].next {
				at[g.held[h].twig] += g.held[h].rate
			}
		}
		s.addUp(sc, g, at)
	})
	s.gatherLoads(s.load)
}

// overGroves calls f for every source, in a fixed partition.
func (s *sweep) overGroves(f func(sc *scout, k int)) {
	inParallel(scouts, min(workers(), scouts), func(_, i int) {
		clear(s.scouts[i].load)
		for k := i; k < len(s.groves); k += scouts {
			f(s.scouts[i], k)
		}
	})
}

func (s *sweep) gatherLoads(load []float64) {
	clear(load)
	for _, sc := range s.scouts {
		for e, x := range sc.load {
			load[e] += x
		}
	}
}
