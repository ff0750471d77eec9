// The end of a level: whom its prices stop is held.

package solve

import (
	"math"
	"slices"
)

// heldSlack is the part of Eps that a demand's proof may use up when it is held.
const heldSlack = 0.1

// hold holds the demands that the level's prices prove to be stopped, and binds
// everybody to what the prices say of every optimal routing. It returns the prices of
// the level, nil where nobody is stopped, and whether somebody still rises. level is
// the number that the level will have.
func (c *climb) hold(level int) (prices []float64, more bool) {
	c.dropBreath()
	gap := 0.0
	for l, y := range c.price {
		gap += y * c.n.capacity[l]
	}
	c.cheapest(c.price, false, func(_ int, d int32, price float64, _ func() []int32) { c.dist[d] = price })
	for d, x := range c.dist {
		if !math.IsInf(x, 1) {
			gap -= x * c.amount(int32(d), c.level)
		}
	}
	gap = math.Max(gap, 0)
	stopped := 0
	for d := range c.speed {
		has := c.amount(int32(d), c.level)
		switch {
		case c.speed[d] == 0:
		case has >= c.most[d]*(1-1e-9):
			c.least[d], c.speed[d] = c.most[d], 0
		case c.dist[d] > 0 && gap/c.dist[d] <= heldSlack*Eps*has:
			c.least[d], c.speed[d] = has, 0
			stopped++
		default:
			more = true // goes on rising, or waits at what it has for the level to reach it
		}
	}
	flows := c.exactly(c.found)
	c.loadOf(flows)
	c.best = flows
	if stopped == 0 {
		return nil, more
	}
	top := slices.Max(c.price)
	for l, y := range c.price {
		if y > 0 {
			c.past[l] += y / top
			c.spent[l] = true
		}
		if c.spent[l] {
			c.full[l] = c.load[l]
		}
	}
	for d, x := range c.dist {
		if math.IsInf(x, 1) {
			continue
		}
		c.face[d] += x / top
		if x > faceHair*top && c.provedBy[d] < 0 {
			c.provedBy[d] = int32(level)
		}
	}
	c.keepFace(flows)
	return slices.Clone(c.price), more
}

// exactly scales every demand's flows to what it has at the level, to the last digit.
func (c *climb) exactly(flows []dealt) []dealt {
	got := make([]float64, len(c.speed))
	for _, f := range flows {
		got[f.demand] += f.rate
	}
	for i := range flows {
		d := flows[i].demand
		flows[i].rate *= c.amount(d, c.level) / got[d]
	}
	return flows
}

// dropBreath forgets prices that are only what the central path breathes on links
// that are not full.
func (c *climb) dropBreath() {
	m := &c.master
	for i, r := range c.rowNum {
		if !m.spent[i] && m.y[i]*m.whole[i]/(m.speed*c.level) < m.f[i]/m.whole[i] {
			c.price[c.cols.rows[r]] = 0
		}
	}
}

// keepFace forgets paths that nobody uses and those that the prices now exclude.
func (c *climb) keepFace(flows []dealt) {
	s := c.store
	used := make([]bool, len(s.prev))
	for _, f := range flows {
		used[f.path] = true
	}
	for d := range s.head {
		for at := &s.head[d]; *at >= 0; {
			p := *at
			last := at == &s.head[d] && s.prev[p] < 0
			if last || used[p] && c.onFace(int32(d), s.path(p)) {
				at = &s.prev[p]
			} else {
				*at = s.prev[p]
			}
		}
	}
}
