package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"dssn/topology/plan"
	"dssn/topology/solve"
)

// planCommand is `dssn plan`: who gets how much over which paths, with its proof.
func planCommand() *cobra.Command {
	var topo, instance, demands, objective, out, report string
	var q plan.Question
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "plan (--instance FILE | --topology FILE --demands FILE)",
		Short: "Share a network's capacity among demands, and prove the answer",
		Long: `plan computes who gets how much over which paths: the greatest total (flow), the
greatest common fraction (lambda) or weighted max-min fair shares (maxmin). Every
answer is verified before it is shown, and carries link prices that anybody can check.

Where demands have committed rates (committed_bps), maxmin serves these first. One that
does not fit is an answer: who, how much short, and the full links that prove it.

Links are written A>B by the names of their ends, or by index.`,
		Example: `  dssn plan --instance cogentco.json --objective flow --report plan.html
  dssn plan --topology net.json --demands wishes.json --what-if cut:Tokyo>Osaka`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if q.Objective, err = solve.ParseObjective(objective); err != nil {
				return usageError{err}
			}
			for _, f := range []struct {
				name string
				text *[]byte
			}{{topo, &q.Topology}, {instance, &q.Instance}, {demands, &q.Demands}} {
				if f.name == "" {
					continue
				}
				if *f.text, err = os.ReadFile(f.name); err != nil {
					return usageError{err}
				}
			}
			begin := time.Now()
			if limit > 0 {
				q.Stop = func() bool { return time.Since(begin) > limit }
			}
			shown := begin
			q.Progress = func(p solve.Progress) {
				if time.Since(shown) > time.Second {
					shown = time.Now()
					fmt.Fprintf(cmd.ErrOrStderr(), "%3.0f s  %s\n", time.Since(begin).Seconds(), plan.ProgressLine(q.Objective, p))
				}
			}
			a, err := plan.Ask(q)
			var input plan.InputError
			if errors.As(err, &input) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			if out != "" {
				if err := os.WriteFile(out, a.Allocation.AppendJSON(nil, a.Instance.Name), 0o644); err != nil {
					return fmt.Errorf("write the allocation: %w", err)
				}
			}
			if report != "" {
				if err := os.WriteFile(report, a.HTML(), 0o644); err != nil {
					return fmt.Errorf("write the report: %w", err)
				}
			}
			if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
				_, err = cmd.OutOrStdout().Write(a.JSON())
				return err
			}
			if err := a.Table(cmd.OutOrStdout()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "\nsolved and verified in %s\n", time.Since(begin).Round(time.Millisecond))
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&topo, "topology", "", "te-topology/1 or GraphML `file`")
	f.StringVar(&instance, "instance", "", "te-instance/1 `file`: topology and demands in one")
	f.StringVar(&demands, "demands", "", "`file` with the demands as columns src, dst, bps, weight, class, max_latency_us and committed_bps")
	f.StringVar(&objective, "objective", "flow", "what to make large: `flow, lambda or maxmin`")
	f.BoolVar(&q.ByClass, "by-class", false, "maxmin: serve class before class, weights counting inside a class only")
	f.StringSliceVar(&q.Down, "down", nil, "`link` that has failed; may be repeated")
	f.StringSliceVar(&q.WhatIf, "what-if", nil, "also compute a change: `drain:NODE, cut:LINK or add:A>B=10G`; may be repeated")
	f.DurationVar(&limit, "time-limit", 0, "stop searching after this `time` and give the best answer so far")
	f.Float64Var(&q.Gap, "gap", 0.001, "proven relative gap at which to stop")
	f.StringVar(&out, "out", "", "write the allocation with its proof, te-allocation/1, to `file`")
	f.StringVar(&report, "report", "", "write a page with map, loads and bottlenecks to `file`")
	return cmd
}
