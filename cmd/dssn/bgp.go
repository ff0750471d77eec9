package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dssn/controller/bgp"
	"dssn/controller/northbound"
)

func controllerBGPCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "bgp",
		Short: "Speak with other domains' routers: which identifiers are whose",
	}, bgpStatusCommand(), bgpCheckCommand(), bgpRunCommand())
}

// bgpRunCommand is the process that the controller keeps: a peer's message that
// ends it ends nothing else.
func bgpRunCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "run",
		Short:  "Be the speaker's process; `dssn controller run --bgp FILE` starts it",
		Hidden: true,
		Args:   exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bgp.Serve(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), logger(cmd))
		},
	}
}

func bgpCheckCommand() *cobra.Command {
	var operator string
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Read a dssn-bgp/1 file and say what it means",
		Args:  exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			own, err := netip.ParsePrefix(operator)
			if err != nil {
				return usagef("%q is not an operator's prefix: write an IPv6 /32 such as 3fff:d55::/32", operator)
			}
			text, err := os.ReadFile(args[0])
			if err != nil {
				return usagef("the BGP configuration cannot be read: %v; name a %s file", err, bgp.Format)
			}
			c, err := bgp.Read(text, own)
			if err != nil {
				return usagef("%s is not usable: %v; correct it (docs/operator.md shows the format)", args[0], err)
			}
			for i := range c.Neighbours {
				c.Neighbours[i].Password = "" // not for the screen
			}
			return emit(cmd, c, func(w io.Writer) error {
				fmt.Fprintf(w, "AS %d, router %s\n\n", c.AS, c.RouterID)
				return table(w, func(row func(string, ...any)) {
					row("NEIGHBOUR\tADDRESS\tAS\tMAY ANNOUNCE\tAT MOST")
					for _, n := range c.Neighbours {
						row("%s\t%s\t%d\t%s\t%d", n.Name, n.Address, n.AS, prefixes(n.Allow), n.MaxPrefixes)
					}
				})
			})
		},
	}
	cmd.Flags().StringVar(&operator, "operator", "3fff:d55::/32", "the operator's `prefix`")
	return cmd
}

func bgpStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the neighbours, what they announce and what was refused",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd)
			if err != nil {
				return err
			}
			s, err := networkStatus(cmd, c)
			if err != nil {
				return err
			}
			if s.BGP == nil {
				return fmt.Errorf("no BGP is spoken here: ask on the controller's own socket, and start it with `dssn controller run --bgp FILE`")
			}
			return emit(cmd, s.BGP, func(w io.Writer) error {
				if err := printBGP(w, s.BGP); err != nil || len(s.BGP.Refused) == 0 {
					return err
				}
				fmt.Fprintln(w)
				return table(w, func(row func(string, ...any)) {
					row("REFUSED\tFROM\tWHY")
					for _, r := range s.BGP.Refused {
						row("%s\t%s\t%s", r.Prefix, r.Neighbour, r.Why)
					}
				})
			})
		},
	}
}

// printBGP shows the neighbours and what was learned.
func printBGP(w io.Writer, b *northbound.BGP) error {
	state := ""
	if !b.Running {
		state = ", its speaker is down"
	}
	if b.Restarts > 0 {
		state += fmt.Sprintf(", started again %d times (%s)", b.Restarts, b.Fault)
	}
	fmt.Fprintf(w, "AS %d (router %s) announces %s%s\n\n", b.AS, b.RouterID, prefixes(b.Announced), state)
	err := table(w, func(row func(string, ...any)) {
		row("NEIGHBOUR\tADDRESS\tAS\tSTATE\tSINCE\tTAKEN\tREFUSED")
		for _, n := range b.Neighbours {
			row("%s\t%s\t%d\t%s\t%s\t%d\t%d", n.Name, n.Address, n.AS, n.State, moment(n.Since), n.Taken, n.Refused)
		}
	})
	if err != nil || len(b.Routes) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return table(w, func(row func(string, ...any)) {
		row("IDENTIFIERS\tFROM\tAS PATH\tNEXT HOP\tSINCE\tSTATE")
		for _, r := range b.Routes {
			row("%s\t%s\t%s\t%s\t%s\t%s", r.Prefix, r.Neighbour, asPath(r.Path), r.NextHop, moment(r.Since.Truncate(time.Second)), staleText(r.Stale))
		}
	})
}

func staleText(stale bool) string {
	if stale {
		return "stale: its speaker is away"
	}
	return "in use"
}

func asPath(path []uint32) string {
	return strings.Trim(fmt.Sprint(path), "[]")
}

func prefixes(list []netip.Prefix) string {
	if len(list) == 0 {
		return "nothing"
	}
	words := []string{}
	for _, p := range slices.SortedFunc(slices.Values(list), netip.Prefix.Compare) {
		words = append(words, p.String())
	}
	return strings.Join(words, ", ")
}
