package report

import (
	"fmt"
	"io"
)

// HTML writes the comparison of a and b as one self-contained page; both are the
// results that it was made of.
func (c *Comparison) HTML(w io.Writer, a, b *Result) error {
	p := page{Title: "Comparison of " + c.A.Name + " and " + c.B.Name, JSON: c,
		Sub:  fmt.Sprintf("A: %s, %s. B: %s, %s. Confidence %g %%.", c.A.Kind, c.A.At.Format("2006-01-02 15:04"), c.B.Kind, c.B.At.Format("2006-01-02 15:04"), 100*c.Confidence),
		Foot: "Means by Welch's interval, shares by Newcombe's, percentiles by intervals of ranks. Written by dssn as " + CompareFormat + ", which this page contains."}
	for i, s := range []Side{c.A, c.B} {
		if len(s.Distrust) > 0 {
			p.Distrust = append(p.Distrust, distrust{fmt.Sprintf("%c cannot be trusted as it stands:", 'A'+i), s.Distrust})
		}
	}
	if len(c.Differs) > 0 {
		p.Distrust = append(p.Distrust, distrust{"Circumstances differ too:", c.Differs})
	}
	p.Sections = append(p.Sections, c.figures(), c.percentiles(), overlaid(a, b))
	var keep []section
	for _, s := range p.Sections {
		if len(s.Charts)+len(s.Tables) > 0 {
			keep = append(keep, s)
		}
	}
	p.Sections = keep
	return pageTemplate.Execute(w, p)
}

func judged(j Judgement) cell {
	v := cell{Text: string(j)}
	switch j {
	case IsBetter:
		v.Class = "good"
	case IsWorse:
		v.Class = "bad"
	}
	return v
}

func (c *Comparison) figures() section {
	s := section{Title: "Figures", Note: "The change is that of B against A; where its interval holds zero, nothing is shown."}
	g := grid{}
	g.head("", "A", "n", "B", "n", "change")
	g.Head = append(g.Head, text("judgement"))
	for _, list := range [][]Compared{c.Metrics, c.Counts} {
		for _, m := range list {
			j := judged(m.Judgement)
			if m.Why != "" {
				j.Text += ": " + m.Why
			}
			change := showChange(m.Change)
			if m.Change == nil {
				change = showInterval(m.Unit, m.Difference)
			}
			g.row(text(m.Name), number(m.Values[0].show(m.Unit)), number(fmt.Sprint(m.Values[0].N)), number(m.Values[1].show(m.Unit)), number(fmt.Sprint(m.Values[1].N)), number(change), j)
		}
	}
	if g.Rows != nil {
		s.Tables = append(s.Tables, g)
	}
	if c.tooFew() {
		s.Note += " Too few samples: " + fewNote + "."
	}
	return s
}

func (c *Comparison) percentiles() section {
	s := section{Title: "Percentiles"}
	g := grid{}
	g.head("", "A", "its interval", "B", "its interval")
	g.Head = append(g.Head, text("judgement"))
	for _, d := range c.Distributions {
		for _, v := range d.Points {
			g.row(text(fmt.Sprintf("%s p%g", d.Name, v.Percentile)), number(d.Unit.Show(v.Values[0].Value)), number(showInterval(d.Unit, v.Values[0].Interval)),
				number(d.Unit.Show(v.Values[1].Value)), number(showInterval(d.Unit, v.Values[1].Interval)), judged(v.Judgement))
		}
	}
	if g.Rows != nil {
		s.Tables = append(s.Tables, g)
	}
	return s
}

// overlaid draws what both have over each other.
func overlaid(a, b *Result) section {
	s := section{Title: "A and B over each other"}
	for _, x := range a.Distributions {
		for _, y := range b.Distributions {
			if x.Name != y.Name || x.Unit != y.Unit {
				continue
			}
			l, m := percentileLine(x), percentileLine(y)
			l.name, m.name = "A", "B"
			c := chart{title: x.Name, xName: "percentile", xKind: nines, yUnit: x.Unit, lines: []line{l, m}}
			if wide(l, m) {
				c.yKind = logarithmic
			}
			s.chart(c)
		}
	}
	for _, x := range a.Series {
		for _, y := range b.Series {
			if x.Name == y.Name && x.Unit == y.Unit {
				s.chart(chart{title: x.Name, xName: "seconds since the beginning", xUnit: Plain, yUnit: x.Unit,
					lines: []line{{name: "A", points: x.Points}, {name: "B", points: y.Points}}})
			}
		}
	}
	for _, x := range a.Curves {
		for _, y := range b.Curves {
			if x.Name == y.Name && x.Y.Unit == y.Y.Unit && x.X.Unit == y.X.Unit {
				s.chart(chart{title: x.Name, xName: x.X.Name, xUnit: x.X.Unit, yUnit: x.Y.Unit,
					lines: []line{{name: "A", points: x.Points}, {name: "B", points: y.Points}}})
			}
		}
	}
	return s
}
