package plan

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"

	"dssn/topology/solve"
)

const style = `<style>
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em;color:#222}
h1{margin-bottom:.1em}h2{margin:1.6em 0 .3em}
table{border-collapse:collapse;margin:.6em 0 1.2em}td,th{padding:.2em 1.1em .2em 0;text-align:left;border-bottom:1px solid #ddd}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
svg{width:100%;height:auto;background:#fafafa;border:1px solid #ddd}svg text{font-size:11px;fill:#333;paint-order:stroke;stroke:#fafafa;stroke-width:3px}svg circle{fill:#333}
.key,.note{color:#555}.key span{display:inline-block;width:2.2em;height:.7em;margin:0 .3em 0 .9em}
.facts{display:flex;flex-wrap:wrap;gap:.6em;margin:1em 0}.facts div{border:1px solid #ddd;border-radius:.3em;padding:.4em .9em}
.facts b{display:block;font-size:1.35em;font-weight:600}
.alarm{border-left:.3em solid #b00;background:#fbeeee;padding:.3em 1em;margin:1em 0}
.bars{display:flex;align-items:flex-end;gap:2px;height:5em;margin:.5em 0 0}.bars div{flex:1;min-height:1px}
.scale{display:flex;justify-content:space-between;color:#555}
</style>`

// HTML returns one self-contained page: what came out, the map with the links' loads, the
// bottlenecks, who is limited by what, committed rates that do not fit, and the what-if
// beside it.
func (a *Answer) HTML() []byte {
	var b strings.Builder
	name := html.EscapeString(cmp.Or(a.Instance.Name, "plan"))
	fmt.Fprintf(&b, `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>%s</title>%s</head><body><h1>%s</h1><p>%s</p>`+"\n",
		name, style, name, html.EscapeString(a.Headline()))
	limited, bottlenecks := a.Limits()
	a.facts(&b, limited, bottlenecks)
	a.shortPage(&b)
	a.drawMap(&b)
	a.drawLoads(&b)
	a.bottleneckPage(&b, bottlenecks)
	a.limitedPage(&b, limited)
	if a.Change != nil {
		a.changePage(&b)
	}
	b.WriteString("</body></html>\n")
	return []byte(b.String())
}

// facts is a row of the figures one looks for first.
func (a *Answer) facts(b *strings.Builder, limited []Limited, bottlenecks []Bottleneck) {
	n := a.Instance.Demands.Len()
	full := 0
	for e, x := range a.Allocation.Loads(a.Instance.Graph.NumLinks()) {
		if x >= 0.999*float64(a.Instance.Graph.Link(e).Capacity) {
			full++
		}
	}
	b.WriteString(`<div class=facts>`)
	fact := func(value, what string) { fmt.Fprintf(b, "<div><b>%s</b>%s</div>", value, what) }
	fact(bps(a.Verdict.Satisfied*a.asked()), "carried")
	fact(fmt.Sprintf("%.2f %%", 100*a.Verdict.Satisfied), "of what is asked for")
	fact(fmt.Sprintf("%d of %d", n-len(limited), n), "demands have all they want")
	fact(fmt.Sprint(full), "full links")
	fact(fmt.Sprint(len(bottlenecks)), "bottlenecks")
	fact(fmt.Sprintf("%.3f", float64(len(a.Allocation.Flows))/math.Max(1, float64(n))), "paths per demand")
	if a.Allocation.Unserved > 0 {
		fact(fmt.Sprint(a.Allocation.Unserved), "demands without any path")
	}
	b.WriteString("</div>\n")
}

// shortPage says which promises cannot be kept.
func (a *Answer) shortPage(b *strings.Builder) {
	short := a.Allocation.Short
	if len(short) == 0 {
		return
	}
	fmt.Fprintf(b, "<div class=alarm><h2>%d committed rates do not fit</h2><p>No plan gives these demands more without taking it from others that are as urgent: every path of theirs crosses one of the links named, and these are full.</p>\n", len(short))
	b.WriteString("<table><tr><th>demand<th class=n>committed<th class=n>gets<th class=n>short by<th>because of</tr>\n")
	for _, s := range short[:min(100, len(short))] {
		fmt.Fprintf(b, "<tr><td>%s<td class=n>%s<td class=n>%s<td class=n>%s<td>%s</tr>\n", html.EscapeString(a.demandName(int(s.Demand))), bps(s.Committed), bps(s.Got), bps(s.Committed-s.Got), html.EscapeString(a.cutName(s)))
	}
	b.WriteString("</table></div>\n")
}

// drawLoads draws how many links are how full.
func (a *Answer) drawLoads(b *strings.Builder) {
	const bins = 20
	var count [bins]int
	g := a.Instance.Graph
	most := 1
	for e, x := range a.Allocation.Loads(g.NumLinks()) {
		if l := g.Link(e); l.Usable() {
			k := min(bins-1, int(bins*x/float64(l.Capacity)*(1+1e-9)))
			count[k]++
			most = max(most, count[k])
		}
	}
	b.WriteString("<h2>How full the links are</h2><div class=bars>")
	for k, n := range count {
		fmt.Fprintf(b, `<div style="height:%.1f%%;background:%s" title="%d links between %d and %d %%"></div>`, 100*float64(n)/float64(most), heat((float64(k)+0.5)/bins), n, 100*k/bins, 100*(k+1)/bins)
	}
	b.WriteString("</div><div class=scale><span>idle</span><span>half full</span><span>full</span></div>\n")
}

func (a *Answer) bottleneckPage(b *strings.Builder, bottlenecks []Bottleneck) {
	fair := a.Allocation.Objective == solve.MaxMinFair
	fmt.Fprintf(b, "<h2>Bottlenecks</h2>\n<p>%s</p>\n", map[bool]string{
		false: "One more bit per second on a link is worth its price, the dearest link's being 1.",
		true:  "In the order in which they fill as everybody's share rises; the share is in bit/s per unit of weight. Who is stopped by the first ones has the least.",
	}[fair])
	b.WriteString("<table><tr><th>link<th class=n>capacity<th class=n>load<th class=n>" + map[bool]string{false: "price", true: "share"}[fair] + "<th class=n>demands limited<th class=n>that go without</tr>\n")
	for _, x := range bottlenecks[:min(100, len(bottlenecks))] {
		fmt.Fprintf(b, "<tr><td>%s<td class=n>%s<td class=n>%.1f %%<td class=n>%s<td class=n>%d<td class=n>%s</tr>\n", html.EscapeString(x.Name), x.Capacity, 100*x.Load/float64(x.Capacity), x.worth(), x.Limited, bps(x.LimitedBps))
	}
	b.WriteString("</table>\n")
	if more := len(bottlenecks) - 100; more > 0 {
		fmt.Fprintf(b, "<p class=note>and %d more</p>\n", more)
	}
}

func (a *Answer) limitedPage(b *strings.Builder, limited []Limited) {
	fmt.Fprintf(b, "<h2>Who is limited by what</h2><p>%d of %d demands get less than they ask for; the %d with the greatest shortfall:</p>\n", len(limited), a.Instance.Demands.Len(), min(200, len(limited)))
	b.WriteString("<table><tr><th>demand<th class=n>asks<th class=n>gets<th class=n>part<th>because of</tr>\n")
	for _, l := range limited[:min(200, len(limited))] {
		fmt.Fprintf(b, "<tr><td>%s → %s<td class=n>%s<td class=n>%s<td class=n>%.1f %%<td>%s</tr>\n", html.EscapeString(l.Src), html.EscapeString(l.Dst), bps(l.Asked), bps(l.Got), 100*l.Got/l.Asked, html.EscapeString(a.because(l)))
	}
	b.WriteString("</table>\n")
}

// changePage shows the what-if: its map, and who loses most by it.
func (a *Answer) changePage(b *strings.Builder) {
	hurt, helped := a.compare()
	fmt.Fprintf(b, "<h2>What if %s</h2><p>%s</p><p>%d demands get less, %d get more.</p>\n", html.EscapeString(a.Change.What), html.EscapeString(a.Change.Headline()), hurt, helped)
	a.Change.shortPage(b)
	a.Change.drawMap(b)
	n := a.Instance.Demands.Len()
	before, after := a.Allocation.Rates(n), a.Change.Allocation.Rates(a.Change.Instance.Demands.Len())
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(before[j]-after[j], before[i]-after[i]) })
	b.WriteString("<h3>Who loses most</h3><table><tr><th>demand<th class=n>asks<th class=n>before<th class=n>after</tr>\n")
	for _, i := range order[:min(20, n)] {
		if after[i] < before[i]*0.999 {
			fmt.Fprintf(b, "<tr><td>%s<td class=n>%s<td class=n>%s<td class=n>%s</tr>\n", html.EscapeString(a.demandName(i)), bps(float64(a.Instance.Demands.Rate[i])), bps(before[i]), bps(after[i]))
		}
	}
	b.WriteString("</table>\n")
}
