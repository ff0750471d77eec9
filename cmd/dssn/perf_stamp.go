package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"dssn/perf/stamp"

	"github.com/spf13/cobra"
)

func perfStampCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "stamp",
		Short: "Measure delay, jitter and loss with STAMP (RFC 8762)",
	}
	c.AddCommand(stampSenderCommand(), stampReflectorCommand())
	return c
}

func stampReflectorCommand() *cobra.Command {
	var o stamp.ReflectorOptions
	var key string
	c := &cobra.Command{
		Use:   "reflector",
		Short: "Answer probes until interrupted",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkPort(o.Port); err != nil {
				return err
			}
			if key != "" {
				o.Key = []byte(key)
			}
			if !asJSON(cmd) {
				o.OnListen = func(a net.Addr) { fmt.Fprintf(cmd.OutOrStdout(), "reflecting on %s\n", a) }
			}
			counts, err := stamp.Serve(cmd.Context(), o)
			if err != nil {
				return err
			}
			return emit(cmd, counts, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "reflected %d, too short %d, wrong key %d\n", counts.Reflected, counts.Short, counts.BadMAC)
				return err
			})
		},
	}
	f := c.Flags()
	f.IntVarP(&o.Port, "port", "p", stamp.Port, "UDP `port`")
	f.StringVarP(&o.Bind, "bind", "B", "", "local `address`")
	f.BoolVar(&o.Stateful, "stateful", true, "count replies per session, so that senders can tell where loss happens")
	f.StringVar(&key, "key", "", "shared `secret`: authenticated mode")
	return c
}

func stampSenderCommand() *cobra.Command {
	var o stamp.SenderOptions
	var key string
	c := &cobra.Command{
		Use:   "sender HOST",
		Short: "Probe the reflector at HOST: a name, an address or a data identifier",
		Args:  exactly("HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Host = strings.Trim(args[0], "[]")
			if err := checkPort(o.Port); err != nil {
				return err
			}
			switch {
			case o.Count < 1 || o.Count > 10_000_000:
				return usagef("--count %d is out of range: use 1 to 10000000 probes", o.Count)
			case o.Interval < 10*time.Microsecond || o.Interval > time.Minute:
				return usagef("--interval %v is out of range: use 10us to 1m", o.Interval)
			case o.Size < 0 || o.Size > 65000:
				return usagef("--size %d is out of range: use 0 to 65000 bytes", o.Size)
			}
			if key != "" {
				o.Key = []byte(key)
			}
			if !asJSON(cmd) {
				o.OnProgress = func(r stamp.Result) {
					fmt.Fprintf(cmd.ErrOrStderr(), "  %d sent, %d back, round trip p50 %v p99 %v\n", r.Sent, r.Received, r.RoundTrip.P50, r.RoundTrip.P99)
				}
			}
			m, err := stamp.Measure(cmd.Context(), o)
			if err != nil {
				return err
			}
			return emit(cmd, m, func(w io.Writer) error { return stampWords(w, m) })
		},
	}
	f := c.Flags()
	f.IntVarP(&o.Port, "port", "p", stamp.Port, "UDP `port`")
	f.StringVarP(&o.Bind, "bind", "B", "", "local `address`")
	f.IntVarP(&o.Count, "count", "c", 100, "`probes` to send")
	f.DurationVarP(&o.Interval, "interval", "i", 10*time.Millisecond, "`time` between probes")
	f.IntVarP(&o.Size, "size", "s", 0, "`bytes` of UDP payload")
	f.DurationVar(&o.Wait, "wait", 2*time.Second, "`time` to wait for the last answer")
	f.Uint16Var(&o.SSID, "ssid", 0, "session `identifier`; 0 draws one")
	f.BoolVar(&o.Stateful, "stateful", false, "the reflector is known to count its replies")
	f.StringVar(&key, "key", "", "shared `secret`: authenticated mode")
	return c
}

func stampWords(w io.Writer, m *stamp.Measurement) error {
	lost := m.Lost()
	where := ""
	if m.LostForward != nil {
		where = fmt.Sprintf(" (%d on the way there, %d on the way back)", *m.LostForward, *m.LostBackward)
	}
	fmt.Fprintf(w, "%s: %d sent, %d back, %d lost, %.2g %%%s; %d duplicated, %d reordered\n", m.Remote, m.Sent, m.Received, lost, 100*float64(lost)/float64(m.Sent), where, m.Duplicates, m.Reordered)
	err := table(w, func(row func(string, ...any)) {
		row("\tMIN\tP50\tP90\tP99\tP99.9\tMAX")
		line := func(name string, d stamp.Distribution) {
			row("%s\t%v\t%v\t%v\t%v\t%v\t%v", name, d.Min, d.P50, d.P90, d.P99, d.P999, d.Max)
		}
		line("round trip", m.RoundTrip)
		if m.Forward != nil {
			line("there", *m.Forward)
			line("back", *m.Backward)
		}
	})
	fmt.Fprintf(w, "jitter %v; receive times by the %s; clocks %s\n", m.Jitter, m.Timestamps, map[bool]string{true: "synchronised", false: "not known to agree, so no one-way figures"}[m.Synchronised])
	return err
}
