// Pricing for the levels: cheapest paths, and the level that prices prove to be the
// highest.

package solve

import (
	"math"
	"slices"
)

// faceHair is what a path may cost beyond the face's price before it counts as off it.
const faceHair = 1e-7

// offerPath is called for every demand with its cheapest path, borrowed; nil where
// there is none.
type offerPath func(d int32, price float64, walk func() []int32)

// cheapest finds every demand's cheapest path at prices y.
func (c *climb) cheapest(y []float64, hair bool, each func(worker int, d int32, price float64, walk func() []int32)) {
	cost := y
	if hair {
		cost = make([]float64, len(y))
		for l := range y {
			cost[l] = y[l] + c.n.tie[l]
		}
	}
	inParallel(len(c.w.sources), len(c.trees), func(worker, k int) {
		t := c.trees[worker]
		t.grow(c.n, c.w.sources[k], cost, y, math.Inf(1))
		c.bounded(t, k, cost, y, func(d int32, price float64, walk func() []int32) { each(worker, d, price, walk) })
	})
}

// bounded offers the tree's paths, and others where latency bounds forbid those.
func (c *climb) bounded(t *priceTree, k int, cost, y []float64, offer offerPath) {
	w := c.w
	waiting := map[int32][]int32{} // by node, the demands whose bound the tree's path breaks
	longest := int64(0)
	for d := w.from[k]; d < w.from[k+1]; d++ {
		v := w.dst[d]
		switch {
		case math.IsInf(t.price[v], 1):
			offer(d, math.Inf(1), nil)
		case w.bound == nil || t.latency(c.n, v) <= w.bound[d]:
			offer(d, t.price[v], func() []int32 { return t.walk(c.n, v) })
		default:
			waiting[v] = append(waiting[v], d)
			longest = max(longest, w.bound[d])
		}
	}
	if len(waiting) == 0 {
		return
	}
	b := &t.bounded
	b.search(c.n, w.sources[k], cost, longest, func(l, node int32, micros int64) bool {
		waiting[node] = slices.DeleteFunc(waiting[node], func(d int32) bool {
			if micros > w.bound[d] {
				return false
			}
			price := 0.0
			for _, link := range b.walk(l) {
				price += y[link]
			}
			offer(d, price, func() []int32 { return b.walk(l) })
			return true
		})
		return true
	})
	for _, demands := range waiting {
		for _, d := range demands {
			offer(d, math.Inf(1), nil)
		}
	}
}

// firstPaths gives every demand its fastest path and returns those without any.
func (c *climb) firstPaths() (unreached []int32) {
	paths := make([][]int32, len(c.speed))
	c.cheapest(c.price, true, func(_ int, d int32, _ float64, walk func() []int32) {
		if walk != nil {
			paths[d] = slices.Clone(walk())
		}
	})
	for d, p := range paths {
		if p == nil {
			unreached = append(unreached, int32(d))
		} else {
			c.store.add(int32(d), p)
		}
	}
	return unreached
}

// foundPath is a column that the master lacks.
type foundPath struct {
	d    int32
	path []int32
}

// priceOut finds columns that are cheaper than those in play by more than tolerance, and
// gain more than crumb in all, and every demand's distance.
func (c *climb) priceOut(tolerance, crumb float64) (found []foundPath) {
	worth := c.worths()
	per, off := make([][]foundPath, len(c.trees)), make([]int, len(c.trees))
	c.cheapest(c.price, true, func(worker int, d int32, price float64, walk func() []int32) {
		c.dist[d] = price
		gain := worth[c.cols.classOf[d]] - price
		if walk == nil || gain <= tolerance || gain*c.amount(d, c.level) <= crumb {
			return
		}
		if path := walk(); c.onFace(d, path) {
			per[worker] = append(per[worker], foundPath{d, slices.Clone(path)})
		} else {
			off[worker]++
		}
	})
	c.off = 0
	for worker, fs := range per {
		c.off += off[worker]
		found = append(found, fs...)
	}
	// In the order of demands, so that answers repeat however sources were shared out.
	slices.SortFunc(found, func(a, b foundPath) int { return int(a.d) - int(b.d) })
	return found
}

// join adds found paths to their demands' classes. Where some were known already and had only
// been left out of the master as too dear, less is left out from now on.
func (c *climb) join(found []foundPath) {
	known := 0
	for _, f := range found {
		if c.store.find(f.d, f.path) < 0 {
			c.cols.join(f.d, c.store.add(f.d, f.path))
		} else {
			known++
		}
	}
	if known > 0 {
		c.wide *= 4
	}
}

// onFace says whether a path is as cheap as the earlier levels' prices allow the
// demand, so that taking it spoils none of their proofs.
func (c *climb) onFace(d int32, path []int32) bool {
	sum := 0.0
	for _, l := range path {
		sum += c.past[l]
	}
	return sum <= c.face[d]*(1+faceHair)+faceHair
}

// patternPrices is by pattern what the present prices ask for it.
func (c *climb) patternPrices() []float64 {
	rowPrice := make([]float64, len(c.cols.rows)+1)
	for r, l := range c.cols.rows {
		rowPrice[r] = c.price[l]
	}
	return c.cols.patternPrices(rowPrice, nil)
}

// worths is by class what its cheapest column costs, of those in play.
func (c *climb) worths() []float64 {
	price := c.patternPrices()
	worth := grown(c.worth, c.cols.classes.len())
	worth[0] = math.Inf(1)
	for k := 1; k < len(worth); k++ {
		worth[k] = math.Inf(1)
		for _, p := range c.kept[c.keptAt[k]:c.keptAt[k+1]] {
			worth[k] = math.Min(worth[k], price[p])
		}
	}
	c.worth = worth
	return worth
}

// cut returns the level above which the priced links cannot go: where what the
// demands must carry over them equals supply. Between two levels at which somebody begins
// to rise that function is concave, and Newton's steps come from below.
func (c *climb) cut() float64 {
	supply := 0.0
	for l, y := range c.price {
		supply += y * c.n.capacity[l]
	}
	level := 0.0
	for range 400 {
		// waits is where the next one begins to rise who has more so far.
		sum, slope, waits := 0.0, 0.0, math.Inf(1)
		for d, s := range c.speed {
			x := c.dist[d]
			if !(x > 0) || math.IsInf(x, 1) {
				continue
			}
			sum += x * c.amount(int32(d), level)
			switch {
			case s == 0:
			case c.rising(int32(d), level):
				slope += x * s
			case s*level < c.least[d]:
				waits = math.Min(waits, c.least[d]/s)
			}
		}
		if sum >= supply {
			return level
		}
		next := waits
		if slope > 0 {
			next = math.Min(waits, level+(supply-sum)/slope)
		}
		if math.IsInf(next, 1) || !(next > level*(1+1e-15)) {
			if slope > 0 {
				return level
			}
			return next
		}
		level = next
	}
	return level
}

// priceWithPast prices out at the raw prices plus that multiple of the past ones which
// keeps everybody off the ways they exclude, and no larger: the multiple costs digits.
func (c *climb) priceWithPast(raw []float64, tolerance, crumb float64) (columns int, bound float64) {
	top := 0.0
	for _, y := range raw {
		top = math.Max(top, math.Abs(y))
	}
	if top == 0 {
		top = 1
	}
	factor := top
	for l, y := range c.past {
		if y > 0 {
			factor = math.Max(factor, -1.001*raw[l]/y)
		}
	}
	for {
		for l, y := range c.past {
			c.price[l] = raw[l]
			if y > 0 {
				c.price[l] = math.Max(0, raw[l]+factor*y)
			}
		}
		found := c.priceOut(tolerance, crumb)
		if c.off == 0 || factor > 1e9*top {
			bound = c.cut()
			c.join(found)
			return len(found), bound
		}
		factor *= 8
	}
}
