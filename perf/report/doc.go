// Package report is what every measuring tool of DSSN writes and everybody
// reads: the result of one measurement, with all that is needed to believe it
// or not.
//
//	result.go     dssn-perf-result/1, the format, as Go types
//	read.go       reading it, strictly; writing it
//	check.go      what a result cannot say
//	canonical.go  the one sequence of bytes that stands for a JSON value (RFC 8785)
//	sign.go       signatures of those who took part
//	machine.go    describing the machine that measured
//	histogram.go  latencies as distributions
//	compare.go    two results against each other, with intervals of confidence
//	text.go       both as words
//	html.go       both as one self-contained page (page.html; sections.go, comparehtml.go; chart.go draws)
//
// A tool makes a Result, fills in what it has (everything but Format, Kind,
// Command and At may stay empty), has it signed where two ends took part, and
// writes it with Write:
//
//	r := report.New("rfc2544", "throughput of reservation 12", os.Args)
//	r.Ends = append(r.Ends, report.ThisEnd("tester", "eth0"))
//	r.Settings = append(r.Settings, report.Setting{"frame", "64 B"})
//	r.Metrics = append(r.Metrics, report.Metric{Name: "throughput", Unit: report.BitsPerSecond, Better: report.Higher, Samples: trials})
//	r.Limits = append(r.Limits, report.Limit{Name: "generator's own maximum", Value: 5.1e6, Unit: report.PacketsPerSecond, OK: true})
//	r.Warn("the clocks of both ends are not synchronised: one-way delays are left out")
//	err := r.Sign(report.Signer{Role: "tester", Key: key})
//	err = report.Write(file, r)
//
// Values are base units (seconds, bytes, bits per second, ratios from 0 to 1):
// whoever shows them chooses the multiple. A Result belongs to one goroutine.
package report
