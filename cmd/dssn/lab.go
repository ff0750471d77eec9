package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"dssn/perf/lab"
	"dssn/topology"
)

func labCommand() *cobra.Command {
	var o watchOptions
	c := group(&cobra.Command{
		Use:   "lab",
		Short: "Make a whole network on this machine, explore it, remove it",
		Long: `A lab is a network on one machine: every node of a topology is a network
namespace with a process of its own, every fibre a veth pair or an emulated wire.
It needs root.

  dssn lab                         show the lab that stands, live: links, rates, paths, events
  dssn lab run                     the main job from join to receipt, then remove everything
  dssn lab up                      a lab to explore, with all nodes joined
  dssn lab exec beijing -- ip -6 route
  dssn lab cut beijing-gansu       both ends of the link go down
  dssn lab up --wire delay=from-latency,rate=from-capacity
                                   every fibre as long and as fast as the map says
  dssn lab play digger.txt         cut, change and kill as a scenario says
  dssn lab capture beijing-gansu   its frames in words, or in a pcapng file
  dssn lab down                    remove it`,
	}, labUpCommand(), labRunCommand(), labBenchCommand(), labExecCommand(), labWireCommand(), labWiresCommand(), labPlayCommand(), labWatchCommand(), labCaptureCommand(), labCutCommand(), labRestoreCommand(), labListCommand(), labDownCommand())
	watchFlags(c, &o)
	help := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if labs, err := lab.List(); len(args) > 0 || o.id == "" && (err != nil || len(labs) == 0) {
			return help(cmd, args)
		}
		return labWatch(cmd, o)
	}
	return c
}

// readTopology reads the topology file that the command line names, or returns
// the eight hubs.
func readTopology(args []string) ([]byte, error) {
	if len(args) == 0 {
		return lab.EightHubs, nil
	}
	return topologyFile(args[0])
}

// topologyFile reads a topology and refuses one that cannot be.
func topologyFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("the topology %s cannot be read: %v; name a te-topology/1 file", path, err)
	}
	if _, err := topology.Read(text); err != nil {
		return nil, usagef("%s is not a topology: %v; correct it (docs/operator.md shows the format)", path, err)
	}
	return text, nil
}

func oneTopology(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s takes one topology file, but %d were given: leave the others out", cmd.CommandPath(), len(args))
	}
	return nil
}

func labUpCommand() *cobra.Command {
	var o lab.BootOptions
	var bare bool
	cmd := &cobra.Command{
		Use:   "up [TOPOLOGY.json]",
		Short: "Make a lab and leave it standing, with its controller and all nodes joined",
		Args:  oneTopology,
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readTopology(args)
			if err != nil {
				return err
			}
			o.Topology, o.Default = text, len(args) == 0
			o.Keep = true
			if err := lab.CheckWires(o.Wires); err != nil {
				return usageError{err}
			}
			if bare {
				l, err := lab.Bare(lab.Options{ID: o.ID, Topology: o.Topology, MTU: o.MTU, Wires: o.Wires})
				if err != nil {
					return err
				}
				return emit(cmd, l.Plan, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "lab %s stands, %d namespaces without programs; try\n  dssn lab exec %s -- ip -6 addr\n  dssn lab down %s\n",
						l.Plan.ID, len(l.Plan.Nodes), l.Backbone()[0], l.Plan.ID)
					return err
				})
			}
			l, err := lab.Boot(cmd.Context(), o, cmd.ErrOrStderr())
			if err != nil {
				return interruptedOr(cmd.Context(), err)
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), l.Plan)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "lab %s stands with %d backbone nodes and %d terminals; try\n  dssn lab exec %s -- dssn status\n  dssn lab down %s\n",
				l.Plan.ID, len(l.Backbone()), len(l.Terminals()), l.Terminals()[0], l.Plan.ID)
			return nil
		},
	}
	bootFlags(cmd, &o, "lab")
	cmd.Flags().StringVar(&o.Replica, "replica", "", "backbone `node` behind which the holder's institution has a second terminal (default: none)")
	cmd.Flags().BoolVar(&bare, "bare", false, "make the network only: start no controller and no nodes")
	return cmd
}

func bootFlags(cmd *cobra.Command, o *lab.BootOptions, id string) {
	f := cmd.Flags()
	f.StringVar(&o.ID, "lab", id, "name of the lab: 1 to 12 small letters and digits")
	f.StringVar(&o.Holder, "holder", "", "backbone `node` of the institution that publishes (default: one of the two farthest apart)")
	f.StringVar(&o.Consumer, "consumer", "", "backbone `node` of the institution that fetches (default: the other)")
	f.IntVar(&o.MTU, "mtu", 1500, "MTU of every link, bytes")
	f.StringVar(&o.Wires, "wire", "", "emulate every fibre: `settings` such as 'delay=from-latency,rate=from-capacity,loss=0.1%'\n"+
		"(`dssn lab wire --help` lists them; a link's own \"wire\" in the topology goes first)")
	f.StringVar((*string)(&o.Transit), "transit", "kernel", "who forwards on the backbone: `kernel|xdp`, the latter a program in the links' drivers")
}

func labExecCommand() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   "exec NODE -- COMMAND [ARGUMENT…]",
		Short: "Run a command inside a node, as its operator would",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("%s takes a node and a command: write %s beijing -- ip -6 route", cmd.CommandPath(), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(id)
			if err != nil {
				return err
			}
			return l.Exec(args[0], args[1:])
		},
	}
	cmd.Flags().StringVar(&id, "lab", "", "name of the lab (default: the only one)")
	return cmd
}

func labCutCommand() *cobra.Command {
	return linkCommand("cut", "Cut a link: both its ends go down", func(l *lab.Lab, link string) error { return l.Cut(link) })
}

func labRestoreCommand() *cobra.Command {
	return linkCommand("restore", "Bring a cut link back", func(l *lab.Lab, link string) error { return l.Restore(link) })
}

func linkCommand(verb, short string, do func(*lab.Lab, string) error) *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   verb + " NODE-NODE",
		Short: short,
		Args:  exactly("NODE-NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Open(id)
			if err != nil {
				return err
			}
			return do(l, args[0])
		},
	}
	cmd.Flags().StringVar(&id, "lab", "", "name of the lab (default: the only one)")
	return cmd
}

func labListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the labs of this machine, also those that a killed run left behind",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			labs, err := lab.List()
			if err != nil {
				return err
			}
			if labs == nil {
				labs = []lab.Status{}
			}
			return emit(cmd, labs, func(w io.Writer) error {
				return table(w, func(row func(string, ...any)) {
					row("LAB\tSTATE\tTOPOLOGY\tNAMESPACES\tPROCESSES")
					for _, s := range labs {
						row("%s\t%s\t%s\t%d\t%d", s.ID, s.State, s.Topology, s.Namespaces, s.Processes)
					}
				})
			})
		},
	}
}

func labDownCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down [LAB…]",
		Short: "Remove labs: those named, or all but the ones that a running program uses",
		RunE: func(cmd *cobra.Command, args []string) error {
			removed, given := []string{}, args
			if len(given) == 0 {
				orphans, err := lab.RemoveOrphans()
				if err != nil {
					return err
				}
				removed = append(removed, orphans...)
			}
			labs, err := lab.List()
			if err != nil {
				return err
			}
			there := map[string]bool{}
			for _, s := range labs {
				there[s.ID] = true
				if len(given) == 0 && s.State != "running" {
					args = append(args, s.ID)
				}
			}
			for _, id := range args {
				if err := lab.Remove(id); err != nil { // also of what no list shows
					return err
				}
				if there[id] {
					removed = append(removed, id)
				}
			}
			return emit(cmd, struct {
				Removed []string `json:"removed"`
			}{removed}, func(w io.Writer) error {
				for _, id := range removed {
					fmt.Fprintf(w, "lab %s is removed\n", id)
				}
				if len(removed) == 0 {
					fmt.Fprintln(w, "there was no lab to remove")
				}
				return nil
			})
		},
	}
}
