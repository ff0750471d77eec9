package stat

import "math"

// MeanDeviation returns the mean of values and their sample standard deviation
// (n-1); the latter is zero for fewer than two.
func MeanDeviation(values []float64) (mean, deviation float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	if len(values) < 2 {
		return mean, 0
	}
	for _, v := range values {
		deviation += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(values)-1))
}

// Interval is what holds a value with the stated confidence.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Holds reports whether v lies in the interval, its ends included.
func (i Interval) Holds(v float64) bool { return i.Low <= v && v <= i.High }

// Welch compares the means of two sets of independent values whose variances
// may differ: the interval of mean(b) − mean(a) at the given confidence (0.95),
// and the probability p of a difference at least this great if the means were
// equal. Degrees of freedom by Welch and Satterthwaite. It needs two values of
// each. Source: Welch, The generalization of "Student's" problem when several
// different population variances are involved, Biometrika 1947.
func Welch(a, b []float64, confidence float64) (difference Interval, p float64, ok bool) {
	if len(a) < 2 || len(b) < 2 {
		return Interval{}, 0, false
	}
	ma, sa := MeanDeviation(a)
	mb, sb := MeanDeviation(b)
	va, vb := sa*sa/float64(len(a)), sb*sb/float64(len(b))
	d := mb - ma
	if va+vb == 0 {
		if d == 0 {
			return Interval{}, 1, true
		}
		return Interval{d, d}, 0, true
	}
	freedom := (va + vb) * (va + vb) / (va*va/float64(len(a)-1) + vb*vb/float64(len(b)-1))
	se := math.Sqrt(va + vb)
	half := StudentQuantile((1+confidence)/2, freedom) * se
	return Interval{d - half, d + half}, 2 * (1 - StudentCDF(math.Abs(d)/se, freedom)), true
}

// MeanInterval is Student's interval of the mean of independent values.
func MeanInterval(values []float64, confidence float64) (Interval, bool) {
	if len(values) < 2 {
		return Interval{}, false
	}
	m, s := MeanDeviation(values)
	n := float64(len(values))
	half := StudentQuantile((1+confidence)/2, n-1) * s / math.Sqrt(n)
	return Interval{m - half, m + half}, true
}

// StudentCDF is the probability that Student's t with the given degrees of
// freedom is at most t.
func StudentCDF(t, freedom float64) float64 {
	tail := incompleteBeta(freedom/(freedom+t*t), freedom/2, 0.5) / 2
	if t > 0 {
		return 1 - tail
	}
	return tail
}

// StudentQuantile is the inverse of StudentCDF, by bisection; p lies strictly
// between 0 and 1.
func StudentQuantile(p, freedom float64) float64 {
	low, high := -1.0, 1.0
	for StudentCDF(low, freedom) > p {
		low *= 2
	}
	for StudentCDF(high, freedom) < p {
		high *= 2
	}
	for range 200 {
		mid := (low + high) / 2
		if mid == low || mid == high {
			break
		}
		if StudentCDF(mid, freedom) < p {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}

// incompleteBeta is the regularised incomplete beta function I_x(a,b), by its
// continued fraction (DLMF 8.17.22) evaluated forward with Lentz's method.
func incompleteBeta(x, a, b float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2): // converges better on the other side (DLMF 8.17.4)
		return 1 - incompleteBeta(1-x, b, a)
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab-la-lb+a*math.Log(x)+b*math.Log1p(-x)) / a
	const tiny = 1e-300
	notZero := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	f, c, d := 1.0, 1.0, 0.0
	for n := 0; n < 500; n++ {
		m := float64(n / 2)
		var term float64
		switch {
		case n == 0:
			term = 1
		case n%2 == 0:
			term = m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		default:
			term = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		}
		d = 1 / notZero(1+term*d)
		c = notZero(1 + term/c)
		f *= c * d
		if math.Abs(c*d-1) < 1e-14 {
			break
		}
	}
	return front * (f - 1)
}
