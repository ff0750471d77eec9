package solve

import (
	"math"

	"dssn/topology"
)

// simplex maximises c·x over A x ≤ b, x ≥ 0 with b ≥ 0, by Bland's rule on a dense
// tableau: the slow twin of the engine, for graphs of at most six nodes.
func simplex(a [][]float64, b, c []float64) (float64, []float64) {
	m, n := len(a), len(c)
	t := make([][]float64, m+1)
	for i := range m {
		t[i] = make([]float64, n+m+1)
		copy(t[i], a[i])
		t[i][n+i], t[i][n+m] = 1, b[i]
	}
	t[m] = make([]float64, n+m+1)
	for j := range n {
		t[m][j] = -c[j]
	}
	basis := make([]int, m)
	for i := range basis {
		basis[i] = n + i
	}
	for {
		col := -1
		for j := range n + m {
			if t[m][j] < -1e-9 {
				col = j
				break
			}
		}
		if col < 0 {
			break
		}
		row, best := -1, math.Inf(1)
		for i := range m {
			if t[i][col] > 1e-9 {
				if q := t[i][n+m] / t[i][col]; q < best-1e-12 || q <= best && basis[i] < basis[row] {
					row, best = i, q
				}
			}
		}
		if row < 0 {
			return math.Inf(1), nil
		}
		basis[row] = col
		p := t[row][col]
		for j := range t[row] {
			t[row][j] /= p
		}
		for i := range t {
			if f := t[i][col]; i != row && f != 0 {
				for j := range t[i] {
					t[i][j] -= f * t[row][j]
				}
			}
		}
	}
	x := make([]float64, n)
	for i, v := range basis {
		if v < n {
			x[v] = t[i][n+m]
		}
	}
	return t[m][n+m], x
}

// everyPath lists all loop-free paths of every demand within its latency bound.
func everyPath(in *Instance) (demand []int, path [][]int32) {
	g := in.Graph
	for d := range in.Demands.Len() {
		seen := make([]bool, g.NumNodes())
		var walk func(u int, p []int32, micros int64)
		walk = func(u int, p []int32, micros int64) {
			if in.Demands.MaxLatencyMicros != nil && micros > in.Demands.MaxLatencyMicros[d] {
				return
			}
			if u == int(in.Demands.Dst[d]) {
				demand, path = append(demand, d), append(path, append([]int32(nil), p...))
				return
			}
			seen[u] = true
			for _, e := range g.Out(u) {
				if l := g.Link(int(e)); l.Usable() && !seen[l.Dst] {
					walk(l.Dst, append(p, e), micros+l.LatencyMicros)
				}
			}
			seen[u] = false
		}
		walk(int(in.Demands.Src[d]), nil, 0)
	}
	return demand, path
}

// program returns the rows that every allocation obeys, over the paths' rates and
// extra further variables.
func program(g *topology.Graph, path [][]int32, extra int) (a [][]float64, b []float64) {
	for e := range g.NumLinks() {
		row := make([]float64, len(path)+extra)
		for p, links := range path {
			for _, l := range links {
				if int(l) == e {
					row[p] = 1
				}
			}
		}
		a, b = append(a, row), append(b, float64(g.Link(e).Capacity))
	}
	return a, b
}

func exactFlow(in *Instance) float64 {
	demand, path := everyPath(in)
	a, b := program(in.Graph, path, 0)
	for d := range in.Demands.Len() {
		row := make([]float64, len(path))
		for p := range path {
			if demand[p] == d {
				row[p] = 1
			}
		}
		a, b = append(a, row), append(b, float64(in.Demands.Rate[d]))
	}
	c := make([]float64, len(path))
	for p := range c {
		c[p] = 1
	}
	v, _ := simplex(a, b, c)
	return v
}

func exactLambda(in *Instance) float64 {
	demand, path := everyPath(in)
	a, b := program(in.Graph, path, 1)
	n := len(path)
	for d := range in.Demands.Len() {
		row := make([]float64, n+1)
		for p := range path {
			if demand[p] == d {
				row[p] = -1
			}
		}
		row[n] = float64(in.Demands.Rate[d])
		a, b = append(a, row), append(b, 0)
	}
	one := make([]float64, n+1)
	one[n] = 1
	a, b = append(a, one), append(b, 1)
	v, _ := simplex(a, b, one)
	return v
}

// exactFair finds the max-min rates level by level with linear programs only:
// raise everybody, then try each riser alone to see who is stuck.
func exactFair(in *Instance) []float64 {
	demand, path := everyPath(in)
	n, nd := len(path), in.Demands.Len()
	rate := make([]float64, nd)
	fixed := make([]bool, nd)
	level := 0.0
	for {
		rising := false
		for d := range nd {
			rising = rising || !fixed[d]
		}
		if !rising {
			return rate
		}
		// Variables: path rates, t. Everybody unfixed has at least level·w, capped.
		solve := func(who int) float64 {
			a, b := program(in.Graph, path, 1)
			for d := range nd {
				up, down := make([]float64, n+1), make([]float64, n+1)
				for p := range path {
					if demand[p] == d {
						up[p], down[p] = 1, -1
					}
				}
				a, b = append(a, up), append(b, float64(in.Demands.Rate[d]))
				switch {
				case fixed[d]:
					// at least what it has: -Σx ≤ -rate is not a slack basis, so it is
					// written as room in its wish, below.
					a, b = append(a, down), append(b, -rate[d])
				case who < 0 || who == d:
					down[n] = in.Demands.Weight[d]
					a, b = append(a, down), append(b, -level*in.Demands.Weight[d])
				default:
					a, b = append(a, down), append(b, -level*in.Demands.Weight[d])
				}
			}
			c := make([]float64, n+1)
			c[n] = 1
			return level + phased(a, b, c)
		}
		t := solve(-1)
		for d := range nd {
			if w := in.Demands.Weight[d]; !fixed[d] && t*w >= float64(in.Demands.Rate[d])*(1-1e-9) {
				t = math.Min(t, float64(in.Demands.Rate[d])/w)
			}
		}
		level = t
		stuck := false
		for d := range nd {
			if fixed[d] {
				continue
			}
			if solve(d) <= level*(1+1e-7)+1e-7 {
				rate[d] = level * in.Demands.Weight[d]
				stuck = true
			}
		}
		for d := range nd {
			fixed[d] = fixed[d] || rate[d] > 0 || stuck && level == 0 && solve(d) <= 1e-7
		}
		if !stuck {
			return rate
		}
	}
}

// phased is simplex for right-hand sides of any sign that are known to be
// feasible: a first phase drives one artificial variable out.
func phased(a [][]float64, b, c []float64) float64 {
	n := len(c)
	const big = 1e7
	rows := make([][]float64, len(a))
	shift := 0.0
	for _, x := range b {
		shift = math.Max(shift, -x)
	}
	// x_art ≤ shift scales how much of every negative row is forgiven; it is
	// written as art' = shift - art ≥ 0, which makes the start feasible.
	rhs := make([]float64, len(b))
	for i := range a {
		rows[i] = append(append([]float64(nil), a[i]...), 0)
		rhs[i] = b[i]
		if b[i] < 0 {
			rows[i][n] = -b[i] / shift
			rhs[i] = b[i] - rows[i][n]*0 + -b[i]
			rows[i][n] = -b[i] / shift
		}
	}
	if shift == 0 {
		v, _ := simplex(a, b, c)
		return v
	}
	// Row: a·x ≤ b + forgiven, forgiven = (shift - art')·(-b/shift), so
	// a·x + art'·(-b/shift) ≤ 0 for negative rows; art' ≤ shift is to be as large as possible.
	last := make([]float64, n+1)
	last[n] = 1
	rows, rhs = append(rows, last), append(rhs, shift)
	cost := append(append([]float64(nil), c...), big)
	v, x := simplex(rows, rhs, cost)
	return v - big*x[n]
}
