package gen

import (
	"fmt"
	"math"
	"time"

	"dssn/perf/report"
)

// Bounds within which the tester itself is trusted.
const (
	rateTolerance = 0.01                  // of the asked rate
	lateTolerance = 10 * time.Millisecond // of one frame
)

// Result makes a perf result of the outcome; device and sink are the interfaces.
func (o *Outcome) Result(command []string, device, sink string) *report.Result {
	kind, title, role := "gen", "test traffic from "+device, "generator"
	if device == "" {
		kind, title, role = "sink", "test traffic arriving on "+sink, "sink"
	}
	r := report.New(kind, title, command)
	r.At, r.Seconds = o.Began.UTC().Truncate(time.Millisecond), o.Seconds
	var nics []string
	for _, n := range []string{device, sink} {
		if n != "" {
			nics = append(nics, n)
		}
	}
	end := report.ThisEnd(role, nics...)
	clock := "not synchronised"
	if o.Synchronised {
		clock = "synchronised"
	}
	for _, m := range []report.Setting{{Name: "sending", Value: o.Mode}, {Name: "counting", Value: o.Sinking}, {Name: "clock", Value: clock}} {
		if m.Value != "" {
			end.Modes = append(end.Modes, m)
		}
	}
	r.Ends = []report.End{end}
	for i := range o.Streams {
		o.stream(r, &o.Streams[i])
	}
	o.limits(r)
	return r
}

func (o *Outcome) stream(r *report.Result, s *StreamOutcome) {
	if o.Engine != "" {
		asked := "as fast as it goes"
		if s.Asked > 0 {
			asked = report.PacketsPerSecond.Show(s.Asked)
		}
		r.Settings = append(r.Settings, report.Setting{Name: s.Name + ": rate", Value: asked},
			report.Setting{Name: s.Name + ": mean frame", Value: report.Bytes.Show(math.Round(s.MeanBytes))})
		r.Metrics = append(r.Metrics, report.Metric{Name: s.Name + ": sent", Unit: report.PacketsPerSecond, Better: report.Higher, Samples: []float64{s.rate(o.Seconds)}})
		r.Counts = append(r.Counts, report.Count{Name: s.Name + ": sent frames", Count: s.Sent.Frames})
	}
	if o.Sinking == "" {
		return
	}
	got, of := s.Received, s.Sent.Frames
	if o.Engine == "" {
		of = got.Next
	}
	if span := float64(got.Last-got.First) / 1e9; got.Frames > 1 && span > 0 {
		r.Metrics = append(r.Metrics, report.Metric{Name: s.Name + ": received", Unit: report.PacketsPerSecond, Better: report.Higher, Samples: []float64{float64(got.Frames-1) / span}})
	}
	for _, c := range []report.Count{
		{Name: "lost", Better: report.Lower, Count: Lost(of, got), Of: of},
		{Name: "duplicated", Better: report.Lower, Count: got.Duplicates, Of: of},
		{Name: "reordered", Better: report.Lower, Count: got.Reordered, Of: of},
		{Name: "too late to tell", Better: report.Lower, Count: got.Late, Of: of},
	} {
		c.Name = s.Name + ": " + c.Name
		if c.Of == 0 {
			c.Count, c.Of = min(c.Count, 0), 0
		}
		r.Counts = append(r.Counts, c)
	}
	r.Distributions = append(r.Distributions, s.Delay.Distribution(s.Name+": delay"), s.Variation.Distribution(s.Name+": delay variation"))
	r.Metrics = append(r.Metrics, report.Metric{Name: s.Name + ": jitter", Unit: report.Seconds, Better: report.Lower, Samples: []float64{got.Jitter.Seconds()}})
	if got.Negative > 0 {
		r.Warn(fmt.Sprintf("%s: %d frames seem to have arrived before they left: the two clocks do not agree, and its delays mean nothing", s.Name, got.Negative))
	}
}

// rate is what was sent a second.
func (s *StreamOutcome) rate(seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return float64(s.Sent.Frames) / seconds
}

// limits states what the tester itself may have done to the result.
func (o *Outcome) limits(r *report.Result) {
	add := func(name string, v float64, u report.Unit, ok bool, why string) {
		if ok {
			why = ""
		}
		r.Limits = append(r.Limits, report.Limit{Name: name, Value: v, Unit: u, OK: ok, Why: why})
	}
	if o.Engine != "" {
		add("share of its CPU that the sending thread used", o.CPU, report.Ratio, true, "")
		add("frames that the sending port refused", float64(o.Refused), report.Packets, o.Refused == 0,
			"they never were on the network; the loss above counts them: send slower, or look at the port's queue")
		if !o.RefusedKnown {
			r.Warn("this kernel does not say how many frames the sending port refused: some of the loss may be the tester's own")
		}
	}
	for _, s := range o.Streams {
		if o.Engine == "" || s.Asked == 0 || s.Sent.Frames == 0 {
			continue
		}
		off := s.rate(o.Seconds)/s.Asked - 1
		finished := s.Sent.Behind == 0 && off < 0 && o.Seconds*s.Asked > float64(s.Sent.Frames)+s.Asked/10
		if !finished {
			add(s.Name+": rate error", math.Abs(off), report.Ratio, math.Abs(off) <= rateTolerance || o.Seconds*s.Asked < 100,
				"the tester did not keep the asked rate: its CPU is too slow or busy with other work")
		}
		add(s.Name+": latest departure", s.Sent.Worst.Seconds(), report.Seconds, s.Sent.Worst <= lateTolerance,
			"the CPU was taken from the sender for so long; what was due left afterwards at up to twice the rate, so the network saw bursts that were not asked for")
	}
	if o.Sinking != "" {
		add("frames that the counting port had no room for", float64(o.SinkDropped), report.Packets, o.SinkDropped == 0,
			"they arrived and were not counted; the loss above holds them: count on more queues or send slower")
		if !o.SameClock && !o.Synchronised {
			r.Warn("frames were stamped by another clock, and this clock is not synchronised: the delays hold only as far as the two agree; variation and jitter do not suffer")
		}
	}
}
