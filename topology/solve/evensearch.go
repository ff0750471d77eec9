// The search by even sweeps: shares that are near max-min at once, before any level is proved.
//
//	pass, settle   as in search.go, at levels in the place of prices
//	raise          the levels become the multipliers; α and κ grow
//	pour           every few rounds: rates that fit exactly over the paths held; the fairest are kept
//
// α begins where a link's neighbours on a path still count and grows until only the lowest does. It
// cannot grow without end: prices must stay within what sums of floating numbers tell apart.

package solve

import (
	"math"
	"slices"
)

// Shape of the search, found by trial on six networks whose exact rates are known, and on Kdl.
const (
	alphaFirst = 4.0
	alphaStep  = 1.4
	alphaMost  = 48.0
	alphaWarm  = 48.0
	kappaEven  = 2.0
	kappaGrows = 1.1
	evenTol    = 0.3 // over α: levels nearer than this are not told apart
	evenLeast  = 0.003
	evenRounds = 28
	pourEvery  = 6    // rounds
	evenNear   = 2e-3 // overload at which the search ends
)

// evenAnswer is rates that fit, and at which level links are full.
type evenAnswer struct {
	flows []dealt
	full  []float64 // by link, bits per second per unit of speed; +Inf: it is not
	score float64
}

// evenly searches for even shares of all that rises, from the warm answer if there is one. Paths
// are added to the store; what everybody has at the lowest level becomes best.
func (c *climb) evenly() *evenAnswer {
	s := newSweep(c.n, c.w, true)
	v := &evenness{speed: c.speed, lambda: make([]float64, c.n.links), top: math.Inf(-1)}
	s.even = v
	for d, x := range v.speed {
		if x > 0 {
			v.top = math.Max(v.top, math.Log(s.w.mass[d]/x))
		}
	}
	if math.IsInf(v.top, -1) {
		return nil
	}
	for e := range v.lambda {
		v.lambda[e] = v.top
	}
	alpha, kappa := alphaFirst, kappaEven
	if c.o.Warm != nil {
		s.resume(c.in, c.o.Warm, c.o.WarmDemand)
		if c.resumeLevels(v) {
			alpha, kappa = alphaWarm, 2*kappaEven
		}
	}
	s.setLevels(alpha, kappa, evenTol/alpha)
	var best *evenAnswer
	for round := 1; ; round++ {
		s.pass()
		for range settles {
			s.settle()
		}
		s.measure()
		over := s.fullest() - 1
		s.raiseLevels()
		c.rounds++
		last := c.o.Stop != nil && c.o.Stop() || round == evenRounds || alpha == alphaMost && over < evenNear
		if last || round%pourEvery == 0 {
			if p := s.pourEven(); best == nil || p.score > best.score {
				best = c.keepEven(s, p)
			}
		}
		if c.o.Progress != nil {
			c.o.Progress(Progress{Round: c.rounds, Value: math.Exp(slices.Min(v.lambda)), Bound: math.Inf(1), Columns: s.holdings()})
		}
		if last {
			break
		}
		alpha, kappa = math.Min(alphaMost, alpha*alphaStep), kappa*kappaGrows
		s.setLevels(alpha, kappa, math.Max(evenLeast, evenTol/alpha))
	}
	c.beginAt(best)
	return best
}

// resumeLevels takes links' levels from the warm answer's proof: the first one that prices a
// link. It says whether there were any.
func (c *climb) resumeLevels(v *evenness) (some bool) {
	known := make([]bool, len(v.lambda))
	for _, l := range c.o.Warm.Levels {
		if len(l.Prices) != len(v.lambda) || !(l.Rate > 0) || l.Stage != (Stage{}) {
			continue
		}
		for e, y := range l.Prices {
			if y > 0 && !known[e] {
				known[e], some = true, true
				v.lambda[e] = math.Min(v.top, math.Log(l.Rate))
			}
		}
	}
	return some
}

// keepEven notes what was poured in the climb's terms.
func (c *climb) keepEven(s *sweep, p *evenPour) *evenAnswer {
	a := &evenAnswer{full: p.full, score: p.score}
	var path []int32
	for k := range s.groves {
		g := &s.groves[k]
		for d := s.w.from[k]; d < s.w.from[k+1]; d++ {
			for h := s.head[d]; h >= 0; h = g.held[h].next {
				x := g.held[h].rate / p.has[d] * p.rate[d]
				if !(x > 0) {
					continue
				}
				path = g.path(path[:0], g.held[h].twig)
				at := c.store.find(d, path)
				if at < 0 {
					at = c.store.add(d, path)
				}
				a.flows = append(a.flows, dealt{d, at, x})
			}
		}
	}
	return a
}

// beginAt makes the answer's paths and lowest level what the climb begins with.
func (c *climb) beginAt(a *evenAnswer) {
	level := math.Inf(1)
	for _, x := range a.full {
		level = math.Min(level, x)
	}
	has := make([]float64, len(c.speed))
	for _, f := range a.flows {
		has[f.demand] += f.rate
	}
	top := 0.0
	for d, x := range c.speed {
		if x > 0 {
			top = math.Max(top, c.most[d]/x)
		}
	}
	c.level = math.Min(level, top) * (1 - 1e-6)
	c.best = c.best[:0]
	for _, f := range a.flows {
		c.best = append(c.best, dealt{f.demand, f.path, f.rate * math.Min(1, c.amount(f.demand, c.level)/has[f.demand])})
	}
	c.hint = a.full
	// The newest path is the one that is tried first when a level goes up.
	for i, f := range a.flows {
		if i == 0 || a.flows[i-1].demand != f.demand {
			c.newest(f.demand, f.path)
		}
	}
}

// takeUp makes the answer's paths the newest of those who still rise, where they are still known
// and no link of them is spent, so that what is left is shared over these.
func (c *climb) takeUp(a *evenAnswer) {
	for i, f := range a.flows {
		first := i == 0 || a.flows[i-1].demand != f.demand
		if first && c.speed[f.demand] > 0 && !slices.ContainsFunc(c.store.path(f.path), func(l int32) bool { return c.spent[l] }) {
			if path := c.store.find(f.demand, c.store.path(f.path)); path >= 0 {
				c.newest(f.demand, path)
			}
		}
	}
}

// newest makes a path of the demand the head of its list.
func (c *climb) newest(d, path int32) {
	s := c.store
	if s.head[d] == path {
		return
	}
	at := &s.head[d]
	for *at != path {
		at = &s.prev[*at]
	}
	*at = s.prev[path]
	s.prev[path] = s.head[d]
	s.head[d] = path
}
