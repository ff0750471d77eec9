package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"dssn"
	"dssn/node"
	"dssn/perf/path"
	perfreport "dssn/perf/report"
	"dssn/perf/stamp"

	"github.com/spf13/cobra"
)

func perfPathCommand() *cobra.Command {
	var o path.Options
	var carrier string
	c := &cobra.Command{
		Use:   "path PEER",
		Short: "Measure delay and loss to each hop of the path to a peer, and name the hop that loses",
		Long: `Probes every node on the path that this node's traffic to PEER (a node's name or
identifier) takes now, or on the one that --carrier names, each by the path's own
way. Where ` + "`dssn perf stamp reflector`" + ` runs, loss there is told from loss on the way
back; other nodes are asked for an echo. Exits 1 if a hop loses.`,
		Args: exactly("PEER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkPort(o.Port); err != nil {
				return err
			}
			c, err := openNode(cmd)
			if err != nil {
				return err
			}
			var s node.Status
			if err := c.call(cmd.Context(), http.MethodGet, "/local/status", nil, &s); err != nil {
				return err
			}
			if err := findPath(&o, s, args[0], carrier); err != nil {
				return err
			}
			out, err := path.Measure(cmd.Context(), o)
			if err != nil {
				return err
			}
			r := out.Result(os.Args, s.Name)
			if err := emit(cmd, r, func(w io.Writer) error { return pathWords(w, s.Name, out, r) }); err != nil {
				return err
			}
			if !r.Verdict.Pass {
				return exitStatus(exitError)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&carrier, "carrier", "", "another path, as its `address`, instead of the one in use")
	f.IntVarP(&o.Count, "count", "c", 500, "`probes` for each hop")
	f.DurationVarP(&o.Interval, "interval", "i", 20*time.Millisecond, "`time` between probes for one hop")
	f.IntVarP(&o.Size, "size", "s", 0, "`bytes` of a probe's payload, at least")
	f.DurationVar(&o.Wait, "wait", time.Second, "`time` to wait for the last answer")
	f.IntVarP(&o.Port, "port", "p", stamp.Port, "UDP `port` of the reflectors")
	return c
}

// findPath fills in where the path to a peer leads.
func findPath(o *path.Options, s node.Status, peer, carrier string) error {
	at := slices.IndexFunc(s.Peers, func(p node.PeerPaths) bool { return p.Name == peer || p.Peer.String() == peer })
	if at < 0 {
		var names []string
		for _, p := range s.Peers {
			names = append(names, p.Name)
		}
		if len(names) == 0 {
			return fmt.Errorf("this node has no peers: paths lead from one terminal to another that it may reach")
		}
		return usagef("%q is no peer of this node: it has %s", peer, strings.Join(names, ", "))
	}
	p := s.Peers[at]
	var view node.PathView
	switch {
	case carrier != "":
		want, err := dssn.ParseCarrier(carrier)
		if err != nil {
			return usageError{err}
		}
		i := slices.IndexFunc(p.Paths, func(v node.PathView) bool { return v.Carrier == want })
		if i < 0 {
			var have []string
			for _, v := range p.Paths {
				have = append(have, v.Carrier.String())
			}
			return usagef("%s is no path to %s: there are %s", want, peer, strings.Join(have, ", "))
		}
		view = p.Paths[i]
	default:
		i := slices.IndexFunc(p.Paths, func(v node.PathView) bool { return v.InUse })
		if i < 0 {
			return fmt.Errorf("no path to %s is in use at present: see `dssn node status`", peer)
		}
		view = p.Paths[i]
	}
	o.From, o.Carrier = s.Address, view.Carrier
	block, err := s.Address.Prefix(dssn.LocatorBlockBits)
	if err != nil {
		return fmt.Errorf("this node's address %s: %w", s.Address, err)
	}
	o.Block = block
	if len(view.SIDs) != len(view.Hops) {
		return fmt.Errorf("the controller does not tell the hops of the path to %s: update it", peer)
	}
	for i, name := range view.Hops {
		if name != s.Name {
			o.Hops = append(o.Hops, path.Hop{Name: name, SID: view.SIDs[i]})
		}
	}
	return nil
}

func pathWords(w io.Writer, from string, o *path.Outcome, r *perfreport.Result) error {
	fmt.Fprintf(w, "%s\n", r.Title)
	err := table(w, func(row func(string, ...any)) {
		t := r.Tables[0]
		row("%s", strings.ToUpper(strings.Join(t.Columns, "\t")))
		for _, line := range t.Rows {
			row("%s", strings.Join(line, "\t"))
		}
	})
	verdicts := o.Verdicts(from)
	if len(verdicts) == 0 {
		fmt.Fprintln(w, "no hop loses more than chance explains")
	}
	for _, v := range verdicts {
		fmt.Fprintln(w, v)
	}
	distrustWords(w, r)
	return err
}
