package report

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Charts are SVG made here: no script, no font, nothing fetched. A chart is lines
// over two scales, each linear, logarithmic, or by nines (percentiles, of which
// the last few are what matters).

type scaleKind int

const (
	linear scaleKind = iota
	logarithmic
	nines // 0 to 100 %, by −log10(1 − p)
)

type line struct {
	name   string
	points [][2]float64
	steps  bool
}

type chart struct {
	title        string
	xName, yName string
	xUnit, yUnit Unit
	xKind, yKind scaleKind
	lines        []line
}

// The drawing area, in SVG units: margins for the labels around it.
const (
	chartWidth, chartHeight = 860, 300
	marginLeft, marginRight = 92, 18
	marginTop, marginBottom = 14, 46
	plotWidth, plotHeight   = chartWidth - marginLeft - marginRight, chartHeight - marginTop - marginBottom
	maxDrawn                = 2000 // points of one line
)

// axis maps values to 0…1.
type axis struct {
	kind      scaleKind
	low, high float64 // in the scale's own measure
}

func (k scaleKind) measure(v float64) float64 {
	switch k {
	case logarithmic:
		return math.Log10(math.Max(v, 1e-12))
	case nines:
		return -math.Log10(math.Max(1-v/100, 1e-7))
	}
	return v
}

func newAxis(kind scaleKind, low, high float64) axis {
	a := axis{kind, kind.measure(low), kind.measure(high)}
	if kind == linear && low > 0 && low < 0.75*high {
		a.low = 0
	}
	if a.high <= a.low {
		a.high = a.low + 1
	}
	return a
}

func (a axis) at(v float64) float64 { return (a.kind.measure(v) - a.low) / (a.high - a.low) }

// ticks are round values across the axis.
func (a axis) ticks(n int) (out []float64) {
	switch a.kind {
	case logarithmic:
		for e := math.Floor(a.low); e <= math.Ceil(a.high); e++ {
			for _, m := range []float64{1, 2, 5} {
				v := m * math.Pow(10, e)
				if p := a.at(v); p >= -1e-9 && p <= 1+1e-9 && (m == 1 || a.high-a.low < 2.5) {
					out = append(out, v)
				}
			}
		}
		return out
	case nines:
		for _, v := range []float64{0, 50, 90, 99, 99.9, 99.99, 99.999, 99.9999} {
			if a.at(v) <= 1+1e-9 {
				out = append(out, v)
			}
		}
		return out
	}
	step := math.Pow(10, math.Floor(math.Log10((a.high-a.low)/float64(n))))
	for _, m := range []float64{1, 2, 5, 10} {
		if (a.high-a.low)/(step*m) <= float64(n) {
			step *= m
			break
		}
	}
	for v := math.Ceil(a.low/step) * step; v <= a.high+step*1e-9; v += step {
		out = append(out, round(v))
	}
	return out
}

// span finds the least and greatest value of one coordinate.
func (c chart) span(i int) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, l := range c.lines {
		for _, p := range l.points {
			low, high = math.Min(low, p[i]), math.Max(high, p[i])
		}
	}
	return low, high
}

// svg draws the chart; empty if there is nothing to draw.
func (c chart) svg() string {
	xLow, xHigh := c.span(0)
	yLow, yHigh := c.span(1)
	if math.IsInf(xLow, 0) {
		return ""
	}
	if c.yKind == logarithmic && yLow <= 0 {
		c.yKind = linear
	}
	x, y := newAxis(c.xKind, xLow, xHigh), newAxis(c.yKind, yLow, yHigh)
	if c.yKind == linear && yLow >= 0 {
		y.low = 0
		if yHigh == 0 {
			y.high = 1
		} else {
			y.high = yHigh * 1.05
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, chartWidth, chartHeight, html.EscapeString(c.title))
	px := func(v float64) float64 { return marginLeft + x.at(v)*plotWidth }
	py := func(v float64) float64 { return marginTop + (1-y.at(v))*plotHeight }
	for _, v := range y.ticks(6) {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>`,
			marginLeft, chartWidth-marginRight, py(v), py(v), marginLeft-8, py(v)+4, html.EscapeString(tickText(c.yKind, c.yUnit, v)))
	}
	for _, v := range x.ticks(8) {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="tick" x="%.1f" y="%d" text-anchor="middle">%s</text>`,
			px(v), px(v), marginTop, marginTop+plotHeight, px(v), marginTop+plotHeight+18, html.EscapeString(tickText(c.xKind, c.xUnit, v)))
	}
	fmt.Fprintf(&b, `<text class="name" x="%d" y="%d" text-anchor="middle">%s</text>`, marginLeft+plotWidth/2, chartHeight-6, html.EscapeString(c.xName))
	for i, l := range c.lines {
		fmt.Fprintf(&b, `<path class="line l%d" d="%s"/>`, i%4, path(l, px, py))
		if len(l.points) <= 60 && !l.steps {
			for _, p := range l.points {
				fmt.Fprintf(&b, `<circle class="dot l%d" cx="%.1f" cy="%.1f" r="2.5"><title>%s: %s, %s</title></circle>`, i%4, px(p[0]), py(p[1]),
					html.EscapeString(l.name), html.EscapeString(tickText(c.xKind, c.xUnit, p[0])), html.EscapeString(c.yUnit.Show(p[1])))
			}
		}
	}
	b.WriteString(`</svg>`)
	return b.String()
}

func tickText(k scaleKind, u Unit, v float64) string {
	if k == nines {
		return fmt.Sprintf("p%g", v)
	}
	return u.Show(v)
}

// path draws a line, thinned to what a screen can show: of every stretch of
// points the least and the greatest are kept.
func path(l line, px, py func(float64) float64) string {
	pts := thin(l.points)
	var b strings.Builder
	last := 0.0
	for i, p := range pts {
		xx, yy := px(p[0]), py(p[1])
		switch {
		case i == 0:
			fmt.Fprintf(&b, "M%.1f %.1f", xx, yy)
		case l.steps:
			fmt.Fprintf(&b, "L%.1f %.1fL%.1f %.1f", xx, last, xx, yy)
		default:
			fmt.Fprintf(&b, "L%.1f %.1f", xx, yy)
		}
		last = yy
	}
	return b.String()
}

func thin(pts [][2]float64) [][2]float64 {
	if len(pts) <= maxDrawn {
		return pts
	}
	var out [][2]float64
	size := (2*len(pts) + maxDrawn - 1) / maxDrawn
	for i := 0; i < len(pts); i += size {
		part := pts[i:min(i+size, len(pts))]
		lo, hi := 0, 0
		for k, p := range part {
			if p[1] < part[lo][1] {
				lo = k
			}
			if p[1] > part[hi][1] {
				hi = k
			}
		}
		out = append(out, part[min(lo, hi)])
		if lo != hi {
			out = append(out, part[max(lo, hi)])
		}
	}
	return out
}

// percentileLine is a distribution as value by percentile: of its buckets where
// it has them.
func percentileLine(d Distribution) line {
	l := line{name: d.Name, steps: true}
	if d.Buckets == nil {
		l.points, l.steps = d.Percentiles, false
		return l
	}
	seen := 0.0
	for _, b := range d.Buckets {
		seen += b[1]
		// The last value of n stands at the percentile of its rank, never at 100.
		l.points = append(l.points, [2]float64{100 * math.Min(seen/float64(d.Count), 1-0.5/float64(d.Count)), b[0]})
	}
	return l
}

// wide reports whether values differ so much that a logarithmic scale tells more.
func wide(lines ...line) bool {
	low, high := math.Inf(1), math.Inf(-1)
	for _, l := range lines {
		for _, p := range l.points {
			low, high = math.Min(low, p[1]), math.Max(high, p[1])
		}
	}
	return low > 0 && high/low > 30
}
