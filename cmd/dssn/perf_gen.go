package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"dssn/perf/gen"
	perfreport "dssn/perf/report"

	"github.com/spf13/cobra"
)

func perfGenCommand() *cobra.Command {
	var o gen.Options
	var engine, sinkEngine, mac string
	var pps float64
	c := &cobra.Command{
		Use:   "gen STREAMS.toml --dev INTERFACE",
		Short: "Send test traffic, and count what arrives of it",
		Long: `Sends the streams of a file out of an interface, each frame with a number and a
time, until --time is over or every stream has reached its count. With --sink it
also counts them on another interface of this host; at another host count with
` + "`dssn perf sink`" + `. The file, in TOML:

  [[stream]]
  name = "voice"
  protocol = "udp"                  # or tcp-syn, wireguard
  dst_mac = "02:00:00:00:00:02"     # the next hop; or --dst-mac
  src = "2001:db8::1"               # addresses and ports may be ranges
  dst = "2001:db8:1::1-2001:db8:1::ff"
  src_port = "1024-2047"
  dst_port = 9
  carrier = "5f00:d55:12:13::"      # NEXT-CSID: sent there, checksum for dst
  size = 200                        # bytes without check sequence; a list, or "imix"
  pps = 50000                       # or bitrate = "200M"; neither: as fast as it goes
  burst = 16                        # back to back
  count = 1000000

Also: src_mac, vlan, hop_limit, traffic_class, unnumbered.`,
		Example: `  dssn perf gen voice.toml --dev eth1 --sink eth2 --time 10s
  dssn perf gen flood.toml --dev eth1 --time 5s --pps 1000000`,
		Args: exactly("STREAMS.toml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read the stream file: %w", err)
			}
			f, err := gen.ParseFile(text)
			if err != nil {
				return usageError{fmt.Errorf("%s: %w", args[0], err)}
			}
			if o.Device == "" {
				return usagef("no interface to send from: name it with --dev")
			}
			if pps < 0 {
				return usagef("--pps %g is negative: give frames a second, or leave it out", pps)
			}
			if pps > 0 {
				for i := range f.Streams {
					f.Streams[i].PPS, f.Streams[i].Bitrate = pps, ""
				}
			}
			nic, err := net.InterfaceByName(o.Device)
			if err != nil {
				return fmt.Errorf("there is no interface %q here: `ip link` lists them", o.Device)
			}
			var to net.HardwareAddr
			if mac != "" {
				if to, err = net.ParseMAC(mac); err != nil || len(to) != 6 {
					return usagef("--dst-mac %q is not an Ethernet address", mac)
				}
			}
			if o.Streams, err = f.Compile(nic.HardwareAddr, to, gen.ClockTag()); err != nil {
				return usageError{fmt.Errorf("%s: %w", args[0], err)}
			}
			if o.Engine, err = parseEngine("engine", engine); err != nil {
				return err
			}
			if o.SinkEngine, err = parseEngine("sink-engine", sinkEngine); err != nil {
				return err
			}
			if o.Time == 0 && !everyStreamEnds(f) && asJSON(cmd) {
				return usagef("a stream has no count, so it would be sent for ever: give --time")
			}
			return runTraffic(cmd, o)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.Device, "dev", "d", "", "`interface` to send from")
	f.StringVar(&o.Sink, "sink", "", "`interface` of this host to count on")
	f.DurationVarP(&o.Time, "time", "t", 0, "how long to send (default: until every stream's count, or interrupted)")
	f.Float64Var(&pps, "pps", 0, "`frames` a second of each stream, instead of the file's rates")
	f.StringVar(&mac, "dst-mac", "", "Ethernet `address` of the next hop, for streams that name none")
	f.StringVar(&engine, "engine", "auto", "how to send: `kernel` (live frames), afxdp, or auto")
	f.StringVar(&sinkEngine, "sink-engine", "kernel", "how to count: `kernel` (XDP program) or afxdp")
	f.DurationVar(&o.Settle, "settle", time.Second, "how long frames may still be on their way at the end")
	return c
}

func everyStreamEnds(f *gen.File) bool {
	for _, s := range f.Streams {
		if s.Count == 0 {
			return false
		}
	}
	return true
}

func perfSinkCommand() *cobra.Command {
	var o gen.Options
	var engine string
	var streams int
	c := &cobra.Command{
		Use:   "sink --dev INTERFACE",
		Short: "Count test traffic that arrives, stream by stream",
		Long: `Takes the frames of ` + "`dssn perf gen`" + ` out of what arrives on an interface and counts
them: loss, order, duplicates, delay, variation. All else goes on to the host.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Sink == "" {
				return usagef("no interface to count on: name it with --dev")
			}
			if streams < 1 || streams > 16 {
				return usagef("--streams %d is out of range: use 1 to 16", streams)
			}
			var err error
			if o.SinkEngine, err = parseEngine("engine", engine); err != nil {
				return err
			}
			for i := range streams {
				o.Streams = append(o.Streams, gen.Compiled{Name: fmt.Sprintf("stream %d", i+1)})
			}
			return runTraffic(cmd, o)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.Sink, "dev", "d", "", "`interface` to count on")
	f.DurationVarP(&o.Time, "time", "t", 0, "how long to count (default: until interrupted)")
	f.IntVar(&streams, "streams", 16, "`number` of streams to expect")
	f.StringVar(&engine, "engine", "kernel", "how to count: `kernel` (XDP program) or afxdp, which takes every frame")
	return c
}

func parseEngine(option, s string) (gen.Engine, error) {
	switch e := gen.Engine(s); e {
	case gen.EngineAuto, gen.EngineKernel, gen.EngineAFXDP:
		return e, nil
	}
	return "", usagef("--%s %q is not an engine: use kernel, afxdp or auto", option, s)
}

func runTraffic(cmd *cobra.Command, o gen.Options) error {
	if o.Time < 0 {
		return usagef("--time %v is negative: give for example 10s", o.Time)
	}
	if !asJSON(cmd) {
		o.OnProgress = func(r gen.Outcome) {
			sent, received := uint64(0), uint64(0)
			for _, s := range r.Streams {
				sent += s.Sent.Frames
				received += s.Received.Frames
			}
			line := fmt.Sprintf("  %3.0f s:", r.Seconds)
			if o.Device != "" {
				line += fmt.Sprintf(" %d sent", sent)
			}
			if o.Sink != "" {
				line += fmt.Sprintf(" %d received", received)
			}
			fmt.Fprintln(cmd.ErrOrStderr(), line)
		}
	}
	out, err := gen.Run(cmd.Context(), o)
	if err != nil {
		return err
	}
	if o.Device == "" { // streams of which nothing came are not there
		var seen []gen.StreamOutcome
		for _, s := range out.Streams {
			if s.Received.Frames > 0 {
				seen = append(seen, s)
			}
		}
		out.Streams = seen
	}
	result := out.Result(os.Args, o.Device, o.Sink)
	return emit(cmd, result, func(w io.Writer) error { return trafficWords(w, out, result) })
}

func trafficWords(w io.Writer, o *gen.Outcome, r *perfreport.Result) error {
	err := table(w, func(row func(string, ...any)) {
		head := "STREAM"
		if o.Engine != "" {
			head += "\tASKED\tSENT\tRATE"
		}
		if o.Sinking != "" {
			head += "\tRECEIVED\tLOST\tDUPLICATE\tREORDERED\tDELAY P50\tP99\tMAX\tJITTER"
		}
		row("%s", head)
		for _, s := range o.Streams {
			line := s.Name
			of := s.Received.Next
			if o.Engine != "" {
				asked := "all"
				if s.Asked > 0 {
					asked = perfreport.PacketsPerSecond.Show(s.Asked)
				}
				of = s.Sent.Frames
				line += fmt.Sprintf("\t%s\t%d\t%s", asked, of, perfreport.PacketsPerSecond.Show(float64(of)/max(o.Seconds, 1e-9)))
			}
			if o.Sinking != "" {
				line += fmt.Sprintf("\t%d\t%d\t%d\t%d\t%v\t%v\t%v\t%v", s.Received.Frames, gen.Lost(of, s.Received), s.Received.Duplicates, s.Received.Reordered,
					s.Delay.At(50), s.Delay.At(99), s.Delay.Max(), s.Received.Jitter)
			}
			row("%s", line)
		}
	})
	if o.Mode != "" {
		fmt.Fprintf(w, "sent by %s; the sending thread had %.0f %% of its CPU; its port refused %d frames\n", o.Mode, 100*o.CPU, o.Refused)
	}
	if o.Sinking != "" {
		fmt.Fprintf(w, "counted by %s; it had no room for %d frames\n", o.Sinking, o.SinkDropped)
	}
	distrustWords(w, r)
	return err
}

// distrustWords prints each reason not to trust a result.
func distrustWords(w io.Writer, r *perfreport.Result) {
	for _, reason := range r.Distrust() {
		fmt.Fprintf(w, "do not trust: %s\n", reason)
	}
}
