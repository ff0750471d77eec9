// What the fairness levels of one instance share: who has how much at a level, the
// paths found so far, and what earlier levels have settled.

package solve

import "math"

// climb is known to demands by their place in the workload.
type climb struct {
	in    *Instance
	o     Options
	n     *net
	w     *workload
	store *pathStore
	cols  *columns
	trees []*priceTree

	// What a demand has at level t is speed·t, but no less than least and no more than
	// most. Speed 0: least, whatever the level.
	speed, least, most []float64

	level, top float64 // bits per second per unit of speed; nobody rises above top
	bound      float64 // no allocation has a higher level: what the last prices prove
	price      []float64
	dist       []float64   // by demand: its least price, +Inf where it has no path
	load       []float64   // by link
	parts      [][]float64 // by worker, the same
	found      []dealt     // what the last master found
	best       []dealt     // a feasible allocation at the last level that was finished

	wanted   [][]int32 // by demand: a path to be added
	provedBy []int32   // by demand: the first level with a price on all its paths, -1: none

	// What earlier levels leave behind.
	past  []float64 // by link: Σ of their prices, each scaled to a largest one of 1
	spent []bool    // by link: filled for good by demands that are held
	full  []float64 // by link: what a spent one carries exactly
	face  []float64 // by demand: its least price by past, which its paths must have
	off   int       // paths that the last pricing refused because they are not on the face

	hint []float64 // by link, where not nil: at which level it is likely to fill, +Inf: at none

	master levelMaster
	window float64   // columns dearer than this above the class's cheapest stay out of the master
	wide   float64   // factor on window, for as long as a level takes
	keptAt []int32   // patterns in play of class k: kept[keptAt[k]:keptAt[k+1]]
	kept   []int32   //
	liveOf []int32   // by class: its number in the master, or one of the two below
	rowOf  []int32   // by row of cols: its row in the master or -1
	rowNum []int32   // by row of the master: its row of cols
	priced []bool    // by link: a row of this level's last master
	worth  []float64 // by class: what its cheapest column in play costs
	rounds int
}

const (
	noMembers = -1 - iota
	oneColumn // nothing to decide: its column is a constant plus a constant per level
)

func newClimb(in *Instance, n *net, o Options) *climb {
	w := newWorkload(&in.Demands, func(i int) float64 { return float64(in.Demands.Rate[i]) })
	byDemand := func() []float64 { return make([]float64, len(w.of)) }
	byLink := func() []float64 { return make([]float64, n.links) }
	c := &climb{in: in, o: o, n: n, w: w, store: newPathStore(len(w.of)),
		speed: byDemand(), least: byDemand(), most: byDemand(), dist: byDemand(), face: byDemand(),
		price: byLink(), load: byLink(), past: byLink(), full: byLink(), spent: make([]bool, n.links), priced: make([]bool, n.links)}
	c.cols = newColumns(c.store, n.links)
	c.wanted, c.provedBy = make([][]int32, len(w.of)), make([]int32, len(w.of))
	for k := range c.provedBy {
		c.provedBy[k] = -1
	}
	c.master.stop = o.Stop
	for range workers() {
		c.trees = append(c.trees, newPriceTree(n))
	}
	return c
}

// amount is what a demand has at the level.
func (c *climb) amount(d int32, level float64) float64 {
	return math.Max(c.least[d], math.Min(c.most[d], c.speed[d]*level))
}

// rising says whether the demand's amount grows at the level.
func (c *climb) rising(d int32, level float64) bool {
	x := c.speed[d] * level
	return c.speed[d] > 0 && x >= c.least[d]*(1-1e-12) && x < c.most[d]*(1-1e-9)
}
