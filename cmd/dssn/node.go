package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"dssn"
	"dssn/controller/southbound"
	"dssn/node"
)

func nodeCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "node",
		Short: "Run a backbone node or an access terminal",
	}, nodeJoinCommand(), nodeRunCommand(), nodeStopCommand(), nodeStatusCommand(), nodeListCommand(), nodeRemoveCommand())
}

func nodeJoinCommand() *cobra.Command {
	var o node.JoinOptions
	var only bool
	cmd := &cobra.Command{
		Use:   "join URL --token TOKEN --link INTERFACE…",
		Short: "Join a network with a one-time token, and run in the foreground",
		Args:  exactly("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.URL = args[0]
			if o.Token == "" {
				return usagef("a node joins with a token: ask the operator for one (`dssn token create`) and give it with --token")
			}
			if len(o.Links) == 0 {
				return usagef("a node needs a link to its neighbours: name its interfaces with --link, such as --link 'eth*'")
			}
			o.State = stateDir(cmd, defaultNodeState)
			o.Version = thisVersion().Version
			o.Logger = logger(cmd)
			id, err := node.Join(cmd.Context(), o)
			if err != nil {
				return err
			}
			if only {
				return emit(cmd, id, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "%s joined as %s; run it with `dssn node run --state %s`\n", id.Name, id.Node, o.State)
					return err
				})
			}
			return node.Run(cmd.Context(), node.Options{State: o.State, Version: o.Version, Logger: o.Logger})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Token, "token", "", "one-time `token`")
	f.StringArrayVar(&o.Links, "link", nil, "`interface` to a neighbour, or a pattern such as 'eth*'; may be given again")
	transitFlag(cmd, &o.Transit, "kernel")
	f.BoolVar(&only, "join-only", false, "enrol and end; `dssn node run` carries on")
	return cmd
}

func nodeRunCommand() *cobra.Command {
	var links []string
	var transit node.Transit
	var workers int
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run a node that has joined, from its state directory",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return node.Run(cmd.Context(), node.Options{State: stateDir(cmd, defaultNodeState), Links: links, Transit: transit, Workers: workers, Version: thisVersion().Version, Logger: logger(cmd)})
		},
	}
	transitFlag(cmd, &transit, "what it joined with")
	cmd.Flags().IntVar(&workers, "workers", 0, fmt.Sprintf("`threads` that carry a terminal's packets, each with a UDP port of its own: %d, %d, … (default: one a core, at most %d)",
		southbound.WorkerPort(node.TunnelPort, 0), southbound.WorkerPort(node.TunnelPort, 1), node.DefaultWorkers))
	cmd.Flags().StringArrayVar(&links, "link", nil, "`interface` to a neighbour or a pattern (default: those it joined with)")
	return cmd
}

// transitFlag chooses who forwards others' packets on a backbone node.
func transitFlag(cmd *cobra.Command, t *node.Transit, otherwise string) {
	cmd.Flags().StringVar((*string)(t), "transit", "", "who forwards others' packets on a backbone node: `kernel|xdp`, the latter a program in the\n"+
		"links' drivers that goes on when the node ends (default: "+otherwise+")")
}

// nodeStopCommand ends the node that answers in the state directory; where none
// does, it removes what a killed one left in the kernel.
func nodeStopCommand() *cobra.Command {
	var transit bool
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "End the node and remove its routes and tunnels, also those of a killed one",
		Long: "End the node and remove its routes and tunnels, also those of a killed one. A transit program in\n" +
			"the drivers of its links (--transit xdp) goes on forwarding, for the next start to adopt, unless\n" +
			"--transit ends it too.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir := stateDir(cmd, defaultNodeState)
			pid, err := answerer(filepath.Join(dir, nodeSocket))
			said := "the node was not running; what it had left is removed"
			if err == nil {
				said = fmt.Sprintf("the node (process %d) has ended", pid)
				if err := endProcess(pid, 15*time.Second); err != nil {
					return err
				}
			} else if err := node.Remove(dir); err != nil {
				return err
			}
			goes, err := endTransit(dir, transit)
			if err != nil {
				return err
			}
			return emit(cmd, struct {
				Stopped int    `json:"stopped_pid"` // 0: it was not running
				Transit string `json:"transit"`     // "none", "removed" or "goes on"
			}{pid, goes}, func(w io.Writer) error {
				switch goes {
				case "removed":
					said += "; its transit program is removed"
				case "goes on":
					said += "; its transit program goes on forwarding: `dssn node stop --transit` removes it"
				}
				_, err := fmt.Fprintln(w, said)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&transit, "transit", false, "remove the transit program from the drivers too")
	return cmd
}

// endTransit removes what is pinned, or says whether there is something.
func endTransit(dir string, remove bool) (string, error) {
	look := node.HasTransit
	if remove {
		look = node.RemoveTransit
	}
	had, err := look(dir)
	switch {
	case err != nil:
		return "", err
	case !had:
		return "none", nil
	case remove:
		return "removed", nil
	}
	return "goes on", nil
}

// answerer returns the process that listens on a Unix socket.
func answerer(socket string) (int, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, credErr); err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}

// endProcess asks a process to end and waits until it has.
func endProcess(pid int, patience time.Duration) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("end process %d: %w", pid, err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("end process %d: %w", pid, err)
	}
	for end := time.Now().Add(patience); p.Signal(syscall.Signal(0)) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("process %d was asked to end and still runs after %s: see its log, or end it with `kill -9 %d` and type this again", pid, patience, pid)
		}
	}
	return nil
}

func nodeStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show this node: what it obtained, its links, peers and paths",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := openNode(cmd)
			if err != nil {
				return err
			}
			var s node.Status
			if err := c.call(cmd.Context(), http.MethodGet, "/local/status", nil, &s); err != nil {
				return err
			}
			return emit(cmd, s, func(w io.Writer) error { return printNodeStatus(w, s) })
		},
	}
}

// transitText sums up what became of the frames that the transit program saw.
func transitText(verdicts map[string]uint64) string {
	sums := map[string]uint64{}
	var drops []string
	for _, name := range slices.Sorted(maps.Keys(verdicts)) {
		where, why, _ := strings.Cut(name, "_")
		sums[where] += verdicts[name]
		if where == "dropped" {
			drops = append(drops, fmt.Sprintf("%d %s", verdicts[name], strings.ReplaceAll(why, "_", " ")))
		}
	}
	text := fmt.Sprintf("%d forwarded, %d of them repaired; %d left to the kernel; %d dropped",
		sums["forwarded"], verdicts["forwarded_repaired"], sums["kernel"], sums["dropped"])
	if len(drops) > 0 {
		text += " (" + strings.Join(drops, ", ") + ")"
	}
	return text
}

func printNodeStatus(w io.Writer, s node.Status) error {
	err := table(w, func(row func(string, ...any)) {
		row("%s\t%s of %s", s.Name, s.Role, s.Institution)
		row("  identifier\t%s", s.Node)
		row("  address\t%s (SID %s)", s.Address, s.SID)
		row("  assignment\t%d in force of %d%s", s.Applied, s.Generation, because(s.Problem))
		row("  certificate\tgood until %s", moment(s.Certificate.Until))
		row("  steering\t%s", steeringText(s))
		for _, k := range sortedKeys(s.Obtained) {
			row("  %s\t%s", k, s.Obtained[k])
		}
		if s.Transit != nil {
			row("  transit frames\t%s", transitText(s.Transit))
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	err = table(w, func(row func(string, ...any)) {
		row("LINK\tNEIGHBOUR\tSTATE\tSINCE")
		for _, l := range s.Links {
			row("%s\t%s\t%s\t%s", l.Interface, dash(l.Neighbour), upDown(l.Up), moment(l.Since))
		}
	})
	if err == nil && len(s.Forwarded) > 0 {
		fmt.Fprintln(w)
		err = table(w, func(row func(string, ...any)) {
			row("FORWARDED TO\tPACKETS\tBYTES")
			for _, f := range s.Forwarded {
				row("SID %s\t%d\t%s", f.SID, f.Packets, dssn.ByteCount(f.Bytes))
			}
		})
	}
	if err == nil && len(s.Contracts) > 0 {
		fmt.Fprintln(w)
		err = table(w, func(row func(string, ...any)) {
			row("RESERVATION ON ITS WAY\tTAG\tCLASS\tPACKETS\tBYTES\tDROPPED ABOVE THE CEILING\tFROM ELSEWHERE")
			for _, c := range s.Contracts {
				row("%s\t%d\t%s\t%d\t%s\t%d\t%d", c.Reservation, c.Tag, c.Class, c.Packets, dssn.ByteCount(c.Bytes), c.PolicedPackets, c.ForeignPackets)
			}
		})
	}
	if err != nil || len(s.Peers) == 0 {
		return err
	}
	if len(s.Tunnels) > 0 {
		fmt.Fprintln(w)
		err := table(w, func(row func(string, ...any)) {
			row("TUNNEL\tCIPHER\tLANES\tLAST HANDSHAKE\tSENT\tRECEIVED")
			for _, t := range s.Tunnels {
				row("%s\t%s\t%d of %d\t%s\t%s\t%s", t.Peer, dash(t.Cipher), t.Open, t.Lanes, moment(t.LastHandshake), dssn.ByteCount(t.SentBytes), dssn.ByteCount(t.ReceivedBytes))
			}
		})
		if err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	return table(w, func(row func(string, ...any)) {
		row("PEER\tPATH\tSTATE\tROUND TRIP")
		for _, p := range s.Peers {
			for _, v := range p.Paths {
				row("%s\t%s\t%s\t%s", p.Name, route(v.Hops), pathState(v), v.RTT.Round(time.Microsecond))
			}
		}
	})
}
