package solve

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"dssn"
)

func randomShares(r *rand.Rand) ([]dssn.Bandwidth, []PathDemand) {
	capacity := make([]dssn.Bandwidth, 1+r.IntN(5))
	for e := range capacity {
		capacity[e] = dssn.Bandwidth(r.IntN(4) * 1_000_003)
	}
	demands := make([]PathDemand, 1+r.IntN(7))
	for i := range demands {
		d := PathDemand{Weight: float64(1 + r.IntN(4)), Order: r.IntN(3), Committed: dssn.Bandwidth(r.IntN(3) * 200_000)}
		d.Ceiling = d.Committed + dssn.Bandwidth(r.IntN(3)*900_001)
		for e := range capacity {
			if r.IntN(2) == 0 {
				d.Links = append(d.Links, int32(e))
			}
		}
		demands[i] = d
	}
	return capacity, demands
}

// TestSharesAreMaxMinFair checks what defines max-min fairness: whoever is under
// its ceiling crosses a full link on which nobody of its order could give way:
// all others there have, per weight, no more, or hold only what was committed to
// them, or come first.
func TestSharesAreMaxMinFair(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	limited, short := 0, 0
	for range 20000 {
		capacity, demands := randomShares(r)
		shares, err := MaxMin(capacity, demands)
		if err != nil {
			t.Fatal(err)
		}
		load := make([]dssn.Bandwidth, len(capacity))
		for i, d := range demands {
			for _, e := range d.Links {
				load[e] += shares[i].Rate
			}
		}
		for e := range load {
			if load[e] > capacity[e] {
				t.Fatalf("link %d carries %d of %d: %+v %+v", e, load[e], capacity[e], demands, shares)
			}
		}
		for i, d := range demands {
			s := shares[i]
			if s.Rate > d.Ceiling || s.Short != d.Committed-min(d.Committed, s.Rate) {
				t.Fatalf("demand %+v got %+v", d, s)
			}
			if s.Short > 0 {
				short++
				continue
			}
			if s.Rate == d.Ceiling {
				continue
			}
			limited++
			if s.Bottleneck < 0 || !slices.Contains(d.Links, s.Bottleneck) || capacity[s.Bottleneck]-load[s.Bottleneck] > 20 {
				t.Fatalf("capacity %v load %v: demand %d %+v got %+v without a full link", capacity, load, i, d, s)
			}
			for j, o := range demands {
				if !slices.Contains(o.Links, s.Bottleneck) || o.Order < d.Order || shares[j].Rate <= o.Committed {
					continue
				}
				if o.Order > d.Order || float64(shares[j].Rate)/o.Weight > float64(s.Rate)/d.Weight*(1+1e-9)+4 {
					t.Fatalf("capacity %v: demand %d %+v has %+v while demand %d %+v has %+v", capacity, i, d, s, j, o, shares[j])
				}
			}
		}
	}
	if limited < 1000 || short < 1000 {
		t.Errorf("the cases are lopsided: %d limited, %d short", limited, short)
	}
}

func TestSharesOfAKnownExample(t *testing.T) {
	// A long flow over two links against one short flow on each: the classic.
	shares, err := MaxMin([]dssn.Bandwidth{10 * dssn.Gbps, 20 * dssn.Gbps}, []PathDemand{
		{Links: []int32{0, 1}, Ceiling: dssn.Tbps, Weight: 1},
		{Links: []int32{0}, Ceiling: dssn.Tbps, Weight: 1},
		{Links: []int32{1}, Ceiling: dssn.Tbps, Weight: 1},
		{Ceiling: 3 * dssn.Gbps, Weight: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Share{{5 * dssn.Gbps, 0, 0}, {5 * dssn.Gbps, 0, 0}, {15 * dssn.Gbps, 1, 0}, {3 * dssn.Gbps, -1, 0}}
	if !slices.Equal(shares, want) {
		t.Errorf("got %+v, want %+v", shares, want)
	}
}

func TestCommittedComesBeforeCeilingAndOrderBeforeOrder(t *testing.T) {
	shares, err := MaxMin([]dssn.Bandwidth{100}, []PathDemand{
		{Links: []int32{0}, Committed: 10, Ceiling: 100, Weight: 1, Order: 2},
		{Links: []int32{0}, Committed: 0, Ceiling: 60, Weight: 1, Order: 1},
		{Links: []int32{0}, Committed: 20, Ceiling: 25, Weight: 1, Order: 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Share{{20, 0, 0}, {60, -1, 0}, {20, 0, 0}}
	if !slices.Equal(shares, want) {
		t.Errorf("got %+v, want %+v", shares, want)
	}
	shares, err = MaxMin([]dssn.Bandwidth{100}, []PathDemand{
		{Links: []int32{0}, Committed: 120, Ceiling: 120, Weight: 1, Order: 1},
		{Links: []int32{0}, Committed: 40, Ceiling: 100, Weight: 1, Order: 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	want = []Share{{60, 0, 60}, {40, 0, 0}}
	if !slices.Equal(shares, want) {
		t.Errorf("overcommitted: got %+v, want %+v", shares, want)
	}
}

func TestMaxMinRefusesNonsense(t *testing.T) {
	for _, d := range []PathDemand{
		{Committed: 2, Ceiling: 1, Weight: 1},
		{Ceiling: 1},
		{Ceiling: 1, Weight: math.NaN()},
		{Ceiling: 1, Weight: math.Inf(1)},
		{Ceiling: 1, Weight: 1, Links: []int32{1}},
		{Ceiling: 1, Weight: 1, Links: []int32{-1}},
		{Ceiling: 1, Weight: 1, Links: []int32{0, 0}},
	} {
		if s, err := MaxMin([]dssn.Bandwidth{1}, []PathDemand{d}); err == nil {
			t.Errorf("%+v got %+v", d, s)
		}
	}
}
