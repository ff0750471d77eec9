package rfc2544

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"dssn/perf/report"
	"dssn/perf/trial"
)

func show(rate float64) string { return report.BitsPerSecond.Show(math.Round(rate)) }

// Result makes a perf result, with all trials in its detail. ends are the two
// machines, promised what the reservation says (0 if there is none).
func (r *Report) Result(command []string, ends []report.End, promised float64) (*report.Result, error) {
	out := report.New("rfc2544", "RFC 2544 between "+ends[0].Name+" and "+ends[1].Name, command)
	out.At, out.Seconds = r.Began.UTC().Truncate(time.Millisecond), r.Took.Seconds()
	out.Ends = ends
	c := r.Config
	out.Settings = []report.Setting{{Name: "highest rate", Value: show(c.Max)}, {Name: "width", Value: report.Ratio.Show(c.Width)},
		{Name: "trial", Value: c.Trial.String()}, {Name: "tolerated loss", Value: report.Ratio.Show(c.Tolerated)}, {Name: "policer's depth", Value: report.Bytes.Show(c.Depth)}}
	table := report.Table{Title: "by size of packets", Columns: []string{"packet", "throughput", "packets/s", "lowest rate that lost", "trials", "search", "longest burst", "buffer (RFC 9004)"}}
	for i := range r.Sizes {
		s := &r.Sizes[i]
		s.result(out, promised)
		bad, burst, buffer := "none", "-", "-"
		if !math.IsInf(s.Bad, 1) {
			bad = show(s.Bad)
		}
		if len(s.Bursts) > 0 {
			sorted := slices.Sorted(slices.Values(s.Bursts))
			burst = fmt.Sprintf("%d (%d–%d) packets", sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1])
			held, bytes := s.Buffer()
			buffer = report.Seconds.Show(held.Seconds()) + ", " + report.Bytes.Show(math.Round(bytes))
		}
		table.Rows = append(table.Rows, []string{fmt.Sprintf("%d B", s.Size), show(s.Throughput), fmt.Sprintf("%.0f", s.Throughput/float64(8*s.Size)), bad,
			fmt.Sprint(s.Trials), s.Searched.Round(time.Second / 10).String(), burst, buffer})
	}
	out.Tables = []report.Table{table}
	detail, err := json.Marshal(trial.Detail{Trials: r.Trials})
	if err != nil {
		return nil, fmt.Errorf("encode the trials: %w", err)
	}
	out.Detail = detail
	return out, nil
}

func (s *SizeReport) result(out *report.Result, promised float64) {
	name := func(what string) string { return fmt.Sprintf("%s, %d B", what, s.Size) }
	out.Metrics = append(out.Metrics, report.Metric{Name: name("throughput"), Unit: report.BitsPerSecond, Better: report.Higher, Samples: []float64{s.Throughput}})
	if promised > 0 {
		out.Metrics = append(out.Metrics, report.Metric{Name: name("throughput, part of what is reserved"), Unit: report.Ratio, Better: report.Higher, Samples: []float64{s.Throughput / promised}})
	}
	if s.Unfinished != "" {
		out.Warn(fmt.Sprintf("%d B: the throughput is only a lower bound: %s", s.Size, s.Unfinished))
	}
	if d := s.Delays(); d != nil && d.Count() > 0 {
		out.Distributions = append(out.Distributions, d.Distribution(name("delay at the throughput")), s.Latency.Variation().Distribution(name("delay variation at the throughput")))
	} else if s.Latency != nil {
		out.Warn("the two clocks are not known to agree: one-way delays are left out")
	}
	if len(s.Loss) > 0 {
		curve := report.Curve{Name: name("loss"), X: report.Axis{Name: "offered", Unit: report.BitsPerSecond}, Y: report.Axis{Name: "lost", Unit: report.Ratio}}
		for _, o := range slices.Backward(s.Loss) {
			curve.Points = append(curve.Points, [2]float64{o.Offered(), o.LossRatio()})
		}
		slices.SortFunc(curve.Points, func(a, b [2]float64) int {
			if a[0] < b[0] {
				return -1
			}
			return 1
		})
		out.Curves = append(out.Curves, curve)
	}
	if len(s.Bursts) > 0 {
		var samples []float64
		for _, n := range s.Bursts {
			samples = append(samples, float64(n))
		}
		held, bytes := s.Buffer()
		out.Metrics = append(out.Metrics, report.Metric{Name: name("longest burst"), Unit: report.Packets, Better: report.Higher, Samples: samples},
			report.Metric{Name: name("corrected buffer time (RFC 9004)"), Unit: report.Seconds, Samples: []float64{held.Seconds()}},
			report.Metric{Name: name("buffer"), Unit: report.Bytes, Samples: []float64{bytes}})
	}
	slow := s.Fastest < s.Throughput*1.02
	limit := report.Limit{Name: name("fastest that the sender went"), Value: s.Fastest, Unit: report.BitsPerSecond, OK: !slow || !math.IsInf(s.Bad, 1)}
	if !limit.OK {
		limit.Why = "the throughput found is the tester's own: the path may carry more"
	}
	spoiled := report.Limit{Name: name("trials spoiled by the tester"), Value: float64(s.Spoiled), Unit: report.Plain, OK: s.Spoiled <= s.Trials}
	if !spoiled.OK {
		spoiled.Why = "its host was too busy to send or receive evenly; they were made again"
	}
	out.Limits = append(out.Limits, limit, spoiled)
}
