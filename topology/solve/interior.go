// The master problem, by a primal-dual interior-point method.
//
// Over classes k with columns p (patterns a_p of rows), amounts x_p, what is
// refused s_k, free capacity f_e, and a common level t:
//
//	flow    least   Σ s_k          Σ_p x_p + s_k = F_k           Σ_p a_p x_p + f = c
//	level   most    t              Σ_p x_p       = F_k + W_k t   Σ_p a_p x_p + f = c
//
// with row prices y ≥ 0, class values v_k, and reduced costs z_p = a_p·y - v_k,
// ζ_k = 1 - v_k (flow only); for a level Σ W_k v_k = Σ W_k.
//
// The central path is weighted, x_p z_p = μ F_k (or its level counterpart) and f_e y_e = μ ω, so that a class of a thousand
// demands pulls a thousand times as hard as a class of one, and the duality gap is
// μ times a known mass. Eliminating x, s, f and v leaves one positive definite
// system in the row prices. Steps are Mehrotra's predictor and corrector.
//
// What makes this fit column generation: from any y > 0 and any μ, centre finds the
// v, x, s and f that lie exactly on the central path except for the rows'
// balance, so new columns join at the prices of the old without spoiling them.
// That is where prices stop oscillating: they are central, not a vertex.
//
// J. Gondzio, P. González-Brevis, P. Munari, "New developments in the primal-dual
// column generation technique", EJOR 224 (2013); S. Mehrotra, SIAM J. Optim. 2 (1992).

package solve

import "math"

// interior is one master problem and its iterate.
type interior struct {
	rows     int
	capacity []float64 // by row
	omega    float64   // target of f·y per row is μ·omega
	patterns *interner
	refuse   bool // flow: s_k exists, t does not

	colAt  []int32 // columns of class k: colAt[k] to colAt[k+1]
	colPat []int32
	fixed  []float64 // F_k
	weight []float64 // W_k, nil for flow
	pull   []float64 // weight of the class in the central path

	mu         float64
	t, dt      float64
	y, f       []float64
	x, z       []float64
	v, s, zeta []float64

	// scratch
	dy, df        []float64
	dx, dz        []float64
	dv, ds, dzeta []float64
	shards        []shard
	m, chol       []float64
	h, q, qs, sol []float64
	load          []float64
	patY, patDy   []float64
	patT          []float64
	Iterations    int
}

// shard is one goroutine's accumulators.
type shard struct {
	pat   []float64 // per pattern
	pat2  []float64
	m     []float64
	mark  []int32
	list  []int32
	g     []float64
	a, b  float64
	sums  [4]float64
	stamp int32
}

func grown(s []float64, n int) []float64 {
	if cap(s) < n {
		return make([]float64, n, n+n/4)
	}
	return s[:n]
}

func cleared(s []float64, n int) []float64 {
	s = grown(s, n)
	clear(s)
	return s
}

// resize prepares scratch for the current classes, patterns and rows.
func (ip *interior) resize(workers int) {
	k, c, r, p := len(ip.fixed), len(ip.colPat), ip.rows, ip.patterns.len()
	for _, s := range []*[]float64{&ip.x, &ip.z, &ip.dx, &ip.dz} {
		*s = grown(*s, c)
	}
	for _, s := range []*[]float64{&ip.v, &ip.s, &ip.zeta, &ip.dv, &ip.ds, &ip.dzeta} {
		*s = grown(*s, k)
	}
	for _, s := range []*[]float64{&ip.f, &ip.dy, &ip.df, &ip.h, &ip.q, &ip.qs, &ip.sol, &ip.load} {
		*s = grown(*s, r)
	}
	for _, s := range []*[]float64{&ip.patY, &ip.patDy, &ip.patT} {
		*s = grown(*s, p)
	}
	ip.m, ip.chol = grown(ip.m, r*r), grown(ip.chol, r*r)
	if len(ip.shards) < workers {
		ip.shards = make([]shard, workers)
	}
	for i := range ip.shards {
		s := &ip.shards[i]
		s.pat, s.pat2 = grown(s.pat, p), grown(s.pat2, p)
		if len(s.m) != r*r {
			s.m = make([]float64, r*r)
		}
		if len(s.mark) != r {
			s.mark, s.list, s.g, s.stamp = make([]int32, r), make([]int32, 0, r), make([]float64, r), 0
		}
	}
}

// spread turns row values into pattern sums.
func (ip *interior) spread(row, pat []float64) {
	pat[0] = 0
	t := ip.patterns
	for i := 1; i < len(pat); i++ {
		pat[i] = pat[t.parent[i]] + row[t.last[i]]
	}
}

// gather adds pattern amounts to their rows, destroying pat.
func (ip *interior) gather(pat, row []float64) {
	t := ip.patterns
	for i := len(pat) - 1; i > 0; i-- {
		row[t.last[i]] += pat[i]
		pat[t.parent[i]] += pat[i]
	}
}

// split calls f for contiguous ranges of classes, one per shard, in parallel; the
// ranges hold about equal numbers of columns. The partition depends on nothing but
// the number of shards, so results repeat.
func (ip *interior) split(f func(s *shard, lo, hi int)) {
	n := len(ip.shards)
	k := len(ip.fixed)
	inParallel(n, n, func(_, i int) { f(&ip.shards[i], k*i/n, k*(i+1)/n) })
}

// centre puts v, x, z, s, ζ and f on the central path for the current y, μ and t.
func (ip *interior) centre() {
	ip.spread(ip.y, ip.patY)
	ip.split(func(_ *shard, lo, hi int) {
		for k := lo; k < hi; k++ {
			ip.centreClass(k)
		}
	})
	for e := range ip.y {
		ip.f[e] = ip.mu * ip.omega / ip.y[e]
	}
}

func (ip *interior) amount(k int) float64 {
	if ip.refuse {
		return ip.fixed[k]
	}
	return ip.fixed[k] + ip.weight[k]*ip.t
}

// centreClass solves Σ 1/(least - v + gap_p) = amount/(μ pull) for v < least.
func (ip *interior) centreClass(k int) {
	lo, hi := ip.colAt[k], ip.colAt[k+1]
	least := math.Inf(1)
	if ip.refuse {
		least = 1
	}
	for c := lo; c < hi; c++ {
		least = min(least, ip.patY[ip.colPat[c]])
	}
	mp := ip.mu * ip.pull[k]
	want := ip.amount(k) / mp
	u := 1 / want
	for range 30 {
		sum, slope := 0.0, 0.0
		if ip.refuse {
			r := 1 / (u + 1 - least)
			sum, slope = r, r*r
		}
		for c := lo; c < hi; c++ {
			r := 1 / (u + ip.patY[ip.colPat[c]] - least)
			sum += r
			slope += r * r
		}
		du := (sum - want) / slope
		u += du
		if du < 1e-12*u {
			break
		}
	}
	v := least - u
	ip.v[k] = v
	for c := lo; c < hi; c++ {
		ip.z[c] = u + ip.patY[ip.colPat[c]] - least
		ip.x[c] = mp / ip.z[c]
	}
	if ip.refuse {
		ip.zeta[k] = u + 1 - least
		ip.s[k] = mp / ip.zeta[k]
	}
}

// step makes one predictor-corrector step. It returns the step lengths; false
// means that the arithmetic has come to its end.
func (ip *interior) step(target float64) (primal, dual float64, ok bool) {
	ip.Iterations++
	ip.build()
	if !cholesky(ip.m, ip.chol, ip.rows) {
		return 0, 0, false
	}
	ip.direction(0, false)
	ap, ad := ip.stepLengths()
	muAff := ip.measure(ap, ad)
	r := muAff / ip.mu
	sigma := math.Min(1, math.Max(r*r*r, 1e-4))
	aim := math.Max(sigma*ip.mu, target)
	ip.direction(aim, true)
	ap, ad = ip.stepLengths()
	ap, ad = math.Min(1, 0.99*ap), math.Min(1, 0.99*ad)
	ip.move(ap, ad)
	ip.mu = ip.measure(0, 0)
	return ap, ad, !math.IsNaN(ip.mu)
}

// build assembles the matrix of the reduced system from the current iterate.
func (ip *interior) build() {
	r := ip.rows
	ip.split(func(s *shard, lo, hi int) {
		clear(s.pat)
		clear(s.m)
		for k := lo; k < hi; k++ {
			ip.buildClass(s, k)
		}
	})
	for i := range ip.patT {
		ip.patT[i] = 0
		for w := range ip.shards {
			ip.patT[i] += ip.shards[w].pat[i]
		}
	}
	m := ip.m
	copy(m, ip.shards[0].m)
	for w := 1; w < len(ip.shards); w++ {
		for i, v := range ip.shards[w].m {
			m[i] += v
		}
	}
	t := ip.patterns
	for i := len(ip.patT) - 1; i > 0; i-- {
		amount := ip.patT[i]
		if amount != 0 {
			row := int(t.last[i])
			for a := int32(i); a > 0; a = t.parent[a] {
				if o := int(t.last[a]); o <= row {
					m[row*r+o] += amount
				} else {
					m[o*r+row] += amount
				}
			}
			ip.patT[t.parent[i]] += amount
		}
	}
	for e := range r {
		m[e*r+e] += ip.f[e] / ip.y[e]
	}
}

const negligible = 1e-5

func (ip *interior) buildClass(s *shard, k int) {
	lo, hi := ip.colAt[k], ip.colAt[k+1]
	if hi-lo == 1 { // one column: what it gains, refusal loses
		if ip.refuse {
			th, rf := ip.x[lo]/ip.z[lo], ip.s[k]/ip.zeta[k]
			s.pat[ip.colPat[lo]] += th * rf / (th + rf)
		}
		return
	}
	// A class that has all but decided between its choices moves next to nothing
	// between them: what is five orders of magnitude below its best choice is left out
	// of the matrix (not of the right-hand side).
	total, most := 0.0, 0.0
	if ip.refuse {
		total = ip.s[k] / ip.zeta[k]
		most = total
	}
	for c := lo; c < hi; c++ {
		th := ip.x[c] / ip.z[c]
		total += th
		most = math.Max(most, th)
	}
	if total-most < negligible*most {
		return
	}
	s.stamp++
	list := s.list[:0]
	t := ip.patterns
	for c := lo; c < hi; c++ {
		th := ip.x[c] / ip.z[c]
		if th < negligible*most {
			continue
		}
		p := ip.colPat[c]
		s.pat[p] += th
		for ; p > 0; p = t.parent[p] {
			row := t.last[p]
			if s.mark[row] != s.stamp {
				s.mark[row], s.g[row] = s.stamp, 0
				list = append(list, row)
			}
			s.g[row] += th
		}
	}
	s.list = list
	r := ip.rows
	for i, a := range list {
		ga := s.g[a] / total
		for _, b := range list[:i+1] {
			if a >= b {
				s.m[int(a)*r+int(b)] -= ga * s.g[b]
			} else {
				s.m[int(b)*r+int(a)] -= ga * s.g[b]
			}
		}
	}
}

// direction solves for a step that aims at the central path at aim; with
// second it includes the product of the previous (affine) direction.
func (ip *interior) direction(aim float64, second bool) {
	// Right-hand side.
	ip.split(func(s *shard, lo, hi int) {
		clear(s.pat)
		clear(s.pat2)
		s.sums = [4]float64{}
		clear2 := s.pat2
		for k := lo; k < hi; k++ {
			a, b := ip.colAt[k], ip.colAt[k+1]
			mp := aim * ip.pull[k]
			total, need := 0.0, ip.amount(k)
			if ip.refuse {
				rho := mp/ip.zeta[k] - ip.s[k]
				if second {
					rho -= ip.ds[k] * ip.dzeta[k] / ip.zeta[k]
				}
				total += ip.s[k] / ip.zeta[k]
				need -= ip.s[k] + rho
				ip.ds[k] = rho // kept for the step
			}
			for c := a; c < b; c++ {
				rho := mp/ip.z[c] - ip.x[c]
				if second {
					rho -= ip.dx[c] * ip.dz[c] / ip.z[c]
				}
				total += ip.x[c] / ip.z[c]
				need -= ip.x[c] + rho
				ip.dx[c] = rho
			}
			ip.dv[k] = need / total // the constant part of dv
			ip.dzeta[k] = total     // kept for the step
			for c := a; c < b; c++ {
				th := ip.x[c] / ip.z[c]
				s.pat[ip.colPat[c]] += ip.x[c] + ip.dx[c] + th*ip.dv[k]
			}
			if !ip.refuse {
				w := ip.weight[k]
				s.sums[0] += w * w / total
				s.sums[1] += w * ip.dv[k]
				s.sums[2] += w * (1 - ip.v[k])
				for c := a; c < b; c++ {
					clear2[ip.colPat[c]] += ip.x[c] / ip.z[c] * w / total
				}
			}
		}
	})
	sum := func(pick func(*shard) []float64) []float64 {
		out := ip.patT
		copy(out, pick(&ip.shards[0]))
		for w := 1; w < len(ip.shards); w++ {
			for i, v := range pick(&ip.shards[w]) {
				out[i] += v
			}
		}
		return out
	}
	clear(ip.h)
	ip.gather(sum(func(s *shard) []float64 { return s.pat }), ip.h)
	for e := range ip.h {
		rho := aim*ip.omega/ip.y[e] - ip.f[e]
		if second {
			rho -= ip.df[e] * ip.dy[e] / ip.y[e]
		}
		ip.df[e] = rho
		ip.h[e] += rho + ip.f[e] - ip.capacity[e]
	}
	copy(ip.sol, ip.h)
	cholSolve(ip.chol, ip.sol, ip.rows)
	dt := 0.0
	if !ip.refuse {
		clear(ip.q)
		ip.gather(sum(func(s *shard) []float64 { return s.pat2 }), ip.q)
		copy(ip.qs, ip.q)
		cholSolve(ip.chol, ip.qs, ip.rows)
		kappa, base, short := 0.0, 0.0, 0.0
		for i := range ip.shards {
			kappa += ip.shards[i].sums[0]
			base += ip.shards[i].sums[1]
			short += ip.shards[i].sums[2]
		}
		qh, qq := 0.0, 0.0
		for e := range ip.q {
			qh += ip.q[e] * ip.sol[e]
			qq += ip.q[e] * ip.qs[e]
		}
		dt = (short - base - qh) / (kappa + qq)
		for e := range ip.sol {
			ip.sol[e] += dt * ip.qs[e]
		}
	}
	copy(ip.dy, ip.sol)
	ip.dt = dt
	for e := range ip.df {
		ip.df[e] -= ip.f[e] / ip.y[e] * ip.dy[e]
	}
	ip.spread(ip.dy, ip.patDy)
	ip.split(func(_ *shard, lo, hi int) {
		for k := lo; k < hi; k++ {
			a, b := ip.colAt[k], ip.colAt[k+1]
			total := ip.dzeta[k]
			dv := ip.dv[k]
			if !ip.refuse {
				dv += ip.weight[k] * dt / total
			}
			for c := a; c < b; c++ {
				dv += ip.x[c] / ip.z[c] * ip.patDy[ip.colPat[c]] / total
			}
			ip.dv[k] = dv
			for c := a; c < b; c++ {
				ip.dz[c] = ip.patDy[ip.colPat[c]] - dv
				ip.dx[c] -= ip.x[c] / ip.z[c] * ip.dz[c]
			}
			if ip.refuse {
				ip.dzeta[k] = -dv
				ip.ds[k] += ip.s[k] / ip.zeta[k] * dv
			}
		}
	})
}

// stepLengths returns how far the primal and the dual can go before something
// turns negative, at most 1/0.99.
func (ip *interior) stepLengths() (primal, dual float64) {
	ip.split(func(s *shard, lo, hi int) {
		p, d := 0.0, 0.0 // largest shrink rates
		for c := ip.colAt[lo]; c < ip.colAt[hi]; c++ {
			p = math.Max(p, -ip.dx[c]/ip.x[c])
			d = math.Max(d, -ip.dz[c]/ip.z[c])
		}
		if ip.refuse {
			for k := lo; k < hi; k++ {
				p = math.Max(p, -ip.ds[k]/ip.s[k])
				d = math.Max(d, -ip.dzeta[k]/ip.zeta[k])
			}
		}
		s.a, s.b = p, d
	})
	p, d := 0.99, 0.99
	for i := range ip.shards {
		p, d = math.Max(p, ip.shards[i].a), math.Max(d, ip.shards[i].b)
	}
	for e := range ip.f {
		p = math.Max(p, -ip.df[e]/ip.f[e])
		d = math.Max(d, -ip.dy[e]/ip.y[e])
	}
	return 1 / p, 1 / d
}

// measure returns μ after a step of the given lengths.
func (ip *interior) measure(ap, ad float64) float64 {
	ip.split(func(s *shard, lo, hi int) {
		sum, mass := 0.0, 0.0
		for k := lo; k < hi; k++ {
			a, b := ip.colAt[k], ip.colAt[k+1]
			for c := a; c < b; c++ {
				sum += (ip.x[c] + ap*ip.dx[c]) * (ip.z[c] + ad*ip.dz[c])
			}
			mass += float64(b-a) * ip.pull[k]
			if ip.refuse {
				sum += (ip.s[k] + ap*ip.ds[k]) * (ip.zeta[k] + ad*ip.dzeta[k])
				mass += ip.pull[k]
			}
		}
		s.a, s.b = sum, mass
	})
	sum, mass := 0.0, ip.omega*float64(ip.rows)
	for i := range ip.shards {
		sum += ip.shards[i].a
		mass += ip.shards[i].b
	}
	for e := range ip.f {
		sum += (ip.f[e] + ap*ip.df[e]) * (ip.y[e] + ad*ip.dy[e])
	}
	return sum / mass
}

func (ip *interior) move(ap, ad float64) {
	ip.split(func(_ *shard, lo, hi int) {
		for c := ip.colAt[lo]; c < ip.colAt[hi]; c++ {
			ip.x[c] += ap * ip.dx[c]
			ip.z[c] += ad * ip.dz[c]
		}
		for k := lo; k < hi; k++ {
			ip.v[k] += ad * ip.dv[k]
			if ip.refuse {
				ip.s[k] += ap * ip.ds[k]
				ip.zeta[k] += ad * ip.dzeta[k]
			}
		}
	})
	for e := range ip.f {
		ip.f[e] += ap * ip.df[e]
		ip.y[e] += ad * ip.dy[e]
	}
	ip.t += ap * ip.dt
}

// imbalance returns the largest breach of a row's balance, relative to its capacity.
func (ip *interior) imbalance() float64 {
	clear(ip.patT)
	for c, p := range ip.colPat {
		ip.patT[p] += ip.x[c]
	}
	clear(ip.load)
	ip.gather(ip.patT, ip.load)
	worst := 0.0
	for e := range ip.load {
		worst = math.Max(worst, math.Abs(ip.capacity[e]-ip.load[e]-ip.f[e])/ip.capacity[e])
	}
	return worst
}

// approach makes damped Newton steps on the barrier of the dual alone, at fixed μ:
// after each, x, z, s, v and f are put back on the central path, so that only the
// rows' balance is left to mend, and it needs no feasible start. It returns when
// balance is within part of the capacities' slack, or after limit steps.
func (ip *interior) approach(limit int) (steps int) {
	ip.centre()
	for steps < limit {
		ip.build()
		ip.Iterations++
		steps++
		if !cholesky(ip.m, ip.chol, ip.rows) {
			return steps
		}
		ip.direction(ip.mu, false)
		slope := 0.0
		worst := 0.0
		for e := range ip.dy {
			slope += ip.h[e] * ip.dy[e]
			worst = math.Max(worst, math.Abs(ip.dy[e]/ip.y[e]))
		}
		if worst < 3 {
			// Close: the primal-dual steps take over from the centred point.
			return steps
		}
		down := 0.0
		for e := range ip.dy {
			down = math.Max(down, -ip.dy[e]/ip.y[e])
		}
		a := math.Min(1, 0.9/math.Max(down, 1e-9))
		copy(ip.q, ip.y) // the start of the line
		for range 12 {
			for e := range ip.y {
				ip.y[e] = ip.q[e] + a*ip.dy[e]
			}
			ip.centre()
			ip.balance(ip.qs)
			along := 0.0
			for e := range ip.dy {
				along += ip.qs[e] * ip.dy[e]
			}
			if along > -0.5*slope {
				break
			}
			a *= 0.4
		}
	}
	return steps
}

// settle makes the start of a level problem: x and v centred at the given prices,
// the level lowered until every row has a tenth of its capacity free, f exactly
// what is free, and prices scaled so that the level's own dual constraint holds.
// So rows, classes and duals all balance, and only the products are uneven.
func (ip *interior) settle() {
	for range 12 {
		ip.centre()
		ip.balance(ip.qs)
		worst := 0.0
		for e, c := range ip.capacity {
			worst = math.Max(worst, (ip.qs[e]-ip.f[e]+c)/c)
		}
		if worst <= 0.95 {
			break
		}
		ip.t *= math.Max(0.5, 0.9/worst)
	}
	for e, c := range ip.capacity {
		ip.f[e] = math.Max(0.02*c, ip.f[e]-ip.qs[e])
	}
	sum, mass := 0.0, 0.0
	for k, w := range ip.weight {
		sum += w * ip.v[k]
		mass += w
	}
	if scale := mass / sum; sum > 0 {
		for e := range ip.y {
			ip.y[e] *= scale
		}
		for k := range ip.v {
			ip.v[k] *= scale
		}
		for c := range ip.z {
			ip.z[c] *= scale
		}
	}
	clear(ip.dx)
	clear(ip.dz)
	clear(ip.df)
	clear(ip.dy)
	ip.mu = ip.measure(0, 0)
}

// balance sets out to load + f - capacity by row.
func (ip *interior) balance(out []float64) {
	ip.split(func(s *shard, lo, hi int) {
		clear(s.pat)
		for c := ip.colAt[lo]; c < ip.colAt[hi]; c++ {
			s.pat[ip.colPat[c]] += ip.x[c]
		}
	})
	copy(ip.patT, ip.shards[0].pat)
	for w := 1; w < len(ip.shards); w++ {
		for i, v := range ip.shards[w].pat {
			ip.patT[i] += v
		}
	}
	clear(out)
	ip.gather(ip.patT, out)
	for e := range out {
		out[e] += ip.f[e] - ip.capacity[e]
	}
}
