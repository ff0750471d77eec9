package plan

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// HTML returns one self-contained page: the map with the links' loads, the
// bottlenecks and their prices, who is limited by what, and the what-if beside it.
func (a *Answer) HTML() []byte {
	var b strings.Builder
	name := a.Instance.Name
	if name == "" {
		name = "plan"
	}
	fmt.Fprintf(&b, `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>%s</title><style>
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.6em 0 1.6em}td,th{padding:.2em .9em .2em 0;text-align:left;border-bottom:1px solid #ddd}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}svg{width:100%%;height:auto;background:#fafafa;border:1px solid #ddd}
.key span{display:inline-block;width:2.5em;height:.7em;margin:0 .3em 0 1em}
</style></head><body><h1>%s</h1><p>%s</p>
`, html.EscapeString(name), html.EscapeString(name), html.EscapeString(a.Headline()))
	a.drawMap(&b)
	limited, bottlenecks := a.Limits()
	fmt.Fprintf(&b, "<h2>Bottlenecks</h2><p>%d links have a price: one more bit per second there is worth that much of the objective, the dearest link being 1.</p>\n", len(bottlenecks))
	b.WriteString("<table><tr><th>link<th class=n>capacity<th class=n>load<th class=n>price<th class=n>demands limited<th class=n>that go without</tr>\n")
	for _, x := range bottlenecks[:min(100, len(bottlenecks))] {
		fmt.Fprintf(&b, "<tr><td>%s<td class=n>%s<td class=n>%.1f %%<td class=n>%.4f<td class=n>%d<td class=n>%s</tr>\n", html.EscapeString(x.Name), x.Capacity, 100*x.Load/float64(x.Capacity), x.Price, x.Limited, bps(x.LimitedBps))
	}
	fmt.Fprintf(&b, "</table><h2>Who is limited by what</h2><p>%d of %d demands get less than they ask for; the %d with the greatest shortfall:</p>\n", len(limited), a.Instance.Demands.Len(), min(200, len(limited)))
	b.WriteString("<table><tr><th>demand<th class=n>asks<th class=n>gets<th>because of</tr>\n")
	for _, l := range limited[:min(200, len(limited))] {
		fmt.Fprintf(&b, "<tr><td>%s → %s<td class=n>%s<td class=n>%s<td>%s</tr>\n", html.EscapeString(l.Src), html.EscapeString(l.Dst), bps(l.Asked), bps(l.Got), html.EscapeString(a.because(l)))
	}
	b.WriteString("</table>\n")
	if a.Change != nil {
		hurt, helped := a.compare()
		fmt.Fprintf(&b, "<h2>What if %s</h2><p>%s</p><p>%d demands get less, %d get more.</p>\n", html.EscapeString(a.Change.What), html.EscapeString(a.Change.Headline()), hurt, helped)
		a.Change.drawMap(&b)
	}
	b.WriteString("</body></html>\n")
	return []byte(b.String())
}

// place is a node's position in the picture.
type place struct{ x, y float64 }

const mapWidth, mapHeight = 1000.0, 620.0

// places puts located nodes where they lie (longitudes shrunk by the cosine of the middle
// latitude) and the others on a circle; a map without positions is a circle.
func (a *Answer) places() []place {
	g := a.Instance.Graph
	out := make([]place, g.NumNodes())
	lo, hi := place{math.Inf(1), math.Inf(1)}, place{math.Inf(-1), math.Inf(-1)}
	sum, n := 0.0, 0
	real := func(i int) bool { x := g.Node(i); return x.Located && (x.Lat != 0 || x.Lon != 0) }
	for i := range out {
		if real(i) {
			sum += g.Node(i).Lat
			n++
		}
	}
	shrink := 1.0
	if n > 0 {
		shrink = math.Cos(sum / float64(n) * math.Pi / 180)
	}
	for i := range out {
		if real(i) {
			out[i] = place{g.Node(i).Lon * shrink, -g.Node(i).Lat}
		}
	}
	for i, p := range out {
		if real(i) {
			lo, hi = place{min(lo.x, p.x), min(lo.y, p.y)}, place{max(hi.x, p.x), max(hi.y, p.y)}
		}
	}
	scale := math.Min((mapWidth-60)/math.Max(hi.x-lo.x, 1e-6), (mapHeight-60)/math.Max(hi.y-lo.y, 1e-6))
	for i := range out {
		if real(i) && n > 1 {
			out[i] = place{30 + (out[i].x-lo.x)*scale, 30 + (out[i].y-lo.y)*scale}
			continue
		}
		angle := 2 * math.Pi * float64(i) / float64(len(out))
		out[i] = place{mapWidth/2 + (mapHeight/2-30)*math.Cos(angle), mapHeight/2 + (mapHeight/2-30)*math.Sin(angle)}
	}
	return out
}

// drawMap draws every link as a line beside its opposite direction, coloured by
// load, priced links thicker.
func (a *Answer) drawMap(b *strings.Builder) {
	g := a.Instance.Graph
	at, load, y := a.places(), a.Allocation.Loads(g.NumLinks()), a.Prices()
	fmt.Fprintf(b, `<svg viewBox="0 0 %g %g" role="img" aria-label="map of link loads">`+"\n", mapWidth, mapHeight)
	for e, l := range g.Links() {
		p, q := at[l.Src], at[l.Dst]
		length := math.Max(math.Hypot(q.x-p.x, q.y-p.y), 1e-6)
		// To the right of the way of travel, so that both directions show.
		dx, dy := -(q.y-p.y)/length*1.4, (q.x-p.x)/length*1.4
		width, dash := 1.4, ""
		if y[e] > 0 {
			width = 3
		}
		use := load[e] / float64(l.Capacity)
		colour := heat(use)
		if !l.Usable() {
			colour, dash = "#999", ` stroke-dasharray="3 3"`
		}
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%g"%s><title>%s: %.1f %% of %s, price %.4f</title></line>`+"\n",
			p.x+dx, p.y+dy, q.x+dx, q.y+dy, colour, width, dash, html.EscapeString(g.LinkName(e)), 100*use, l.Capacity, y[e])
	}
	for i, p := range at {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="2.6" fill="#333"><title>%s</title></circle>`, p.x, p.y, html.EscapeString(g.NodeLabel(i)))
		if g.NumNodes() <= 60 {
			fmt.Fprintf(b, `<text x="%.1f" y="%.1f" font-size="10" fill="#333">%s</text>`, p.x+4, p.y-4, html.EscapeString(g.NodeLabel(i)))
		}
	}
	b.WriteString("</svg>\n<p class=key>load:")
	for _, u := range []float64{0, 0.25, 0.5, 0.75, 0.95, 1} {
		fmt.Fprintf(b, `<span style="background:%s"></span>%.0f %%`, heat(u), 100*u)
	}
	b.WriteString("; thick: a bottleneck; dashed: out of use</p>\n")
}

// heat is green for an idle link, amber for a busy one, red for a full one.
func heat(u float64) string {
	u = math.Max(0, math.Min(1, u))
	return fmt.Sprintf("hsl(%.0f 75%% 42%%)", 130*(1-u))
}
