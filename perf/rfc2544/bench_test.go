package rfc2544_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/perf/report"
	"dssn/xdp/xdptest"
)

const (
	size  = 1280
	queue = 20_000 // bytes behind the bucket
)

// depth of the bucket in bytes: what the rate carries in 2 ms, or 64 KiB.
func depth(mbps float64) int { return max(64<<10, int(mbps*1e6/8)/500) }

// BenchmarkPolicedPath prints what five searches find, with the real programs, on a
// path through the kernel's token bucket with next to no queue (TBF): its rate is known.
func BenchmarkPolicedPath(b *testing.B) {
	need.Root(b)
	tc := need.Tool(b, "tc")
	ours := filepath.Join(b.TempDir(), "dssn")
	if out, err := exec.Command("go", "build", "-o", ours, "dssn/cmd/dssn").CombinedOutput(); err != nil {
		b.Fatalf("build dssn: %v\n%s", err, out)
	}
	for b.Loop() {
		fmt.Printf("\n| policer, Mbit/s | found in five searches, Mbit/s | furthest off | apart | longest search |\n|---|---|---|---|---|\n")
		for _, mbps := range []float64{10, 100, 500} {
			tester, router, responder := xdptest.NewNetns(b), xdptest.NewNetns(b), xdptest.NewNetns(b)
			xdptest.Veth(b, tester, "t0", router, "t1")
			xdptest.Veth(b, router, "r1", responder, "r0")
			tester.IP(b, "addr", "add", "fd00:7::1/64", "dev", "t0", "nodad")
			router.IP(b, "addr", "add", "fd00:7::2/64", "dev", "t1", "nodad")
			router.IP(b, "addr", "add", "fd00:8::2/64", "dev", "r1", "nodad")
			responder.IP(b, "addr", "add", "fd00:8::1/64", "dev", "r0", "nodad")
			router.Sysctl(b, "net/ipv6/conf/all/forwarding", "1")
			tester.IP(b, "route", "add", "default", "via", "fd00:7::2")
			responder.IP(b, "route", "add", "default", "via", "fd00:8::2")
			// The bucket counts the 14 bytes of Ethernet, we do not.
			if err := router.Try(tc, "qdisc", "add", "dev", "r1", "root", "tbf", "rate", fmt.Sprintf("%.0fbit", mbps*1e6*(size+14)/size),
				"burst", strconv.Itoa(depth(mbps)), "limit", strconv.Itoa(queue)); err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(b.Context(), 6*time.Minute)
			far := exec.CommandContext(ctx, ours, "perf", "responder", "--secret", "of this bench", "--bind", "fd00:8::1")
			responder.Start(b, far)
			var found, seconds []float64
			doubt := map[string]bool{}
			for len(found) < 5 {
				r := search(b, ctx, tester, ours, mbps)
				found, seconds = append(found, r.found), append(seconds, r.seconds)
				for _, d := range r.doubts {
					doubt[d] = true
				}
			}
			cancel()
			far.Wait()
			off, text := 0.0, []string{}
			for _, f := range found {
				off, text = max(off, math.Abs(f/mbps-1)), append(text, strconv.FormatFloat(f, 'f', 2, 64))
			}
			fmt.Printf("| %g | %s | %.2f %% | %.2f %% | %.1f s |\n", mbps, strings.Join(text, ", "), 100*off, 100*(slices.Max(found)/slices.Min(found)-1), slices.Max(seconds))
			for d := range doubt {
				fmt.Printf("\n> %s\n\n", d)
			}
		}
	}
}

type searched struct {
	found, seconds float64 // Mbit/s
	doubts         []string
}

// search runs the tester once, for throughput alone.
func search(b *testing.B, ctx context.Context, at *xdptest.Netns, program string, mbps float64) searched {
	for try := 0; ; try++ { // until the responder listens
		began := time.Now()
		c := exec.CommandContext(ctx, program, "perf", "rfc2544", "fd00:8::1", "--secret", "of this bench", "--sizes", strconv.Itoa(size), "--max", fmt.Sprintf("%gM", 1.5*mbps),
			"--depth", strconv.Itoa(depth(mbps)+queue), "--loss", "0", "--bursts", "0", "--latency", "0", "--json")
		var stdout, stderr strings.Builder
		c.Stdout, c.Stderr = &stdout, &stderr
		at.Start(b, c)
		err := c.Wait()
		if err == nil {
			var r report.Result
			if err := json.Unmarshal([]byte(stdout.String()), &r); err != nil {
				b.Fatalf("%v\n%s", err, &stdout)
			}
			return searched{found: r.Metrics[0].Samples[0] / 1e6, seconds: time.Since(began).Seconds(), doubts: r.Warnings}
		}
		if try == 40 || ctx.Err() != nil {
			b.Fatalf("%v: %v\n%s", c.Args, err, &stderr)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
