// Command bench measures the solver on te-instance/1 files and prints one line per
// instance and task: how long until the gap was proved, on the clock and in processor
// time, what was proved, the reference optimum where reference.json has it, and what a
// plain linear program needs, where one can run. bench.mk makes the instances and
// runs it.
//
// Tasks: flow, lambda and maxmin from nothing; failure, the greatest flow after one
// link has failed, from the answer before; change, the same after 5 % of the demands
// have changed; fair, max-min after a failure, a drain or a change, from the answer before and from nothing; admit, one reservation in a calendar of ten thousand.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"dssn/topology/solve"
)

type bench struct {
	gap, warmGap float64
	limit        time.Duration
	failures     int
	refs         references
	lp           baseline
	judge        string
}

func main() {
	b := bench{}
	reference := flag.String("reference", "", "reference.json of ../shared/te")
	tasks := flag.String("tasks", "flow,lambda,maxmin", "which to run: flow, lambda, maxmin, failure, change, fair, admit, day")
	flag.Float64Var(&b.gap, "gap", 1e-4, "proven gap at which to stop")
	flag.Float64Var(&b.warmGap, "warm-gap", 2e-3, "the same after a failure or a change")
	flag.DurationVar(&b.limit, "limit", 30*time.Second, "time after which the best answer so far is taken")
	flag.IntVar(&b.failures, "failures", 20, "how many links fail, one at a time")
	flag.DurationVar(&b.lp.limit, "lp-limit", 0, "time for a linear program to compare with, 0: none")
	flag.StringVar(&b.judge, "judge", "", "verify.py of ../shared/te, to judge every answer")
	events := flag.Int("events", 200, "failures, repairs and changes in a day")
	flag.Parse()
	if b.lp.limit > 0 {
		if p, err := exec.LookPath("clp"); err == nil {
			b.lp.program = p
		} else {
			fmt.Fprintln(os.Stderr, "bench: no linear program to compare with: the program clp (Debian: coinor-clp) is not installed")
		}
	}
	var err error
	if b.refs, err = readReference(*reference); err == nil {
		err = b.run(flag.Args(), strings.Split(*tasks, ","), *events)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(files, tasks []string, events int) error {
	fmt.Printf("%-12s %8s %-8s %10s %10s %13s %9s %13s %6s %9s  %s\n", "instance", "demands", "task", "clock", "processor", "value", "gap %", "reference", "paths", "unproved", "linear program")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		in, err := solve.ReadInstance(text)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		for _, task := range tasks {
			switch task {
			case "failure":
				err = b.failure(name, in)
			case "change":
				err = b.change(name, in)
			case "fair":
				err = b.fair(name, in)
			case "admit":
				err = b.admit(name, in)
			case "day":
				err = b.day(name, in, events)
			default:
				err = b.cold(name, file, in, task)
			}
			if err != nil {
				return fmt.Errorf("%s %s: %w", name, task, err)
			}
		}
	}
	return nil
}

// cold solves in from nothing and prints the line.
func (b *bench) cold(name, file string, in *solve.Instance, task string) error {
	o, err := solve.ParseObjective(task)
	if err != nil {
		return err
	}
	a, clock, processor, err := b.solve(in, solve.Options{Objective: o, Gap: b.gap})
	if err != nil {
		return err
	}
	v, err := solve.Verify(in, a)
	if err != nil {
		return err
	}
	unproved := "-"
	if o == solve.MaxMinFair {
		unproved = fmt.Sprint(v.Unproved)
	}
	lp := ""
	if b.lp.program != "" && o != solve.MaxMinFair {
		switch value, took, err := b.lp.solve(in, o); {
		case err != nil && took >= b.lp.limit:
			lp = fmt.Sprintf("not within %s", b.lp.limit)
		case err != nil:
			return err
		default:
			if o == solve.MaxFlow {
				value *= 1e9
			}
			lp = fmt.Sprintf("%.6g in %s", value, round(took))
		}
	}
	if b.judge != "" {
		if err := b.judged(file, in, a); err != nil {
			return err
		}
		lp += " judged"
	}
	fmt.Printf("%-12s %8d %-8s %10s %10s %13.6g %9.5f %13s %6.3f %9s  %s\n", name, in.Demands.Len(), task, round(clock), round(processor), v.Value, 100*v.Gap,
		b.refs.optimum(name, task), float64(len(a.Flows))/float64(in.Demands.Len()), unproved, lp)
	return nil
}

// solve measures one call.
func (b *bench) solve(in *solve.Instance, o solve.Options) (a *solve.Allocation, clock, processor time.Duration, err error) {
	runtime.GC()
	begin, used := time.Now(), processorTime()
	o.Stop = func() bool { return time.Since(begin) > b.limit }
	a, err = solve.Solve(in, o)
	return a, time.Since(begin), processorTime() - used, err
}

// judged has the stranger's verifier look at an answer.
func (b *bench) judged(file string, in *solve.Instance, a *solve.Allocation) error {
	f, err := os.CreateTemp("", "dssn-judge-*.json")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(a.AppendJSON(nil, in.Name)); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	gap := 2 * b.gap
	if a.Objective == solve.MaxMinFair {
		gap = solve.Eps
	}
	out, err := exec.Command("python3", b.judge, file, f.Name(), "--objective", a.Objective.String(), "--max-gap", fmt.Sprint(gap)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("the verifier does not agree: %w\n%s", err, out)
	}
	return nil
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// round leaves three digits.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
