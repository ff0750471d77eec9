package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dssn"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
	"dssn/node"
)

// moment prints a time for people, in their zone, to the second.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// route prints a path for people.
func route(hops []string) string {
	if len(hops) == 0 {
		return "-"
	}
	return strings.Join(hops, " → ")
}

func networkStatus(cmd *cobra.Command, c *client) (s northbound.Status, err error) {
	err = c.call(cmd.Context(), http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

func statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the network: nodes, links, what is reserved",
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
			return emit(cmd, s, func(w io.Writer) error { return printStatus(w, s) })
		},
	}
}

func printStatus(w io.Writer, s northbound.Status) error {
	fmt.Fprintf(w, "network %s: %d institutions, %d datasets, %d grants, %d reservations; journal %d, evidence log %d\n\n",
		s.Network, len(s.Institutions), s.Datasets, s.Grants, s.Reservations, s.Journal, s.LogSize)
	err := table(w, func(row func(string, ...any)) {
		row("NODE\tROLE\tSID\tIDENTIFIER\tHUB\tSTATE")
		for _, n := range s.Nodes {
			row("%s\t%s\t%s\t%s\t%s\t%s", n.Name, n.Role, n.SID, n.Node, dash(n.Hub), nodeState(n))
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	err = table(w, func(row func(string, ...any)) {
		row("LINK\tSTATE\tCAPACITY\tCOMMITTED\tALLOCATED")
		for _, l := range s.Links {
			row("%s\t%s\t%s\t%s\t%s", l.Name, upDown(l.Up), l.Capacity, l.Committed, l.Allocated)
		}
	})
	if err != nil {
		return err
	}
	if err := printTransit(w, s.Nodes); err != nil {
		return err
	}
	if s.BGP != nil {
		fmt.Fprintln(w)
		if err := printBGP(w, s.BGP); err != nil {
			return err
		}
	}
	for _, n := range s.Nodes {
		for _, p := range n.Paths {
			if p.InUse {
				fmt.Fprintf(w, "\n%s → %s over %s (round trip %s, %s)", n.Name, p.Peer, route(p.Hops), p.RTT.Round(time.Microsecond), p.Suite)
			}
		}
	}
	_, err = fmt.Fprintln(w)
	return err
}

// printTransit says what nodes saw of reservations on their way.
func printTransit(w io.Writer, nodes []northbound.Node) error {
	if !slices.ContainsFunc(nodes, func(n northbound.Node) bool { return len(n.Transit) > 0 }) {
		return nil
	}
	fmt.Fprintln(w)
	return table(w, func(row func(string, ...any)) {
		row("RESERVATION\tON ITS WAY AT\tTAG\tCLASS\tPACKETS\tBYTES\tDROPPED ABOVE THE CEILING\tFROM ELSEWHERE")
		for _, n := range nodes {
			for _, c := range n.Transit {
				row("%s\t%s\t%d\t%s\t%d\t%s\t%d\t%d", c.Reservation, n.Name, c.Tag, c.Class, c.Packets, dssn.ByteCount(c.Bytes), c.PolicedPackets, c.ForeignPackets)
			}
		}
	})
}

func nodeState(n northbound.Node) string {
	switch {
	case n.Problem != "":
		return n.Problem
	case !n.Connected:
		return "away"
	case n.Applied < n.Issued:
		return fmt.Sprintf("applying %d of %d", n.Applied, n.Issued)
	}
	return "ready"
}

// Small words for tables.

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func because(problem string) string {
	if problem == "" {
		return ""
	}
	return ": " + problem
}

func upDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

func pathState(v node.PathView) string {
	switch {
	case v.InUse && v.Alive:
		return "in use"
	case v.InUse:
		return "in use, silent"
	case v.Alive:
		return "ready"
	}
	return "dead"
}

func steeringText(s node.Status) string {
	f := s.Features
	switch {
	case f.Why != "":
		return "shortest paths: " + f.Why
	case s.Generation > 0 && !s.Steering:
		return "shortest paths: not every node of the network takes part in steering; `dssn node status` at the others says why"
	case s.Role == southbound.RoleTerminal && f.CarrierEgress, s.Role == southbound.RoleBackbone && f.NextCSID:
		return "by carriers"
	}
	return "shortest paths"
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
