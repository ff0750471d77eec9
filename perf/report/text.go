package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"dssn/perf/stat"
)

// Show writes an interval with its unit: "1.9 to 2.1 Gbit/s".
func showInterval(u Unit, i *stat.Interval) string {
	if i == nil {
		return "–"
	}
	low, high := u.Show(i.Low), u.Show(i.High)
	if a, b := strings.LastIndexByte(low, ' '), strings.LastIndexByte(high, ' '); a > 0 && b > 0 && low[a:] == high[b:] {
		low = low[:a]
	}
	return low + " to " + high
}

func showChange(i *stat.Interval) string {
	if i == nil {
		return "–"
	}
	return fmt.Sprintf("%+.3g %% to %+.3g %%", 100*i.Low, 100*i.High)
}

func (e Estimate) show(u Unit) string {
	value := u.Show(e.Value)
	if e.Deviation == 0 {
		return value
	}
	// "2.3 ± 0.1 Gbit/s" where both have the same multiple.
	spread := u.Show(e.Deviation)
	if i, j := strings.LastIndexByte(value, ' '), strings.LastIndexByte(spread, ' '); i > 0 && j > 0 && value[i:] == spread[j:] {
		value = value[:i]
	}
	return value + " ± " + spread
}

// fewNote explains TooFew.
const fewNote = "an interval needs at least two repetitions on each side, and for a percentile enough values beyond it"

func (c *Comparison) tooFew() bool {
	few := func(m Compared) bool { return m.Judgement == TooFew }
	return slices.ContainsFunc(c.Metrics, few) || slices.ContainsFunc(c.Distributions, func(d ComparedPoints) bool {
		return slices.ContainsFunc(d.Points, func(p ComparedPoint) bool { return p.Judgement == TooFew })
	})
}

// Print writes the comparison as text.
func (c *Comparison) Print(w io.Writer) error {
	for i, s := range []Side{c.A, c.B} {
		fmt.Fprintf(w, "%c  %s  %s  %s %s\n", 'A'+i, s.Name, s.At.Format("2006-01-02 15:04"), s.Kind, s.Title)
		for _, d := range s.Distrust {
			fmt.Fprintf(w, "   ! %s\n", d)
		}
	}
	for _, d := range c.Differs {
		fmt.Fprintf(w, "   differs: %s\n", d)
	}
	fmt.Fprintf(w, "\nat a confidence of %g %%:\n\n", 100*c.Confidence)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tA\tB\tCHANGE FROM A\tJUDGEMENT")
	for _, m := range append(append([]Compared(nil), c.Metrics...), c.Counts...) {
		why := string(m.Judgement)
		if m.Why != "" {
			why += ": " + m.Why
		}
		fmt.Fprintf(t, "%s\t%s (n %d)\t%s (n %d)\t%s\t%s\n", m.Name, m.Values[0].show(m.Unit), m.Values[0].N, m.Values[1].show(m.Unit), m.Values[1].N, showChange(m.Change), why)
	}
	for _, d := range c.Distributions {
		if d.Why != "" {
			fmt.Fprintf(t, "%s\t\t\t\t%s: %s\n", d.Name, NoBasis, d.Why)
		}
		for _, p := range d.Points {
			fmt.Fprintf(t, "%s p%g\t%s (%s)\t%s (%s)\t\t%s\n", d.Name, p.Percentile, d.Unit.Show(p.Values[0].Value), showInterval(d.Unit, p.Values[0].Interval),
				d.Unit.Show(p.Values[1].Value), showInterval(d.Unit, p.Values[1].Interval), p.Judgement)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if c.tooFew() {
		fmt.Fprintf(w, "%s: %s\n", TooFew, fewNote)
	}
	for i, list := range [][]string{c.OnlyA, c.OnlyB} {
		if len(list) > 0 {
			fmt.Fprintf(w, "only %c has: %s\n", 'A'+i, strings.Join(list, ", "))
		}
	}
	return nil
}

// Print writes the result as text, the figures first.
func (r *Result) Print(w io.Writer) error {
	fmt.Fprintf(w, "%s  %s\n%s, %s\n", r.Kind, r.Title, r.At.Format("2006-01-02 15:04:05 UTC"), strings.Join(r.Command, " "))
	if r.Verdict != nil {
		fmt.Fprintf(w, "%s %s\n", verdict(r.Verdict.Pass), r.Verdict.Why)
	}
	for _, d := range r.Distrust() {
		fmt.Fprintf(w, "! %s\n", d)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range r.Metrics {
		mean, sd := stat.MeanDeviation(m.Samples)
		fmt.Fprintf(t, "%s\t%s\t\n", m.Name, Estimate{Value: mean, Deviation: sd}.show(m.Unit))
	}
	for _, c := range r.Counts {
		of := ""
		if c.Of > 0 {
			i := stat.Wilson(c.Count, c.Of, 0.95)
			of = fmt.Sprintf("of %d, %s (95 %%: %s)", c.Of, Ratio.Show(float64(c.Count)/float64(c.Of)), showInterval(Ratio, &i))
		}
		fmt.Fprintf(t, "%s\t%d\t%s\n", c.Name, c.Count, of)
	}
	for _, d := range r.Distributions {
		for _, p := range d.Percentiles {
			fmt.Fprintf(t, "%s p%g\t%s\t\n", d.Name, p[0], d.Unit.Show(p[1]))
		}
	}
	for _, l := range r.Limits {
		fmt.Fprintf(t, "limit: %s\t%s\t%s\n", l.Name, l.Unit.Show(l.Value), l.Why)
	}
	return t.Flush()
}

func verdict(pass bool) string {
	if pass {
		return "PASSED"
	}
	return "NOT PASSED"
}
