package stat

import (
	"math"
	"slices"
)

// QuantileRanks returns the ranks (from 1) of the two sorted values among n
// that hold the quantile q between them with at least about the confidence,
// whatever the distribution: the number of values below the quantile is binomial,
// here approximated by a normal one. The values must be independent. Source:
// David and Nagaraja, Order Statistics, section 7.1. It is not ok when n is too
// small for the upper or lower rank to exist.
func QuantileRanks(n uint64, q, confidence float64) (low, high uint64, ok bool) {
	z := NormalQuantile((1 + confidence) / 2)
	m := float64(n)
	spread := z * math.Sqrt(m*q*(1-q))
	l, h := math.Floor(m*q-spread), math.Ceil(m*q+spread)+1
	if l < 1 || h > m {
		return 0, 0, false
	}
	return uint64(l), uint64(h), true
}

// Kolmogorov returns the greatest distance between the empirical distribution
// of values and cdf, and the distance that a sample of cdf exceeds only with
// probability alpha (asymptotic, n ≥ 35). Source: Massey, The
// Kolmogorov-Smirnov test for goodness of fit, JASA 1951.
func Kolmogorov(values []float64, cdf func(float64) float64, alpha float64) (distance, critical float64) {
	s := slices.Sorted(slices.Values(values))
	n := float64(len(s))
	for i, v := range s {
		f := cdf(v)
		distance = math.Max(distance, math.Max(f-float64(i)/n, float64(i+1)/n-f))
	}
	return distance, math.Sqrt(-math.Log(alpha/2)/2) / math.Sqrt(n)
}
