// Weighted max-min fairness, level by level, with a proof for every level.
//
// At each level all demands that are not yet held rise together, each at the
// speed of its weight, until a set of full links stops some of them; a demand that
// reaches its wish stops by itself. The level is a linear program over all paths of all
// demands (rise.go, levelmaster.go); its prices show who is stopped: those whose every
// path has a price (hold.go).
//
// Held demands keep their rates, not their routes. What is kept of a level is what its prices
// say of every optimal routing: a demand uses only paths that are cheapest at these
// prices, and a priced link stays exactly full. These conditions are necessary
// and sufficient for the rates of the level, so later levels lose nothing by
// them, and within them they still have an interior.
//
// The proof of a level is its prices plus a multiple of the earlier levels'. The
// multiple costs nothing, because the links they price are exactly full of demands
// that are no better off, and it keeps the verifier from sending held demands over
// links that are already spent.
//
// D. Nace, M. Pióro, "Max-min fairness and its applications to routing and
// load-balancing in communication networks", IEEE Comm. Surveys 10(4) (2008).

package solve

import (
	"math"
	"slices"
)

func solveFair(in *Instance, n *net, o Options) (*Allocation, error) {
	c := newClimb(in, n, o)
	a := &Allocation{Objective: MaxMinFair}
	d := &in.Demands
	for k, i := range c.w.of {
		c.speed[k], c.most[k] = d.Weight[i], float64(d.Rate[i])
	}
	for _, k := range c.firstPaths() {
		c.speed[k], c.most[k] = 0, 0
		a.Unserved++
	}
	var poured []dealt
	if d.Len() > manyDemands {
		// Levels take their time here: first an answer, and better paths to begin with.
		p := newPourer(c, nil)
		p.spread()
		poured = p.flows()
	}
	for c.begin() {
		risen := c.rise()
		prices, more := []float64(nil), false
		if risen {
			if prices, more = c.hold(); prices != nil {
				a.Levels = append(a.Levels, Level{Rate: c.level, Prices: prices})
			}
		}
		if !risen || more && prices == nil {
			if poured != nil && len(a.Levels) == 0 {
				c.best = poured
			} else {
				c.shareRest()
			}
			break
		}
	}
	a.Flows = c.export(c.fit(c.best))
	a.Rounds, a.Iterations = c.rounds, c.master.steps
	a.Value = math.Inf(1)
	for i, r := range a.Rates(d.Len()) {
		a.Value = math.Min(a.Value, r/d.Weight[i])
	}
	a.Bound = a.Value
	return a, nil
}

// begin prepares the next level and says whether anybody rises.
func (c *climb) begin() bool {
	c.top = 0
	for d, s := range c.speed {
		if s > 0 {
			c.top = math.Max(c.top, c.most[d]/s)
		}
	}
	if c.top == 0 {
		return false
	}
	if c.best == nil {
		c.firstLevel()
	}
	return true
}

// firstLevel finds a level at which the first paths have room for everybody.
func (c *climb) firstLevel() {
	c.level = c.top
	for {
		c.loadAt(c.level)
		worst := 0.0
		for l, x := range c.load {
			if x > 0 {
				worst = math.Max(worst, x/c.n.capacity[l])
			}
		}
		if worst <= 1 {
			break
		}
		// Amounts fall no faster than the level, so this comes from above.
		c.level *= 0.97 / worst
	}
	c.best = c.best[:0]
	for d, p := range c.store.head {
		if x := c.amount(int32(d), c.level); p >= 0 && x > 0 {
			c.best = append(c.best, dealt{int32(d), p, x})
		}
	}
	c.loadOf(c.best)
}

// shareRest ends the climb where the next level could not be found, or not in time:
// whoever still wants something shares what is left over the path it has. There is no
// proof for these rates.
func (c *climb) shareRest() {
	p := newPourer(c, c.best)
	p.pour()
	c.best = p.flows()
}

// fit scales flows down where rounding has overfilled a link, and sets what is
// within rounding of a wish to the wish.
func (c *climb) fit(flows []dealt) []dealt {
	c.loadOf(flows)
	e := &engine{net: c.n, store: c.store}
	return e.squeeze(flows, c.load)
}

// export turns flows into the instance's terms, ordered by demand.
func (c *climb) export(flows []dealt) []Flow {
	slices.SortStableFunc(flows, func(a, b dealt) int { return int(a.demand) - int(b.demand) })
	e := &engine{store: c.store, work: c.w}
	return e.export(flows)
}
