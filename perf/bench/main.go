// Command bench is how this project measures itself: `make bench` runs every
// bench-… target, whose commands go through
//
//	bench run NAME [-title TEXT] -- COMMAND…
//
// which runs the command, shows what it prints, and writes bin/bench/NAME.json, a
// dssn-perf-result/1: the benchmark lines of Go's testing package as metrics, all
// other lines as they came, the machine, its load before, the exact command. A
// command that fails leaves a result that says so. Afterwards
//
//	bench page -o docs/performance.md bin/bench/*.json
//
// writes the page; nothing in it is typed by hand.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"dssn/perf/report"
)

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	var err error
	switch os.Args[1] {
	case "run":
		err = run(os.Args[2:])
	case "page":
		err = page(os.Args[2:])
	default:
		usage()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "bench: write `bench run NAME -- COMMAND…` or `bench page -o FILE RESULT.json…`")
	os.Exit(2)
}

// output is the Detail of a benchmark's result: every line that is no metric.
type output struct {
	Lines []string `json:"lines"`
}

var plainName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

func run(args []string) error {
	if len(args) < 1 || !plainName.MatchString(args[0]) {
		return fmt.Errorf("run takes a name of small letters, digits and dashes first")
	}
	name := args[0]
	f := flag.NewFlagSet("run", flag.ExitOnError)
	title := f.String("title", "", "one line for people")
	dir := f.String("dir", "bin/bench", "where to write NAME.json")
	f.Parse(args[1:])
	command := f.Args()
	if len(command) == 0 {
		return fmt.Errorf("run %s: no command is given: put it behind --", name)
	}
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(*dir, name+".json")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	r := report.New("bench", *title, command)
	if text, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		r.Program = strings.TrimSpace(string(text))
	}
	r.Ends = []report.End{report.ThisEnd("bench")} // the load is that before the run
	if load := r.Ends[0].Load; load > 0.5 {
		r.Warn(fmt.Sprintf("the machine was not idle before the run: %.1f runnable tasks on %d cores", load, r.Ends[0].Cores))
	}
	began := time.Now()
	var text bytes.Buffer
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin = os.Stdin
	cmd.Stdout = io.MultiWriter(os.Stdout, &text)
	cmd.Stderr = cmd.Stdout
	failed := cmd.Run()
	r.Seconds = float64(time.Since(began).Round(time.Millisecond)) / float64(time.Second)
	var out output
	r.Metrics, out.Lines = parse(text.String())
	if failed != nil {
		r.Verdict = &report.Verdict{Why: "the command did not work: " + failed.Error()}
	}
	detail, err := json.Marshal(out)
	if err != nil {
		return err
	}
	r.Detail = detail
	return errors.Join(report.WriteFile(path, r), failed)
}

// noise are lines of `go test` that say nothing about the measurement.
var noise = regexp.MustCompile(`^(goos: |goarch: |pkg: |cpu: |PASS$|ok  \t|\?   \t|make\[)`)

// parse separates benchmark lines, in Go's benchmark data format (go.dev/design
// 14313), from others. A benchmark that ran repeatedly gives several samples.
func parse(text string) (metrics []report.Metric, lines []string) {
	at := map[string]int{}
	for line := range strings.Lines(text) {
		line = strings.ToValidUTF8(strings.TrimRight(line, "\r\n"), "�")
		if noise.MatchString(line) {
			continue
		}
		found, ok := benchmarkLine(line)
		if !ok {
			lines = append(lines, line)
			continue
		}
		for _, m := range found {
			if i, seen := at[m.Name]; seen {
				metrics[i].Samples = append(metrics[i].Samples, m.Samples...)
				continue
			}
			at[m.Name] = len(metrics)
			metrics = append(metrics, m)
		}
	}
	return metrics, lines
}
