package solve

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"dssn"
)

// fillSlowly is fill as one would write it down: from level to level, all links
// looked at each time.
func (w *water) fillSlowly(members []int, limit func(*PathDemand) (upper, weight float64)) {
	type rising struct {
		demand        int
		upper, weight float64
	}
	active := make([]rising, 0, len(members))
	onLink := map[int32][]rising{}
	for _, i := range members {
		d := &w.demands[i]
		upper, weight := limit(d)
		if upper <= w.rate[i] {
			w.stop[i] = -1
			continue
		}
		active = append(active, rising{i, upper, weight})
		for _, e := range d.Links {
			onLink[e] = append(onLink[e], rising{i, upper, weight})
		}
	}
	stopped := map[int]bool{}
	for len(active) > 0 {
		// The next event is the lowest level at which a link fills or a demand is content.
		level, full := math.Inf(1), int32(-1)
		for _, r := range active {
			level = min(level, r.upper/r.weight)
		}
		for e, rs := range onLink {
			rs = slices.DeleteFunc(rs, func(r rising) bool { return stopped[r.demand] })
			onLink[e] = rs
			if len(rs) == 0 {
				delete(onLink, e)
				continue
			}
			// The level at which the risers on e have taken what is left there: those
			// whose rate already lies above the level do not move yet.
			slices.SortFunc(rs, func(a, b rising) int {
				return compareFloat(w.rate[a.demand]/a.weight, w.rate[b.demand]/b.weight)
			})
			base, speed, at := 0.0, 0.0, math.Inf(1)
			for k, r := range rs {
				base += w.rate[r.demand]
				speed += r.weight
				at = (max(w.left[e], 0) + base) / speed
				if k+1 < len(rs) && at <= w.rate[rs[k+1].demand]/rs[k+1].weight {
					break
				}
			}
			if at < level || at == level && full >= 0 && e < full {
				level, full = at, e
			}
		}
		rest := active[:0]
		for _, r := range active {
			grown := max(w.rate[r.demand], min(r.upper, r.weight*level))
			for _, e := range w.demands[r.demand].Links {
				w.left[e] -= grown - w.rate[r.demand]
			}
			w.rate[r.demand] = grown
			switch {
			case full < 0 && r.upper/r.weight <= level:
				w.rate[r.demand] = r.upper
				w.stop[r.demand] = -1
				stopped[r.demand] = true
			case full >= 0 && slices.Contains(w.demands[r.demand].Links, full):
				w.stop[r.demand] = full
				stopped[r.demand] = true
			default:
				rest = append(rest, r)
			}
		}
		if full >= 0 {
			w.left[full] = 0
		}
		active = rest
	}
}

// TestSharesEqualThoseFoundSlowly holds the two fillings against each other.
func TestSharesEqualThoseFoundSlowly(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for n := range 3000 {
		capacity, demands := randomShares(r)
		fast, err := MaxMin(capacity, demands)
		if err != nil {
			t.Fatal(err)
		}
		slow, err := maxMin(capacity, demands, (*water).fillSlowly)
		if err != nil {
			t.Fatal(err)
		}
		for i := range fast {
			if d := int64(fast[i].Rate) - int64(slow[i].Rate); d < -1 || d > 1 {
				t.Fatalf("network %d, demand %d: %+v, slowly %+v", n, i, fast[i], slow[i])
			}
		}
	}
}

// BenchmarkShares shares a torus of 1,024 nodes among 10,000 demands over ten
// links each, fast and slowly (the slow one has a tenth of the demands).
func BenchmarkShares(b *testing.B) {
	for _, c := range []struct {
		name string
		n    int
		fill filling
	}{{"10000", 10000, (*water).fill}, {"1000", 1000, (*water).fill}, {"1000 slowly", 1000, (*water).fillSlowly}} {
		b.Run(c.name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			capacity := make([]dssn.Bandwidth, 4096)
			for e := range capacity {
				capacity[e] = 400 * dssn.Gbps
			}
			demands := make([]PathDemand, c.n)
			for i := range demands {
				d := PathDemand{Weight: float64(1 + r.IntN(8)), Order: r.IntN(4), Committed: dssn.Bandwidth(1+r.IntN(10)) * dssn.Gbps, Ceiling: 100 * dssn.Gbps}
				for len(d.Links) < 10 {
					if e := int32(r.IntN(len(capacity))); !slices.Contains(d.Links, e) {
						d.Links = append(d.Links, e)
					}
				}
				demands[i] = d
			}
			for b.Loop() {
				if _, err := maxMin(capacity, demands, c.fill); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
