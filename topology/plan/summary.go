package plan

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"dssn"
	"dssn/topology/solve"
)

// Bottleneck is a link with a price: one more bit per second there is worth Price
// of the objective, relative to the dearest link.
type Bottleneck struct {
	Link     int
	Name     string
	Capacity dssn.Bandwidth
	Load     float64 // bits per second
	Price    float64 // 0 to 1
	// Share is, for max-min only, the rate per weight at which the link fills; in a stage of
	// committed rates a part of these.
	Share      float64
	Stage      solve.Stage
	Limited    int     // unsatisfied demands whose every path has this link or another priced one, counted at their dearest
	LimitedBps float64 // what these go without
}

// worth prints what a bottleneck's table has of it: its share for max-min, else its price.
func (b Bottleneck) worth() string {
	switch {
	case b.Stage.Kind == solve.Committed:
		return fmt.Sprintf("%.2f %% of committed", 100*b.Share)
	case b.Share > 0:
		return bps(b.Share)
	}
	return fmt.Sprintf("%.4f", b.Price)
}

// Limited is a demand that gets less than it asks for.
type Limited struct {
	Demand     int
	Src, Dst   string
	Asked, Got float64
	Link       int // the dearest link of its cheapest path, -1: no path at all
}

// Prices returns the link prices of the answer's proof; for max-min the sum over
// its levels, each scaled to one.
func (a *Answer) Prices() []float64 {
	y := make([]float64, a.Instance.Graph.NumLinks())
	add := func(p []float64) {
		top := 0.0
		for _, x := range p {
			top = math.Max(top, x)
		}
		for e, x := range p {
			if top > 0 && x > negligible*top {
				y[e] += x / top
			}
		}
	}
	if a.Allocation.Objective == solve.MaxMinFair {
		for _, l := range a.Allocation.Levels {
			add(l.Prices)
		}
		p := y
		y = make([]float64, len(p))
		add(p)
	} else {
		add(a.Allocation.Prices)
	}
	return y
}

// Limits lists who gets less than asked for and which link is to blame, the
// greatest shortfall first, and the priced links, the dearest first.
func (a *Answer) Limits() ([]Limited, []Bottleneck) {
	g, d := a.Instance.Graph, &a.Instance.Demands
	y := a.Prices()
	got := a.Allocation.Rates(d.Len())
	load := a.Allocation.Loads(g.NumLinks())
	blame := solve.DearestLinks(a.Instance, y)
	at := map[int]*Bottleneck{}
	first := a.firstLevels()
	for e, p := range y {
		if p > 0 {
			at[e] = &Bottleneck{Link: e, Name: g.LinkName(e), Capacity: g.Link(e).Capacity, Load: load[e], Price: p}
			if k := first[e]; k >= 0 {
				at[e].Share, at[e].Stage = a.Allocation.Levels[k].Rate, a.Allocation.Levels[k].Stage
			}
		}
	}
	var limited []Limited
	for i := range d.Len() {
		asked := float64(d.Rate[i])
		if got[i] >= asked*(1-1e-6) {
			continue
		}
		limited = append(limited, Limited{i, g.NodeLabel(int(d.Src[i])), g.NodeLabel(int(d.Dst[i])), asked, got[i], int(blame[i])})
		if b := at[int(blame[i])]; b != nil {
			b.Limited++
			b.LimitedBps += asked - got[i]
		}
	}
	slices.SortStableFunc(limited, func(x, y Limited) int { return cmp.Compare(y.Asked-y.Got, x.Asked-x.Got) })
	var all []Bottleneck
	for _, b := range at {
		all = append(all, *b)
	}
	slices.SortFunc(all, func(x, y Bottleneck) int {
		return cmp.Or(cmp.Compare(first[x.Link], first[y.Link]), cmp.Compare(y.Price, x.Price), cmp.Compare(x.Link, y.Link))
	})
	return limited, all
}

// firstLevels is by link the first level that has a price on it, -1: none has.
func (a *Answer) firstLevels() []int {
	out := make([]int, a.Instance.Graph.NumLinks())
	for e := range out {
		out[e] = -1
	}
	for k, l := range a.Allocation.Levels {
		top := slices.Max(l.Prices)
		for e, p := range l.Prices {
			if out[e] < 0 && p > negligible*top {
				out[e] = k
			}
		}
	}
	return out
}

// negligible is the part of the largest price below which a price says nothing to people.
const negligible = 1e-4

// demandName names a demand by its ends.
func (a *Answer) demandName(i int) string {
	g, d := a.Instance.Graph, &a.Instance.Demands
	return g.NodeLabel(int(d.Src[i])) + " → " + g.NodeLabel(int(d.Dst[i]))
}

// cutName lists the links that keep a committed rate from fitting.
func (a *Answer) cutName(s solve.Shortfall) string {
	if len(s.Cut) == 0 {
		return "no path"
	}
	var names []string
	for _, e := range s.Cut[:min(4, len(s.Cut))] {
		names = append(names, a.Instance.Graph.LinkName(int(e)))
	}
	if more := len(s.Cut) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// Headline says the outcome in one line.
func (a *Answer) Headline() string {
	v := a.Verdict
	switch a.Allocation.Objective {
	case solve.MaxFlow:
		return fmt.Sprintf("%s carried, %.2f %% of what is asked for; no plan carries more than %s (proven gap %.3g %%)",
			bps(v.Value), 100*v.Satisfied, bps(v.Bound), 100*math.Max(v.Gap, 0))
	case solve.MaxLambda:
		return fmt.Sprintf("every demand gets %.4f of its wish; no plan gives all of them more than %.4f (proven gap %.3g %%)",
			v.Value, math.Min(v.Bound, 1), 100*math.Max(0, math.Min(v.Bound, 1)-v.Value)/math.Max(math.Min(v.Bound, 1), 1e-300))
	}
	if v.Unproved > 0 {
		return fmt.Sprintf("%s in fair shares, %.2f %% of what is asked for, in %d levels; %d demands have no proof of their share",
			bps(v.Satisfied*a.asked()), 100*v.Satisfied, len(a.Allocation.Levels), v.Unproved)
	}
	return fmt.Sprintf("%s in fair shares, %.2f %% of what is asked for, in %d levels, each proved (slack %.2g %%)",
		bps(v.Satisfied*a.asked()), 100*v.Satisfied, len(a.Allocation.Levels), 100*v.Gap)
}

func (a *Answer) asked() (sum float64) {
	for _, r := range a.Instance.Demands.Rate {
		sum += float64(r)
	}
	return sum
}

// ProgressLine says in one line how far a long solve has come.
func ProgressLine(o solve.Objective, p solve.Progress) string {
	line := fmt.Sprintf("round %d, %d paths", p.Round, p.Columns)
	switch {
	case o == solve.MaxFlow:
		return line + fmt.Sprintf(": %s carried, at most %s", bps(p.Value), bps(p.Bound))
	case o == solve.MaxLambda:
		return line + fmt.Sprintf(": %.4f of every wish, at most %.4f", p.Value, math.Min(p.Bound, 1))
	case math.IsInf(p.Bound, 1):
		return line + fmt.Sprintf(": shares have risen to %s per weight", bps(p.Value))
	}
	return line + fmt.Sprintf(": shares have risen to %s per weight, the next stop is at %s", bps(p.Value), bps(p.Bound))
}

// bps prints a rate with three decimals at most.
func bps(x float64) string { return dssn.Bandwidth(math.Round(math.Max(x, 0))).String() + "bit/s" }

// Table writes the answer for a terminal.
func (a *Answer) Table(w io.Writer) error {
	limited, bottlenecks := a.Limits()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	d := &a.Instance.Demands
	fmt.Fprintf(t, "%s\n\n", a.Headline())
	fmt.Fprintf(t, "nodes\t%d\nlinks\t%d\ndemands\t%d, %d satisfied, %d without any path\npaths\t%.3f per demand, at most %d\nfullest link\t%.2f %%\n",
		a.Instance.Graph.NumNodes(), a.Instance.Graph.NumLinks(), d.Len(), d.Len()-len(limited), a.Allocation.Unserved,
		float64(len(a.Allocation.Flows))/math.Max(1, float64(d.Len())), a.Verdict.MostPaths, 100*a.Verdict.MaxUtilise)
	if len(bottlenecks) > 0 {
		worth := "price"
		if a.Allocation.Objective == solve.MaxMinFair {
			worth = "share"
		}
		fmt.Fprintf(t, "\nbottleneck\tcapacity\tload\t%s\tlimits\tby\n", worth)
		for _, b := range bottlenecks[:min(10, len(bottlenecks))] {
			fmt.Fprintf(t, "%s\t%s\t%.1f %%\t%s\t%d demands\t%s\n", b.Name, b.Capacity, 100*b.Load/float64(b.Capacity), b.worth(), b.Limited, bps(b.LimitedBps))
		}
	}
	if len(limited) > 0 {
		fmt.Fprint(t, "\nmost limited\tasks\tgets\tbecause of\n")
		for _, l := range limited[:min(10, len(limited))] {
			fmt.Fprintf(t, "%s → %s\t%s\t%s\t%s\n", l.Src, l.Dst, bps(l.Asked), bps(l.Got), a.because(l))
		}
	}
	a.shortTable(t)
	if a.Change != nil {
		fmt.Fprintf(t, "\nwhat if %s:\n%s\n", a.Change.What, a.Change.Headline())
		hurt, helped := a.compare()
		fmt.Fprintf(t, "%d demands get less, %d get more\n", hurt, helped)
		a.Change.shortTable(t)
	}
	return t.Flush()
}

// shortTable lists the committed rates that do not fit.
func (a *Answer) shortTable(w io.Writer) {
	short := a.Allocation.Short
	if len(short) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%d committed rates do not fit\tcommitted\tgets\tshort by\tbecause these are full\n", len(short))
	for _, s := range short[:min(10, len(short))] {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.demandName(int(s.Demand)), bps(s.Committed), bps(s.Got), bps(s.Committed-s.Got), a.cutName(s))
	}
}

func (a *Answer) because(l Limited) string {
	switch {
	case l.Link < 0:
		return "no path"
	case a.Prices()[l.Link] == 0:
		return "the common fraction"
	}
	return a.Instance.Graph.LinkName(l.Link)
}

// compare counts the demands that the change leaves with at least a thousandth less
// or more.
func (a *Answer) compare() (hurt, helped int) {
	n := a.Instance.Demands.Len()
	before, after := a.Allocation.Rates(n), a.Change.Allocation.Rates(a.Change.Instance.Demands.Len())
	for i, r := range before {
		switch {
		case after[i] < r*0.999:
			hurt++
		case after[i] > r*1.001:
			helped++
		}
	}
	return hurt, helped
}

// JSON returns the summary for programs; rates are bits per second.
func (a *Answer) JSON() []byte {
	v := a.Verdict
	limited, bottlenecks := a.Limits()
	b := fmt.Appendf(nil, `{"objective":%q,"value":%s,"bound":%s,"gap":%s,"satisfied":%s,"demands":%d,"limited":%d,"unserved":%d,"short":%d,"bottlenecks":%d`,
		a.Allocation.Objective, number(v.Value), number(v.Bound), number(v.Gap), number(v.Satisfied), a.Instance.Demands.Len(), len(limited), a.Allocation.Unserved, len(a.Allocation.Short), len(bottlenecks))
	if a.Change != nil {
		b = append(append(b, `,"change":`...), a.Change.JSON()[:len(a.Change.JSON())-1]...)
	}
	return append(b, "}\n"...)
}

// number prints a float as JSON; what JSON cannot say is null.
func number(x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "null"
	}
	return fmt.Sprintf("%.17g", x)
}
