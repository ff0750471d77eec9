package report

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// shownPercentiles are those that every distribution tells.
var shownPercentiles = []float64{0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100}

// FromHistogram makes a distribution of a recorded histogram; scale is the unit
// of its integers, such as 1e-9 with Seconds for nanoseconds. An empty histogram
// gives a distribution of no values.
func FromHistogram(name string, unit Unit, h *hdrhistogram.Histogram, scale float64) Distribution {
	d := Distribution{Name: name, Unit: unit, Count: uint64(h.TotalCount())}
	if d.Count == 0 {
		return d
	}
	d.Min, d.Max, d.Mean = round(float64(h.Min())*scale), round(float64(h.Max())*scale), round(h.Mean()*scale)
	for _, p := range shownPercentiles {
		v := h.ValueAtPercentile(p)
		if p == 0 {
			v = h.Min()
		}
		d.Percentiles = append(d.Percentiles, [2]float64{p, round(float64(v) * scale)})
	}
	for _, b := range h.Distribution() {
		if b.Count > 0 {
			d.Buckets = append(d.Buckets, [2]float64{round(float64(b.To) * scale), float64(b.Count)})
		}
	}
	return d
}

// round keeps twelve significant digits, so that 7 ns is not written 7.000000000000001e-09.
func round(v float64) float64 {
	if v == 0 {
		return 0
	}
	scale := math.Pow(10, 12-math.Ceil(math.Log10(math.Abs(v))))
	if r := math.Round(v*scale) / scale; finite(r) {
		return r
	}
	return v
}

// At returns the value at percentile p (0 to 100): the least recorded value that
// is at least as great as p percent of all. It needs buckets; without them, or
// without values, it is not ok.
func (d Distribution) At(p float64) (v float64, ok bool) {
	want := math.Max(1, math.Ceil(p/100*float64(d.Count)))
	return d.Rank(uint64(want))
}

// Rank returns the n-th smallest value, counting from 1.
func (d Distribution) Rank(n uint64) (v float64, ok bool) {
	seen := uint64(0)
	for _, b := range d.Buckets {
		if seen += uint64(b[1]); seen >= n {
			return b[0], true
		}
	}
	return 0, false
}
