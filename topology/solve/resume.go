// Warm starts of the sweeps: an earlier answer's rates and prices, none of it trusted.

package solve

import "math"

// start counts the demands that nothing can serve and takes in the warm answer.
func (f *search) start(in *Instance) {
	s := f.s
	p := &s.snap[0]
	s.take(p)
	s.overGroves(func(sc *scout, k int) {
		s.c.grow(s.n, sc.tree, p.tolls, s.groves[k].source, p.cost, p.price, math.Inf(1))
		s.sums[k] = 0
		count := func(d int32, price float64, _ []int32) {
			if math.IsInf(price, 1) {
				s.sums[k]++
			}
		}
		if s.w.bound != nil {
			s.eachBounded(sc, p, k, count)
			return
		}
		for d := s.w.from[k]; d < s.w.from[k+1]; d++ {
			count(d, sc.tree.price[s.w.dst[d]], nil)
		}
	})
	for _, x := range s.sums {
		f.unserved += int(x)
	}
	s.tol = tolFirst
	if f.o.Warm != nil {
		s.resume(in, f.o.Warm, f.o.WarmDemand)
	}
}

// resume takes in the holdings and prices of an earlier answer, where these are still
// possible.
func (s *sweep) resume(in *Instance, warm *Allocation, become []int32) {
	place, source := make([]int32, in.Demands.Len()), make([]int32, len(s.w.of))
	for i := range place {
		place[i] = -1
	}
	for k := range s.groves {
		for d := s.w.from[k]; d < s.w.from[k+1]; d++ {
			place[s.w.of[d]], source[d] = d, int32(k)
		}
	}
	for _, x := range warm.Flows {
		i := x.Demand
		if become != nil {
			if i < 0 || int(i) >= len(become) {
				continue
			}
			i = become[i]
		}
		if i < 0 || int(i) >= len(place) || place[i] < 0 || !(x.Rate > 0) {
			continue
		}
		d := place[i]
		if !usable(s.n, s.w, d, x.Path) {
			continue
		}
		g, twig := &s.groves[source[d]], int32(0)
		for _, e := range x.Path {
			twig = g.sprout(twig, e, s.n.dst[e])
		}
		if r := math.Min(x.Rate, s.short[d]); r > 0 {
			g.hold(&s.head[d], twig, r)
			s.short[d] -= r
		}
	}
	if !s.refuse {
		s.complete()
	}
	s.measure()
	if len(warm.Prices) != s.n.links {
		return
	}
	worth := 0.0
	for e, y := range warm.Prices {
		if s.n.capacity[e] > 0 && y > 0 && !math.IsInf(y, 1) {
			s.y[e] = s.within(y)
			worth += s.y[e] * s.n.capacity[e]
		}
	}
	if !s.refuse && worth > 0 {
		for e := range s.y {
			s.y[e] *= s.total / worth
		}
	}
}

// complete makes what every demand holds its whole rate.
func (s *sweep) complete() {
	s.overGroves(func(_ *scout, k int) {
		g := &s.groves[k]
		for d := s.w.from[k]; d < s.w.from[k+1]; d++ {
			sum := 0.0
			for h := s.head[d]; h >= 0; h = g.held[h].next {
				sum += g.held[h].rate
			}
			if sum == 0 {
				continue
			}
			for h := s.head[d]; h >= 0; h = g.held[h].next {
				g.held[h].rate *= s.w.mass[d] / sum
			}
			s.short[d] = 0
		}
	})
}
