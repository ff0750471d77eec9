// The search for one level: master and pricing in turn, from below, until the prices
// prove the level to within what its demands' proofs need.

package solve

import (
	"math"
	"slices"
)

const (
	finalMu   = 1e-10 // where the central path of a finished level ends
	leastMu   = 1e-6  // where a master that goes on from a good one begins
	riseMost  = 3.0   // a level rises by no more than this factor in one master
	riseLimit = 60    // rounds
)

// rise finds the next level. It returns false, with the level that is known to be
// feasible, where it was stopped or arithmetic came to its end.
func (c *climb) rise() bool {
	m := &c.master
	c.found, c.wide = c.best, 1
	clear(c.price)
	if c.level >= c.top {
		return true // the first paths have room for all that anybody wants
	}
	c.resetRows()
	clear(c.price)
	clear(c.priced)
	aim, gap, safe, crumbs := 1e-2, 1.0, c.level, 1.0
	// Columns are left alone that together gain less than crumbs times the gap, for as
	// long as others help.
	for range riseLimit {
		if c.o.Stop != nil && c.o.Stop() {
			break
		}
		c.rounds++
		c.level = math.Min(c.level, c.top*(1-1e-3)) // so that somebody rises
		if c.window = 100 * c.wide * math.Max(0.3*gap, leastMu); gap > 0.5 {
			c.window = math.Inf(1)
		}
		c.gather()
		if m.rows == 0 { // nothing in the way yet: as far as a step may go
			c.level = m.top
		} else {
			c.startPrices(gap)
			m.t, m.mu = c.level, math.Min(0.1, math.Max(0.3*gap, leastMu))
			m.prepare()
			ok := m.begin() && m.solve(aim, math.Max(1e-10, 0.01*aim), 40)
			if !ok && !(m.residual < 1e-6) {
				gap, c.level = 1, safe // once more from below, and from the middle
				aim = math.Min(1e-2, 10*aim)
				continue
			}
			c.level = m.t
		}
		clear(c.price)
		clear(c.priced)
		for i, r := range c.rowNum {
			l := c.cols.rows[r]
			c.price[l], c.priced[l] = m.y[i], true
		}
		raw := slices.Clone(c.price)
		c.found = c.flows() // before new columns mix the classes
		c.loadOf(c.found)
		columns, bound := c.priceWithPast(raw, math.Max(1e-9, 0.1*aim), crumbs*gap*m.speed*c.level/float64(len(c.speed)))
		c.bound = bound
		gap = math.Min(1, math.Abs(bound-c.level)/c.level)
		rows := c.tighten(1 + 1e-9 + 0.1*aim)
		atTop := c.level > c.top*(1-1e-8)
		if rows == 0 && aim <= finalMu && (atTop || gap < c.levelGap()) {
			if atTop {
				c.level = c.top
			}
			return true
		}
		switch {
		case rows == 0 && columns == 0 && gap > math.Max(30*aim, 1e-8) && crumbs > 1e-4 && c.level < 0.99*c.top:
			crumbs *= 0.1 // the gap is not the central path's: columns are missing
		case rows == 0 && columns == 0:
			if gap > 1e-4 && !(c.level > c.top*(1-1e-2)) {
				aim = math.Max(finalMu, math.Min(0.1*aim, 1e-3*gap))
			} else if aim <= finalMu && gap < 1e-7 {
				return true // as near as arithmetic goes; hold says whose proof it is good for
			} else if aim = math.Min(finalMu, 0.1*aim); aim < 1e-12 {
				return gap < 1e-3 || atTop
			}
		case gap < 0.5:
			aim = math.Max(finalMu, math.Min(aim, 0.05*gap))
		default:
			aim = math.Max(finalMu, 0.5*aim)
		}
		if rows > 0 { // the level was too high for links that nobody had looked at
			c.level = safe
		} else {
			safe = math.Max(safe, c.level)
		}
		copy(c.price, raw)
		if c.o.Progress != nil {
			c.o.Progress(Progress{Round: c.rounds, Value: c.level, Bound: c.bound, Columns: len(c.store.prev)})
		}
	}
	c.level = safe
	return false
}

// startPrices makes the prices the master starts from: the present ones and a part of
// flat ones, the more of these the less is known, in all no more than a unit of level
// is worth.
func (c *climb) startPrices(gap float64) {
	m := &c.master
	part := math.Min(1, math.Max(gap, 1e-3))
	for i, r := range c.rowNum {
		if !m.spent[i] {
			m.y[i] += part * m.speed * c.level / float64(m.rows) / m.whole[i]
		}
		c.price[c.cols.rows[r]] = m.y[i]
	}
	worth, paid := c.worths(), 0.0
	for d, k := range c.cols.classOf {
		if k > 0 && c.rising(int32(d), c.level) {
			paid += c.speed[d] * worth[k]
		}
	}
	if paid > m.speed {
		for i := range m.y {
			m.y[i] *= m.speed / paid
		}
	}
}

// levelGap is how exactly a level must be known: what is left over counts against the
// smallest demand of the level.
func (c *climb) levelGap() float64 {
	least, sum := math.Inf(1), 0.0
	for d, s := range c.speed {
		if c.rising(int32(d), c.level) {
			least = math.Min(least, s)
			sum += s
		}
	}
	return math.Max(1e-9, math.Min(1e-6, 1e-4*least/sum))
}
