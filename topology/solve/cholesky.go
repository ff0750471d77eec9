// Dense positive definite systems, row by row, lower triangles.

package solve

import "math"

// cholesky factors the lower triangle of the n×n matrix m into l (m is kept); a
// hair is added to the diagonal. Two rows are computed against two at a time, so
// that each number fetched is used twice. It returns false where a number is not
// finite.
func cholesky(m, l []float64, n int) bool {
	i := 0
	for ; i+1 < n; i += 2 {
		a, b := l[i*n:i*n+n], l[(i+1)*n:(i+1)*n+n]
		ma, mb := m[i*n:i*n+n], m[(i+1)*n:(i+1)*n+n]
		j := 0
		for ; j+1 < i; j += 2 {
			c, d := l[j*n:j*n+j+1], l[(j+1)*n:(j+1)*n+j+2]
			ac, ad, bc, bd := dot4(a[:j], b[:j], c[:j], d[:j])
			a[j] = (ma[j] - ac) / c[j]
			b[j] = (mb[j] - bc) / c[j]
			a[j+1] = (ma[j+1] - ad - a[j]*d[j]) / d[j+1]
			b[j+1] = (mb[j+1] - bd - b[j]*d[j]) / d[j+1]
		}
		// i is even, so the rows above are used up; what is left is the 2×2 corner.
		a[i] = pivot(ma[i], dot(a[:i], a[:i]))
		b[i] = (mb[i] - dot(b[:i], a[:i])) / a[i]
		b[i+1] = pivot(mb[i+1], dot(b[:i+1], b[:i+1]))
		if math.IsNaN(a[i]) || math.IsNaN(b[i+1]) {
			return false
		}
	}
	if i < n {
		a, ma := l[i*n:i*n+n], m[i*n:i*n+n]
		for j := range i {
			a[j] = (ma[j] - dot(a[:j], l[j*n:j*n+j])) / l[j*n+j]
		}
		a[i] = pivot(ma[i], dot(a[:i], a[:i]))
		return !math.IsNaN(a[i])
	}
	return true
}

// pivot returns the diagonal entry of the factor; a price that moves nothing is
// frozen by an enormous pivot.
func pivot(m, sum float64) float64 {
	d := m*(1+1e-13) - sum
	if !(d > m*1e-15) {
		d = m*1e8 + 1e-300
	}
	if math.IsInf(d, 0) {
		return math.NaN()
	}
	return math.Sqrt(d)
}

// dot4 returns the four products of a and b with c and d.
func dot4(a, b, c, d []float64) (ac, ad, bc, bd float64) {
	b, c, d = b[:len(a)], c[:len(a)], d[:len(a)]
	var ac1, ad1, bc1, bd1 float64
	i := 0
	for ; i+2 <= len(a); i += 2 {
		a0, b0, c0, d0 := a[i], b[i], c[i], d[i]
		a1, b1, c1, d1 := a[i+1], b[i+1], c[i+1], d[i+1]
		ac += a0 * c0
		ad += a0 * d0
		bc += b0 * c0
		bd += b0 * d0
		ac1 += a1 * c1
		ad1 += a1 * d1
		bc1 += b1 * c1
		bd1 += b1 * d1
	}
	if i < len(a) {
		ac += a[i] * c[i]
		ad += a[i] * d[i]
		bc += b[i] * c[i]
		bd += b[i] * d[i]
	}
	return ac + ac1, ad + ad1, bc + bc1, bd + bd1
}

// cholSolve replaces b by the solution of l·lᵀ x = b.
func cholSolve(l, b []float64, n int) {
	for i := range n {
		b[i] = (b[i] - dot(l[i*n:i*n+i], b[:i])) / l[i*n+i]
	}
	for i := n - 1; i >= 0; i-- {
		b[i] /= l[i*n+i]
		for j, v := range l[i*n : i*n+i] {
			b[j] -= v * b[i]
		}
	}
}

func dot(a, b []float64) float64 {
	var s0, s1, s2, s3 float64
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}
