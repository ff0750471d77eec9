package gen

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"
)

const flood = `
[[stream]]
src = "192.0.2.1"
dst = "192.0.2.2"
size = 64
`

// spread prints samples as median (least–most).
func spread(v []float64) string {
	slices.Sort(v)
	return fmt.Sprintf("%.3f (%.3f–%.3f)", v[len(v)/2], v[0], v[len(v)-1])
}

// BenchmarkGenerator prints the figures of the generator: one iteration is one
// table. The sink shares the two CPUs with the generator.
func BenchmarkGenerator(b *testing.B) {
	need.Root(b)
	for b.Loop() {
		n := newBench(b)
		sent, perCPU, received, refused := map[Engine][]float64{}, map[Engine][]float64{}, map[Engine][]float64{}, map[Engine][]float64{}
		var c, cCPU, bare []float64
		peer := compileC(b)
		for range 5 {
			for _, e := range []Engine{EngineKernel, EngineAFXDP} {
				r, got := n.run(b, Options{Streams: n.streams(b, flood), Engine: e, Time: time.Second}, EngineKernel)
				s := r.Streams[0]
				perCPU[e] = append(perCPU[e], float64(s.Sent.Frames-r.Refused)/r.Seconds/1e6/r.CPU)
				sent[e] = append(sent[e], float64(s.Sent.Frames-r.Refused)/r.Seconds/1e6)
				refused[e] = append(refused[e], float64(r.Refused)/r.Seconds/1e6)
				received[e] = append(received[e], float64(got[0].Received.Frames)/r.Seconds/1e6)
			}
			bare = append(bare, n.dropped(b))
			if peer != "" {
				pps, cpu := n.txonly(b, peer)
				c, cCPU = append(c, pps), append(cCPU, pps/cpu)
			}
		}
		fmt.Printf("\n64 B flood on veth, Mpps, median (range) of 5 runs of a second\n\n| engine | sent | by a second of the CPU | received by the sink | refused by the port |\n|---|---|---|---|---|\n")
		for _, e := range []Engine{EngineKernel, EngineAFXDP} {
			fmt.Printf("| %s | %s | %s | %s | %s |\n", e, spread(sent[e]), spread(perCPU[e]), spread(received[e]), spread(refused[e]))
		}
		fmt.Printf("| kernel, far end only drops | | %s | | |\n", spread(bare))
		if len(c) > 0 {
			fmt.Printf("| C, AF_XDP txonly | %s | %s | | |\n\nour AF_XDP of C's: %.1f %%, by a second of the CPU %.1f %%\n", spread(c), spread(cCPU),
				100*median(sent[EngineAFXDP])/median(c), 100*median(perCPU[EngineAFXDP])/median(cCPU))
		}
		most := median(sent[EngineKernel])
		fmt.Printf("\n| asked pps | engine | sent pps | error | received |\n|---|---|---|---|---|\n")
		for _, pps := range []float64{1e3, 1e4, 1e5, 1e6, 0.5e6 * most, 0.9e6 * most} {
			for _, e := range []Engine{EngineKernel, EngineAFXDP} {
				if e == EngineAFXDP && pps > 0.9e6*median(sent[e]) {
					continue
				}
				r, got := n.run(b, Options{Streams: n.streams(b, flood+fmt.Sprintf("pps = %f\n", pps)), Engine: e, Time: 3 * time.Second}, EngineKernel)
				rate := float64(r.Streams[0].Sent.Frames) / r.Seconds
				fmt.Printf("| %.0f | %s | %.0f | %+.3f %% | %d of %d, refused %d, at most %v late |\n", pps, e, rate, 100*(rate/pps-1),
					got[0].Received.Frames, r.Streams[0].Sent.Frames, r.Refused, r.Streams[0].Sent.Worst.Round(time.Microsecond))
			}
		}
	}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkNoFalseLoss counts a hundred million frames over a wire that loses none.
func BenchmarkNoFalseLoss(b *testing.B) {
	need.Root(b)
	for b.Loop() {
		n := newBench(b)
		r, got := n.run(b, Options{Streams: n.streams(b, flood+"pps = 2000000\ncount = 100000000\n"), Engine: EngineKernel}, EngineKernel)
		s, g := r.Streams[0], got[0].Received
		lost := Lost(s.Sent.Frames, g)
		fmt.Printf("\nsent %d, refused by the sender's port %d, received %d: lost on the way %d; duplicates %d, reordered %d; %.1f s; delay p50 %v p99 %v max %v\n",
			s.Sent.Frames, r.Refused, g.Frames, lost-min(lost, r.Refused), g.Duplicates, g.Reordered, r.Seconds, got[0].Delay.At(50), got[0].Delay.At(99), got[0].Delay.Max())
		if lost > r.Refused {
			b.Errorf("%d frames were lost on a wire that loses none", lost-r.Refused)
		}
	}
}

func compileC(b *testing.B) string {
	need.Tool(b, "gcc")
	need.File(b, "libxdp's headers", "/usr/include/xdp/xsk.h")
	out := filepath.Join(b.TempDir(), "txonly")
	if text, err := exec.Command("gcc", "-O2", "-o", out, filepath.Join("peer", "txonly.c"), "-lxdp", "-lbpf").CombinedOutput(); err != nil {
		b.Fatalf("compiling the C peer: %v\n%s", err, text)
	}
	return out
}

// txonly runs the C peer for a second and returns its Mpps and what it used of its CPU.
func (n bench) txonly(b *testing.B, program string) (mpps, cpu float64) {
	var sink xdptest.Netns = *n.b
	stop := n.sinkFor(b, &sink)
	defer stop()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, program, "a0", "1")
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	n.a.Start(b, c)
	var pps float64
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "pps ") {
			fmt.Sscanf(lines.Text(), "pps %f", &pps)
		}
	}
	if err := c.Wait(); err != nil || pps == 0 {
		b.Fatalf("the C peer: %v", err)
	}
	return pps / 1e6, (c.ProcessState.SystemTime() + c.ProcessState.UserTime()).Seconds()
}

// sinkFor keeps the counting program at the far end, as for our own rows.
func (n bench) sinkFor(b *testing.B, at *xdptest.Netns) (stop func()) {
	var c counter
	at.Do(b, func() (err error) {
		c, err = newCounter(Options{Streams: n.streams(b, flood), Sink: "b0"})
		return err
	})
	return func() { c.Close() }
}

// dropped sends into a far end that drops without looking and returns Mpps by a
// second of the sending thread's CPU, which does the far end's work too.
func (n bench) dropped(b *testing.B) float64 {
	var sink *xdp.Sink
	n.b.Do(b, func() (err error) {
		sink, err = xdp.NewSink(xdp.SinkOptions{Ifindex: n.b.Ifindex(b, "b0")})
		return err
	})
	defer sink.Close()
	var r *Outcome
	n.a.Do(b, func() (err error) {
		r, err = Run(b.Context(), Options{Streams: n.streams(b, flood), Device: "a0", Engine: EngineKernel, Time: time.Second})
		return err
	})
	return float64(r.Streams[0].Sent.Frames-r.Refused) / r.Seconds / 1e6 / r.CPU
}
