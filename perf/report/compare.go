package report

import (
	"fmt"
	"math"
	"slices"
	"time"

	"dssn/perf/stat"
)

// CompareFormat names the JSON of a Comparison.
const CompareFormat = "dssn-perf-compare/1"

// Comparison sets two results against each other. Every judgement is by an
// interval of the difference B − A at the stated confidence: "better" or "worse"
// where the interval does not hold zero, "no difference shown" where it does.
//
//	metrics        Welch's interval of the difference of means (stat.Welch); samples
//	               are taken to be independent repetitions
//	counts         Newcombe's interval of the difference of shares (stat.Newcombe)
//	distributions  each percentile's own interval by ranks (stat.QuantileRanks); two
//	               percentiles differ where their intervals do not touch, which is a
//	               stricter rule than the stated confidence
type Comparison struct {
	Format     string  `json:"format"`
	Confidence float64 `json:"confidence"`
	A          Side    `json:"a"`
	B          Side    `json:"b"`
	// Differs lists what else differs between the two, such as the machine.
	Differs       []string         `json:"differs,omitempty"`
	Metrics       []Compared       `json:"metrics,omitempty"`
	Counts        []Compared       `json:"counts,omitempty"`
	Distributions []ComparedPoints `json:"distributions,omitempty"`
	OnlyA         []string         `json:"only_a,omitempty"` // names that the other lacks
	OnlyB         []string         `json:"only_b,omitempty"`
}

// Side is one of the results.
type Side struct {
	Name     string    `json:"name"` // of its file
	Title    string    `json:"title,omitempty"`
	Kind     string    `json:"kind"`
	At       time.Time `json:"at"`
	Distrust []string  `json:"distrust,omitempty"`
}

// Judgement is the outcome for one figure.
type Judgement string

// The judgements. Different is for figures without a good direction.
const (
	IsBetter    Judgement = "better"
	IsWorse     Judgement = "worse"
	IsDifferent Judgement = "different"
	NotShown    Judgement = "no difference shown"
	TooFew      Judgement = "too few samples"
	NoBasis     Judgement = "not comparable"
)

// Compared is one metric or count of both.
type Compared struct {
	Name   string `json:"name"`
	Unit   Unit   `json:"unit"`
	Better Better `json:"better,omitempty"`
	// Values are the means of the samples of A and of B, or the shares of counts.
	Values [2]Estimate `json:"values"`
	// Difference is the interval of B − A, Change the same in parts of A's value.
	Difference *stat.Interval `json:"difference,omitempty"`
	Change     *stat.Interval `json:"change,omitempty"`
	P          float64        `json:"p,omitempty"` // of Welch's test
	Judgement  Judgement      `json:"judgement"`
	Why        string         `json:"why,omitempty"` // if it is not comparable
}

// Estimate is what one side says of a figure.
type Estimate struct {
	Value     float64        `json:"value"`
	Deviation float64        `json:"deviation,omitempty"`
	N         uint64         `json:"n"`
	Interval  *stat.Interval `json:"interval,omitempty"`
}

// ComparedPoints is one distribution of both, percentile by percentile.
type ComparedPoints struct {
	Name   string          `json:"name"`
	Unit   Unit            `json:"unit"`
	Points []ComparedPoint `json:"points"`
	Why    string          `json:"why,omitempty"` // if it is not comparable
}

// ComparedPoint is one percentile.
type ComparedPoint struct {
	Percentile float64     `json:"percentile"`
	Values     [2]Estimate `json:"values"`
	Judgement  Judgement   `json:"judgement"`
}

// Compare compares two results that have passed Check. Confidence lies strictly
// between 0.5 and 1; anything else is refused, as are results with nothing in
// common.
func Compare(nameA string, a *Result, nameB string, b *Result, confidence float64) (*Comparison, error) {
	if !(confidence > 0.5 && confidence < 1) {
		return nil, fmt.Errorf("a confidence of %g is not possible: choose for example 0.95", confidence)
	}
	c := &Comparison{Format: CompareFormat, Confidence: confidence,
		A: Side{nameA, a.Title, a.Kind, a.At, a.Distrust()}, B: Side{nameB, b.Title, b.Kind, b.At, b.Distrust()}}
	c.Differs = differs(a, b)
	for _, m := range a.Metrics {
		if i := slices.IndexFunc(b.Metrics, func(n Metric) bool { return n.Name == m.Name }); i >= 0 {
			c.Metrics = append(c.Metrics, compareMetric(m, b.Metrics[i], confidence))
		} else {
			c.OnlyA = append(c.OnlyA, m.Name)
		}
	}
	for _, m := range b.Metrics {
		if !slices.ContainsFunc(a.Metrics, func(n Metric) bool { return n.Name == m.Name }) {
			c.OnlyB = append(c.OnlyB, m.Name)
		}
	}
	for _, m := range a.Counts {
		if i := slices.IndexFunc(b.Counts, func(n Count) bool { return n.Name == m.Name }); i >= 0 {
			c.Counts = append(c.Counts, compareCount(m, b.Counts[i], confidence))
		} else {
			c.OnlyA = append(c.OnlyA, m.Name)
		}
	}
	for _, m := range b.Counts {
		if !slices.ContainsFunc(a.Counts, func(n Count) bool { return n.Name == m.Name }) {
			c.OnlyB = append(c.OnlyB, m.Name)
		}
	}
	for _, d := range a.Distributions {
		if i := slices.IndexFunc(b.Distributions, func(e Distribution) bool { return e.Name == d.Name }); i >= 0 {
			c.Distributions = append(c.Distributions, compareDistribution(d, b.Distributions[i], confidence))
		} else {
			c.OnlyA = append(c.OnlyA, d.Name)
		}
	}
	for _, d := range b.Distributions {
		if !slices.ContainsFunc(a.Distributions, func(e Distribution) bool { return e.Name == d.Name }) {
			c.OnlyB = append(c.OnlyB, d.Name)
		}
	}
	if len(c.Metrics)+len(c.Counts)+len(c.Distributions) == 0 {
		return nil, fmt.Errorf("%s (%s) and %s (%s) have no figure in common: compare results of the same kind of test", nameA, a.Kind, nameB, b.Kind)
	}
	return c, nil
}

// differs lists circumstances that are not the same.
func differs(a, b *Result) (out []string) {
	add := func(what, x, y string) {
		if x != y {
			out = append(out, fmt.Sprintf("%s: %s against %s", what, orNothing(x), orNothing(y)))
		}
	}
	add("kind", a.Kind, b.Kind)
	for i := range min(len(a.Ends), len(b.Ends)) {
		x, y := a.Ends[i], b.Ends[i]
		role := x.Role
		add(role+"'s CPU", x.CPU, y.CPU)
		add(role+"'s cores", fmt.Sprint(x.Cores), fmt.Sprint(y.Cores))
		add(role+"'s kernel", x.Kernel, y.Kernel)
		add(role+"'s program", x.Program, y.Program)
		for _, m := range x.Modes {
			add(role+"'s "+m.Name, m.Value, valueOf(y.Modes, m.Name))
		}
	}
	for _, s := range a.Settings {
		add(s.Name, s.Value, valueOf(b.Settings, s.Name))
	}
	for _, s := range b.Settings {
		if valueOf(a.Settings, s.Name) == "" {
			add(s.Name, "", s.Value)
		}
	}
	return out
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

func valueOf(list []Setting, name string) string {
	for _, s := range list {
		if s.Name == name {
			return s.Value
		}
	}
	return ""
}

func compareMetric(a, b Metric, confidence float64) Compared {
	c := Compared{Name: a.Name, Unit: a.Unit, Better: a.Better}
	for i, m := range []Metric{a, b} {
		e := &c.Values[i]
		e.Value, e.Deviation = stat.MeanDeviation(m.Samples)
		e.N = uint64(len(m.Samples))
		if v, ok := stat.MeanInterval(m.Samples, confidence); ok {
			e.Interval = &v
		}
	}
	if a.Unit != b.Unit {
		c.Judgement, c.Why = NoBasis, fmt.Sprintf("one is in %s, the other in %s", a.Unit, b.Unit)
		return c
	}
	d, p, ok := stat.Welch(a.Samples, b.Samples, confidence)
	if !ok {
		c.Judgement = TooFew
		return c
	}
	c.P = p
	c.judge(d)
	return c
}

func compareCount(a, b Count, confidence float64) Compared {
	c := Compared{Name: a.Name, Unit: Ratio, Better: a.Better}
	for i, m := range []Count{a, b} {
		if m.Of > 0 {
			v := stat.Wilson(m.Count, m.Of, confidence)
			c.Values[i] = Estimate{Value: float64(m.Count) / float64(m.Of), N: m.Of, Interval: &v}
		} else {
			c.Values[i] = Estimate{Value: float64(m.Count)}
		}
	}
	if a.Of == 0 || b.Of == 0 {
		c.Unit, c.Judgement, c.Why = Plain, NoBasis, "a plain count says nothing about how many there might have been"
		return c
	}
	c.judge(stat.Newcombe(a.Count, a.Of, b.Count, b.Of, confidence))
	return c
}

// judge decides by the interval of the difference.
func (c *Compared) judge(d stat.Interval) {
	c.Difference = &d
	if a := c.Values[0].Value; a != 0 {
		c.Change = &stat.Interval{Low: d.Low / math.Abs(a), High: d.High / math.Abs(a)}
	}
	switch {
	case d.Holds(0):
		c.Judgement = NotShown
	case c.Better == "":
		c.Judgement = IsDifferent
	case (d.Low > 0) == (c.Better == Higher):
		c.Judgement = IsBetter
	default:
		c.Judgement = IsWorse
	}
}

// comparedPercentiles are looked at in distributions.
var comparedPercentiles = []float64{50, 90, 99, 99.9}

func compareDistribution(a, b Distribution, confidence float64) ComparedPoints {
	c := ComparedPoints{Name: a.Name, Unit: a.Unit}
	switch {
	case a.Unit != b.Unit:
		c.Why = fmt.Sprintf("one is in %s, the other in %s", a.Unit, b.Unit)
		return c
	case a.Buckets == nil || b.Buckets == nil:
		c.Why = "one of the files has no buckets, only percentiles"
		return c
	}
	for _, p := range comparedPercentiles {
		pt := ComparedPoint{Percentile: p, Judgement: TooFew}
		for i, d := range []Distribution{a, b} {
			e := &pt.Values[i]
			e.Value, _ = d.At(p)
			e.N = d.Count
			if low, high, ok := stat.QuantileRanks(d.Count, p/100, confidence); ok {
				l, _ := d.Rank(low)
				h, _ := d.Rank(high)
				e.Interval = &stat.Interval{Low: l, High: h}
			}
		}
		if x, y := pt.Values[0].Interval, pt.Values[1].Interval; x != nil && y != nil {
			switch {
			case y.High < x.Low:
				pt.Judgement = IsBetter // distributions here are of times: less is better
			case y.Low > x.High:
				pt.Judgement = IsWorse
			default:
				pt.Judgement = NotShown
			}
			if a.Unit != Seconds && pt.Judgement != NotShown {
				pt.Judgement = IsDifferent
			}
		}
		c.Points = append(c.Points, pt)
	}
	return c
}
