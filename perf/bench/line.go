package main

import (
	"regexp"
	"strconv"
	"strings"

	"dssn/perf/report"
)

// cores is the "-2" that Go puts behind a benchmark's name.
var cores = regexp.MustCompile(`-\d+$`)

// benchmarkLine reads
//
//	BenchmarkOpen/1420-2   8123   147 ns/op   9.66 GB/s   0 B/op
//
// into one metric per value; ok is false for any other line.
func benchmarkLine(line string) (out []report.Metric, ok bool) {
	f := strings.Fields(line)
	if len(f) < 4 || len(f)%2 != 0 || !strings.HasPrefix(f[0], "Benchmark") {
		return nil, false
	}
	if _, err := strconv.ParseUint(f[1], 10, 64); err != nil {
		return nil, false
	}
	name := cores.ReplaceAllString(strings.TrimPrefix(f[0], "Benchmark"), "")
	for i := 2; i < len(f); i += 2 {
		v, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			return nil, false
		}
		m := metricOf(name, f[i+1], v)
		if m.Name != "" {
			out = append(out, m)
		}
	}
	return out, true
}

// multiples are the units that benchmarks print, in base units.
var multiples = map[string]struct {
	unit   report.Unit
	times  float64
	better report.Better
}{
	"ns": {report.Seconds, 1e-9, report.Lower}, "µs": {report.Seconds, 1e-6, report.Lower}, "us": {report.Seconds, 1e-6, report.Lower}, "ms": {report.Seconds, 1e-3, report.Lower}, "s": {report.Seconds, 1, report.Lower},
	"kB/s": {report.BitsPerSecond, 8e3, report.Higher}, "MB/s": {report.BitsPerSecond, 8e6, report.Higher}, "GB/s": {report.BitsPerSecond, 8e9, report.Higher},
	"Mbit/s": {report.BitsPerSecond, 1e6, report.Higher}, "Gbit/s": {report.BitsPerSecond, 1e9, report.Higher},
	"pps": {report.PacketsPerSecond, 1, report.Higher}, "kpps": {report.PacketsPerSecond, 1e3, report.Higher}, "Mpps": {report.PacketsPerSecond, 1e6, report.Higher},
	"s/GB": {report.CPUSecondsPerGB, 1, report.Lower}, "CPU-s/GB": {report.CPUSecondsPerGB, 1, report.Lower},
	"B": {report.Bytes, 1, report.Lower}, "bytes": {report.Bytes, 1, report.Lower}, "allocs": {report.Plain, 1, report.Lower},
}

// metricOf names a value "Benchmark per op" or "Benchmark (what)". Memory per
// operation is left out where there is none.
func metricOf(name, unit string, v float64) report.Metric {
	if k, ok := multiples[unit]; ok {
		return report.Metric{Name: name, Unit: k.unit, Better: k.better, Samples: []float64{v * k.times}}
	}
	amount, per, _ := strings.Cut(unit, "/")
	what, amount := prefixed(amount)
	k, ok := multiples[amount]
	switch {
	case !ok:
		return report.Metric{Name: name + " (" + unit + ")", Unit: report.Plain, Samples: []float64{v}}
	case per == "op" && (amount == "B" || amount == "allocs"):
		if v == 0 {
			return report.Metric{}
		}
		return report.Metric{Name: name + " (" + amount + "/op)", Unit: k.unit, Better: k.better, Samples: []float64{v}}
	}
	label := what
	if per != "" {
		label = strings.TrimSpace(what + " per " + per)
	}
	return report.Metric{Name: name + " (" + label + ")", Unit: k.unit, Better: k.better, Samples: []float64{v * k.times}}
}

// prefixed splits "p99-ms" into "p99" and "ms".
func prefixed(s string) (what, unit string) {
	if i := strings.LastIndexByte(s, '-'); i > 0 {
		if _, ok := multiples[s[i+1:]]; ok {
			return s[:i], s[i+1:]
		}
	}
	return "", s
}
