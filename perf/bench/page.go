package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dssn/perf/report"
)

// page writes the Markdown page of several results.
func page(args []string) error {
	f := flag.NewFlagSet("page", flag.ExitOnError)
	path := f.String("o", "docs/performance.md", "file to write")
	f.Parse(args)
	if f.NArg() == 0 {
		return fmt.Errorf("page takes result files: run `make bench` first")
	}
	var b bytes.Buffer
	b.WriteString("# Performance\n\nWritten by `make bench` from the results of its targets (`bin/bench/*.json`); do not edit. Peers stand beside us in the same run.\n" +
		"Figures of different sections come from different minutes: compare inside one section.\n")
	files := slices.Clone(f.Args())
	slices.Sort(files)
	for _, file := range files {
		r, err := report.ReadFile(file)
		if err != nil {
			return err
		}
		if err := section(&b, strings.TrimSuffix(filepath.Base(file), ".json"), r); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return os.WriteFile(*path, b.Bytes(), 0o644)
}

func section(b *bytes.Buffer, name string, r *report.Result) error {
	title := r.Title
	if title == "" {
		title = name
	}
	fmt.Fprintf(b, "\n## %s\n\n", title)
	fmt.Fprintf(b, "`%s`, %s, took %s", strings.Join(r.Command, " "), r.At.Format("2006-01-02 15:04 UTC"), report.Seconds.Show(r.Seconds))
	for _, e := range r.Ends {
		fmt.Fprintf(b, ", on %d cores of %s, Linux %s, %s; load before %.2f", e.Cores, e.CPU, e.Kernel, e.Go, e.Load)
	}
	if r.Program != "" {
		fmt.Fprintf(b, "; commit %s", r.Program)
	}
	b.WriteString(".\n")
	for _, w := range r.Distrust() {
		fmt.Fprintf(b, "\n> %s\n", w)
	}
	if r.Verdict != nil && !r.Verdict.Pass {
		fmt.Fprintf(b, "\n**Not measured:** %s\n", r.Verdict.Why)
	}
	if len(r.Metrics) > 0 {
		b.WriteString("\n| | median | least to most | runs |\n|---|---|---|---|\n")
	}
	for _, m := range r.Metrics {
		s := slices.Sorted(slices.Values(m.Samples))
		n := len(s)
		spread := ""
		if n > 1 {
			spread = m.Unit.Show(s[0]) + " to " + m.Unit.Show(s[n-1])
		}
		fmt.Fprintf(b, "| %s | %s | %s | %d |\n", strings.ReplaceAll(m.Name, "|", "\\|"), m.Unit.Show((s[(n-1)/2]+s[n/2])/2), spread, n)
	}
	var out output
	if r.Detail != nil {
		if err := json.Unmarshal(r.Detail, &out); err != nil {
			return fmt.Errorf("its output is not as `bench run` writes it: %w", err)
		}
	}
	if text := strings.Trim(strings.Join(out.Lines, "\n"), "\n"); text != "" {
		fmt.Fprintf(b, "\n```\n%s\n```\n", strings.ReplaceAll(text, "```", "'''"))
	}
	return nil
}
