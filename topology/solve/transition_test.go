package solve

import (
	"math"
	"math/rand/v2"
	"testing"
)

// randomAllocation makes flows of up to four demands that fit the capacities.
func randomAllocation(r *rand.Rand, capacity []float64, fill float64) *Allocation {
	a := &Allocation{}
	room := make([]float64, len(capacity))
	for l, c := range capacity {
		room[l] = c * fill
	}
	for d := range int32(4) {
		for range 1 + r.IntN(2) {
			f := Flow{Demand: d, Rate: 1 + r.Float64()*60}
			for l := range capacity {
				if r.IntN(3) == 0 && capacity[l] > 0 {
					f.Path = append(f.Path, int32(l))
					f.Rate = math.Min(f.Rate, room[l])
				}
			}
			if f.Rate < 0.5 || len(f.Path) == 0 {
				continue
			}
			for _, l := range f.Path {
				room[l] -= f.Rate
			}
			a.Flows = append(a.Flows, f)
		}
	}
	return a
}

func TestTransitionsNeverOverloadALinkInWhateverOrderAStepIsApplied(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	long, dips := 0, 0
	for range 2000 {
		capacity := make([]float64, 2+r.IntN(4))
		for l := range capacity {
			capacity[l] = 20 + 80*r.Float64()
		}
		from := randomAllocation(r, capacity, 1)
		if r.IntN(4) == 0 {
			capacity[r.IntN(len(capacity))] = 0
		}
		to := randomAllocation(r, capacity, 0.9+0.1*r.Float64())
		steps, err := Transition(capacity, from, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(steps) > 4 {
			long++
		}
		replay(t, capacity, from, to, steps)
		for _, s := range steps {
			if s.Dips {
				dips++
			}
		}
	}
	if long < 20 || dips < 20 {
		t.Errorf("the cases are too easy: %d long, %d dips", long, dips)
	}
}

// replay applies the steps and checks loads, totals and the end by its own sums.
func replay(t *testing.T, capacity []float64, from, to *Allocation, steps []Step) {
	t.Helper()
	type key struct {
		d int32
		p string
	}
	name := func(d int32, p []int32) key {
		b := make([]byte, len(p))
		for i, l := range p {
			b[i] = byte(l)
		}
		return key{d, string(b)}
	}
	now, goal := map[key]float64{}, map[key]float64{}
	for _, f := range from.Flows {
		now[name(f.Demand, f.Path)] += f.Rate
	}
	for _, f := range to.Flows {
		goal[name(f.Demand, f.Path)] += f.Rate
	}
	totals := func(m map[key]float64) map[int32]float64 {
		sum := map[int32]float64{}
		for k, r := range m {
			sum[k.d] += r
		}
		return sum
	}
	var start map[int32]float64
	for i, s := range steps {
		high := map[key]float64{}
		for k, r := range now {
			high[k] = r
		}
		for _, c := range s.Changes {
			k := name(c.Demand, c.Path)
			if math.Abs(now[k]-c.From) > 1e-9 {
				t.Fatalf("step %d changes %v from %g, but it is at %g", i, k, c.From, now[k])
			}
			high[k] = math.Max(c.From, c.To)
			now[k] = c.To
		}
		for l, c := range capacity {
			sum := 0.0
			for k, r := range high {
				for _, x := range []byte(k.p) {
					if int(x) == l {
						sum += r
					}
				}
			}
			if c > 0 && sum > c*(1+1e-7) {
				t.Fatalf("step %d may put %g on link %d, which carries %g", i, sum, l, c)
			}
		}
		if i == 0 {
			failed := false
			for _, c := range s.Changes {
				for _, l := range c.Path {
					failed = failed || capacity[l] == 0
				}
			}
			if failed {
				start = totals(now)
			} else {
				start = totals(map[key]float64{})
				for _, f := range from.Flows {
					start[f.Demand] += f.Rate
				}
			}
		}
		if !s.Dips {
			has, end := totals(now), totals(goal)
			dipped := false
			for _, e := range steps[:i] {
				dipped = dipped || e.Dips
			}
			for d, g := range end {
				if low := math.Min(g, start[d]); !dipped && has[d] < low*(1-1e-9) {
					t.Fatalf("after step %d demand %d has %g, less than %g", i, d, has[d], low)
				}
			}
		}
	}
	for k, g := range goal {
		if math.Abs(now[k]-g) > 1e-9 {
			t.Fatalf("the transition leaves %v at %g, not at %g", k, now[k], g)
		}
	}
	for k, r := range now {
		if r > 1e-9 && goal[k] == 0 {
			t.Fatalf("the transition leaves %v at %g, which should be gone", k, r)
		}
	}
}
