// Even sweeps: the sweeps of sweep.go, made to share evenly.
//
// Here a link has a level, the logarithm of what its users may have per unit of their
// weight, and the price that goes with it,
//
//	L = λ - κ (load/capacity - 1), at most top       P = exp(α (top - L)) - 1
//
// so that a path's price is all but that of its lowest link once α is large, and a
// demand that has x stands at the level ln(x / weight). It takes more while its path stands
// higher than it does, gives back while it stands higher than its path, and moves from one path to
// another that stands higher; each of these moves goes as far as the levels it compares are
// apart, the links' levels following as it goes. In the limit of large α this is max-min
// fairness (J. Mo, J. Walrand, "Fair end-to-end window-based congestion control", IEEE/ACM ToN 8(5),
// 2000); λ is the multiplier, raised like prices are in search.go.

package solve

import "math"

// evenness is what a sweep needs beside its own state to share evenly. Speed 0: the
// demand keeps what it has.
type evenness struct {
	speed  []float64 // by demand
	alpha  float64
	kappa  float64
	top    float64   // log level above which nobody wants anything
	lambda []float64 // by link
	leap   float64   // exp(α tol): prices further apart than this factor are worth a move
}

// evenMost bounds α (top - L), lest prices overflow.
const evenMost = 600.0

// levelAt returns the level of link e at a load.
func (s *sweep) levelAt(e int32, load float64) float64 {
	v := s.even
	return math.Min(v.top, v.lambda[e]-v.kappa*(load/s.n.capacity[e]-1))
}

// priceOf turns a level into a price.
func (v *evenness) priceOf(level float64) float64 {
	if level >= v.top {
		return 0
	}
	return math.Expm1(math.Min(evenMost, v.alpha*(v.top-level)))
}

// levelOf turns the price of a path into its level.
func (v *evenness) levelOf(price float64) float64 { return v.top - math.Log1p(price)/v.alpha }

// has is what demand d holds, and stands its level.
func (s *sweep) has(d int32) float64 { return s.w.mass[d] - s.short[d] }

func (s *sweep) stands(d int32) float64 {
	return math.Log(math.Max(0, s.has(d)) / s.even.speed[d])
}

// refusal is the price at which the demand gives back, of which it takes more below.
func (s *sweep) refusal(d int32) float64 {
	v := s.even
	switch {
	case v.speed[d] == 0:
		return math.Inf(1)
	case s.has(d) <= 0:
		return math.MaxFloat64
	}
	return math.Max(0, math.Exp(math.Min(evenMost, v.alpha*(v.top-s.stands(d))))-1)
}

// setLevels sets α, κ and all prices.
func (s *sweep) setLevels(alpha, kappa, tol float64) {
	v := s.even
	v.alpha, v.kappa, v.leap, s.tol = alpha, kappa, math.Exp(alpha*tol), tol
	for e, c := range s.n.capacity {
		if c > 0 {
			s.price[e] = v.priceOf(s.levelAt(int32(e), s.load[e]))
		}
	}
}

// raiseLevels makes the levels the multipliers, half as they are, half as they were on average.
func (s *sweep) raiseLevels() {
	v := s.even
	for e, c := range s.n.capacity {
		if c > 0 {
			v.lambda[e] = math.Min(v.top, 0.5*(s.levelAt(int32(e), s.load[e])+s.mean[e]/s.means))
		}
	}
}

// worthMoving says whether price to is so much below price from that a move is tried.
func (v *evenness) worthMoving(from, to float64) bool { return 1+from > (1+to)*v.leap }

// proposeEven is proposeFor with levels.
func (s *sweep) proposeEven(at []float64, g *grove, d int32, best float64, to, known int32, twig func() int32, out []proposal) []proposal {
	v := s.even
	h := s.head[d]
	if h >= 0 && g.held[h].next < 0 && s.short[d] == 0 && g.held[h].twig < known && !(1+at[g.held[h].twig] > v.leap) {
		return out // it has all it wants over a path without a price
	}
	own := s.refusal(d)
	ask := func(from int32) {
		if to == unsprouted {
			to = twig()
		}
		out = append(out, proposal{d, from, to})
	}
	if s.short[d] > 0 && !math.IsInf(best, 1) && v.worthMoving(own, best) && v.speed[d] > 0 {
		ask(-1)
	}
	if best > own {
		best, to = own, -1
	}
	for ; h >= 0; h = g.held[h].next {
		if t := g.held[h].twig; t < known && v.worthMoving(at[t], best) {
			ask(h)
		}
	}
	return out
}

// moveEven is move with levels.
func (s *sweep) moveEven(g *grove, p proposal) bool {
	v, d := s.even, p.demand
	amount, from := s.short[d], int32(0)
	if p.from >= 0 {
		from, amount = g.held[p.from].twig, g.held[p.from].rate
	}
	if from == p.to && p.from >= 0 || amount <= 0 {
		return true
	}
	s.stamp++
	for t := from; t > 0; t = g.parent[t] {
		s.mark[g.link[t]] = s.stamp
	}
	s.lose, s.win = s.lose[:0], s.win[:0]
	shared := 0.0
	for t := p.to; t > 0; t = g.parent[t] {
		e := g.link[t]
		if s.mark[e] == s.stamp {
			s.mark[e] = 0
			shared += s.price[e]
			continue
		}
		s.win = append(s.win, e)
	}
	for t := from; t > 0; t = g.parent[t] {
		if e := g.link[t]; s.mark[e] == s.stamp {
			s.lose = append(s.lose, e)
		}
	}
	has := s.has(d)
	gain := func(a float64) float64 {
		win, lose := shared, shared
		for _, e := range s.win {
			win += v.priceOf(s.levelAt(e, s.load[e]+a))
		}
		for _, e := range s.lose {
			lose += v.priceOf(s.levelAt(e, s.load[e]-a))
		}
		switch {
		case p.from < 0:
			return v.levelOf(win) - math.Log((has+a)/v.speed[d])
		case p.to < 0:
			return math.Log(math.Max(0, has-a)/v.speed[d]) - v.levelOf(lose)
		}
		return v.levelOf(win) - v.levelOf(lose)
	}
	low := gain(0)
	if low <= s.tol {
		return false
	}
	if high := gain(amount); high < 0 {
		amount = evenPoint(gain, amount, low, high)
	}
	s.carry(g, p, amount)
	return true
}

// evenPoint returns about where gain, positive at 0 and negative at a, is zero: the
// greatest amount tried at which it is not negative, by false position with halving (Illinois).
func evenPoint(gain func(float64) float64, a, atLow, atHigh float64) float64 {
	lo, hi := 0.0, a
	wl, wh := math.Min(atLow, 1), math.Max(atHigh, -1)
	for range 8 {
		x := lo + (hi-lo)*wl/(wl-wh)
		y := gain(x)
		if y >= 0 {
			lo, wl = x, math.Min(y, 1)
			wh *= 0.5
		} else {
			hi, wh = x, math.Max(y, -1)
			wl *= 0.5
		}
		if math.Abs(y) < 1e-3*atLow || hi-lo < 1e-3*hi {
			break
		}
	}
	return 0.5 * (lo + hi)
}
