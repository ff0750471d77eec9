package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/perf/lab"
)

func labRunCommand() *cobra.Command {
	var o lab.RunOptions
	var size, committed, ceiling, script string
	cmd := &cobra.Command{
		Use:   "run [TOPOLOGY.json]",
		Short: "Do the main job in a lab, from join to receipt, then remove everything",
		Long: `Makes a lab of the topology (default: the eight hubs), starts a controller, joins
every node, publishes a folder, is refused, is granted, reserves, fetches by
identifier while a link of the path is cut and the controller is killed, and shows
usage, bill and receipt: all by the commands that a user would type, which are
printed with their answers. At the end everything is removed.`,
		Args: oneTopology,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.Topology, err = readTopology(args); err != nil {
				return err
			}
			o.Default = len(args) == 0
			if o.Size, err = dssn.ParseByteCount(size); err != nil {
				return usageError{err}
			}
			if o.Size < dssn.MiB {
				return usagef("a dataset of %s is over before anything can be cut: choose --size 64MiB or more", o.Size)
			}
			if o.Committed, err = dssn.ParseBandwidth(committed); err != nil {
				return usageError{err}
			}
			if o.Ceiling, err = dssn.ParseBandwidth(ceiling); err != nil {
				return usageError{err}
			}
			if o.Ceiling < o.Committed {
				return usagef("the ceiling %s lies below the committed rate %s: lower --committed too", o.Ceiling, o.Committed)
			}
			if err := writable(o.ReportPath); err != nil {
				return err
			}
			if err := lab.CheckWires(o.Wires); err != nil {
				return usageError{err}
			}
			if o.Scenario, err = readScenario(script); err != nil {
				return err
			}
			if o.Scenario != "" {
				if err := lab.CheckScenario(o.BootOptions, o.Scenario); err != nil {
					return usagef("%s: %v", script, err)
				}
			}
			o.Version = thisVersion().Version
			report, err := lab.Run(cmd.Context(), o, cmd.OutOrStdout())
			if err != nil {
				return interruptedOr(cmd.Context(), err)
			}
			fmt.Fprintln(cmd.OutOrStdout())
			report.Print(cmd.OutOrStdout())
			if o.ReportPath == "" {
				return nil
			}
			out, err := os.Create(o.ReportPath)
			if err != nil {
				return fmt.Errorf("write the report: %w; choose another place with --json", err)
			}
			return closeAfter(out, printJSON(out, report))
		},
	}
	bootFlags(cmd, &o.BootOptions, fmt.Sprintf("run%d", os.Getpid()))
	f := cmd.Flags()
	f.StringVar(&size, "size", "1GiB", "`amount` of data to publish and fetch")
	f.Uint64Var(&o.Seed, "seed", 1, "of the generated files")
	f.StringVar(&committed, "committed", "1G", "`rate` to reserve")
	f.StringVar(&ceiling, "ceiling", "4G", "`rate` that may be reached")
	f.StringVar(&script, "scenario", "", "`file` of what shall happen to the network while it fetches (`dssn lab play --help`)")
	f.StringVar(&o.ReportPath, "json", "", "`file` to write the report to (docs/lab-run.md)")
	return cmd
}

// writable refuses a place where a file cannot be written, and leaves it as it was.
func writable(path string) error {
	if path == "" {
		return nil
	}
	_, before := os.Stat(path)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return usagef("the report cannot be written: %v; choose another place with --json", err)
	}
	if f.Close(); os.IsNotExist(before) {
		return os.Remove(path)
	}
	return nil
}

func closeAfter(c io.Closer, err error) error {
	if closed := c.Close(); err == nil {
		err = closed
	}
	return err
}

// interruptedOr says that a person ended it, where one did.
func interruptedOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted; everything that was made is removed")
	}
	return err
}
