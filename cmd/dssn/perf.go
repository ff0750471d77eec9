package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"dssn"
	"dssn/perf/iperf"

	"github.com/spf13/cobra"
)

// perfCommand is the engineer's bench.
func perfCommand() *cobra.Command {
	return group(&cobra.Command{Use: "perf", Short: "Measure what a network carries"},
		perfGenCommand(), perfSinkCommand(), perfRFC2544Command(), perfY1564Command(), perfResponderCommand(), perfIperfCommand(), perfStampCommand(), perfPathCommand(),
		perfReportCommand(), perfCompareCommand(), perfVerifyCommand())
}

func perfIperfCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "iperf",
		Short: "Test throughput, in iperf3's protocol and with its options",
		Long: `A stock iperf3 can test against this server and this client against a stock
server. Options have iperf3's names and meanings.`,
	}
	c.AddCommand(iperfClientCommand(), iperfServerCommand())
	return c
}

func iperfServerCommand() *cobra.Command {
	var s iperf.Server
	var interval float64
	c := &cobra.Command{
		Use:   "server",
		Short: "Wait for tests, one at a time, until interrupted",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkPort(s.Port); err != nil {
				return err
			}
			var err error
			if s.Interval, err = seconds("interval", interval); err != nil {
				return err
			}
			out, asValues := cmd.OutOrStdout(), asJSON(cmd)
			s.OnListen = func(a net.Addr) {
				if !asValues {
					fmt.Fprintf(out, "listening on %s\n", a)
				}
			}
			if !asValues {
				s.OnStart = func(r iperf.ReportStart) {
					fmt.Fprintf(out, "test from %s, port %d\n", r.AcceptedFrom.Host, r.AcceptedFrom.Port)
					iperfHead(out, r)
				}
				s.OnInterval = func(i iperf.ReportInterval) { iperfInterval(out, i) }
			}
			var testErr error
			s.OnEnd = func(r *iperf.Report, err error) {
				testErr = err
				switch {
				case err != nil:
					fmt.Fprintf(cmd.ErrOrStderr(), "dssn: the test ended early: %s\n", oneLine(err.Error()))
				case asValues:
					printJSON(out, r)
				default:
					iperfEnd(out, r)
				}
			}
			if err := s.ListenAndServe(cmd.Context()); err != nil || !s.OneOff {
				return err
			}
			if testErr != nil {
				return exitStatus(exitError)
			}
			return nil
		},
	}
	f := c.Flags()
	f.IntVarP(&s.Port, "port", "p", iperf.DefaultPort, "`port` to listen on")
	f.StringVarP(&s.Bind, "bind", "B", "", "local `address` to listen on")
	f.BoolVarP(&s.OneOff, "one-off", "1", false, "stop after one test")
	f.Float64VarP(&interval, "interval", "i", 1, "`seconds` between lines of progress")
	f.BoolVar(&s.SkipReceive, "skip-rx-copy", false, "discard what arrives inside the kernel")
	f.BoolP("json", "J", false, "print each test's report as JSON")
	return c
}

func iperfClientCommand() *cobra.Command {
	var k iperf.Client
	var o struct {
		time, interval, omit                          float64
		parallel, mss, tos, burst                     int
		bytes, blocks, length, window, bitrate        string
		reverse, bidir, udp, zero, noDelay, four, six bool
		timeout, cport, pacing                        int
		dscp, fqRate, format                          string
		output, fragment, repeating, verbose, ignored bool
	}
	c := &cobra.Command{
		Use:   "client HOST",
		Short: "Test against the server at HOST: a name, an address or a data identifier",
		Example: `  dssn perf iperf client 192.0.2.1 --time 10 --parallel 4 --reverse
  dssn perf iperf client 2001:db8::1 --udp --bitrate 200M --length 1400 --json`,
		Args: exactly("HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			k.Host = strings.Trim(args[0], "[]")
			if id, err := dssn.ParseDataID(args[0]); err == nil {
				k.Host = id.String()
			}
			if err := checkPort(k.Port); err != nil {
				return err
			}
			switch {
			case o.four && o.six:
				return usagef("-4 and -6 exclude each other: give one of them")
			case o.four:
				k.Family = "tcp4"
			case o.six:
				k.Family = "tcp6"
			}
			p := &k.Params
			p.TCP, p.UDP = iperf.Flag(!o.udp), iperf.Flag(o.udp)
			p.Parallel, p.MSS, p.TOS, p.Burst = iperf.Integer(o.parallel), iperf.Integer(o.mss), iperf.Integer(o.tos), iperf.Integer(o.burst)
			p.Reverse, p.Bidirectional, p.ZeroCopy, p.NoDelay = iperf.Flag(o.reverse), iperf.Flag(o.bidir), iperf.Flag(o.zero), iperf.Flag(o.noDelay)
			if o.time != float64(int(o.time)) || o.omit != float64(int(o.omit)) {
				return usagef("--time and --omit take whole seconds, as iperf3's do")
			}
			p.Time, p.Omit = iperf.Integer(o.time), iperf.Integer(o.omit)
			for _, q := range []struct {
				name, text string
				dst        *iperf.Integer
			}{{"bytes", o.bytes, &p.Num}, {"blockcount", o.blocks, &p.BlockCount}, {"length", o.length, &p.Len}, {"window", o.window, &p.Window}} {
				if q.text == "" {
					continue
				}
				v, err := iperfBytes(q.text)
				if err != nil {
					return usagef("--%s: %v", q.name, err)
				}
				*q.dst = v
			}
			if p.Num > 0 && p.BlockCount > 0 || (p.Num > 0 || p.BlockCount > 0) && cmd.Flags().Changed("time") {
				return usagef("--time, --bytes and --blockcount exclude each other: give one of them")
			}
			if p.Num > 0 || p.BlockCount > 0 {
				p.Time = 0
			}
			if o.udp {
				p.Bandwidth = iperf.DefaultUDPRate
			}
			if o.bitrate != "" {
				rate, burst, bursts := strings.Cut(o.bitrate, "/")
				var err error
				if p.Bandwidth, err = iperfRate("bitrate", rate); err != nil {
					return err
				}
				if bursts {
					n, err := strconv.Atoi(burst)
					if err != nil || n < 1 || n > 1000 {
						return usagef("--bitrate %s: a burst of %q datagrams is out of range: use 1 to 1000", o.bitrate, burst)
					}
					p.Burst = iperf.Integer(n)
				}
			}
			if o.fqRate != "" {
				var err error
				if p.FQRate, err = iperfRate("fq-rate", o.fqRate); err != nil {
					return err
				}
			}
			if o.dscp != "" {
				if cmd.Flags().Changed("tos") {
					return usagef("--tos and --dscp exclude each other: give one of them")
				}
				v, err := parseDSCP(o.dscp)
				if err != nil {
					return err
				}
				p.TOS = iperf.Integer(v << 2)
			}
			if o.cport < 0 || o.cport > 65535 {
				return usagef("--cport %d is out of range: use 1 to 65535", o.cport)
			}
			k.Port0, p.PacingTimer = o.cport, iperf.Integer(o.pacing)
			p.DontFragment, p.Repeating = iperf.Flag(o.fragment), iperf.Flag(o.repeating)
			if o.output {
				p.ServerOutput = 1
			}
			if len(o.format) > 1 || strings.Trim(o.format, "kmgtKMGT") != "" {
				return usagef("--format %q is not known: use one of k, m, g, t (bits) or K, M, G, T (bytes)", o.format)
			}
			check := *p
			if check.Len == 0 {
				check.Len = 1460 // the client takes it from the connection
			}
			if err := check.Validate(); err != nil {
				return usageError{err}
			}
			if p.Time == 0 && p.Num == 0 && p.BlockCount == 0 {
				return usagef("a test without an end is not run: give --time, --bytes or --blockcount")
			}
			var err error
			if k.Interval, err = seconds("interval", o.interval); err != nil {
				return err
			}
			k.ConnectTimeout = time.Duration(o.timeout) * time.Millisecond
			out := cmd.OutOrStdout()
			rateFormat = o.format
			if !asJSON(cmd) {
				k.OnStart = func(r iperf.ReportStart) {
					if o.verbose {
						fmt.Fprintf(out, "%s\n%s\ncookie %s, %s, blocks of %d bytes, %d streams\n", r.Version, r.SystemInfo, r.Cookie, r.TestStart.Protocol, r.TestStart.BlkSize, r.TestStart.NumStreams)
					}
					iperfHead(out, r)
				}
				k.OnInterval = func(i iperf.ReportInterval) { iperfInterval(out, i) }
			}
			r, err := k.Run(cmd.Context())
			if err != nil {
				if cmd.Context().Err() != nil && err == context.Cause(cmd.Context()) {
					return fmt.Errorf("the test was interrupted; the server has been told")
				}
				return err
			}
			return emit(cmd, r, func(w io.Writer) error { iperfEnd(w, r); return nil })
		},
	}
	f := c.Flags()
	f.IntVarP(&k.Port, "port", "p", iperf.DefaultPort, "server's `port`")
	f.Float64VarP(&o.time, "time", "t", iperf.DefaultTime.Seconds(), "`seconds` to send")
	f.StringVarP(&o.bytes, "bytes", "n", "", "`bytes` to send, instead of --time (K, M, G are powers of 1024)")
	f.StringVarP(&o.blocks, "blockcount", "k", "", "`blocks` to send, instead of --time")
	f.StringVarP(&o.length, "length", "l", "", "`bytes` per block or datagram (128K for TCP, what fits a packet for UDP)")
	f.IntVarP(&o.parallel, "parallel", "P", 1, "parallel `streams`")
	f.BoolVarP(&o.reverse, "reverse", "R", false, "the server sends")
	f.BoolVar(&o.bidir, "bidir", false, "both ends send")
	f.BoolVarP(&o.udp, "udp", "u", false, "UDP instead of TCP")
	f.StringVarP(&o.bitrate, "bitrate", "b", "", "bits per second and stream (1M for UDP, all there is for TCP; 0 for all there is), and /`datagrams` of a burst")
	f.StringVar(&o.fqRate, "fq-rate", "", "bits per second and stream, kept by the kernel (fq)")
	f.IntVar(&o.pacing, "pacing-timer", 1000, "`microseconds`; told to the server, our own pacing is finer")
	f.StringVar(&o.dscp, "dscp", "", "IP DSCP, as a `value` or a name such as ef, af41, cs5")
	f.IntVar(&o.cport, "cport", 0, "local `port` of the first data stream")
	f.BoolVar(&o.output, "get-server-output", false, "also bring what the server printed")
	f.StringVar(&k.Params.ExtraData, "extra-data", "", "`text` that the report carries")
	f.BoolVar(&o.fragment, "dont-fragment", false, "IPv4 don't-fragment for UDP")
	f.BoolVar(&o.repeating, "repeating-payload", false, "a payload that repeats itself (always so)")
	f.BoolVar(&o.ignored, "udp-counters-64bit", false, "64-bit datagram counters (always so)")
	f.BoolVar(&o.ignored, "forceflush", false, "print each line at once (always so)")
	f.StringVarP(&o.format, "format", "f", "", "`unit` of rates: k, m, g, t for bits, K, M, G, T for bytes")
	f.BoolVarP(&o.verbose, "verbose", "V", false, "also say who tests how")
	f.IntVar(&o.burst, "burst", 0, "most `datagrams` handed to the kernel at a time")
	f.StringVarP(&o.window, "window", "w", "", "socket buffer in `bytes`")
	f.IntVarP(&o.mss, "set-mss", "M", 0, "largest TCP segment in `bytes`")
	f.BoolVarP(&o.noDelay, "no-delay", "N", false, "send small TCP segments at once")
	f.StringVarP(&k.Params.Congestion, "congestion", "C", "", "TCP congestion control `algorithm`")
	f.IntVarP(&o.tos, "tos", "S", 0, "IP type of service")
	f.BoolVarP(&o.zero, "zerocopy", "Z", false, "send without copying (sendfile)")
	f.BoolVar(&k.SkipReceive, "skip-rx-copy", false, "discard what arrives inside the kernel")
	f.Float64VarP(&o.omit, "omit", "O", 0, "`seconds` at the start left out of the result")
	f.StringVarP(&k.Bind, "bind", "B", "", "local `address` to test from")
	f.BoolVarP(&o.four, "version4", "4", false, "IPv4 only")
	f.BoolVarP(&o.six, "version6", "6", false, "IPv6 only")
	f.StringVarP(&k.Params.Title, "title", "T", "", "`text` that the report carries")
	f.IntVar(&o.timeout, "connect-timeout", 10000, "`milliseconds` to wait for the server")
	f.Float64VarP(&o.interval, "interval", "i", 1, "`seconds` between lines of progress")
	f.BoolVar(&k.CPU, "cpu", false, "also report processor seconds per GB at both ends")
	f.BoolP("json", "J", false, "print the report as JSON")
	return c
}

func checkPort(p int) error {
	if p < 1 || p > 65535 {
		return usagef("port %d is out of range: use 1 to 65535", p)
	}
	return nil
}

func seconds(name string, v float64) (time.Duration, error) {
	if !(v >= 0.1 && v <= 60) {
		return 0, usagef("--%s %g is out of range: use 0.1 to 60 seconds", name, v)
	}
	return time.Duration(v * float64(time.Second)), nil
}

func iperfRate(option, s string) (iperf.Integer, error) {
	rate, err := dssn.ParseBandwidth(s)
	if err != nil || rate > 1<<62 {
		return 0, usagef("--%s: %q is not a bit rate: write for example 200M, or 0 for all there is", option, s)
	}
	return iperf.Integer(rate), nil
}

// parseDSCP reads a number or one of the names of RFC 4594.
func parseDSCP(s string) (int, error) {
	t := strings.ToLower(s)
	if v, err := strconv.ParseInt(t, 0, 0); err == nil && v >= 0 && v < 64 {
		return int(v), nil
	}
	var class, drop int
	switch n, _ := fmt.Sscanf(t, "af%1d%1d", &class, &drop); {
	case t == "ef":
		return 46, nil
	case t == "va":
		return 44, nil
	case t == "le":
		return 1, nil
	case n == 2 && len(t) == 4 && class >= 1 && class <= 4 && drop >= 1 && drop <= 3:
		return 8*class + 2*drop, nil
	case len(t) == 3 && t[:2] == "cs" && t[2] >= '0' && t[2] <= '7':
		return 8 * int(t[2]-'0'), nil
	}
	return 0, usagef("--dscp %q is not a DSCP: write 0 to 63, ef, va, le, cs0 to cs7 or af11 to af43", s)
}

// iperfBytes reads a number with iperf3's binary suffixes.
func iperfBytes(s string) (iperf.Integer, error) {
	t, shift := s, 0
	if n := len(s); n > 0 {
		if i := strings.IndexByte("kmgt", s[n-1]|0x20); i >= 0 {
			t, shift = s[:n-1], 10*(i+1)
		}
	}
	v, err := strconv.ParseFloat(t, 64)
	if err != nil || !(v > 0) || v*float64(int64(1)<<shift) > 1<<62 {
		return 0, fmt.Errorf("%q is not an amount: write for example 128K or 5G", s)
	}
	return iperf.Integer(v * float64(int64(1)<<shift)), nil
}

// iperfHead prints who is connected to whom.
func iperfHead(w io.Writer, r iperf.ReportStart) {
	for _, c := range r.Connected {
		fmt.Fprintf(w, "[%3d] local %s port %d connected to %s port %d\n", c.Socket, c.LocalHost, c.LocalPort, c.RemoteHost, c.RemotePort)
	}
}

// iperfInterval prints one line a stream, and a sum where there are several.
func iperfInterval(w io.Writer, i iperf.ReportInterval) {
	for _, s := range i.Streams {
		iperfLine(w, fmt.Sprintf("%3d", s.Socket), s, "")
	}
	if len(i.Streams) > 1 {
		iperfLine(w, "SUM", i.Sum, "")
		if i.SumReverse != nil {
			iperfLine(w, "REV", *i.SumReverse, "")
		}
	}
}

// iperfEnd prints the result.
func iperfEnd(w io.Writer, r *iperf.Report) {
	fmt.Fprintln(w, strings.Repeat("- ", 36))
	for _, s := range r.End.Streams {
		switch {
		case s.UDP != nil:
			iperfLine(w, fmt.Sprintf("%3d", s.UDP.Socket), *s.UDP, "")
		default:
			iperfLine(w, fmt.Sprintf("%3d", s.Sender.Socket), *s.Sender, "sender")
			iperfLine(w, fmt.Sprintf("%3d", s.Receiver.Socket), *s.Receiver, "receiver")
		}
	}
	if len(r.End.Streams) > 1 {
		iperfLine(w, "SUM", r.End.SumSent, "sender")
		iperfLine(w, "SUM", r.End.SumReceived, "receiver")
		if r.End.SumSentReverse != nil {
			iperfLine(w, "REV", *r.End.SumSentReverse, "sender")
			iperfLine(w, "REV", *r.End.SumReceivedReverse, "receiver")
		}
	}
	if r.ServerOutput != "" {
		fmt.Fprintf(w, "the server printed:\n%s", r.ServerOutput)
	}
	fmt.Fprintf(w, "processor: here %.1f %%, there %.1f %%\n", r.End.CPU.HostTotal, r.End.CPU.RemoteTotal)
	if c := r.End.CPUSecondsPerGB; c != nil {
		fmt.Fprintf(w, "processor seconds per GB: here %.3f, there %.3f, both %.3f\n", c.Host, c.Remote, c.Both)
	}
	if n := r.End.TesterDroppedInside; n > 0 {
		fmt.Fprintf(w, "note: this host's own socket buffers refused %d datagrams; part of the loss is the tester's\n", n)
	}
}

func iperfLine(w io.Writer, id string, s iperf.Sum, note string) {
	fmt.Fprintf(w, "[%s] %6.2f-%-6.2f s  %10s  %12s", id, s.Start, s.End, dssn.ByteCount(s.Bytes), bitRate(s.BitsPerSecond))
	if s.Retransmits != nil {
		fmt.Fprintf(w, "  retransmits %d", *s.Retransmits)
	}
	if s.RTT != nil {
		fmt.Fprintf(w, "  rtt %s", time.Duration(*s.RTT)*time.Microsecond)
	}
	if s.LostPackets != nil {
		fmt.Fprintf(w, "  jitter %.3f ms  lost %d/%d (%.2g %%)", *s.JitterMillis, *s.LostPackets, *s.Packets, *s.LostPercent)
	} else if s.Packets != nil {
		fmt.Fprintf(w, "  %d datagrams", *s.Packets)
	}
	if s.Omitted {
		note = "(omitted)"
	}
	if note != "" {
		fmt.Fprintf(w, "  %s", note)
	}
	fmt.Fprintln(w)
}

// rateFormat is --format's unit of rates; "" chooses one for each.
var rateFormat string

// bitRate prints three to four digits with a unit: 35.55 Gbit/s.
func bitRate(v float64) string {
	if len(rateFormat) == 1 {
		i := strings.Index("kmgtKMGT", rateFormat)
		unit, name := math.Pow(1e3, float64(i%4+1)), "bit/s"
		if i >= 4 {
			unit, name = 8*math.Pow(1024, float64(i%4+1)), "iByte/s"
		}
		return strconv.FormatFloat(v/unit, 'f', 2, 64) + " " + []string{"k", "M", "G", "T", "K", "M", "G", "T"}[i] + name
	}
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= u.size {
			return strconv.FormatFloat(v/u.size, 'f', 2, 64) + " " + u.name + "bit/s"
		}
	}
	return strconv.FormatFloat(v, 'f', 0, 64) + " bit/s"
}
