package paths

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestKShortestAreTheFirstOfAllPaths(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	several := 0
	for range 600 {
		g := randomGraph(r)
		src, dst := 0, g.NumNodes()-1
		all := allPaths(g, src, dst, every)
		slices.SortFunc(all, func(a, b Path) int { return order(g, a, b) })
		k := 1 + r.IntN(8)
		got, err := KShortest(g, src, dst, k, Constraint{})
		if (err == nil) != (len(all) > 0) {
			t.Fatalf("error %v with %d paths", err, len(all))
		}
		want := all[:min(k, len(all))]
		if !slices.EqualFunc(got, want, func(a, b Path) bool { return slices.Equal(a, b) }) {
			t.Fatalf("links %+v, k %d: got %v, want %v", g.Links(), k, got, want)
		}
		if len(got) > 2 {
			several++
		}
	}
	if several < 50 {
		t.Errorf("only %d cases had more than two paths", several)
	}
}
