package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/node"
	perfreport "dssn/perf/report"
	"dssn/perf/rfc2544"
	"dssn/perf/trial"
	"dssn/perf/y1564"

	"github.com/spf13/cobra"
)

// acceptance are the options that both ends of a test between two nodes share.
type acceptance struct {
	port         int
	bind, secret string
	// of the tester
	reservations []string
	reverse      bool
	report       string
}

func (a *acceptance) flags(c *cobra.Command) {
	f := c.Flags()
	f.IntVarP(&a.port, "port", "p", trial.Port, "`port` of the responder")
	f.StringVarP(&a.bind, "bind", "B", "", "local `address`")
	f.StringVar(&a.secret, "secret", os.Getenv("DSSN_PERF_SECRET"), "shared `secret` of both ends, where they are no nodes of one network (environment: DSSN_PERF_SECRET)")
}

func (a *acceptance) testerFlags(c *cobra.Command) {
	a.flags(c)
	f := c.Flags()
	f.StringArrayVar(&a.reservations, "reservation", nil, "`reservation` to test: whom to ask, in which direction and for what follows from it")
	f.BoolVarP(&a.reverse, "reverse", "R", false, "the responder sends")
	f.StringVarP(&a.report, "output", "o", "", "also write the signed report to `file`")
}

// identity is this node's, or one for the occasion.
func (a *acceptance) identity(cmd *cobra.Command) (trial.Identity, error) {
	id, key, err := node.Signer(stateDir(cmd, defaultNodeState))
	switch {
	case errors.Is(err, node.ErrNotJoined) && a.secret == "":
		return trial.Identity{}, fmt.Errorf("nothing tells this host whom to trust: run it on a node (--state names its directory), or give both ends the same --secret")
	case errors.Is(err, node.ErrNotJoined):
		name, _ := os.Hostname()
		return trial.NewIdentity(name, a.secret)
	case err != nil:
		return trial.Identity{}, err
	}
	return trial.Identity{Name: id.Name, Node: id.Node.String(), Key: key, Certificate: id.Certificate, CA: id.CA, Secret: a.secret}, nil
}

func perfResponderCommand() *cobra.Command {
	var a acceptance
	c := &cobra.Command{
		Use:   "responder",
		Short: "Be the other end of rfc2544 and y1564 tests, until interrupted",
		Long: `Sends and counts what a tester asks for, and signs the report of what it saw
itself. Testers are believed that are nodes of the same network, or know --secret.
One is served at a time.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkPort(a.port); err != nil {
				return err
			}
			own, err := a.identity(cmd)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			r := &trial.Responder{Own: own, Bind: a.bind, Port: a.port}
			if !asJSON(cmd) {
				r.OnListen = func(at net.Addr) { fmt.Fprintf(out, "responding on %s as %s\n", at, own.Name) }
				r.OnSession = func(p trial.Peer) { fmt.Fprintf(out, "%s tests\n", p.Name) }
				r.OnEnd = func(p trial.Peer, err error) {
					if err == nil {
						fmt.Fprintf(out, "%s has ended its test\n", p.Name)
						return
					}
					fmt.Fprintf(cmd.ErrOrStderr(), "dssn: the test of %s ended early: %s\n", p.Name, oneLine(err.Error()))
				}
			}
			return r.Serve(cmd.Context())
		},
	}
	a.flags(c)
	return c
}

// target is one session to open and what is known of its reservation.
type target struct {
	host, bind  string
	reverse     bool
	reservation *northbound.Reservation // nil if none was named
}

// targets are the reservations named, or the host.
func (a *acceptance) targets(cmd *cobra.Command, args []string) ([]target, error) {
	if err := checkPort(a.port); err != nil {
		return nil, err
	}
	if len(a.reservations) == 0 {
		if len(args) == 0 {
			return nil, usagef("nothing to test: name the HOST of a responder, or a --reservation")
		}
		return []target{{host: strings.Trim(args[0], "[]"), bind: a.bind, reverse: a.reverse}}, nil
	}
	c, err := openNode(cmd)
	if err != nil {
		return nil, err
	}
	var s node.Status
	if err := c.call(cmd.Context(), http.MethodGet, "/local/status", nil, &s); err != nil {
		return nil, err
	}
	var out []target
	for _, text := range a.reservations {
		id, err := dssn.ParseReservationID(text)
		if err != nil {
			return nil, usageError{err}
		}
		var r northbound.Reservation
		if err := c.call(cmd.Context(), http.MethodGet, "/v1/reservations/"+id.String(), nil, &r); err != nil {
			return nil, err
		}
		if r.State != northbound.StateActive && r.State != northbound.StateReserved && r.State != northbound.StateDegraded {
			return nil, fmt.Errorf("reservation %s is %s: only one that is in force can be tested", id, r.State)
		}
		// Its traffic goes from the data's address to the consumer's node.
		t := target{reservation: &r}
		switch s.Name {
		case r.Egress:
			t.host, t.bind, t.reverse = r.From.Addr().String(), r.To.Addr().String(), true
		case r.Ingress:
			t.host, t.bind = r.To.Addr().String(), r.From.Addr().String()
		default:
			return nil, fmt.Errorf("reservation %s goes from %s to %s, and this is %s: test at one of its ends", id, r.Ingress, r.Egress, s.Name)
		}
		if len(args) > 0 {
			t.host = strings.Trim(args[0], "[]")
		}
		if a.bind != "" {
			t.bind = a.bind
		}
		out = append(out, t)
	}
	return out, nil
}

// dial opens one session for each target; close ends them.
func (a *acceptance) dial(cmd *cobra.Command, list []target) (sessions []*trial.Session, close func(), err error) {
	own, err := a.identity(cmd)
	if err != nil {
		return nil, nil, err
	}
	close = func() {
		for _, s := range sessions {
			s.Close()
		}
	}
	for _, t := range list {
		s, err := trial.Dial(cmd.Context(), t.host, a.port, t.bind, own)
		if err != nil {
			close()
			return nil, nil, err
		}
		sessions = append(sessions, s)
	}
	return sessions, close, nil
}

// ends describe both machines.
func ends(s *trial.Session) []perfreport.End {
	own := perfreport.ThisEnd("tester")
	own.Name = s.Own.Name
	return []perfreport.End{own, s.Remote}
}

// sell adds what is known of a reservation to a report's settings.
func sell(r *perfreport.Result, t target) {
	direction := "tester to responder"
	if t.reverse {
		direction = "responder to tester"
	}
	r.Settings = append(r.Settings, perfreport.Setting{Name: "direction", Value: direction})
	if v := t.reservation; v != nil {
		for _, s := range []perfreport.Setting{{Name: "reservation", Value: v.ID.String()}, {Name: "class", Value: v.Class.String()}, {Name: "committed", Value: v.Committed.String()},
			{Name: "ceiling", Value: v.Ceiling.String()}, {Name: "allocated", Value: v.Allocated.String()}, {Name: "burst", Value: v.Burst.String()}, {Name: "delay bound", Value: boundWords(v)}, {Name: "path", Value: route(v.Path)}} {
			r.Settings = append(r.Settings, s)
		}
	}
}

// boundWords is the delay bound of a reservation, which only class assured has.
func boundWords(r *northbound.Reservation) string {
	if r.DelayBound == 0 {
		return "none"
	}
	return r.DelayBound.String()
}

// finish signs a report at both ends, writes it and prints it.
func (a *acceptance) finish(cmd *cobra.Command, s *trial.Session, r *perfreport.Result) error {
	if err := r.Check(); err != nil {
		return fmt.Errorf("make the report: %w", err)
	}
	if err := s.Sign(cmd.Context(), r); err != nil {
		return fmt.Errorf("sign the report: %w", err)
	}
	if a.report != "" {
		if err := perfreport.WriteFile(a.report, r); err != nil {
			return err
		}
	}
	err := emit(cmd, r, func(w io.Writer) error { return acceptWords(w, r, a.report) })
	if err == nil && r.Verdict != nil && !r.Verdict.Pass {
		return exitStatus(exitError)
	}
	return err
}

func acceptWords(w io.Writer, r *perfreport.Result, file string) error {
	fmt.Fprintf(w, "%s, %.0f s\n", r.Title, r.Seconds)
	for _, s := range r.Settings {
		fmt.Fprintf(w, "  %s: %s\n", s.Name, s.Value)
	}
	for _, t := range r.Tables {
		fmt.Fprintf(w, "\n%s\n", t.Title)
		err := table(w, func(row func(string, ...any)) {
			row("%s", strings.ToUpper(strings.Join(t.Columns, "\t")))
			for _, line := range t.Rows {
				row("%s", strings.Join(line, "\t"))
			}
		})
		if err != nil {
			return err
		}
	}
	for _, d := range r.Distributions {
		at := func(p float64) string { v, _ := d.At(p); return perfreport.Seconds.Show(v) }
		fmt.Fprintf(w, "%s: p50 %s, p99 %s, p99.9 %s, max %s\n", d.Name, at(50), at(99), at(99.9), perfreport.Seconds.Show(d.Max))
	}
	distrustWords(w, r)
	if r.Verdict != nil {
		fmt.Fprintln(w, map[bool]string{true: "verdict: pass", false: "verdict: FAIL"}[r.Verdict.Pass])
	}
	var who []string
	for _, s := range r.Signatures {
		who = append(who, s.Role+" "+s.Name)
	}
	fmt.Fprintf(w, "signed by %s", strings.Join(who, " and "))
	if file != "" {
		fmt.Fprintf(w, "; the report is in %s", file)
	}
	_, err := fmt.Fprintln(w)
	return err
}

func perfRFC2544Command() *cobra.Command {
	var a acceptance
	var k rfc2544.Config
	var sizes, max, depth string
	c := &cobra.Command{
		Use:   "rfc2544 [HOST]",
		Short: "Benchmark the path to a responder: throughput, delay, loss, bursts",
		Long: `Finds the highest rate without loss by a short search, then the delay at that rate,
the loss above it and the longest burst (RFC 2544, RFC 9004), and ends in a
report that both ends sign. At one end of a reservation --reservation says all:

  dssn perf responder                               # at the other end
  dssn perf rfc2544 --reservation 0198c5…

Rates and sizes are of whole IP packets, as a policer counts them.`,
		Args: upToOne("HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := a.targets(cmd, args)
			if err != nil {
				return err
			}
			if len(list) > 1 {
				return usagef("rfc2544 tests one reservation at a time: name one, or use `dssn perf y1564` for several")
			}
			t := list[0]
			if err := rfcRates(&k, t, max, depth); err != nil {
				return err
			}
			if k.Sizes, err = parseSizes(sizes); err != nil {
				return err
			}
			if err := k.Check(); err != nil {
				return usageError{err}
			}
			sessions, closeAll, err := a.dial(cmd, list)
			if err != nil {
				return err
			}
			defer closeAll()
			if !asJSON(cmd) {
				k.OnProgress = func(s string) { fmt.Fprintf(cmd.ErrOrStderr(), "  %s\n", s) }
			}
			s := sessions[0]
			r, err := rfc2544.Run(cmd.Context(), trial.Way{Session: s, Reverse: t.reverse}, k)
			if err != nil {
				return unlessInterrupted(cmd.Context(), err)
			}
			promised := 0.0
			if t.reservation != nil {
				promised = float64(t.reservation.Allocated)
			}
			result, err := r.Result(os.Args, ends(s), promised)
			if err != nil {
				return err
			}
			sell(result, t)
			return a.finish(cmd, s, result)
		},
	}
	a.testerFlags(c)
	f := c.Flags()
	f.StringVar(&sizes, "sizes", "128,512,1280", "packet sizes in `bytes`")
	f.StringVar(&max, "max", "", "highest `rate` to try (default: half as much again as the reservation's ceiling)")
	f.StringVar(&depth, "depth", "", "`bytes` that the policer on the way forgives (default: the reservation's burst)")
	f.Float64Var(&k.Width, "width", 0.005, "how close the bounds of the throughput shall be, as a `ratio`")
	f.Float64Var(&k.Tolerated, "tolerate", 0, "loss `ratio` that counts as none")
	f.DurationVar(&k.Trial, "trial", 2*time.Second, "length of a trial")
	f.DurationVar(&k.Budget, "budget", time.Minute, "most time for one search")
	f.DurationVar(&k.Latency, "latency", 5*time.Second, "length of the delay test; 0 leaves it out")
	f.DurationVar(&k.Loss, "loss", time.Second, "length of each step of the loss test; 0 leaves it out")
	f.IntVar(&k.Bursts, "bursts", 3, "repetitions of the burst test; 0 leaves it out")
	return c
}

// rfcRates fills in rates from options or the reservation.
func rfcRates(k *rfc2544.Config, t target, max, depth string) error {
	if t.reservation != nil {
		k.Max, k.Depth = 1.5*float64(t.reservation.Ceiling), float64(t.reservation.Burst)
	}
	if max != "" {
		b, err := dssn.ParseBandwidth(max)
		if err != nil {
			return usagef("--max: %v", err)
		}
		k.Max = float64(b)
	}
	if k.Max == 0 {
		return usagef("no highest rate to try: give --max, for example --max 1G, or a --reservation")
	}
	if depth != "" {
		n, err := dssn.ParseByteCount(depth)
		if err != nil {
			return usagef("--depth: %v", err)
		}
		k.Depth = float64(n)
	}
	return nil
}

func parseSizes(s string) (out []int, err error) {
	for f := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil {
			return nil, usagef("--sizes %q is not a list of bytes: write for example 128,512,1280", s)
		}
		out = append(out, n)
	}
	return out, nil
}

// upToOne is at most one argument.
func upToOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usagef("%s takes at most one argument, %s, but got %d", cmd.CommandPath(), name, len(args))
		}
		return nil
	}
}

func unlessInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted; nothing was signed")
	}
	return err
}

// sold makes of s what a reservation promises. A bound on the delay that was asked
// for on the command line goes before the promised one.
func sold(s *y1564.Service, r *northbound.Reservation) {
	s.Name, s.Committed, s.Ceiling, s.Burst = r.ID.String(), float64(r.Committed), float64(r.Ceiling), float64(r.Burst)
	if s.MaxDelay == 0 {
		s.MaxDelay = r.DelayBound
	}
}

func perfY1564Command() *cobra.Command {
	var a acceptance
	var k y1564.Config
	var v struct {
		committed, ceiling, burst string
		size                      int
		delay, variation          time.Duration
		loss                      float64
	}
	c := &cobra.Command{
		Use:   "y1564 [HOST]",
		Short: "Accept services: do they keep what was sold?",
		Long: `Tests each service alone (steps to the committed rate, the excess, the policing),
then all at once, and says pass or fail against committed and ceiling rates,
delay, variation and loss (ITU-T Y.1564). Ends in a report that both ends sign;
exits 1 if a service failed. Services are reservations, or one given by figures:

  dssn perf y1564 --reservation 0198c5… --reservation 0198c6… --service 15m
  dssn perf y1564 192.0.2.1 --secret … --committed 100M --ceiling 200M --max-delay 10ms`,
		Args: upToOne("HOST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := a.targets(cmd, args)
			if err != nil {
				return err
			}
			var services []y1564.Service
			for _, t := range list {
				s := y1564.Service{Name: "service", Size: v.size, MaxDelay: v.delay, MaxVariation: v.variation, MaxLoss: v.loss}
				if r := t.reservation; r != nil {
					sold(&s, r)
				}
				for _, f := range []struct {
					name, text string
					to         *float64
				}{{"committed", v.committed, &s.Committed}, {"ceiling", v.ceiling, &s.Ceiling}} {
					if f.text == "" {
						continue
					}
					b, err := dssn.ParseBandwidth(f.text)
					if err != nil {
						return usagef("--%s: %v", f.name, err)
					}
					*f.to = float64(b)
				}
				if v.burst != "" {
					n, err := dssn.ParseByteCount(v.burst)
					if err != nil {
						return usagef("--burst: %v", err)
					}
					s.Burst = float64(n)
				}
				if s.Committed == 0 && s.Ceiling == 0 {
					return usagef("nothing was sold that could be tested: give --committed, or a --reservation")
				}
				if err := s.Check(); err != nil {
					return usageError{err}
				}
				services = append(services, s)
			}
			sessions, closeAll, err := a.dial(cmd, list)
			if err != nil {
				return err
			}
			defer closeAll()
			if !asJSON(cmd) {
				k.OnJudgement = func(j y1564.Judgement) {
					verdict := "pass"
					if !j.Pass {
						verdict = "FAIL: " + j.Why
					}
					fmt.Fprintf(cmd.ErrOrStderr(), "  %s, %s: %s\n", j.Service, j.Step.Name, verdict)
				}
			}
			var paths []y1564.Path
			for i, s := range sessions {
				paths = append(paths, trial.Way{Session: s, Reverse: list[i].reverse})
			}
			r, err := y1564.Run(cmd.Context(), services, paths, k)
			if err != nil {
				return unlessInterrupted(cmd.Context(), err)
			}
			result, err := r.Result(os.Args, ends(sessions[0]))
			if err != nil {
				return err
			}
			for _, t := range list {
				sell(result, t)
			}
			return a.finish(cmd, sessions[0], result)
		},
	}
	a.testerFlags(c)
	f := c.Flags()
	f.StringVar(&v.committed, "committed", "", "committed `rate`, where no reservation says it")
	f.StringVar(&v.ceiling, "ceiling", "", "most `rate`, where no reservation says it (default: the committed)")
	f.StringVar(&v.burst, "burst", "", "`bytes` that the policer forgives")
	f.IntVar(&v.size, "size", 512, "packet size in `bytes`")
	f.DurationVar(&v.delay, "max-delay", 0, "one-way delay allowed to 99.9 % of packets (default: what an assured reservation promises, else any)")
	f.DurationVar(&v.variation, "max-variation", 0, "delay variation allowed to 99.9 % of packets (default: any)")
	f.Float64Var(&v.loss, "max-loss", 0, "loss `ratio` allowed")
	f.DurationVar(&k.Step, "step", 3*time.Second, "length of each step of the configuration test")
	f.DurationVar(&k.Service, "service", 15*time.Minute, "length of the service test; negative leaves it out")
	return c
}
