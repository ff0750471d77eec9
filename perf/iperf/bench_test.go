package iperf_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/perf/iperf"
	"dssn/perf/rfc2544"
	"dssn/xdp/xdptest"
)

// pair is a client and a server in two namespaces joined by a veth.
type pair struct {
	client, server  *xdptest.Netns
	ours, stock     string // programs
	clientO, serveO bool   // ours
}

const serverAddress = "fd00:5::2"

func newPair(b *testing.B) *pair {
	need.Root(b)
	p := &pair{stock: need.Tool(b, "iperf3"), ours: filepath.Join(b.TempDir(), "dssn")}
	if out, err := exec.Command("go", "build", "-o", p.ours, "dssn/cmd/dssn").CombinedOutput(); err != nil {
		b.Fatalf("build dssn: %v\n%s", err, out)
	}
	p.client, p.server = xdptest.NewNetns(b), xdptest.NewNetns(b)
	xdptest.Veth(b, p.client, "c0", p.server, "s0")
	p.client.IP(b, "addr", "add", "fd00:5::1/64", "dev", "c0", "nodad")
	p.server.IP(b, "addr", "add", serverAddress+"/64", "dev", "s0", "nodad")
	return p
}

// outcome is one test: rate in Gbit/s, processor seconds of both ends per GB, loss.
type outcome struct{ gbps, cost, loss float64 }

// run makes one test with iperf3's options, which ours has too.
func (p *pair) run(b *testing.B, ourClient, ourServer bool, options ...string) (o outcome) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 30*time.Second)
	defer cancel()
	server := exec.CommandContext(ctx, p.stock, "-s", "-1", "-J")
	if ourServer {
		server = exec.CommandContext(ctx, p.ours, "perf", "iperf", "server", "-1", "-J")
	}
	p.server.Start(b, server)
	var client *exec.Cmd
	var out bytes.Buffer
	var r iperf.Report
	for try := 0; ; try++ { // until the server listens
		args := append([]string{"-c", serverAddress, "-J"}, options...)
		client = exec.CommandContext(ctx, p.stock, args...)
		if ourClient {
			client = exec.CommandContext(ctx, p.ours, append([]string{"perf", "iperf", "client", serverAddress, "-J"}, options...)...)
		}
		out.Reset()
		client.Stdout = &out
		p.client.Start(b, client)
		err := client.Wait()
		r = iperf.Report{}
		// A stock client with -J ends well whatever happened.
		if err == nil && json.Unmarshal(out.Bytes(), &r) == nil && r.Error == "" {
			break
		}
		if try == 100 {
			b.Fatalf("%v: %v\n%s", client.Args, err, out.String())
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := server.Wait(); err != nil {
		b.Fatalf("%v: %v", server.Args, err)
	}
	sum := r.End.SumReceived
	if r.End.Sum != nil { // UDP
		sum = *r.End.Sum
		if sum.LostPercent != nil {
			o.loss = *sum.LostPercent / 100
		}
	}
	o.gbps = sum.BitsPerSecond * (1 - o.loss) / 1e9
	cpu := 0.0
	for _, c := range []*exec.Cmd{client, server} {
		cpu += (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds()
	}
	o.cost = cpu / (float64(sum.Bytes) * (1 - o.loss) / 1e9)
	return o
}

// lossFree searches the highest UDP rate of 1400-byte datagrams of which no more
// than one in a thousand is lost.
func (p *pair) lossFree(b *testing.B, ourClient, ourServer bool) outcome {
	s := rfc2544.NewSearch(40, 0.1, 0.001)
	var best outcome
	for {
		gbps, done := s.Next()
		if done {
			return best
		}
		o := p.run(b, ourClient, ourServer, "-u", "-l", "1400", "-t", "1", "-b", strconv.FormatInt(int64(gbps*1e9), 10))
		if o.loss <= 0.001 && o.gbps > best.gbps {
			best = o
		}
		s.Add(min(gbps, o.gbps/(1-o.loss)), o.loss)
	}
}

func who(ours bool) string {
	if ours {
		return "dssn"
	}
	return "iperf3"
}

// BenchmarkPairings prints a table of every pairing of our and the stock client and
// server, taking turns; ratios are to the stock pair of the same round.
func BenchmarkPairings(b *testing.B) {
	rounds := 5
	if text := os.Getenv("DSSN_BENCH_ROUNDS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 3 {
			b.Fatalf("DSSN_BENCH_ROUNDS=%s: a median needs rounds: give 3 or more", text)
		}
		rounds = n
	}
	type test struct {
		name    string
		options []string
	}
	tests := []test{{"TCP", nil}, {"TCP, 4 streams", []string{"-P", "4"}}, {"TCP reversed", []string{"-R"}}, {"TCP zero-copy", []string{"-Z"}}, {"UDP 1400 B, loss-free", nil}}
	for b.Loop() {
		p := newPair(b)
		fmt.Printf("\n| test | client | server | Gbit/s, median (range) | of the stock pair in the same round | CPU s/GB, both | of the stock pair in the same round |\n|---|---|---|---|---|---|---|\n")
		for _, t := range tests {
			results := map[[2]bool][]outcome{}
			pairings := [][2]bool{{false, false}, {true, true}, {true, false}, {false, true}}
			for range rounds {
				for _, k := range pairings {
					var o outcome
					if t.name[0] == 'U' {
						o = p.lossFree(b, k[0], k[1])
					} else {
						o = p.run(b, k[0], k[1], append([]string{"-t", "2"}, t.options...)...)
					}
					results[k] = append(results[k], o)
				}
			}
			for _, k := range pairings {
				var rate, ratio, cost, dearer []float64
				for i, o := range results[k] {
					stock := results[pairings[0]][i]
					rate, ratio = append(rate, o.gbps), append(ratio, o.gbps/stock.gbps)
					cost, dearer = append(cost, o.cost), append(dearer, o.cost/stock.cost)
				}
				fmt.Printf("| %s | %s | %s | %s | %s | %s | %s |\n", t.name, who(k[0]), who(k[1]), spread(rate), spread(ratio), spread(cost), spread(dearer))
			}
		}
	}
}

// spread is the median of v and its range.
func spread(v []float64) string {
	slices.Sort(v)
	m := (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	return fmt.Sprintf("%.2f (%.2f–%.2f)", m, v[0], v[len(v)-1])
}
