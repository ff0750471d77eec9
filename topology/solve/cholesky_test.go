package solve

import (
	"math/rand/v2"
	"testing"
)

func TestCholeskySolvesWhatItFactored(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for n := 1; n < 40; n++ {
		a := make([]float64, n*n) // a·aᵀ + n·1 is positive definite
		for i := range a {
			a[i] = r.NormFloat64()
		}
		m, l, x, b := make([]float64, n*n), make([]float64, n*n), make([]float64, n), make([]float64, n)
		for i := range n {
			x[i] = r.NormFloat64()
			for j := range n {
				m[i*n+j] = dot(a[i*n:i*n+n], a[j*n:j*n+n])
			}
			m[i*n+i] += float64(n)
		}
		for i := range n {
			b[i] = dot(m[i*n:i*n+n], x)
		}
		if !cholesky(m, l, n) {
			t.Fatalf("size %d was refused", n)
		}
		cholSolve(l, b, n)
		for i := range n {
			if d := b[i] - x[i]; d > 1e-9 || d < -1e-9 {
				t.Fatalf("size %d: unknown %d is %g, want %g", n, i, b[i], x[i])
			}
		}
	}
}

func BenchmarkCholesky(b *testing.B) {
	const n = 400
	m, l := make([]float64, n*n), make([]float64, n*n)
	for i := range n {
		for j := range i {
			m[i*n+j] = 1 / float64(1+i-j)
		}
		m[i*n+i] = 4
	}
	for b.Loop() {
		cholesky(m, l, n)
	}
}
