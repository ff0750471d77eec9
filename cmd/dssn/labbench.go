package main

import (
	"time"

	"github.com/spf13/cobra"

	"dssn/perf/lab"
)

func labBenchCommand() *cobra.Command {
	o := lab.BenchOptions{}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure goodput through the tunnels beside plain TCP and bare wireguard-go",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Rounds < 1 || o.Seconds < time.Second {
				return usagef("nothing would be measured: give --rounds 1 or more and --seconds 1s or more")
			}
			b, err := lab.Bench(cmd.Context(), o, cmd.ErrOrStderr())
			if err != nil {
				return interruptedOr(cmd.Context(), err)
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), b)
			}
			b.Print(cmd.OutOrStdout())
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Rounds, "rounds", 5, "how often each contender is measured, taking turns")
	f.DurationVar(&o.Seconds, "seconds", 3*time.Second, "how long each measurement lasts, after one second of warming up")
	f.StringVar(&o.WireGuard, "wireguard-go", "", "`program` to measure against (default: the one in the path)")
	f.IntVar(&o.MTU, "mtu", 1500, "MTU of every link, bytes")
	return cmd
}
