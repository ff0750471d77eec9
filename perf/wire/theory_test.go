package wire

import (
	"math"
	"testing"
	"time"

	"dssn/perf/stat"
)

// Each property below is a test of a hypothesis that is true if the wire is
// right, on fixed seeds. The threshold is the one that chance would exceed once
// in a million for the true law (confidence 0.999999), so a wrong wire and not
// bad luck is what fails.
const confidence = 0.999999

func TestTheLossFractionIsTheOneAskedFor(t *testing.T) {
	for _, p := range []float64{1e-4, 0.001, 0.01, 0.25, 0.5, 1} {
		for seed := range uint64(3) {
			l := NewLine(0, Settings{Loss: p, Seed: seed})
			const n = 400_000
			lost, pairs, before := uint64(0), uint64(0), false
			for i := range int64(n) {
				now := l.Arrive(i, 100).Why == Lost
				if now {
					lost++
					if before {
						pairs++
					}
				}
				before = now
			}
			if i := stat.Wilson(lost, n, confidence); !i.Holds(p) {
				t.Errorf("loss=%g seed %d: lost %d of %d, which holds %g to %g", p, seed, lost, n, i.Low, i.High)
			}
			// Losses are independent (the last frame has no next): the next frame of a lost one is lost as often.
			if i := stat.Wilson(pairs, lost-min(lost, 1), confidence); p < 1 && !i.Holds(p) {
				t.Errorf("loss=%g seed %d: after a loss %d of %d are lost", p, seed, pairs, lost)
			}
		}
	}
}

// In the Gilbert-Elliott channel with enter p, leave r and burst loss h, the
// share of the bad state is p/(p+r), bad runs last 1/r frames on average, and
// the loss is h·p/(p+r).
func TestBurstsAreThoseOfGilbertAndElliott(t *testing.T) {
	for _, c := range []struct{ p, r, h float64 }{{0.001, 0.25, 1}, {0.01, 0.1, 0.5}, {0.05, 0.5, 1}, {0.3, 0.3, 0.2}} {
		l := NewLine(1, Settings{Enter: c.p, Leave: c.r, BurstLoss: c.h, Seed: 5})
		const n = 1_000_000
		lost, badFrames, runs := 0, 0, 0
		wasBad := false
		for i := range int64(n) {
			if l.Arrive(i, 100).Why == LostBurst {
				lost++
			}
			if l.bad {
				badFrames++
				if !wasBad {
					runs++
				}
			}
			wasBad = l.bad
		}
		z := stat.NormalQuantile((1 + confidence) / 2)
		// The state is a Markov chain whose correlation at lag k is (1−p−r)^k: the
		// variance of its mean is that of independent frames times (2−p−r)/(p+r).
		share := c.p / (c.p + c.r)
		spread := z * math.Sqrt(share*(1-share)/n*(2-c.p-c.r)/(c.p+c.r))
		if got := float64(badFrames) / n; math.Abs(got-share) > spread {
			t.Errorf("%+v: the bad state holds for %.5f of the frames, want %.5f ± %.5f", c, got, share, spread)
		}
		if got, want := float64(lost)/n, c.h*share; math.Abs(got-want) > spread+z*math.Sqrt(want/n) {
			t.Errorf("%+v: lost %.5f, want %.5f ± %.5f", c, got, want, spread)
		}
		// Runs are geometric: mean 1/r, variance (1−r)/r².
		length, sd := float64(badFrames)/float64(runs), math.Sqrt(1-c.r)/c.r/math.Sqrt(float64(runs))
		if math.Abs(length-1/c.r) > z*sd {
			t.Errorf("%+v: a burst lasts %.3f frames, want %.3f ± %.3f", c, length, 1/c.r, z*sd)
		}
	}
}

func TestDelaysFollowTheirLaw(t *testing.T) {
	const delay, jitter = 50e6, 2e6
	for law, cdf := range map[Law]func(x float64) float64{
		Uniform:     func(x float64) float64 { return (x - (delay - jitter)) / (2 * jitter) },
		Normal:      func(x float64) float64 { return 0.5 * math.Erfc(-(x-delay)/jitter/math.Sqrt2) },
		Exponential: func(x float64) float64 { return 1 - math.Exp(-(x-delay)/jitter) },
		Pareto: func(x float64) float64 {
			return 1 - math.Pow(1+(x-delay)/(jitter*(paretoShape-1)), -paretoShape)
		},
	} {
		for _, free := range []bool{true, false} {
			l := NewLine(0, Settings{Delay: delay, Jitter: jitter, Law: law, Free: free, Seed: 3})
			var seen []float64
			for i := range int64(20_000) {
				now := i * int64(time.Second) // far apart, so that order stretches nothing
				seen = append(seen, float64(l.Arrive(now, 100).At-now))
			}
			if d, limit := stat.Kolmogorov(seen, cdf, 1-confidence); d > limit {
				t.Errorf("%v (free %v): the greatest distance from the law is %.4f, want at most %.4f", law, free, d, limit)
			}
		}
	}
}

func TestSharesOfDuplicatedCorruptedAndReorderedFrames(t *testing.T) {
	s, err := Parse("duplicate=2% corrupt=3% reorder=5%/1ms seed=8")
	if err != nil {
		t.Fatal(err)
	}
	l := NewLine(0, s)
	const n, length = 300_000, 64
	var bits [(length - 14) * 8]uint64
	for i := range int64(n) {
		if v := l.Arrive(i, length); v.Flip >= 0 {
			bits[v.Flip-14*8]++
		}
	}
	c, _ := l.Counters()
	for name, v := range map[string]struct {
		count uint64
		p     float64
	}{"duplicated": {c.Duplicated, 0.02}, "corrupted": {c.Corrupted, 0.03}, "reordered": {c.Reordered, 0.05}} {
		if i := stat.Wilson(v.count, n, confidence); !i.Holds(v.p) {
			t.Errorf("%s: %d of %d, want %g", name, v.count, n, v.p)
		}
	}
	for bit, count := range bits {
		if i := stat.Wilson(count, c.Corrupted, 1-1e-9); !i.Holds(1.0 / float64(len(bits))) {
			t.Errorf("bit %d was flipped %d times of %d", bit, count, c.Corrupted)
		}
	}
}
