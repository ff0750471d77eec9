// Command bench measures the solver on te-instance/1 files, cold, one line per
// instance and objective: how long until the gap was proved, what was proved, and the
// reference optimum where reference.json has it. bench.mk makes the instances and
// runs it.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"dssn/topology/solve"
)

func main() {
	reference := flag.String("reference", "", "reference.json of ../shared/te")
	objectives := flag.String("objectives", "flow,lambda,maxmin", "which to run")
	gap := flag.Float64("gap", 1e-4, "proven gap at which to stop")
	limit := flag.Duration("limit", 30*time.Second, "time after which the best answer so far is taken")
	verify := flag.Bool("verify", true, "judge every answer")
	flag.Parse()
	if err := run(flag.Args(), *reference, strings.Split(*objectives, ","), *gap, *limit, *verify); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(files []string, reference string, objectives []string, gap float64, limit time.Duration, verify bool) error {
	refs, err := readReference(reference)
	if err != nil {
		return err
	}
	fmt.Printf("%-14s %8s %-7s %10s %14s %9s %14s %6s %8s\n", "instance", "demands", "goal", "cold", "value", "gap %", "reference", "paths", "unproved")
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
		for _, goal := range objectives {
			o, err := solve.ParseObjective(goal)
			if err != nil {
				return err
			}
			runtime.GC()
			begin := time.Now()
			a, err := solve.Solve(in, solve.Options{Objective: o, Gap: gap, Stop: func() bool { return time.Since(begin) > limit }})
			if err != nil {
				return fmt.Errorf("%s %s: %w", name, goal, err)
			}
			took := time.Since(begin)
			value, proven, unproved := a.Value, a.Gap(), 0
			if verify {
				v, err := solve.Verify(in, a)
				if err != nil {
					return fmt.Errorf("%s %s: %w", name, goal, err)
				}
				value, proven, unproved = v.Value, v.Gap, v.Unproved
			}
			fmt.Printf("%-14s %8d %-7s %10s %14.6g %9.5f %14s %6.3f %8d\n", name, in.Demands.Len(), goal, took.Round(10*time.Microsecond), value, 100*proven,
				refs.optimum(name, goal), float64(len(a.Flows))/float64(in.Demands.Len()), unproved)
		}
	}
	return nil
}

// references is what reference.json says of an instance.
type references map[string]struct {
	Flow struct {
		Gbps float64 `json:"gbps"`
	} `json:"flow_any"`
	Lambda struct {
		Value float64 `json:"value"`
	} `json:"lambda_any"`
	Prototype struct {
		Lower float64 `json:"lower_gbps"`
	} `json:"prototype_flow_any"`
}

func readReference(file string) (references, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all struct {
		Dev references `json:"dev"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return all.Dev, nil
}

func (r references) optimum(name, goal string) string {
	ref, ok := r[name+"-g1"]
	switch {
	case !ok:
	case goal == "flow" && ref.Flow.Gbps > 0:
		return fmt.Sprintf("%.6g", ref.Flow.Gbps*1e9)
	case goal == "flow" && ref.Prototype.Lower > 0:
		return fmt.Sprintf("≥%.6g", ref.Prototype.Lower*1e9)
	case goal == "lambda" && ref.Lambda.Value > 0:
		return fmt.Sprintf("%.6g", ref.Lambda.Value)
	}
	return "-"
}
