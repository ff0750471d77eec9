package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dssn/perf/lab"
	"dssn/perf/wire"
)

// labWiresCommand is what `dssn lab up` starts in the wires' namespace.
func labWiresCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "wires LAB",
		Short:  "Move the frames of a lab's emulated wires (started by `dssn lab up`)",
		Hidden: true,
		Args:   exactly("LAB"),
		RunE:   func(cmd *cobra.Command, args []string) error { return lab.ServeWires(cmd.Context(), args[0]) },
	}
}

func labWireCommand() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   "wire [LINK [SETTING…]]",
		Short: "Show what the emulated wires do, or change one while frames flow",
		Long: `Without arguments, shows every emulated wire of the lab. With a link (a-b, or a>b
for one direction) and settings, changes it at once:

  dssn lab wire beijing-gansu delay=20ms loss=0.5%

  rate=1G            bits per second; 0 for no limit
  overhead=24        bytes per frame on the line beyond its own
  queue=100p         packets, bytes (64KiB) or both (64KiB/100p); default 1000p
  delay=10ms         one way
  jitter=2ms         with law=uniform (±), normal (σ), exponential or pareto (mean)
  order=free         jitter may change the order of frames (default: keep)
  loss=0.1%          each frame by itself
  burst=0.1%/25%     Gilbert-Elliott: enter and leave a bad state, which loses all,
                     or with burst-loss=50% that share
  reorder=1%/2ms     share of frames held back, and for how long
  duplicate=0.1%     share of frames that come out twice
  corrupt=0.01%      share of frames with one bit flipped
  mtu=1400           longest packet that passes
  seed=7             of all chance: the same seed loses the same frames
  line=down          lose everything, without the ends noticing

In a lab's --wire and in a topology's links, rate=from-capacity and
delay=from-latency take the link's own.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(id)
			if err != nil {
				return err
			}
			if len(args) > 1 {
				text := strings.Join(args[1:], " ")
				if _, err := wire.Parse(text); err != nil && !partial(text) {
					return usageError{err}
				}
				_, err := l.SetWire(args[0], text)
				return err
			}
			link := ""
			if len(args) == 1 {
				w, err := l.Plan.Wire(strings.Replace(args[0], ">", "-", 1))
				if err != nil {
					return err
				}
				link = w.Name
			}
			stats, err := l.ReadWires()
			if err != nil {
				return err
			}
			if link != "" {
				one, ok := stats[link]
				if !ok {
					return fmt.Errorf("the link %s is a plain one: make the lab with `--wire …` to emulate it", link)
				}
				stats = map[string]lab.WireReading{link: one}
			}
			return emit(cmd, stats, func(w io.Writer) error { return printWires(w, l, stats) })
		},
	}
	cmd.Flags().StringVar(&id, "lab", "", "name of the lab (default: the only one)")
	return cmd
}

// partial reports whether the text may make sense only together with settings
// that are in force already.
func partial(text string) bool {
	for _, name := range []string{"queue=", "burst=", "reorder="} {
		if strings.Contains(text, name) {
			return true
		}
	}
	return false
}

func printWires(w io.Writer, l *lab.Lab, stats map[string]lab.WireReading) error {
	return table(w, func(row func(string, ...any)) {
		row("WIRE\tIN\tOUT\tDROPPED\tHELD\tLATE P99\tSETTINGS")
		for _, k := range l.Plan.Wires {
			v, ok := stats[k.Name]
			if !ok {
				continue
			}
			for d, s := range v.Directions {
				name := k.Ends[d].Node + ">" + k.Ends[1-d].Node
				row("%s\t%d\t%d\t%s\t%d\t%v\t%s", name, s.Counters.In, s.Counters.Out, dropped(s.Counters), s.Held, s.LateP99, s.Settings)
			}
		}
	})
}

// dropped names the reasons, the greatest first.
func dropped(c wire.Counters) string {
	var reasons []wire.Reason
	for r := range wire.Reasons {
		if c.Dropped[r] > 0 {
			reasons = append(reasons, r)
		}
	}
	slices.SortFunc(reasons, func(a, b wire.Reason) int { return int(c.Dropped[b]) - int(c.Dropped[a]) })
	var text []string
	for _, r := range reasons {
		text = append(text, fmt.Sprintf("%d %s", c.Dropped[r], r))
	}
	if text == nil {
		return "0"
	}
	return strings.Join(text, ", ")
}
