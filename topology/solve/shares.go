// Weighted max-min shares over given single paths, by progressive filling.
//
// Think of every demand's rate as water rising at a speed equal to its weight.
// A link that is full stops everybody who crosses it; a demand at its ceiling
// stops by itself. What has stopped never moves again, so nobody's rate could be raised without
// lowering that of somebody who has, per weight, no more. See D. Bertsekas, R. Gallager, "Data
// Networks", 2nd ed., section 6.5.2.

package solve

import (
	"fmt"
	"math"
	"slices"

	"dssn"
)

// PathDemand is one demand over one path.
type PathDemand struct {
	Links     []int32 // link indexes, no link twice; empty: limited by nothing but Ceiling
	Committed dssn.Bandwidth
	Ceiling   dssn.Bandwidth // at least Committed
	Weight    float64        // share of what is contended, > 0
	// Order says who is served first: all demands of a smaller Order before any
	// of a greater one. See ServiceOrder.
	Order int
}

// ServiceOrder returns the Order that fits a class: assured first, background last.
func ServiceOrder(c dssn.Class) int { return int(dssn.ClassAssured) - int(c) }

// Share is one demand's part.
type Share struct {
	Rate dssn.Bandwidth
	// Bottleneck is the full link that limits the demand, or -1 where it has its Ceiling.
	Bottleneck int32
	// Short is how much of Committed could not be given; Bottleneck says where.
	Short dssn.Bandwidth
}

// MaxMin shares the links' capacity. Committed rates come first: in ascending
// Order, and where one Order's committed rates do not fit, each gets the same
// fraction as far as its links allow. Then ceilings, again in ascending Order:
// inside an Order the rates are weighted max-min fair, none falling below its
// committed rate. Rates are whole bits per second, rounded down.
//
// An error names the demand that makes no sense; then nothing was shared.
func MaxMin(capacity []dssn.Bandwidth, demands []PathDemand) ([]Share, error) {
	return maxMin(capacity, demands, (*water).fill)
}

// filling raises the rates of members together until each is stopped.
type filling func(w *water, members []int, limit func(*PathDemand) (upper, weight float64))

func maxMin(capacity []dssn.Bandwidth, demands []PathDemand, fill filling) ([]Share, error) {
	for i, d := range demands {
		if err := checkPathDemand(i, d, len(capacity)); err != nil {
			return nil, err
		}
	}
	w := water{left: make([]float64, len(capacity)), rate: make([]float64, len(demands)), demands: demands,
		stop: make([]int32, len(demands))}
	for e, c := range capacity {
		w.left[e] = float64(c)
	}
	var orders []int
	members := map[int][]int{}
	for i, d := range demands {
		if members[d.Order] == nil {
			orders = append(orders, d.Order)
		}
		members[d.Order] = append(members[d.Order], i)
	}
	slices.Sort(orders)
	for _, o := range orders {
		fill(&w, members[o], func(d *PathDemand) (float64, float64) { return float64(d.Committed), float64(d.Committed) })
	}
	committedStop := slices.Clone(w.stop)
	for _, o := range orders {
		fill(&w, members[o], func(d *PathDemand) (float64, float64) { return float64(d.Ceiling), d.Weight })
	}
	shares := make([]Share, len(demands))
	for i, d := range demands {
		// A relative hair is forgiven so that a sum that came out as 4.9999999 is the 5 it should be.
		r := min(dssn.Bandwidth(w.rate[i]*(1+1e-12)+1e-6), d.Ceiling)
		shares[i] = Share{Rate: r, Bottleneck: w.stop[i]}
		if r < d.Committed && committedStop[i] >= 0 {
			shares[i].Bottleneck = committedStop[i]
		}
	}
	trim(capacity, demands, shares)
	for i, d := range demands {
		if s := &shares[i]; s.Rate < d.Committed {
			s.Short = d.Committed - s.Rate
		}
	}
	return shares, nil
}

func checkPathDemand(i int, d PathDemand, links int) error {
	if d.Ceiling < d.Committed {
		return fmt.Errorf("demand %d has ceiling %s below its committed rate %s", i, d.Ceiling, d.Committed)
	}
	if !(d.Weight > 0) || math.IsInf(d.Weight, 0) {
		return fmt.Errorf("demand %d has weight %g: it must be a positive number", i, d.Weight)
	}
	for k, e := range d.Links {
		if e < 0 || int(e) >= links {
			return fmt.Errorf("demand %d crosses link %d, but there are only links 0 to %d", i, e, links-1)
		}
		if slices.Contains(d.Links[:k], e) {
			return fmt.Errorf("demand %d crosses link %d twice", i, e)
		}
	}
	return nil
}

// trim takes single bits per second off links that rounding overfilled.
func trim(capacity []dssn.Bandwidth, demands []PathDemand, shares []Share) {
	load := make([]dssn.Bandwidth, len(capacity))
	for i, d := range demands {
		for _, e := range d.Links {
			load[e] += shares[i].Rate
		}
	}
	for i := len(demands) - 1; i >= 0; i-- {
		var over dssn.Bandwidth
		for _, e := range demands[i].Links {
			if load[e] > capacity[e] {
				over = max(over, load[e]-capacity[e])
			}
		}
		// Committed rates are whole numbers already, so the excess is above them
		// wherever they fit; where they do not, nobody's promise is exact anyway.
		spare := shares[i].Rate
		if demands[i].Committed < spare {
			spare -= demands[i].Committed
		} else if spare == demands[i].Committed {
			spare = 0
		}
		over = min(over, spare)
		shares[i].Rate -= over
		for _, e := range demands[i].Links {
			load[e] -= over
		}
	}
}

func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
