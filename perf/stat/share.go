package stat

import "math"

// NormalQuantile is the value below which a standard normal variable lies with
// probability p.
func NormalQuantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// Wilson is the score interval of a share of which count of n were seen.
// Source: Wilson, Probable inference, the law of succession, and statistical
// inference, JASA 1927.
func Wilson(count, n uint64, confidence float64) Interval {
	if n == 0 {
		return Interval{0, 1}
	}
	z := NormalQuantile((1 + confidence) / 2)
	p, m := float64(count)/float64(n), float64(n)
	mid := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	i := Interval{mid - half, mid + half}
	if count == 0 {
		i.Low = 0
	}
	if count == n {
		i.High = 1
	}
	return i
}

// Newcombe is the interval of shareB − shareA, of independent counts, from both
// Wilson intervals. Source: Newcombe, Interval estimation for the difference
// between independent proportions, Statistics in Medicine 1998, method 10.
func Newcombe(countA, nA, countB, nB uint64, confidence float64) Interval {
	if nA == 0 || nB == 0 {
		return Interval{-1, 1}
	}
	a, b := Wilson(countA, nA, confidence), Wilson(countB, nB, confidence)
	pa, pb := float64(countA)/float64(nA), float64(countB)/float64(nB)
	return Interval{pb - pa - math.Hypot(pb-b.Low, a.High-pa), pb - pa + math.Hypot(b.High-pb, pa-a.Low)}
}
