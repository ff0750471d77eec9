// Harvest: holdings become rates that fit.
//
// Holdings are cut back by what the fullest link of their path has too much, and what
// room that leaves is offered to whoever is short, over the paths its source knows. The
// result is feasible to the last bit per second however far the sweeps have come.

package solve

import "math"

// cut is a rate of a demand over the path of a twig.
type cut struct {
	demand, twig int32
	rate         float64
}

// fits returns for every link the part of its load that it can carry.
func (s *sweep) fits() []float64 {
	fit := make([]float64, s.n.links)
	for e, x := range s.load {
		fit[e] = 1
		if c := s.n.capacity[e]; x > c {
			fit[e] = c / x
		}
	}
	return fit
}

// cutBack sets sc.at to the part of a rate over each twig of g that fits.
func (sc *scout) cutBack(g *grove, fit []float64) []float64 {
	at := grown(sc.at, len(g.parent))
	at[0] = 1
	for t := 1; t < len(at); t++ {
		at[t] = math.Min(at[g.parent[t]], fit[g.link[t]])
	}
	sc.at = at
	return at
}

// worth is how much a harvest would bring at least.
func (s *sweep) worth() (sum float64) {
	if !s.refuse {
		return 1 / math.Max(1, s.fullest())
	}
	fit := s.fits()
	s.overGroves(func(sc *scout, k int) {
		g := &s.groves[k]
		at := sc.cutBack(g, fit)
		sum := 0.0
		for _, h := range s.head[s.w.from[k]:s.w.from[k+1]] {
			for ; h >= 0; h = g.held[h].next {
				sum += g.held[h].rate * at[g.held[h].twig]
			}
		}
		s.sums[k] = sum
	})
	for _, x := range s.sums {
		sum += x
	}
	return sum
}

// harvest returns rates that fit, by source, and the value of the objective.
func (s *sweep) harvest() (cuts [][]cut, value float64) {
	if !s.refuse {
		return s.harvestLevel()
	}
	s.measure()
	fit := s.fits()
	cuts = make([][]cut, len(s.groves))
	s.overGroves(func(sc *scout, k int) {
		g := &s.groves[k]
		at := sc.cutBack(g, fit)
		from, to := s.w.from[k], s.w.from[k+1]
		out := make([]cut, 0, int(to-from)+int(to-from)/8)
		for d := from; d < to; d++ {
			for h := s.head[d]; h >= 0; h = g.held[h].next {
				if r := g.held[h].rate * at[g.held[h].twig]; r > 0 {
					out = append(out, cut{d, g.held[h].twig, r})
				}
			}
		}
		clear(at)
		for _, c := range out {
			at[c.twig] += c.rate
		}
		s.addUp(sc, g, at)
		cuts[k] = out
	})
	load := make([]float64, s.n.links)
	s.gatherLoads(load)
	for k := range cuts {
		cuts[k] = s.fill(k, cuts[k], load)
		for _, c := range cuts[k] {
			value += c.rate
		}
	}
	return cuts, value
}

// harvestLevel cuts everybody back by the same factor.
func (s *sweep) harvestLevel() (cuts [][]cut, value float64) {
	s.complete()
	s.measure()
	value = s.worth()
	cuts = make([][]cut, len(s.groves))
	s.overGroves(func(_ *scout, k int) {
		g := &s.groves[k]
		for d := s.w.from[k]; d < s.w.from[k+1]; d++ {
			for h := s.head[d]; h >= 0; h = g.held[h].next {
				cuts[k] = append(cuts[k], cut{d, g.held[h].twig, value * g.held[h].rate})
			}
		}
	})
	return cuts, value
}

// addUp adds amounts by twig to the scout's loads; at is used up.
func (s *sweep) addUp(sc *scout, g *grove, at []float64) {
	for t := len(at) - 1; t > 0; t-- {
		if x := at[t]; x != 0 {
			sc.load[g.link[t]] += x
			at[g.parent[t]] += x
		}
	}
}

// fill offers the room left on links to the demands of source k that are short: over
// the paths they have, and where much is missing over others that their source knows.
func (s *sweep) fill(k int, cuts []cut, load []float64) []cut {
	g, w := &s.groves[k], s.w
	n, i := len(cuts), 0
	// No path has more room than it had before this source began.
	s.at = grown(s.at, len(g.parent))
	s.at[0] = math.Inf(1)
	for t := 1; t < len(s.at); t++ {
		e := g.link[t]
		s.at[t] = math.Min(s.at[g.parent[t]], s.n.capacity[e]-load[e])
	}
	for d := w.from[k]; d < w.from[k+1]; d++ {
		from := i
		want := w.mass[d]
		for ; i < n && cuts[i].demand == d; i++ {
			want -= cuts[i].rate
		}
		least := 1e-6 * w.mass[d]
		for j := from; j < i && want > least; j++ {
			x := s.room(g, cuts[j].twig, load, want)
			cuts[j].rate += x
			want -= x
		}
		if want < 1e-3*w.mass[d] || w.bound != nil && w.bound[d] != NoLatencyBound {
			continue
		}
		paths := i - from
		for t := g.first[w.dst[d]]; t >= 0 && want > least && paths < pathsMost; t = g.next[t] {
			if x := s.room(g, t, load, want); x > 0 {
				cuts = append(cuts, cut{d, t, x})
				want -= x
				paths++
			}
		}
	}
	return cuts
}

// room takes up to want of what every link on the way to twig t has left, unless that
// is next to nothing.
func (s *sweep) room(g *grove, t int32, load []float64, want float64) float64 {
	if s.at[t] <= 1e-6*want {
		return 0
	}
	x := want
	for u := t; u > 0; u = g.parent[u] {
		e := g.link[u]
		if x = math.Min(x, s.n.capacity[e]-load[e]); x <= 1e-6*want {
			return 0
		}
	}
	for u := t; u > 0; u = g.parent[u] {
		load[g.link[u]] += x
	}
	return x
}

// export turns cuts into flows in the order of the instance's demands.
func (s *sweep) export(cuts [][]cut) []Flow {
	// Where each demand's flows and links begin.
	flowAt, linkAt := make([]int, len(s.w.of)+1), make([]int, len(s.w.of)+1)
	s.overGroves(func(sc *scout, k int) {
		g := &s.groves[k]
		depth := grown(sc.at, len(g.parent))
		sc.at = depth
		depth[0] = 0
		for t := 1; t < len(depth); t++ {
			depth[t] = depth[g.parent[t]] + 1
		}
		for _, c := range cuts[k] {
			i := s.w.of[c.demand]
			flowAt[i+1]++
			linkAt[i+1] += int(depth[c.twig])
		}
	})
	for i := range s.w.of {
		flowAt[i+1] += flowAt[i]
		linkAt[i+1] += linkAt[i]
	}
	flows, block := make([]Flow, flowAt[len(s.w.of)]), make([]int32, linkAt[len(s.w.of)])
	s.overGroves(func(_ *scout, k int) {
		for _, c := range cuts[k] {
			i := s.w.of[c.demand]
			at := linkAt[i]
			path := s.groves[k].path(block[at:at:len(block)], c.twig)
			linkAt[i] += len(path)
			flows[flowAt[i]] = Flow{Demand: i, Rate: c.rate, Path: path[:len(path):len(path)]}
			flowAt[i]++
		}
	})
	return flows
}
