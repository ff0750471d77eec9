// The greatest total rate, and the greatest common fraction λ, by sweeps.
//
// For a flow a demand is refused where its path costs 1. For λ nobody is refused:
// all demands are carried whole, over links that may be used up to a common utilisation u of
// their capacity, and λ is 1/u. A link's price is then what it is used above u, and u
// is such that all capacity at its price is worth the demands' total, so that
// demands pay u on average.

package solve

import "math"

// centralGap is the proven gap below which the answer is sought along the central path from
// the start: sweeps are quick to four or five digits, not to seven.
const centralGap = 1e-6

// solveFlow finds the greatest total rate.
func solveFlow(in *Instance, n *net, w *workload, o Options) (*Allocation, error) {
	o.Objective = MaxFlow
	if o.Gap < centralGap {
		return solveCentral(in, n, w, o)
	}
	f := newSearch(n, w, true, o)
	f.start(in)
	if a := f.run(); a != nil {
		return a, nil
	}
	// What the sweeps found is a good start for the central path.
	o.Warm, o.WarmDemand = f.answer(true), nil
	return solveCentral(in, n, w, o)
}

// solveLambda finds the greatest λ ≤ 1.
func solveLambda(in *Instance, n *net, w *workload, o Options) (*Allocation, error) {
	o.Objective = MaxLambda
	if o.Gap < centralGap {
		return solveLambdaCentral(in, n, w, o)
	}
	f := newSearch(n, w, false, o)
	f.start(in)
	if f.unserved > 0 {
		// Somebody can have nothing, so the common fraction is nothing; prices of
		// zero prove it, because the verifier finds no path for that demand either.
		return &Allocation{Objective: MaxLambda, Unserved: f.unserved, Prices: make([]float64, n.links)}, nil
	}
	f.bound = 1 // nobody can have more than all
	f.s.spread()
	if a := f.run(); a != nil {
		return a, nil
	}
	o.Warm, o.WarmDemand = f.answer(true), nil
	return solveLambdaCentral(in, n, w, o)
}

// spread gives everybody a path before anything has a price.
func (s *sweep) spread() {
	for e := range s.price {
		s.price[e], s.off[e], s.inv[e] = 0, 0, 0
	}
	s.pass()
	s.measure()
	s.u = s.fullest()
}

// fullest returns the utilisation of the fullest link.
func (s *sweep) fullest() (most float64) {
	for e, c := range s.n.capacity {
		if c > 0 {
			most = math.Max(most, s.load[e]/c)
		}
	}
	return most
}

// reprice sets all prices from the multipliers and loads.
func (s *sweep) reprice(kappa float64) {
	if s.refuse {
		s.stiffen(kappa, 1)
		return
	}
	// In units of what demands pay: the price that the fullest links would have if
	// they alone had one, by their utilisation.
	most, counts := s.fullest(), 0.0
	for e, c := range s.n.capacity {
		if c > 0 && s.load[e] >= 0.9*most*c {
			counts += c
		}
	}
	s.unit = s.u
	s.stiffen(kappa*s.total/(counts*most), s.u)
	s.level()
}

// stiffen sets prices to y + kappa·(utilisation - u).
func (s *sweep) stiffen(kappa, u float64) {
	for e, c := range s.n.capacity {
		if c > 0 {
			s.off[e], s.inv[e] = s.y[e]-kappa*u, kappa/c
			s.price[e] = math.Max(0, s.off[e]+s.inv[e]*s.load[e])
		}
	}
	s.kappa = kappa
}

// level finds the u at which all capacity at its price is worth the total, and shifts the
// prices to it. Newton's steps on a convex falling function.
func (s *sweep) level() {
	if s.refuse || s.kappa == 0 {
		return
	}
	shift := 0.0
	for range 50 {
		worth, slope := 0.0, 0.0
		for e, c := range s.n.capacity {
			if x := s.off[e] + s.inv[e]*s.load[e] - shift; c > 0 && x > 0 {
				worth += c * x
				slope += c
			}
		}
		if slope == 0 { // too far: back to where the dearest link just counts
			shift = math.Inf(-1)
			for e, c := range s.n.capacity {
				if c > 0 {
					shift = math.Max(shift, s.off[e]+s.inv[e]*s.load[e]-s.total/c)
				}
			}
			continue
		}
		step := (worth - s.total) / slope
		shift += step
		if math.Abs(worth-s.total) <= 1e-9*s.total {
			break
		}
	}
	s.u += shift / s.kappa
	for e, c := range s.n.capacity {
		if c > 0 {
			s.off[e] -= shift
			s.price[e] = math.Max(0, s.off[e]+s.inv[e]*s.load[e])
		}
	}
}

// hoped is the value that the present prices go with, loads being what they should be.
func (s *sweep) hoped() float64 {
	if !s.refuse {
		return math.Min(1, 1/s.u)
	}
	served := s.total
	for _, x := range s.short {
		served -= x
	}
	return served
}

// bound evaluates what the prices prove: no total, or λ, is greater.
func (s *sweep) bound(y []float64) float64 {
	p, w := &s.snap[0], s.w
	supply, limit := 0.0, math.Inf(1)
	if s.refuse {
		limit = 1 + hair
	}
	for e, x := range y {
		p.price[e] = x
		p.cost[e] = x + s.n.tie[e]
		supply += x * s.n.capacity[e]
	}
	s.c.measure(p.tolls, p.cost, p.price)
	s.overGroves(func(sc *scout, k int) {
		t := sc.tree
		s.c.grow(s.n, t, p.tolls, s.groves[k].source, p.cost, p.price, limit)
		v := 0.0
		add := func(d int32, price float64) {
			switch {
			case !s.refuse:
				v += w.mass[d] * price
			case price < 1:
				v += w.mass[d] * (1 - price)
			}
		}
		if w.bound != nil {
			s.eachBounded(sc, p, k, func(d int32, price float64, _ []int32) { add(d, price) })
		} else {
			for d := w.from[k]; d < w.from[k+1]; d++ {
				add(d, t.price[w.dst[d]])
			}
		}
		s.sums[k] = v
	})
	sum := 0.0
	for _, v := range s.sums {
		sum += v
	}
	switch {
	case s.refuse:
		return supply + sum
	case sum > 0:
		return supply / sum
	}
	return math.Inf(1)
}
