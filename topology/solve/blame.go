// Who is limited by what.

package solve

import "math"

// DearestLinks returns for every demand the dearest link of its cheapest path at
// the given prices, which is the link to blame if the demand goes short; -1 where
// it has no path.
func DearestLinks(in *Instance, prices []float64) []int32 {
	n := newNet(in.Graph)
	w := newWorkload(&in.Demands, func(int) float64 { return 0 })
	cost := make([]float64, n.links)
	for l, y := range prices {
		cost[l] = y + n.tie[l]
	}
	out := make([]int32, in.Demands.Len())
	t := newPriceTree(n)
	for k, s := range w.sources {
		t.grow(n, s, cost, prices, math.Inf(1))
		for d := w.from[k]; d < w.from[k+1]; d++ {
			worst := int32(-1)
			for _, l := range t.walk(n, w.dst[d]) {
				if worst < 0 || prices[l] > prices[worst] {
					worst = l
				}
			}
			out[w.of[d]] = worst
		}
	}
	return out
}
