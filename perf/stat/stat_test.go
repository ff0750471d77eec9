package stat

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The values are those of published tables of Student's distribution.
func TestStudentQuantilesAreThoseOfTheTables(t *testing.T) {
	for _, c := range []struct{ p, freedom, want float64 }{
		{0.975, 1, 12.7062}, {0.975, 2, 4.30265}, {0.975, 4, 2.77645}, {0.975, 10, 2.22814}, {0.975, 30, 2.04227},
		{0.95, 5, 2.01505}, {0.995, 9, 3.24984}, {0.975, 1e6, 1.95997}, {0.5, 7, 0}, {0.025, 4, -2.77645},
	} {
		if got := StudentQuantile(c.p, c.freedom); math.Abs(got-c.want) > 1e-4*math.Max(1, math.Abs(c.want)) {
			t.Errorf("t(%g, %g) = %g, want %g", c.p, c.freedom, got, c.want)
		}
	}
}

// t with one degree of freedom is Cauchy's, with two it has a closed form.
func TestStudentAgreesWithClosedForms(t *testing.T) {
	for x := -50.0; x <= 50; x += 0.37 {
		if got, want := StudentCDF(x, 1), 0.5+math.Atan(x)/math.Pi; math.Abs(got-want) > 1e-12 {
			t.Errorf("one degree at %g: %g, want %g", x, got, want)
		}
		if got, want := StudentCDF(x, 2), 0.5+x/(2*math.Sqrt(2+x*x)); math.Abs(got-want) > 1e-12 {
			t.Errorf("two degrees at %g: %g, want %g", x, got, want)
		}
	}
}

// Each interval, computed many times on samples of a known truth, must hold the
// truth about as often as it says. The chance of a false alarm is below 1e-6.
func TestIntervalsHoldTheTruthAsOftenAsTheySay(t *testing.T) {
	const trials, confidence = 4000, 0.95
	rng := rand.New(rand.NewPCG(11, 12))
	normal := func(n int, mean, sd float64) (v []float64) {
		for range n {
			v = append(v, mean+sd*rng.NormFloat64())
		}
		return v
	}
	coin := func(n int, p float64) (c uint64) {
		for range n {
			if rng.Float64() < p {
				c++
			}
		}
		return c
	}
	for name, c := range map[string]struct {
		hold  func() bool
		slack float64 // approximate intervals may miss their level by this
	}{
		"mean": {func() bool { i, _ := MeanInterval(normal(5, 3, 2), confidence); return i.Holds(3) }, 0},
		"welch": {func() bool {
			i, _, _ := Welch(normal(5, 10, 1), normal(7, 12, 4), confidence)
			return i.Holds(2)
		}, 0.015},
		"wilson":   {func() bool { return Wilson(coin(300, 0.03), 300, confidence).Holds(0.03) }, 0.03},
		"newcombe": {func() bool { return Newcombe(coin(400, 0.1), 400, coin(300, 0.15), 300, confidence).Holds(0.05) }, 0.03},
	} {
		held := 0
		for range trials {
			if c.hold() {
				held++
			}
		}
		got := float64(held) / trials
		if limit := 5*math.Sqrt(confidence*(1-confidence)/trials) + c.slack; math.Abs(got-confidence) > limit {
			t.Errorf("%s: held the truth %.3f of the time, want %.3f ± %.3f", name, got, confidence, limit)
		}
	}
}

func TestQuantileRanksHoldTheQuantile(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const trials, n, q = 2000, 1000, 0.99
	low, high, ok := QuantileRanks(n, q, 0.95)
	if !ok {
		t.Fatal("a thousand values are enough for p99")
	}
	held := 0
	for range trials {
		below := uint64(0) // values below the true quantile of a uniform variable
		for range n {
			if rng.Float64() < q {
				below++
			}
		}
		// The quantile lies between the low-th and the high-th value.
		if below >= low && below < high {
			held++
		}
	}
	if got := float64(held) / trials; got < 0.93 {
		t.Errorf("held the quantile %.3f of the time, want at least about 0.95", got)
	}
	if _, _, ok := QuantileRanks(50, 0.999, 0.95); ok {
		t.Error("fifty values cannot bound the 99.9th percentile")
	}
}

func TestWelchOfEqualAndOfConstantValues(t *testing.T) {
	if i, p, ok := Welch([]float64{1, 1}, []float64{1, 1}, 0.95); !ok || p != 1 || i != (Interval{}) {
		t.Errorf("equal constants: %v %g", i, p)
	}
	if i, p, _ := Welch([]float64{1, 1}, []float64{2, 2}, 0.95); p != 0 || i != (Interval{1, 1}) {
		t.Errorf("different constants: %v %g", i, p)
	}
	if _, _, ok := Welch([]float64{1}, []float64{2, 2}, 0.95); ok {
		t.Error("one value has no spread")
	}
}

func TestKolmogorovTellsLawsApart(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	var u, v []float64
	for range 2000 {
		u = append(u, rng.Float64())
		v = append(v, math.Pow(rng.Float64(), 1.2))
	}
	line := func(x float64) float64 { return x }
	if d, c := Kolmogorov(u, line, 1e-6); d > c {
		t.Errorf("uniform values: distance %g > %g", d, c)
	}
	if d, c := Kolmogorov(v, line, 1e-6); d < c {
		t.Errorf("other values: distance %g < %g", d, c)
	}
}
