package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"dssn/perf/lab"
	"dssn/perf/lab/scenario"
)

// readScenario reads the file that the command line names; no name is no scenario.
func readScenario(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", usagef("the scenario %s cannot be read: %v; name a %s file", path, err, scenario.Format)
	}
	return string(text), nil
}

func labPlayCommand() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   "play SCENARIO",
		Short: "Do to a lab what a scenario says, when it says it",
		Long: `Plays a scenario file to a lab that stands:

  dssn-scenario/1
  # the digger comes after ten seconds
  at 10s    cut beijing-gansu for 3s
  at 15s    set beijing>gansu loss=1% delay=20ms for 5s
  at 20s    kill chengdu for 4s
  at 22.5s  kill controller
  at 30s    start controller
  at 31s    cut link 4
  at 33s    restore link 4
  at 40s    say nothing more will happen
  at 1m     end

A link is a-b, for set also a>b (one direction), or link N, the N-th fibre as
'dssn lab watch' numbers them. "for" undoes the action after a while. set takes
the settings of an emulated wire ('dssn lab wire --help').`,
		Args: exactly("SCENARIO"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readScenario(args[0])
			if err != nil {
				return err
			}
			l, err := lab.Open(id)
			if err != nil {
				return err
			}
			s, err := l.ReadScenario(text)
			if err != nil {
				return usagef("%s: %v", args[0], err)
			}
			began := time.Now()
			err = l.Play(cmd.Context(), s, func(a scenario.Action) {
				if asJSON(cmd) {
					printJSON(cmd.OutOrStdout(), lab.ReportAction{AtSeconds: time.Since(began).Round(time.Millisecond).Seconds(), Did: a.String()})
					return
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%8v  %s\n", a.At, a)
			})
			if cmd.Context().Err() != nil {
				return fmt.Errorf("interrupted; what was done stays done: `dssn lab restore LINK` brings a cut link back")
			}
			return err
		},
	}
	cmd.Flags().StringVar(&id, "lab", "", "name of the lab (default: the only one)")
	return cmd
}
