package rfc2544

import (
	"math"
	"math/rand/v2"
	"testing"
)

// device is a simulated path: it forwards what comes up to limit, and now and then
// it loses something without a reason.
type device struct {
	limit   float64
	spoiled float64 // part of trials that lose something anyway
	ratio   float64 // of what they lose
	r       *rand.Rand
}

func (d *device) trial(load float64) (lossRatio float64) {
	if load > d.limit {
		lossRatio = 1 - d.limit/load
	}
	if d.spoiled > 0 && d.r.Float64() < d.spoiled {
		lossRatio = 1 - (1-lossRatio)*(1-d.ratio*d.r.Float64())
	}
	return lossRatio
}

func search(t *testing.T, d *device, max, width, tolerated float64) (good float64, trials int) {
	t.Helper()
	s := NewSearch(max, width, tolerated)
	for {
		load, done := s.Next()
		if done {
			good, _ := s.Bounds()
			return good, s.Trials()
		}
		if load <= 0 || load > max {
			t.Fatalf("load %g out of range", load)
		}
		if s.Trials() > 200 {
			t.Fatalf("no end after %d trials at a limit of %g", s.Trials(), d.limit)
		}
		s.Add(load, d.trial(load))
	}
}

func TestSearchFindsTheLimitInFewTrials(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	most, sum := 0, 0
	for range 2000 {
		d := &device{limit: math.Exp(math.Log(1e6) + r.Float64()*math.Log(1e4))}
		got, trials := search(t, d, 2e10, 0.005, 0)
		if got > d.limit || got < d.limit*0.995 {
			t.Fatalf("limit %g: found %g in %d trials, want within 0.5 %%", d.limit, got, trials)
		}
		most, sum = max(most, trials), sum+trials
	}
	if mean := float64(sum) / 2000; mean > 5 || most > 9 {
		t.Errorf("%.1f trials on average, %d at most; want 5 and 9", mean, most)
	}
}

func TestSearchIsNotMisledByUnluckyTrials(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	off := 0
	for range 1000 {
		d := &device{limit: math.Exp(math.Log(1e7) + r.Float64()*math.Log(1e3)), spoiled: 0.1, ratio: 0.01, r: r}
		got, trials := search(t, d, 2e10, 0.005, 0)
		if got > d.limit {
			t.Fatalf("limit %g: found %g, which is above it", d.limit, got)
		}
		if got < d.limit*0.99 {
			off++
		}
		if trials > 40 {
			t.Errorf("%d trials", trials)
		}
	}
	if off > 20 {
		t.Errorf("%d of 1000 searches ended more than 1 %% under the limit, want 20 at most", off)
	}
}

func TestSearchToleratesWhatItIsTold(t *testing.T) {
	d := &device{limit: 1e9, spoiled: 1, ratio: 0.001, r: rand.New(rand.NewPCG(5, 6))}
	if got, _ := search(t, d, 4e9, 0.005, 0.002); got < 0.99e9 || got > 1.003e9 {
		t.Errorf("found %g with a tolerated loss of 0.2 %%, want 1e9", got)
	}
}

func TestSearchEndsAtItsOwnMaximumAndAtNothing(t *testing.T) {
	if got, trials := search(t, &device{limit: 5e9}, 4e9, 0.005, 0); got != 4e9 || trials != 1 {
		t.Errorf("a path faster than the tester: found %g in %d trials", got, trials)
	}
	if got, trials := search(t, &device{limit: 0}, 4e9, 0.005, 0); got != 0 || trials > 30 {
		t.Errorf("a path that carries nothing: found %g in %d trials", got, trials)
	}
}

func TestBurstSearchFindsTheDepth(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 500 {
		depth := uint64(math.Exp(r.Float64() * math.Log(1e6)))
		b := NewBurstSearch(r.Uint64N(100_000), 2_000_000)
		for {
			n, done := b.Next()
			if done {
				break
			}
			if b.trials > 60 {
				t.Fatalf("no end at a depth of %d", depth)
			}
			b.Add(n - min(n, depth))
		}
		if got, _ := b.Longest(); got > depth || float64(got) < 0.99*float64(depth)-1 {
			t.Fatalf("a depth of %d: found %d in %d trials", depth, got, b.trials)
		}
	}
	b := NewBurstSearch(10, 1000)
	for n, done := b.Next(); !done; n, done = b.Next() {
		b.Add(0 * n)
	}
	if got, whole := b.Longest(); got != 1000 || !whole {
		t.Errorf("without loss: %d, %v; want all 1000", got, whole)
	}
}
