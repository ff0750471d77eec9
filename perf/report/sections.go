// The sections of a result's page, one function each; an empty section is left out.

package report

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"dssn/perf/stat"
)

// shownConfidence is that of the intervals on a result's page.
const shownConfidence = 0.95

func figures(r *Result) section {
	s := section{Title: "Figures"}
	if len(r.Metrics) > 0 {
		g := grid{}
		g.head("", "mean", "deviation", "95 % interval of the mean", "least", "most", "samples")
		for _, m := range r.Metrics {
			mean, sd := stat.MeanDeviation(m.Samples)
			lo, hi := m.Samples[0], m.Samples[0]
			for _, v := range m.Samples {
				lo, hi = min(lo, v), max(hi, v)
			}
			interval, spread := "–", "–"
			if len(m.Samples) > 1 {
				spread = m.Unit.Show(sd)
			}
			if i, ok := stat.MeanInterval(m.Samples, shownConfidence); ok {
				interval = showInterval(m.Unit, &i)
			}
			g.row(text(m.Name), number(m.Unit.Show(mean)), number(spread), number(interval), number(m.Unit.Show(lo)), number(m.Unit.Show(hi)), number(fmt.Sprint(len(m.Samples))))
		}
		s.Tables = append(s.Tables, g)
	}
	if len(r.Counts) > 0 {
		g := grid{Title: "Counts"}
		g.head("", "counted", "of", "share", "95 % interval")
		for _, c := range r.Counts {
			of, share, interval := "–", "–", "–"
			if c.Of > 0 {
				i := stat.Wilson(c.Count, c.Of, shownConfidence)
				of, share, interval = fmt.Sprint(c.Of), Ratio.Show(float64(c.Count)/float64(c.Of)), showInterval(Ratio, &i)
			}
			g.row(text(c.Name), number(fmt.Sprint(c.Count)), number(of), number(share), number(interval))
		}
		s.Tables = append(s.Tables, g)
	}
	return s
}

// overTime draws series of one unit together.
func overTime(r *Result) section {
	s := section{Title: "Over time"}
	byUnit := map[Unit]*chart{}
	var order []*chart
	for _, v := range r.Series {
		c := byUnit[v.Unit]
		if c == nil || len(c.lines) == 4 {
			c = &chart{title: v.Name, xName: "seconds since the beginning", xUnit: Plain, yUnit: v.Unit}
			byUnit[v.Unit] = c
			order = append(order, c)
		} else {
			c.title += ", " + v.Name
		}
		c.lines = append(c.lines, line{name: v.Name, points: v.Points})
	}
	for _, c := range order {
		s.chart(*c)
	}
	return s
}

func latencies(r *Result) section {
	s := section{Title: "Distributions"}
	for _, d := range r.Distributions {
		l := percentileLine(d)
		c := chart{title: d.Name, xName: "percentile", xKind: nines, yUnit: d.Unit, lines: []line{l}}
		if wide(l) {
			c.yKind = logarithmic
		}
		s.chart(c)
	}
	if len(r.Distributions) > 0 {
		g := grid{}
		g.head("", "values", "mean", "least", "p50", "p90", "p99", "p99.9", "most")
		for _, d := range r.Distributions {
			row := []cell{text(d.Name), number(fmt.Sprint(d.Count)), number(d.Unit.Show(d.Mean)), number(d.Unit.Show(d.Min))}
			for _, p := range []float64{50, 90, 99, 99.9} {
				row = append(row, number(d.percentile(p)))
			}
			g.row(append(row, number(d.Unit.Show(d.Max)))...)
		}
		s.Tables = append(s.Tables, g)
	}
	return s
}

// percentile is as the file says it, or by the buckets.
func (d Distribution) percentile(p float64) string {
	for _, q := range d.Percentiles {
		if q[0] == p {
			return d.Unit.Show(q[1])
		}
	}
	if v, ok := d.At(p); ok {
		return d.Unit.Show(v)
	}
	return "–"
}

func curves(r *Result) section {
	s := section{Title: "Curves"}
	for _, v := range r.Curves {
		s.chart(chart{title: v.Name, xName: v.X.Name, xUnit: v.X.Unit, yUnit: v.Y.Unit, lines: []line{{name: v.Y.Name, points: v.Points}}})
	}
	return s
}

func tables(r *Result) section {
	s := section{Title: "Tables"}
	for _, t := range r.Tables {
		g := grid{Title: t.Title}
		for _, c := range t.Columns {
			g.Head = append(g.Head, text(c))
		}
		for _, row := range t.Rows {
			var cells []cell
			for _, c := range row {
				cells = append(cells, text(c))
			}
			g.row(cells...)
		}
		s.Tables = append(s.Tables, g)
	}
	return s
}

func limits(r *Result) section {
	s := section{Title: "The tester's own limits", Note: "Measured with the result, whether they mattered or not."}
	if len(r.Limits) == 0 {
		return section{}
	}
	g := grid{}
	g.Head = []cell{text(""), number("value"), text(""), text("")}
	for _, l := range r.Limits {
		state := cell{Text: "did not bend the result", Class: "good"}
		if !l.OK {
			state = cell{Text: "bent the result", Class: "bad"}
		}
		g.row(text(l.Name), number(l.Unit.Show(l.Value)), state, text(l.Why))
	}
	s.Tables = append(s.Tables, g)
	return s
}

func settings(r *Result) section {
	g := grid{}
	for _, v := range r.Settings {
		g.row(text(v.Name), text(v.Value))
	}
	if g.Rows == nil {
		return section{}
	}
	return section{Title: "Settings", Tables: []grid{g}}
}

func machines(r *Result) section {
	s := section{Title: "Machines"}
	for _, e := range r.Ends {
		g := grid{Title: e.Role}
		if len(r.Ends) > 1 && e.Name != "" {
			g.Title += ", " + e.Name
		}
		for _, v := range [][2]string{{"CPU", e.CPU}, {"cores", nonZero(e.Cores)}, {"memory", bytesText(e.Memory)}, {"kernel", e.Kernel}, {"program", e.Program}, {"Go", e.Go}} {
			if v[1] != "" {
				g.row(text(v[0]), text(v[1]))
			}
		}
		if e.Load > 0 {
			g.row(text("load before"), text(digits(e.Load)))
		}
		for _, n := range e.NICs {
			about := []string{}
			if n.Driver != "" {
				about = append(about, "driver "+n.Driver)
			}
			if n.MTU > 0 {
				about = append(about, fmt.Sprintf("MTU %d", n.MTU))
			}
			if n.Speed > 0 {
				about = append(about, BitsPerSecond.Show(float64(n.Speed)))
			}
			if n.Queues > 0 {
				about = append(about, fmt.Sprintf("%d receive queues", n.Queues))
			}
			g.row(text("interface "+n.Name), text(strings.Join(about, ", ")))
		}
		for _, m := range e.Modes {
			g.row(text(m.Name+" obtained"), text(m.Value))
		}
		s.Tables = append(s.Tables, g)
	}
	return s
}

func nonZero(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func bytesText(n uint64) string {
	if n == 0 {
		return ""
	}
	return Bytes.Show(float64(n))
}

func signatures(r *Result) section {
	s := section{Title: "Signatures"}
	if len(r.Signatures) == 0 {
		return s
	}
	g := grid{}
	g.Head = []cell{text("role"), text("who"), text("key (Ed25519)"), text("signed"), text("")}
	for _, v := range r.Signatures {
		fits := cell{Text: "fits this result", Class: "good"}
		if r.verify(v) != nil {
			fits = cell{Text: "does not fit this result", Class: "bad"}
		}
		who := strings.TrimSpace(v.Name + " " + v.Node)
		g.row(text(v.Role), text(who), cell{Text: base64.StdEncoding.EncodeToString(v.Key), Class: "sig"}, text(v.At.Format(time.DateTime)), fits)
	}
	s.Note = "Checked when this page was written; dssn perf verify checks the result's file again."
	s.Tables = append(s.Tables, g)
	return s
}

func command(r *Result) section {
	var words []string
	for _, a := range r.Command {
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$`*?[](){}<>|&;#~!") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	s := section{Title: "Command", Pre: strings.Join(words, " ")}
	if r.Detail != nil {
		var out struct {
			Lines []string `json:"lines"`
		}
		if json.Unmarshal(r.Detail, &out) == nil && len(out.Lines) > 0 {
			s.Pre += "\n\n" + strings.Join(out.Lines, "\n")
		}
	}
	return s
}
