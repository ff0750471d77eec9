package plan

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// place is a node's position in the picture.
type place struct{ x, y float64 }

const mapWidth, mapMost, mapMargin = 1000.0, 640.0, 34.0

// places puts located nodes where they lie (longitudes shrunk by the cosine of the middle
// latitude) and the others on a circle; a map without positions is a circle. height is
// what the picture needs.
func (a *Answer) places() (out []place, height float64) {
	g := a.Instance.Graph
	out = make([]place, g.NumNodes())
	real := func(i int) bool { x := g.Node(i); return x.Located && (x.Lat != 0 || x.Lon != 0) }
	lo, hi := place{math.Inf(1), math.Inf(1)}, place{math.Inf(-1), math.Inf(-1)}
	sum, n := 0.0, 0
	for i := range out {
		if real(i) {
			sum += g.Node(i).Lat
			n++
		}
	}
	if n < 2 {
		return a.circle(out, func(int) bool { return true }, mapMost), mapMost
	}
	shrink := math.Cos(sum / float64(n) * math.Pi / 180)
	for i := range out {
		if real(i) {
			p := place{g.Node(i).Lon * shrink, -g.Node(i).Lat}
			lo, hi = place{min(lo.x, p.x), min(lo.y, p.y)}, place{max(hi.x, p.x), max(hi.y, p.y)}
			out[i] = p
		}
	}
	wide, high := math.Max(hi.x-lo.x, 1e-6), math.Max(hi.y-lo.y, 1e-6)
	scale := math.Min((mapWidth-2*mapMargin)/wide, (mapMost-2*mapMargin)/high)
	height = math.Max(high*scale+2*mapMargin, mapMost/4)
	left := (mapWidth - wide*scale) / 2
	top := (height - high*scale) / 2
	for i := range out {
		if real(i) {
			out[i] = place{left + (out[i].x-lo.x)*scale, top + (out[i].y-lo.y)*scale}
		}
	}
	return a.circle(out, func(i int) bool { return !real(i) }, height), height
}

// circle puts the wanted nodes on a circle.
func (a *Answer) circle(out []place, wanted func(i int) bool, height float64) []place {
	for i := range out {
		if wanted(i) {
			angle := 2 * math.Pi * float64(i) / float64(len(out))
			out[i] = place{mapWidth/2 + (height/2-mapMargin)*math.Cos(angle), height/2 + (height/2-mapMargin)*math.Sin(angle)}
		}
	}
	return out
}

// drawMap draws every link as a line beside its opposite direction, coloured by load;
// bottlenecks are thick, and in a large network only their ends are named.
func (a *Answer) drawMap(b *strings.Builder) {
	g := a.Instance.Graph
	load, y := a.Allocation.Loads(g.NumLinks()), a.Prices()
	at, height := a.places()
	named := make([]bool, g.NumNodes())
	fmt.Fprintf(b, `<svg viewBox="0 0 %g %.0f" role="img" aria-label="map of link loads">`+"\n", mapWidth, height)
	// Thick lines last, so that they lie above the others.
	for _, thick := range []bool{false, true} {
		for e, l := range g.Links() {
			if y[e] > 0 != thick {
				continue
			}
			p, q := at[l.Src], at[l.Dst]
			length := math.Max(math.Hypot(q.x-p.x, q.y-p.y), 1e-6)
			// To the right of the way of travel, so that both directions show.
			dx, dy := -(q.y-p.y)/length*1.6, (q.x-p.x)/length*1.6
			width, dash := 1.6, ""
			if thick {
				width = 4
				named[l.Src], named[l.Dst] = true, true
			}
			use := load[e] / float64(l.Capacity)
			colour := heat(use)
			state := fmt.Sprintf("%.1f %% of %s", 100*use, l.Capacity)
			switch {
			case l.Down:
				colour, dash, state = "#888", ` stroke-dasharray="3 4"`, "down"
			case l.Drained:
				colour, dash, state = "#888", ` stroke-dasharray="3 4"`, "drained"
			case thick:
				state += ", a bottleneck"
			}
			fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%g"%s><title>%s: %s</title></line>`+"\n",
				p.x+dx, p.y+dy, q.x+dx, q.y+dy, colour, width, dash, html.EscapeString(g.LinkName(e)), state)
		}
	}
	var labels []place
	for i, p := range at {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="2.8"><title>%s</title></circle>`, p.x, p.y, html.EscapeString(g.NodeLabel(i)))
		// A label that would lie on another one is left out; pointing at the node shows it.
		free := !slices.ContainsFunc(labels, func(o place) bool { return math.Abs(o.x-p.x) < 70 && math.Abs(o.y-p.y) < 11 })
		if (g.NumNodes() <= 60 || named[i]) && free {
			labels = append(labels, p)
			anchor, dx := "start", 5.0
			if p.x > mapWidth-130 {
				anchor, dx = "end", -5
			}
			fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, p.x+dx, p.y-5, anchor, html.EscapeString(g.NodeLabel(i)))
		}
	}
	b.WriteString("</svg>\n<p class=key>load")
	for _, u := range []float64{0, 0.25, 0.5, 0.75, 0.95, 1} {
		fmt.Fprintf(b, `<span style="background:%s"></span>%.0f %%`, heat(u), 100*u)
	}
	b.WriteString(" · thick: a bottleneck · dashed: down or drained · point at a line for its figures</p>\n")
}

// heat is green for an idle link, amber for a busy one, red for a full one.
func heat(u float64) string {
	u = math.Max(0, math.Min(1, u))
	return fmt.Sprintf("hsl(%.0f 75%% 42%%)", 130*(1-u))
}
