package y1564

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"dssn/perf/report"
	"dssn/perf/trial"
)

// Result makes a perf result with a verdict, and all trials in its detail.
func (r *Report) Result(command []string, ends []report.End) (*report.Result, error) {
	out := report.New("y1564", "Y.1564 between "+ends[0].Name+" and "+ends[1].Name, command)
	out.At, out.Seconds = r.Began.UTC().Truncate(time.Millisecond), r.Took.Seconds()
	out.Ends = ends
	var d trial.Detail
	bounds := report.Table{Title: "services", Columns: []string{"service", "packet", "committed", "ceiling", "depth", "delay", "variation", "loss"}}
	for i := range r.Services {
		s := &r.Services[i]
		bounds.Rows = append(bounds.Rows, []string{s.Name, fmt.Sprintf("%d B", s.Size), show(s.Committed), show(s.ceiling()), report.Bytes.Show(s.Burst), bound(s.MaxDelay), bound(s.MaxVariation), report.Ratio.Show(s.MaxLoss)})
	}
	steps := report.Table{Title: "steps", Columns: []string{"service", "step", "offered", "arrived", "lost", "delay p99.9", "variation p99.9", "verdict"}}
	for _, list := range [][]Judgement{r.Configuration, r.Service} {
		for _, j := range list {
			o := j.Outcome
			d.Trials = append(d.Trials, o)
			delay, variation := "-", "-"
			if o.OneWay && o.Received.Packets > 1 {
				delay, variation = report.Seconds.Show(o.Delay().At(99.9).Seconds()), report.Seconds.Show(o.Variation().At(99.9).Seconds())
			}
			verdict := "pass"
			if !j.Pass {
				verdict = "FAIL: " + j.Why
			}
			steps.Rows = append(steps.Rows, []string{j.Service, j.Step.Name, show(o.Offered()), show(o.Forwarded()), fmt.Sprintf("%d of %d", o.Lost(), o.Sent.Packets), delay, variation, verdict})
			if doubt := o.Doubt(); doubt != "" {
				out.Warn(fmt.Sprintf("%s, %s: %s", j.Service, j.Step.Name, doubt))
			}
			if j.Step.Kind == KindService {
				out.Metrics = append(out.Metrics, report.Metric{Name: j.Service + ": arrived", Unit: report.BitsPerSecond, Better: report.Higher, Samples: []float64{o.Forwarded()}})
				out.Counts = append(out.Counts, report.Count{Name: j.Service + ": lost", Better: report.Lower, Count: o.Lost(), Of: o.Sent.Packets})
				if o.OneWay {
					out.Distributions = append(out.Distributions, o.Delay().Distribution(j.Service+": delay"), o.Variation().Distribution(j.Service+": delay variation"))
				}
			}
			out.Limits = append(out.Limits, report.Limit{Name: j.Service + ", " + j.Step.Name + ": share of its CPU that the sender used", Value: o.Sent.CPU, Unit: report.Ratio, OK: true})
		}
	}
	out.Tables = []report.Table{bounds, steps}
	out.Verdict = &report.Verdict{Pass: r.Pass()}
	if !r.Pass() {
		var why []string
		for _, j := range r.failed() {
			why = append(why, fmt.Sprintf("%s, %s: %s", j.Service, j.Step.Name, j.Why))
		}
		out.Verdict.Why = strings.Join(why, "; ")
	}
	detail, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode the trials: %w", err)
	}
	out.Detail = detail
	return out, nil
}

func bound(d time.Duration) string {
	if d == 0 {
		return "any"
	}
	return d.String()
}
