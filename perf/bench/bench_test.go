package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"dssn/perf/report"
)

func TestBenchmarkLinesBecomeMetricsAndOthersStay(t *testing.T) {
	metrics, lines := parse("goos: linux\nour rows | 5 Mpps\nBenchmarkOpen/1420-2   8123   147 ns/op   9660 MB/s   0 B/op   3 allocs/op\nBenchmarkOpen/1420-2   8000   149 ns/op\n" +
		"BenchmarkHold-2  10  5 ns/op  2.5 p99-ms/hold+commit  7 flows\nPASS\nok  \tdssn/x\t1.2s\nBenchmarkOdd-2 fast\n")
	want := []report.Metric{
		{Name: "Open/1420 (per op)", Unit: report.Seconds, Better: report.Lower, Samples: []float64{147e-9, 149e-9}},
		{Name: "Open/1420", Unit: report.BitsPerSecond, Better: report.Higher, Samples: []float64{9660e6 * 8}},
		{Name: "Open/1420 (allocs/op)", Unit: report.Plain, Better: report.Lower, Samples: []float64{3}},
		{Name: "Hold (per op)", Unit: report.Seconds, Better: report.Lower, Samples: []float64{5e-9}},
		{Name: "Hold (p99 per hold+commit)", Unit: report.Seconds, Better: report.Lower, Samples: []float64{0.0025}},
		{Name: "Hold (flows)", Unit: report.Plain, Samples: []float64{7}},
	}
	for i := range metrics {
		for k := range metrics[i].Samples {
			if i < len(want) && k < len(want[i].Samples) && abs(metrics[i].Samples[k]/want[i].Samples[k]-1) < 1e-12 {
				metrics[i].Samples[k] = want[i].Samples[k]
			}
		}
	}
	if !reflect.DeepEqual(metrics, want) {
		t.Errorf("metrics:\n got %+v\nwant %+v", metrics, want)
	}
	if want := []string{"our rows | 5 Mpps", "BenchmarkOdd-2 fast"}; !reflect.DeepEqual(lines, want) {
		t.Errorf("lines: got %q, want %q", lines, want)
	}
}

func abs(v float64) float64 { return max(v, -v) }

func TestARunBecomesAResultAndAPage(t *testing.T) {
	dir := t.TempDir()
	if err := run([]string{"good", "-title", "what it is", "-dir", dir, "--", "printf", "BenchmarkX-2 1 20 ns/op\\nwords\\n"}); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"bad", "-dir", dir, "--", "sh", "-c", "echo half; exit 3"}); err == nil {
		t.Fatal("a failed command was not reported")
	}
	if err := run([]string{"Bad Name", "-dir", dir, "--", "true"}); err == nil {
		t.Fatal("a bad name was taken")
	}
	path := filepath.Join(dir, "page.md")
	if err := page([]string{"-o", path, filepath.Join(dir, "good.json"), filepath.Join(dir, "bad.json")}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## what it is", "## bad", "| X (per op) | 20 ns |", "words", "half", "**Not measured:** the command did not work: exit status 3", "`sh -c echo half; exit 3`"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
}
