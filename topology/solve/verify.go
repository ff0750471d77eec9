// Verify believes nothing but the instance and arithmetic.
//
// It shares no code with the solver: it reads the allocation as a stranger's,
// sums rates and loads exactly enough, and finds the least price of every demand
// by its own Bellman-Ford-like search, so that a bug in the solver's trees cannot
// excuse itself. The bounds are those of ../../../shared/te/README.md.

package solve

import (
	"fmt"
	"math"
)

// Tolerance is the relative excess over a demand or a capacity that rounding may cause.
const Tolerance = 1e-9

// Verdict is what Verify found to be true.
type Verdict struct {
	Value float64 // of the objective, see Allocation.Value
	Bound float64 // no allocation at all can have a greater value; +Inf without prices
	// Gap is (Bound-Value)/Bound for MaxFlow and MaxLambda. For MaxMinFair it is
	// the largest relative gain that any unsatisfied demand could have at the cost
	// of nobody worse off than itself.
	Gap        float64
	MostPaths  int // of one demand
	Unproved   int // max-min: unsatisfied demands without a level that proves them within Eps
	Satisfied  float64
	MaxUtilise float64
}

// Eps is the slack within which a max-min level proves a demand.
const Eps = 0.01

// Verify checks a against in, and returns what the allocation's own proof proves.
// An error names the first breach: then the allocation must not be used.
func Verify(in *Instance, a *Allocation) (*Verdict, error) {
	v := &Verdict{Bound: math.Inf(1)}
	rate, err := verifyFlows(in, a, v)
	if err != nil {
		return nil, err
	}
	d := &in.Demands
	switch a.Objective {
	case MaxFlow:
		for _, r := range rate {
			v.Value += r
		}
	case MaxLambda:
		v.Value = math.Inf(1)
		for i, r := range rate {
			v.Value = math.Min(v.Value, r/float64(d.Rate[i]))
		}
	case MaxMinFair:
		return v, verifyLevels(in, a, rate, v)
	}
	if len(rate) == 0 {
		v.Value, v.Bound = 0, 0
		return v, nil
	}
	if a.Prices == nil {
		v.Gap = 1
		return v, nil
	}
	if err := verifyPrices(in, a.Prices); err != nil {
		return nil, err
	}
	dist := leastPrices(in, a.Prices)
	supply, sum := supplyOf(in, a.Prices), 0.0
	for i, x := range dist {
		b := float64(d.Rate[i])
		switch {
		case a.Objective == MaxLambda:
			sum += b * x
		case x < 1:
			sum += b * (1 - x)
		}
	}
	switch {
	case a.Objective == MaxFlow:
		v.Bound = supply + sum
	case math.IsInf(sum, 1):
		v.Bound = 0 // somebody has no path at all
	case sum > 0:
		v.Bound = supply / sum
	}
	if v.Bound > 0 {
		v.Gap = (v.Bound - v.Value) / v.Bound
	}
	if v.Gap < -1e-6 {
		return nil, fmt.Errorf("the value %g exceeds the bound %g: the arithmetic of this program is broken", v.Value, v.Bound)
	}
	return v, nil
}

func verifyFlows(in *Instance, a *Allocation, v *Verdict) ([]float64, error) {
	g, d := in.Graph, &in.Demands
	links := g.Links()
	rate, load := make([]float64, d.Len()), make([]float64, len(links))
	paths := make([]int, d.Len())
	seen := make([]int, g.NumNodes()) // by node, the number of the flow that visited it last, plus one
	used := map[string]bool{}
	for i, f := range a.Flows {
		if f.Demand < 0 || int(f.Demand) >= d.Len() {
			return nil, fmt.Errorf("flow %d belongs to demand %d, which does not exist", i, f.Demand)
		}
		if !(f.Rate > 0) || math.IsInf(f.Rate, 1) {
			return nil, fmt.Errorf("flow %d has rate %g: it must be positive and finite", i, f.Rate)
		}
		at, micros := int(d.Src[f.Demand]), int64(0)
		seen[at] = i + 1
		key := []byte{byte(f.Demand), byte(f.Demand >> 8), byte(f.Demand >> 16), byte(f.Demand >> 24)}
		for _, e := range f.Path {
			if e < 0 || int(e) >= len(links) {
				return nil, fmt.Errorf("flow %d uses link %d, which does not exist", i, e)
			}
			l := &links[e]
			switch {
			case l.Src != at:
				return nil, fmt.Errorf("flow %d: link %d (%s) does not start at %q", i, e, g.LinkName(int(e)), g.NodeLabel(at))
			case !l.Usable():
				return nil, fmt.Errorf("flow %d: link %d (%s) is down or drained", i, e, g.LinkName(int(e)))
			case seen[l.Dst] == i+1:
				return nil, fmt.Errorf("flow %d visits %q twice", i, g.NodeLabel(l.Dst))
			}
			at = l.Dst
			seen[at] = i + 1
			micros += l.LatencyMicros
			load[e] += f.Rate
			key = append(key, byte(e), byte(e>>8), byte(e>>16), byte(e>>24))
		}
		if at != int(d.Dst[f.Demand]) {
			return nil, fmt.Errorf("flow %d ends at %q, but demand %d goes to %q", i, g.NodeLabel(at), f.Demand, g.NodeLabel(int(d.Dst[f.Demand])))
		}
		if d.MaxLatencyMicros != nil && micros > d.MaxLatencyMicros[f.Demand] {
			return nil, fmt.Errorf("flow %d takes %d us, but demand %d allows %d", i, micros, f.Demand, d.MaxLatencyMicros[f.Demand])
		}
		if paths[f.Demand]++; paths[f.Demand] > 1 {
			if used[string(key)] {
				return nil, fmt.Errorf("flow %d repeats a path of demand %d", i, f.Demand)
			}
		}
		used[string(key)] = true
		v.MostPaths = max(v.MostPaths, paths[f.Demand])
		rate[f.Demand] += f.Rate
	}
	total, wish := 0.0, 0.0
	for i, r := range rate {
		if b := float64(d.Rate[i]); r > b*(1+Tolerance) {
			return nil, fmt.Errorf("demand %d gets %.0f of %d bps", i, r, d.Rate[i])
		}
		total += r
		wish += float64(d.Rate[i])
	}
	if wish > 0 {
		v.Satisfied = total / wish
	}
	for e, l := range load {
		c := float64(links[e].Capacity)
		if l > c*(1+Tolerance) {
			return nil, fmt.Errorf("link %d (%s) carries %.0f of %d bps", e, g.LinkName(e), l, links[e].Capacity)
		}
		v.MaxUtilise = math.Max(v.MaxUtilise, l/c)
	}
	return rate, nil
}

func verifyPrices(in *Instance, y []float64) error {
	if len(y) != in.Graph.NumLinks() {
		return fmt.Errorf("there are %d prices for %d links", len(y), in.Graph.NumLinks())
	}
	for e, p := range y {
		if !(p >= 0) || math.IsInf(p, 1) {
			return fmt.Errorf("link %d has price %g: it must be finite and not negative", e, p)
		}
	}
	return nil
}

func supplyOf(in *Instance, y []float64) (s float64) {
	links := in.Graph.Links()
	for e, p := range y {
		if links[e].Usable() {
			s += p * float64(links[e].Capacity)
		}
	}
	return s
}

// leastPrices returns for every demand the least price over all its paths,
// latency bounds aside, by label correction with a queue: slower than Dijkstra,
// shorter, and a different road to the same numbers.
func leastPrices(in *Instance, y []float64) []float64 {
	g, d := in.Graph, &in.Demands
	links := g.Links()
	by := map[int32][]int32{}
	for i, s := range d.Src {
		by[s] = append(by[s], int32(i))
	}
	out := make([]float64, d.Len())
	dist, queued := make([]float64, g.NumNodes()), make([]bool, g.NumNodes())
	var queue []int32
	for s, demands := range by {
		for i := range dist {
			dist[i] = math.Inf(1)
		}
		dist[s] = 0
		queue = append(queue[:0], s)
		for head := 0; head < len(queue); head++ {
			u := queue[head]
			queued[u] = false
			for _, e := range g.Out(int(u)) {
				l := &links[e]
				if !l.Usable() {
					continue
				}
				if x := dist[u] + y[e]; x < dist[l.Dst] {
					dist[l.Dst] = x
					if !queued[l.Dst] {
						queued[l.Dst] = true
						queue = append(queue, int32(l.Dst))
					}
				}
			}
		}
		for _, i := range demands {
			out[i] = dist[d.Dst[i]]
		}
	}
	return out
}

// verifyLevels judges a max-min proof. In a stage (see Stage) low is as urgent as the
// level: what portions returns instead of whole rates; else A level (t, y) proves a demand whose rate per
// weight is t within Eps: with low the demands whose rate per weight is at most
// t(1+Eps), no allocation that keeps all of low at their rates gives the demand
// more than gap/dist extra, where gap = supply(y) - Σ_low dist·rate.
func verifyLevels(in *Instance, a *Allocation, rate []float64, v *Verdict) error {
	d := &in.Demands
	norm := make([]float64, len(rate))
	slack := make([]float64, len(rate))
	reach := leastPrices(in, make([]float64, in.Graph.NumLinks()))
	v.Value = math.Inf(1)
	for i, r := range rate {
		norm[i] = r / d.Weight[i]
		v.Value = math.Min(v.Value, norm[i])
		slack[i] = math.Inf(1)
		if r >= float64(d.Rate[i])*(1-Tolerance) || math.IsInf(reach[i], 1) {
			slack[i] = 0
		}
	}
	for j, l := range a.Levels {
		if err := verifyPrices(in, l.Prices); err != nil {
			return fmt.Errorf("level %d: %w", j, err)
		}
		if !(l.Rate >= 0) || math.IsInf(l.Rate, 1) {
			return fmt.Errorf("level %d has rate %g: it must be finite and not negative", j, l.Rate)
		}
		dist := leastPrices(in, l.Prices)
		gap := supplyOf(in, l.Prices)
		if l.Stage.Kind != Together {
			for i, p := range portions(d, rate, l) {
				if !math.IsInf(dist[i], 1) {
					gap -= dist[i] * p
				}
			}
			gap = math.Max(gap, 0)
			for i, x := range dist {
				if l.concerns(d, i, rate[i]) && x > 0 && !math.IsInf(x, 1) {
					// What a demand goes without counts against what it asks for: it may have nothing.
					slack[i] = math.Min(slack[i], gap/x/math.Max(rate[i], Eps*float64(d.Rate[i])))
				}
			}
			continue
		}
		for i, x := range dist {
			if norm[i] <= l.Rate*(1+Eps) && !math.IsInf(x, 1) {
				gap -= x * rate[i]
			}
		}
		gap = math.Max(gap, 0)
		for i, x := range dist {
			if norm[i] <= l.Rate*(1+Eps) && norm[i] >= l.Rate*(1-Eps) && x > 0 && !math.IsInf(x, 1) {
				slack[i] = math.Min(slack[i], gap/x/math.Max(rate[i], 1e-300))
			}
		}
	}
	for _, s := range slack {
		v.Gap = math.Max(v.Gap, s)
		if s > Eps {
			v.Unproved++
		}
	}
	v.Bound = v.Value
	return nil
}
