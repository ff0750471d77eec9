// From columns to the master of a level, and from its amounts back to demands.

package solve

import (
	"math"
	"slices"
)

// rowLoad is how full a link must be to be a row of the master from the start.
const rowLoad = 0.5

// gather makes the master of the present classes, rows and level.
func (c *climb) gather() {
	cols, m := c.cols, &c.master
	n := cols.classes.len()
	fixed, weight := make([]float64, n), make([]float64, n)
	m.speed = 0
	for d, k := range cols.classOf {
		if k == 0 {
			continue
		}
		if c.rising(int32(d), c.level) {
			weight[k] += c.speed[d]
			m.speed += c.speed[d]
		} else {
			fixed[k] += c.amount(int32(d), c.level)
		}
	}
	c.keepCheap()
	baseRow, throughRow := make([]float64, len(cols.rows)+1), make([]float64, len(cols.rows)+1)
	touched := make([]bool, len(cols.rows))
	c.liveOf = slices.Grow(c.liveOf[:0], n)[:n]
	c.liveOf[0] = noMembers
	pats := cols.patterns
	eachRow := func(p int32, f func(row int32)) {
		for ; p > 0; p = pats.parent[p] {
			f(pats.last[p])
		}
	}
	for k := 1; k < n; k++ {
		c.liveOf[k] = noMembers
		if fixed[k] == 0 && weight[k] == 0 {
			continue
		}
		kept := c.kept[c.keptAt[k]:c.keptAt[k+1]]
		if len(kept) == 1 {
			c.liveOf[k] = oneColumn
			eachRow(kept[0], func(r int32) {
				baseRow[r] += fixed[k]
				throughRow[r] += weight[k]
				touched[r] = touched[r] || weight[k] > 0
			})
			continue
		}
		for _, p := range kept {
			eachRow(p, func(r int32) { touched[r] = true })
		}
	}
	c.rowOf, c.rowNum = slices.Grow(c.rowOf[:0], len(cols.rows))[:len(cols.rows)], c.rowNum[:0]
	for r := range cols.rows {
		c.rowOf[r] = -1
		if touched[r] {
			c.rowOf[r] = int32(len(c.rowNum))
			c.rowNum = append(c.rowNum, int32(r))
		}
	}
	m.rows = len(c.rowNum)
	for _, s := range []*[]float64{&m.capacity, &m.through, &m.whole, &m.y} {
		*s = grown(*s, m.rows)
	}
	m.spent = slices.Grow(m.spent[:0], m.rows)[:m.rows]
	for i, r := range c.rowNum {
		l := cols.rows[r]
		m.spent[i] = c.spent[l]
		m.whole[i] = c.n.capacity[l]
		m.capacity[i] = c.n.capacity[l] - baseRow[r]
		if m.spent[i] {
			m.capacity[i] = c.full[l] - baseRow[r]
		}
		m.through[i] = throughRow[r]
		m.y[i] = c.price[l]
	}
	m.colAt, m.patAt, m.patRow = append(m.colAt[:0], 0), append(m.patAt[:0], 0), m.patRow[:0]
	m.fixed, m.weight, m.pull = m.fixed[:0], m.weight[:0], m.pull[:0]
	for k := 1; k < n; k++ {
		if c.liveOf[k] != noMembers || fixed[k] == 0 && weight[k] == 0 {
			continue
		}
		c.liveOf[k] = int32(len(m.fixed))
		for _, p := range c.kept[c.keptAt[k]:c.keptAt[k+1]] {
			eachRow(p, func(r int32) { m.patRow = append(m.patRow, c.rowOf[r]) })
			m.patAt = append(m.patAt, int32(len(m.patRow)))
		}
		m.colAt = append(m.colAt, int32(len(m.patAt)-1))
		m.fixed, m.weight = append(m.fixed, fixed[k]), append(m.weight, weight[k])
	}
	c.pulls()
}

// pulls decides what counts how much on the central path: what cannot change, in
// all no more than what rises.
func (c *climb) pulls() {
	m := &c.master
	rises, stays := 0.0, 0.0
	for k := range m.fixed {
		rises += m.weight[k]
		stays += m.fixed[k]
	}
	rises = math.Max(rises, m.speed)
	rises *= c.level
	part := 1.0
	if stays > rises {
		part = rises / stays
	}
	total := 0.0
	for k := range m.fixed {
		m.pull = append(m.pull, m.weight[k]*c.level+m.fixed[k]*part)
		total += m.pull[k]
	}
	m.omega = omegaPart * math.Max(total, m.speed*c.level) / math.Max(1, float64(m.rows))
	m.omegaT = 0.01 * m.speed * c.level
	m.top = math.Min(c.top, riseMost*c.level)
	for d, s := range c.speed {
		// Nor past the level at which somebody begins to rise who has more so far.
		if s > 0 && s*c.level < c.least[d]*(1-1e-12) {
			m.top = math.Min(m.top, c.least[d]/s*(1+1e-9))
		}
	}
}

// keepCheap lists by class the columns in play: those not dearer than window above
// the cheapest.
func (c *climb) keepCheap() {
	price, unknown, cls := c.patternPrices(), c.unpriced(), c.cols.classes
	c.keptAt, c.kept = append(c.keptAt[:0], 0, 0), c.kept[:0]
	for k := 1; k < cls.len(); k++ {
		least, window := math.Inf(1), c.window
		for i := int32(k); i > 0; i = cls.parent[i] {
			least = math.Min(least, price[cls.last[i]])
			if unknown[cls.last[i]] {
				window = math.Inf(1)
			}
		}
		from := len(c.kept)
		for i := int32(k); i > 0; i = cls.parent[i] {
			p := cls.last[i]
			if p == 0 { // a way that meets no row: nothing is better
				c.kept = append(c.kept[:from], 0)
				break
			}
			if price[p] <= least+window {
				c.kept = append(c.kept, p)
			}
		}
		c.keptAt = append(c.keptAt, int32(len(c.kept)))
	}
}

// unpriced says which patterns cross a spent link that the last master of this level
// did not have, so that nothing is known of its price.
func (c *climb) unpriced() []bool {
	pats := c.cols.patterns
	out := make([]bool, pats.len())
	for p := 1; p < len(out); p++ {
		l := c.cols.rows[pats.last[p]]
		out[p] = out[pats.parent[p]] || c.spent[l] && !c.priced[l]
	}
	return out
}

// flows deals the classes' amounts out to demands in order, so that all but one
// member per boundary between columns have a single path.
func (c *climb) flows() []dealt {
	m, cols := &c.master, c.cols
	left := slices.Clone(m.x)
	out := make([]dealt, 0, len(cols.classOf)+len(cols.classOf)/8)
	for k := range m.fixed {
		lo, hi := m.colAt[k], m.colAt[k+1]
		sum, kept, best := 0.0, 0.0, lo
		for i := lo; i < hi; i++ {
			sum += left[i]
			if left[i] > left[best] {
				best = i
			}
		}
		for i := lo; i < hi; i++ {
			if i != best && left[i] < 1e-11*sum {
				left[i] = 0
			}
			kept += left[i]
		}
		amount := m.fixed[k] + m.weight[k]*c.level
		for i := lo; i < hi; i++ {
			left[i] *= amount / kept
		}
	}
	for d, k := range cols.classOf {
		if k == 0 {
			continue
		}
		want := c.amount(int32(d), c.level)
		if want <= 0 {
			continue
		}
		switch c.liveOf[k] {
		case noMembers:
		case oneColumn:
			out = append(out, dealt{int32(d), cols.pathFor(int32(d), c.kept[c.keptAt[k]]), want})
		default:
			from, crumb := len(out), 1e-12*want
			rest := want
			col := m.colAt[c.liveOf[k]]
			for _, pattern := range c.kept[c.keptAt[k]:c.keptAt[k+1]] {
				if r := math.Min(rest, left[col]); r > crumb {
					left[col] -= r
					rest -= r
					out = append(out, dealt{int32(d), cols.pathFor(int32(d), pattern), r})
				}
				col++
			}
			if rest > 0 && len(out) > from { // rounding of the class's sum
				out[len(out)-1].rate += rest
			} else if rest > 0 {
				out = append(out, dealt{int32(d), cols.pathFor(int32(d), c.kept[c.keptAt[k]]), rest})
			}
		}
	}
	return out
}

// loadOf sets load to what the flows put on the links.
func (c *climb) loadOf(flows []dealt) {
	c.sumLoads(len(flows), func(i int) (int32, float64) { return flows[i].path, flows[i].rate })
}

// loadAt sets load to everybody's amount at a level, on the newest paths.
func (c *climb) loadAt(level float64) {
	c.sumLoads(len(c.speed), func(d int) (int32, float64) {
		return c.store.head[d], c.amount(int32(d), level)
	})
}

// sumLoads adds up n rates over paths (-1: none), in as many parts as there are workers.
func (c *climb) sumLoads(n int, flow func(i int) (path int32, rate float64)) {
	parts := len(c.trees)
	if c.parts == nil {
		c.parts = make([][]float64, parts)
		for i := range c.parts {
			c.parts[i] = make([]float64, len(c.load))
		}
	}
	inParallel(parts, parts, func(_, k int) {
		load := c.parts[k]
		clear(load)
		for i := n * k / parts; i < n*(k+1)/parts; i++ {
			path, rate := flow(i)
			if path < 0 || rate == 0 {
				continue
			}
			for _, l := range c.store.path(path) {
				load[l] += rate
			}
		}
	})
	copy(c.load, c.parts[0])
	for _, p := range c.parts[1:] {
		for l, x := range p {
			c.load[l] += x
		}
	}
}

// tighten makes rows of the links that carry more than part of their capacity and
// keeps the others; it returns how many the last master did not have.
func (c *climb) tighten(part float64) (added int) {
	var rows []int32
	for l, x := range c.load {
		r := c.cols.row[l]
		limit := math.Max(c.n.capacity[l], c.full[l]) // a spent link may be overfull in the ninth digit
		if x > part*limit && r < 0 || x > 1e-6*limit+part*limit && int(r) < len(c.rowOf) && c.rowOf[r] < 0 {
			added++
		}
		if r >= 0 || x > part*limit {
			rows = append(rows, int32(l))
		}
	}
	if added > 0 || c.cols.classes.len() == 1 {
		c.cols.setRows(rows)
	}
	return added
}

// With a hint, rows are the links that are likely to fill below this multiple of the level, and
// those that are as good as full.
const (
	hintSpan = 2.5
	hintLoad = 0.999
)

// resetRows makes rows of exactly the spent links, those half full, and those that would be
// full were the level to rise as far as one master may raise it; with a hint, of those it names.
func (c *climb) resetRows() {
	c.loadOf(c.best)
	now := slices.Clone(c.load)
	c.loadAt(riseMost * c.level)
	var rows []int32
	for l, x := range c.load {
		if c.hint != nil {
			if c.spent[l] || c.hint[l] < hintSpan*c.level || now[l] > hintLoad*c.n.capacity[l] {
				rows = append(rows, int32(l))
			}
			continue
		}
		if c.spent[l] || now[l] > rowLoad*c.n.capacity[l] || x > c.n.capacity[l] {
			rows = append(rows, int32(l))
		}
	}
	c.cols.setRows(rows)
}
