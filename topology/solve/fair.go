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
	a.Unserved = len(c.firstPaths())
	all := stages(&in.Demands, o.ByClass)
	for _, s := range all {
		c.enter(s)
		var even *evenAnswer
		if s == (Stage{}) {
			// Levels take their time here: first an answer, and better paths to begin with.
			even = c.evenly()
		}
		if !c.climbStage(a, s) {
			c.endEarly(even, len(a.Levels) > 0)
		}
	}
	a.Flows = c.export(c.fit(c.best))
	a.Rounds, a.Iterations = c.rounds, c.master.steps
	a.Value = math.Inf(1)
	for i, r := range a.Rates(in.Demands.Len()) {
		a.Value = math.Min(a.Value, r/in.Demands.Weight[i])
	}
	a.Bound = a.Value
	c.shortfalls(a)
	return a, nil
}

// climbStage goes from level to level until nobody rises in the stage any more. It
// returns false where a level could not be found.
func (c *climb) climbStage(a *Allocation, s Stage) bool {
	for c.begin() {
		if !c.rise() {
			return false
		}
		prices, more := c.hold(len(a.Levels))
		if prices != nil {
			a.Levels = append(a.Levels, Level{Rate: c.level, Prices: prices, Stage: s})
		} else if more {
			return false
		}
	}
	return true
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
	// Up to here nobody rises: they all have more from an earlier stage.
	floor := math.Inf(1)
	for d, s := range c.speed {
		if s > 0 {
			floor = math.Min(floor, c.least[d]/s)
		}
	}
	c.level = math.Max(c.level, floor)
	return true
}

// firstLevel finds a level at which there is room for everybody who rises over the
// newest path, beside what everybody has.
func (c *climb) firstLevel() {
	c.loadOf(c.best)
	before := slices.Clone(c.load)
	more := func(d int, level float64) float64 { return c.amount(int32(d), level) - c.least[d] }
	c.top = 0
	for d, s := range c.speed {
		if s > 0 {
			c.top = math.Max(c.top, c.most[d]/s)
		}
	}
	for c.level = c.top; c.level > 1e-9*c.top; {
		c.sumLoads(len(c.speed), func(d int) (int32, float64) { return c.store.head[d], more(d, c.level) })
		worst := 0.0
		for l, x := range c.load {
			if x > 0 {
				worst = math.Max(worst, x/math.Max(c.n.capacity[l]-before[l], 1e-9*c.n.capacity[l]))
			}
		}
		if worst <= 1 {
			break
		}
		// Amounts fall no faster than the level, so this comes from above.
		c.level *= math.Max(0.97/worst, 1e-3)
	}
	place := make(map[[2]int32]int, len(c.best))
	for i, b := range c.best {
		place[[2]int32{b.demand, b.path}] = i
	}
	for d, p := range c.store.head {
		x := more(d, c.level)
		if p < 0 || x <= 0 {
			continue
		}
		if at, ok := place[[2]int32{int32(d), p}]; ok {
			c.best[at].rate += x
		} else {
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

// forProofs is how much less of their wishes demands may have, in the geometric mean, for the sake of
// rates that levels prove.
const forProofs = 0.005

// endEarly takes the best there is where the climb did not come to its end: what levels have proved and
// the rest shared, or else the even sweeps' answer, if that is there and much fairer.
func (c *climb) endEarly(even *evenAnswer, proved bool) {
	if even == nil {
		c.shareRest()
		return
	}
	if proved {
		c.takeUp(even)
		c.shareRest()
		if c.shares(c.best) > c.shares(even.flows)-forProofs {
			return
		}
	}
	c.best = even.flows
}

// shares is the mean logarithm of what part of its wish everybody has who can have any.
func (c *climb) shares(flows []dealt) (sum float64) {
	has, reached := make([]float64, len(c.most)), 0
	for _, f := range flows {
		has[f.demand] += f.rate
	}
	for d, most := range c.most {
		if most > 0 {
			sum += math.Log(math.Max(1e-9, has[d]/most))
			reached++
		}
	}
	return sum / float64(max(1, reached))
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
