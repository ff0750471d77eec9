// The master problem of one fairness level, by a primal-dual interior-point method.
//
// Over classes k with columns c (patterns a_c of rows), amounts x, free capacity f
// and the common level t:
//
//	most t    Σ_c x_c = F_k + W_k t      Σ a_c x_c + q t + f = C      t + g = top
//
// q is what demands with a single column add to the rows per unit of level. Prices
// y ≥ 0 belong to the rows, v_k to the classes, τ to the ceiling; z_c = a_c·y - v_k.
//
// A row may be spent: earlier levels have filled it exactly with demands that are
// held at their rates. It is an equality then, f is gone and its price is free, and
// the problem keeps an interior although no feasible point leaves room there.
// Which of the spent rows follow from the others need not be known: a hair on the
// diagonal takes care of them.
//
// A class enters the matrix by the differences between its columns and its largest
// one, so that a class that has all but decided adds small numbers instead of
// cancelling large ones.

package solve

import "math"

// levelMaster is one master problem and its iterate.
type levelMaster struct {
	rows     int
	capacity []float64 // C by row, what single-column demands at fixed amounts use already taken off
	spent    []bool    // by row
	through  []float64 // q
	top      float64
	speed    float64 // Σ of all speeds, the price of a unit of level

	colAt  []int32   // columns of class k: colAt[k] to colAt[k+1]
	patAt  []int32   // rows of column c: patRow[patAt[c]:patAt[c+1]]
	patRow []int32   // ascending within a column
	fixed  []float64 // F_k
	weight []float64 // W_k
	pull   []float64 // weight of the class in the central path
	omega  float64   // of a row
	omegaT float64   // of the ceiling

	mu, t, g, tau float64
	y, f          []float64
	x, z, v       []float64
	residual      float64 // largest breach of a row, relative to link capacity
	whole         []float64
	steps         int
	stop          func() bool // where not nil, ends a search that takes too long

	dt, dg, dtau float64
	dy, df       []float64
	dx, dz, dv   []float64
	n, l         []float64
	h, u, hs, us []float64
	balance      []float64
	shards       []levelShard
}

// prepare sizes everything for the present classes and rows; y, t and mu must be set.
func (m *levelMaster) prepare() {
	k, c, r := len(m.fixed), len(m.patAt)-1, m.rows
	for _, s := range []*[]float64{&m.x, &m.z, &m.dx, &m.dz} {
		*s = grown(*s, c)
	}
	for _, s := range []*[]float64{&m.v, &m.dv} {
		*s = grown(*s, k)
	}
	for _, s := range []*[]float64{&m.f, &m.dy, &m.df, &m.h, &m.u, &m.hs, &m.us, &m.balance} {
		*s = grown(*s, r)
	}
	m.n, m.l = grown(m.n, r*r), grown(m.l, r*r)
	if m.shards == nil {
		m.shards = make([]levelShard, workers())
	}
}

// cost returns a_c·row.
func (m *levelMaster) cost(c int32, row []float64) (sum float64) {
	for _, r := range m.patRow[m.patAt[c]:m.patAt[c+1]] {
		sum += row[r]
	}
	return sum
}

// begin makes the start: v centred for the present y and t, everything scaled so
// that the ceiling keeps a part of the price, and the rest by approach.
func (m *levelMaster) begin() bool {
	m.t = math.Min(m.t, m.top*(1-1e-3))
	paid := 0.0
	for r := range m.y {
		if !m.spent[r] {
			m.y[r] = math.Max(m.y[r], m.mu*m.omega/m.whole[r])
			paid += m.through[r] * m.y[r]
		}
	}
	for k := range m.fixed {
		m.centreClass(k)
		paid += m.weight[k] * m.v[k]
	}
	if scale := 0.9 * m.speed / paid; paid > 0 && scale < 1 {
		for r := range m.y {
			m.y[r] *= scale
		}
		for k := range m.v {
			m.v[k] *= scale
		}
		for c := range m.z {
			m.z[c] *= scale
		}
		paid *= scale
	}
	m.tau = m.speed - paid
	return m.approach(50)
}

// central sets x, f and g to what the central path asks for at the present prices.
func (m *levelMaster) central() {
	for k := range m.fixed {
		mp := m.mu * m.pull[k]
		for c := m.colAt[k]; c < m.colAt[k+1]; c++ {
			m.x[c] = mp / m.z[c]
		}
	}
	for r := range m.f {
		m.f[r] = 0
		if !m.spent[r] {
			m.f[r] = m.mu * m.omega / m.y[r]
		}
	}
	m.g = m.mu * m.omegaT / m.tau
	m.loads()
	m.rest()
}

// barrier is the dual's barrier function at prices y + a dy and so on.
func (m *levelMaster) barrier(a float64) (sum float64) {
	logs := m.omegaT * math.Log(m.tau+a*m.dtau)
	for r := range m.y {
		y := m.y[r] + a*m.dy[r]
		sum += m.capacity[r] * y
		if !m.spent[r] {
			logs += m.omega * math.Log(y)
		}
	}
	for k := range m.fixed {
		sum -= m.fixed[k] * (m.v[k] + a*m.dv[k])
		part := 1.0
		for c := m.colAt[k]; c < m.colAt[k+1]; c++ {
			part *= (m.z[c] + a*m.dz[c]) / m.z[c]
		}
		logs += m.pull[k] * math.Log(part)
	}
	return sum + m.top*(m.tau+a*m.dtau) - m.mu*logs
}

// approach makes damped Newton steps on the barrier of the dual alone, at fixed mu. It
// needs no feasible amounts to start from and comes as near the central path as is
// asked: until rows and classes balance but for a tenth of a Newton step.
func (m *levelMaster) approach(limit int) bool {
	for range limit {
		m.central()
		if m.stop != nil && m.stop() {
			return false
		}
		m.build()
		if !cholesky(m.n, m.l, m.rows) {
			return false
		}
		m.direction(m.mu, false)
		// The decrease that the quadratic model promises.
		slope := (m.top - m.g) * m.dtau
		for r := range m.dy {
			slope += (m.balance[r] + m.through[r]*m.t - m.f[r]) * m.dy[r]
		}
		for k := range m.fixed {
			sum := -m.fixed[k]
			for c := m.colAt[k]; c < m.colAt[k+1]; c++ {
				sum += m.x[c]
			}
			slope += sum * m.dv[k]
		}
		_, ad := m.lengths()
		if math.IsNaN(slope) {
			return false
		}
		if ad >= 1 && -slope < 0.1*m.mu*m.omegaT || ad >= 1 && -slope < 1e-9*m.speed*m.top*m.mu {
			return true
		}
		a, here := math.Min(1, 0.9*ad), m.barrier(0)
		for try := 0; try < 30 && !(m.barrier(a) <= here+0.1*a*slope); try++ {
			a *= 0.5
		}
		for c := range m.z {
			m.z[c] += a * m.dz[c]
		}
		for k := range m.v {
			m.v[k] += a * m.dv[k]
		}
		for r := range m.y {
			m.y[r] += a * m.dy[r]
		}
		m.tau += a * m.dtau
		m.t += m.dt
	}
	return true
}

// loads sets balance to what rows have left: C - Σ a x - q t.
func (m *levelMaster) loads() {
	for r := range m.balance {
		m.balance[r] = m.capacity[r] - m.through[r]*m.t
	}
	for c, x := range m.x {
		for _, r := range m.patRow[m.patAt[c]:m.patAt[c+1]] {
			m.balance[r] -= x
		}
	}
}

// centreClass solves Σ 1/(a_c·y - v) = amount/(mu·pull) for v below every column's cost.
func (m *levelMaster) centreClass(k int) {
	lo, hi := m.colAt[k], m.colAt[k+1]
	least := math.Inf(1)
	for c := lo; c < hi; c++ {
		m.z[c] = m.cost(c, m.y)
		least = math.Min(least, m.z[c])
	}
	mp := m.mu * m.pull[k]
	want := (m.fixed[k] + m.weight[k]*m.t) / mp
	u := 1 / want
	for range 40 {
		sum, slope := 0.0, 0.0
		for c := lo; c < hi; c++ {
			r := 1 / (u + m.z[c] - least)
			sum += r
			slope += r * r
		}
		du := (sum - want) / slope
		u += du
		if du < 1e-12*u {
			break
		}
	}
	m.v[k] = least - u
	for c := lo; c < hi; c++ {
		m.z[c] += u - least
		m.x[c] = mp / m.z[c]
	}
}

// solve steps along the central path until mu is at most target and rows balance to
// within tolerance of their links' capacity, or arithmetic goes no further.
func (m *levelMaster) solve(target, tolerance float64, limit int) bool {
	m.loads()
	late := 0
	for range limit {
		if m.mu <= target && m.residual <= tolerance {
			return true
		}
		if m.mu <= target {
			// Rows that follow from each other come to balance as far as arithmetic goes.
			if late++; late > 6 {
				return m.residual < 1e-8
			}
		}
		if m.stop != nil && m.stop() || !m.step(target) {
			return false
		}
	}
	return m.mu <= 10*target && m.residual <= tolerance
}

// step makes one predictor-corrector step (Mehrotra); false where arithmetic ends.
func (m *levelMaster) step(target float64) bool {
	m.build()
	if !cholesky(m.n, m.l, m.rows) {
		return false
	}
	m.loads()
	m.direction(0, false)
	ap, ad := m.lengths()
	ratio := m.measure(ap, ad) / m.mu
	aim := math.Max(math.Min(1, math.Max(ratio*ratio*ratio, 1e-4))*m.mu, 0.3*target)
	m.direction(aim, true)
	ap, ad = m.lengths()
	ap, ad = math.Min(1, 0.995*ap), math.Min(1, 0.995*ad)
	if ap < 1e-6 && ad < 1e-6 {
		return false
	}
	m.move(ap, ad)
	m.mu = m.measure(0, 0)
	m.loads()
	m.residual = 0
	for r := range m.balance {
		m.residual = math.Max(m.residual, math.Abs(m.balance[r]-m.f[r])/m.whole[r])
	}
	return !math.IsNaN(m.mu)
}

// rest measures the breach of the rows.
func (m *levelMaster) rest() {
	m.residual = 0
	for r := range m.balance {
		m.residual = math.Max(m.residual, math.Abs(m.balance[r]-m.f[r])/m.whole[r])
	}
}

// levelShard is one goroutine's part of the matrix.
type levelShard struct {
	n    []float64
	sum  []float64 // by row: Σ th·difference over a class's columns
	mark []int32   // by row: the class that touched it last
	last int32
	rows []int32 // rows a class has touched
	at   []int32 // rows of one difference
	d    []float64
	seen []int32 // by row: its place in at, plus one
}

func (s *levelShard) resize(rows int) {
	s.n, s.sum = cleared(s.n, rows*rows), grown(s.sum, rows)
	if len(s.mark) < rows {
		s.mark, s.seen, s.last = make([]int32, rows), make([]int32, rows), 0
	}
}

// build assembles the matrix over the rows.
func (m *levelMaster) build() {
	m.steps++
	k, w := len(m.fixed), len(m.shards)
	inParallel(w, w, func(_, i int) {
		s := &m.shards[i]
		s.resize(m.rows)
		for class := k * i / w; class < k*(i+1)/w; class++ {
			m.buildClass(s, class)
		}
	})
	copy(m.n, m.shards[0].n)
	for _, s := range m.shards[1:] {
		for i, v := range s.n {
			m.n[i] += v
		}
	}
	for r := range m.rows {
		d := &m.n[r*m.rows+r]
		switch {
		case !m.spent[r]:
			*d += m.f[r] / m.y[r]
		case *d == 0:
			*d = math.MaxFloat64 / 1e9 // nothing here can move it
		default:
			*d *= 1 + 1e-8
		}
	}
}

// slight is how far below its class's largest a column moves too little to count in
// the matrix (it counts in the right-hand side).
const slight = 1e-7

// buildClass adds Σ th d dᵀ - (Σ th d)(Σ th d)ᵀ / Σ th for a class, d being each column's
// difference from the largest.
func (m *levelMaster) buildClass(s *levelShard, k int) {
	lo, hi := m.colAt[k], m.colAt[k+1]
	best, total, most := lo, 0.0, 0.0
	for c := lo; c < hi; c++ {
		th := m.x[c] / m.z[c]
		total += th
		if th > most {
			best, most = c, th
		}
	}
	if total-most < slight*most {
		return
	}
	s.last++
	s.rows = s.rows[:0]
	w := m.rows
	for c := lo; c < hi; c++ {
		th := m.x[c] / m.z[c]
		if c == best || th < slight*most {
			continue
		}
		m.difference(s, c, best)
		for i, a := range s.at {
			da := th * s.d[i]
			if s.mark[a] != s.last {
				s.mark[a], s.sum[a] = s.last, 0
				s.rows = append(s.rows, a)
			}
			s.sum[a] += da
			for j, b := range s.at[:i+1] {
				if a >= b {
					s.n[int(a)*w+int(b)] += da * s.d[j]
				} else {
					s.n[int(b)*w+int(a)] += da * s.d[j]
				}
			}
		}
	}
	for i, a := range s.rows {
		ga := s.sum[a] / total
		if ga == 0 {
			continue
		}
		for _, b := range s.rows[:i+1] {
			if a >= b {
				s.n[int(a)*w+int(b)] -= ga * s.sum[b]
			} else {
				s.n[int(b)*w+int(a)] -= ga * s.sum[b]
			}
		}
	}
}

// difference lists the rows where column c and column best differ, and how.
func (m *levelMaster) difference(s *levelShard, c, best int32) {
	s.at, s.d = s.at[:0], s.d[:0]
	for _, r := range m.patRow[m.patAt[c]:m.patAt[c+1]] {
		s.at, s.d = append(s.at, r), append(s.d, 1)
		s.seen[r] = int32(len(s.at))
	}
	for _, r := range m.patRow[m.patAt[best]:m.patAt[best+1]] {
		if i := s.seen[r]; i > 0 {
			s.d[i-1] = 0
		} else {
			s.at, s.d = append(s.at, r), append(s.d, -1)
		}
	}
	kept := 0
	for i, r := range s.at {
		s.seen[r] = 0
		if s.d[i] != 0 {
			s.at[kept], s.d[kept] = r, s.d[i]
			kept++
		}
	}
	s.at, s.d = s.at[:kept], s.d[:kept]
}

// direction solves for a step towards the central path at aim; with second it
// includes the products of the affine direction before.
func (m *levelMaster) direction(aim float64, second bool) {
	clear(m.h)
	copy(m.u, m.through)
	kappa, base := 0.0, 0.0
	paid := 0.0
	for k := range m.fixed {
		lo, hi := m.colAt[k], m.colAt[k+1]
		mp := aim * m.pull[k]
		total, need := 0.0, m.fixed[k]+m.weight[k]*m.t
		for c := lo; c < hi; c++ {
			rho := mp/m.z[c] - m.x[c]
			if second {
				rho -= m.dx[c] * m.dz[c] / m.z[c]
			}
			total += m.x[c] / m.z[c]
			need -= m.x[c] + rho
			m.dx[c] = rho
		}
		share := need / total // the constant part of dv
		m.dv[k] = share
		w := m.weight[k]
		for c := lo; c < hi; c++ {
			th := m.x[c] / m.z[c]
			add := m.dx[c] + th*share
			for _, r := range m.patRow[m.patAt[c]:m.patAt[c+1]] {
				m.h[r] += add
				m.u[r] += th * w / total
			}
		}
		kappa += w * w / total
		base += w * share
		paid += w * m.v[k]
	}
	for r := range m.h {
		paid += m.through[r] * m.y[r]
		m.h[r] -= m.balance[r] - m.f[r]
		if m.spent[r] {
			m.df[r] = 0
			continue
		}
		rho := aim*m.omega/m.y[r] - m.f[r]
		if second {
			rho -= m.df[r] * m.dy[r] / m.y[r]
		}
		m.df[r] = rho
		m.h[r] += rho
	}
	rt := m.speed - paid - m.tau
	rg := m.top - m.t - m.g
	rtau := aim*m.omegaT/m.g - m.tau
	if second {
		rtau -= m.dg * m.dtau / m.g
	}
	copy(m.hs, m.h)
	cholSolve(m.l, m.hs, m.rows)
	copy(m.us, m.u)
	cholSolve(m.l, m.us, m.rows)
	uh, uu := dot(m.u[:m.rows], m.hs[:m.rows]), dot(m.u[:m.rows], m.us[:m.rows])
	m.dt = (rt - rtau + m.tau/m.g*rg - base - uh) / (kappa + m.tau/m.g + uu)
	for r := range m.dy {
		m.dy[r] = m.hs[r] + m.dt*m.us[r]
		if !m.spent[r] {
			m.df[r] -= m.f[r] / m.y[r] * m.dy[r]
		}
	}
	m.dg = rg - m.dt
	m.dtau = rtau - m.tau/m.g*m.dg
	for k := range m.fixed {
		lo, hi := m.colAt[k], m.colAt[k+1]
		total := 0.0
		sum := m.weight[k] * m.dt
		for c := lo; c < hi; c++ {
			th := m.x[c] / m.z[c]
			total += th
			m.dz[c] = m.cost(c, m.dy)
			sum += th * m.dz[c]
		}
		m.dv[k] += sum / total
		for c := lo; c < hi; c++ {
			m.dz[c] -= m.dv[k]
			m.dx[c] -= m.x[c] / m.z[c] * m.dz[c]
		}
	}
}

// lengths returns how far primal and dual go before something turns negative.
func (m *levelMaster) lengths() (primal, dual float64) {
	p, d := math.Max(1, -m.dg/m.g), math.Max(1, -m.dtau/m.tau)
	for c := range m.x {
		p, d = math.Max(p, -m.dx[c]/m.x[c]), math.Max(d, -m.dz[c]/m.z[c])
	}
	for r := range m.f {
		if !m.spent[r] {
			p, d = math.Max(p, -m.df[r]/m.f[r]), math.Max(d, -m.dy[r]/m.y[r])
		}
	}
	return 1 / p, 1 / d
}

// measure returns mu after a step of the given lengths.
func (m *levelMaster) measure(ap, ad float64) float64 {
	sum, mass := (m.g+ap*m.dg)*(m.tau+ad*m.dtau), m.omegaT
	for k := range m.fixed {
		for c := m.colAt[k]; c < m.colAt[k+1]; c++ {
			sum += (m.x[c] + ap*m.dx[c]) * (m.z[c] + ad*m.dz[c])
		}
		mass += float64(m.colAt[k+1]-m.colAt[k]) * m.pull[k]
	}
	for r := range m.f {
		if !m.spent[r] {
			sum += (m.f[r] + ap*m.df[r]) * (m.y[r] + ad*m.dy[r])
			mass += m.omega
		}
	}
	return sum / mass
}

func (m *levelMaster) move(ap, ad float64) {
	for c := range m.x {
		m.x[c] += ap * m.dx[c]
		m.z[c] += ad * m.dz[c]
	}
	for k := range m.v {
		m.v[k] += ad * m.dv[k]
	}
	for r := range m.f {
		m.f[r] += ap * m.df[r]
		m.y[r] += ad * m.dy[r]
	}
	m.t += ap * m.dt
	m.g += ap * m.dg
	m.tau += ad * m.dtau
}
