package path

import (
	"fmt"
	"strings"
	"time"

	"dssn/perf/report"
)

// Verdicts are sentences on the hops that lose, in travelling order; from is the
// name of the node that measured.
func (o *Outcome) Verdicts(from string) (out []string) {
	for i, s := range o.Segments {
		before := from
		if i > 0 {
			before = o.Hops[i-1].Name
		}
		if !s.Loses {
			continue
		}
		both := ""
		if !o.Hops[i].Reflects || i > 0 && !o.Hops[i-1].Reflects {
			both = ", there and back together: no reflector answers"
		}
		if s.Loss > 0.999 {
			out = append(out, fmt.Sprintf("nothing passes from %s to %s%s", before, o.Hops[i].Name, both))
			break
		}
		out = append(out, fmt.Sprintf("%s → %s loses %.2g %% (%.2g to %.2g%s)", before, o.Hops[i].Name, 100*s.Loss, 100*s.Low, 100*s.High, both))
	}
	return out
}

// lateTolerance is how late a probe may leave.
const lateTolerance = 20 * time.Millisecond

// Result makes a perf result.
func (o *Outcome) Result(command []string, from string) *report.Result {
	names := []string{from}
	for _, h := range o.Hops {
		names = append(names, h.Name)
	}
	r := report.New("path", "path "+strings.Join(names, " → "), command)
	r.At, r.Seconds = o.Began.UTC().Truncate(time.Millisecond), o.Took.Seconds()
	end := report.ThisEnd("prober")
	end.Name = from
	r.Ends = []report.End{end}
	table := report.Table{Title: "hops", Columns: []string{"hop", "carrier", "answers", "lost there", "lost back", "round trip p50", "p99", "more than the hop before", "loses here"}}
	last := time.Duration(0)
	for i, h := range o.Hops {
		answers, back, here := "echo", "-", "-"
		if h.Reflects {
			answers, back = "STAMP", fmt.Sprintf("%d of %d", h.Back.Lost, h.Back.Sent)
		}
		if h.RoundTrip.Count() == 0 {
			answers = "nothing"
		}
		if o.Segments[i].Loses {
			here = fmt.Sprintf("%.2g %%", 100*o.Segments[i].Loss)
		}
		p50 := h.RoundTrip.At(50)
		table.Rows = append(table.Rows, []string{h.Name, h.Carrier.String(), answers, fmt.Sprintf("%d of %d", h.Loss.Lost, h.Loss.Sent), back, p50.String(), h.RoundTrip.At(99).String(), (p50 - last).String(), here})
		last = p50
		r.Counts = append(r.Counts, report.Count{Name: "lost on the way to " + h.Name, Better: report.Lower, Count: h.Loss.Lost, Of: h.Loss.Sent})
		r.Distributions = append(r.Distributions, h.RoundTrip.Distribution("round trip to "+h.Name))
		if h.RoundTrip.Count() > 0 && !h.Reflects {
			r.Warn(fmt.Sprintf("%s has no reflector: loss there and back cannot be told apart; start `dssn perf stamp reflector` there", h.Name))
		}
	}
	r.Tables = []report.Table{table}
	verdict := &report.Verdict{Pass: true}
	if v := o.Verdicts(from); len(v) > 0 {
		verdict.Pass, verdict.Why = false, strings.Join(v, "; ")
	}
	r.Verdict = verdict
	late := report.Limit{Name: "latest departure of a probe", Value: o.Worst.Seconds(), Unit: report.Seconds, OK: o.Worst <= lateTolerance}
	if !late.OK {
		late.Why = "this host was too busy to send evenly, and to read answers at once: delays are longer than the network's"
	}
	r.Limits = []report.Limit{late}
	return r
}
