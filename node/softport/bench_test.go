package softport

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dssn/internal/need"
)

// BenchmarkTunnels is `make bench-dataplane`: wireguard-go, ours and others between the
// same two namespaces, in turn within each round, so that whatever else the
// machine does meets all. It prints medians over the rounds with the spread, ratios
// within each round, and what they were to be.
//
// TUNNEL_ROUNDS (3) and TUNNEL_SECONDS (2) set its length. A part that a contender is
// not wanted for is left out; TUNNEL_ALL=1 leaves out none.
func BenchmarkTunnels(b *testing.B) {
	need.Root(b)
	need.Tool(b, "iperf3")
	generic := func(suite string) daemon {
		d := ourselves(b, suite)
		d.env = append(d.env, "DSSN_CPU=generic")
		return d
	}
	contenders := []contender{
		{"wireguard-go", wireguardGo(b), parts{tcp: true, udp: true, rtt: true}},
		{"dssn wg (ChaCha20-Poly1305)", ourselves(b, "chacha"), parts{tcp: true, udp: true, rtt: true}},
		{"native (AES-256-GCM)", ourselves(b, "aes"), parts{tcp: true, udp: true, rtt: true}},
		{"dssn wg with x/crypto's cipher", generic("chacha"), parts{tcp: true}},
		{"native with crypto/aes", generic("aes"), parts{tcp: true}},
	}
	if path, ok := built(b, "wireguard-go-tailscale"); ok {
		contenders = append(contenders, contender{tailscale, daemon{path, nil}, parts{tcp: true}})
	}
	if path, ok := built(b, "nebula"); ok {
		contenders = append(contenders, contender{nebula, daemon{path, []string{isNebula}}, parts{udp: true}})
	}
	if os.Getenv("TUNNEL_ALL") != "" {
		for i := range contenders {
			contenders[i].parts = parts{true, true, true}
		}
	}
	rounds, seconds := setting("TUNNEL_ROUNDS", 3), setting("TUNNEL_SECONDS", 2)
	results := make([][]result, len(contenders))
	for range rounds {
		for i, c := range contenders {
			results[i] = append(results[i], measure(b, c, seconds))
		}
	}
	b.ReportMetric(0, "ns/op")
	printTunnels(os.Stdout, contenders, results, seconds)
	judgeTunnels(os.Stdout, contenders, results)
}

const tailscale, nebula = "Tailscale's wireguard-go", "Nebula (AES-256-GCM)"

type contender struct {
	name string
	daemon
	parts
}

// parts are what a contender is measured at.
type parts struct{ tcp, udp, rtt bool }

// result is what one contender did in one round; NaN where it was not measured.
type result struct{ tcp1, cpu1, tcp4, cpu4, udp, p50, p99 float64 }

// measure runs one contender through its parts.
func measure(b *testing.B, c contender, seconds int) result {
	none := math.NaN()
	r := result{none, none, none, none, none, none, none}
	var e *ends
	if slices.Contains(c.env, isNebula) {
		e = connectNebula(b, c.path, c.path+"-cert")
	} else {
		e = connect(b, c.daemon, c.daemon)
		e.far = "10.9.0.2"
	}
	defer e.stop()
	e.echo(b)
	server := exec.Command("iperf3", "-s", "-p", "5999")
	e.b.Start(b, server)
	time.Sleep(300 * time.Millisecond) // until it listens; a client does not retry
	tcp := func(streams int) (gbps, cpuPerGB float64) {
		before := e.cpu(b)
		// Without a copy in the generator (-Z): on two cores that all share, what it takes
		// the tunnel does not have.
		out := e.iperf(b, "-Z", "-t", strconv.Itoa(seconds), "-P", strconv.Itoa(streams))
		got := out.End.Received
		return got.BPS / 1e9, (e.cpu(b) - before) / (got.Bytes / 1e9)
	}
	if c.tcp {
		r.tcp1, r.cpu1 = tcp(1)
		r.tcp4, r.cpu4 = tcp(4)
	}
	if c.udp {
		r.udp = e.lossFree(b)
	}
	if c.rtt {
		r.p50, r.p99 = e.loadedRTT(b, seconds)
	}
	return r
}

// loadedRTT is how long a small packet takes there and back beside one TCP stream: the
// median and the 99th percentile in microseconds of one probe every 2 ms.
func (e *ends) loadedRTT(b *testing.B, seconds int) (p50, p99 float64) {
	load := exec.Command("iperf3", "-c", "10.9.0.2", "-p", "5999", "-t", strconv.Itoa(seconds+1))
	e.a.Start(b, load)
	p := e.newPinger(b)
	defer p.close()
	time.Sleep(500 * time.Millisecond) // until the load is on
	var times []float64
	for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if d, ok := p.once(time.Second); ok {
			times = append(times, float64(d.Microseconds()))
		}
	}
	load.Wait()
	slices.Sort(times)
	n := len(times)
	if n < 100 {
		b.Fatalf("%d round trips in %d s say nothing of a 99th percentile", n, seconds)
	}
	return times[n/2], times[n*99/100]
}

// isNebula in an environment says that the program is Nebula and not like
// wireguard-go.
const isNebula = "BENCH_NEBULA=1"

// lossFree is the highest rate of 1400-byte UDP packets, Gbit/s of their 1372-byte payloads,
// that iperf3 keeps up and that loses nothing, by this search:
//
//   - Six halvings, in ratio, of the interval from 20 Mbit/s to 8 Gbit/s, which leaves 10 %.
//   - A rate is judged by the majority of three trials of 0.4 s: what else the machine does
//     may spoil one, and luck may make one.
//   - A trial passes if no packet was lost and 95 % of the rate were sent.
func (e *ends) lossFree(b *testing.B) float64 {
	const trial = 0.4 // seconds
	passes := func(rate float64) bool {
		blocks := max(1, int(rate*1e9*trial/(1372*8)))
		end := e.iperf(b, "-u", "-k", strconv.Itoa(blocks), "-l", "1372", "-w", "4M", "-b", fmt.Sprintf("%.0f", rate*1e9)).End.Sum
		return end.Lost == 0 && end.BPS > rate*0.95e9
	}
	low, high := 0.02, 8.0
	for range 6 {
		rate := math.Sqrt(low * high)
		votes := 0
		for tries := 1; votes < 2 && tries-votes < 2 && tries <= 3; tries++ {
			if passes(rate) {
				votes++
			}
		}
		if votes >= 2 {
			low = rate
		} else {
			high = rate
		}
	}
	return low
}

type iperfResult struct {
	End struct {
		Received struct {
			Bytes float64 `json:"bytes"`
			BPS   float64 `json:"bits_per_second"`
		} `json:"sum_received"`
		Sum struct {
			Lost float64 `json:"lost_packets"`
			BPS  float64 `json:"bits_per_second"`
		} `json:"sum"`
	} `json:"end"`
}

func (e *ends) iperf(b *testing.B, args ...string) (r iperfResult) {
	b.Helper()
	out, err := e.a.Run("iperf3", append([]string{"-c", "10.9.0.2", "-p", "5999", "-J"}, args...)...)
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	if i := strings.Index(out, "{"); i > 0 { // warnings come first
		out = out[i:]
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		b.Fatalf("read iperf3's result: %v: %s", err, out)
	}
	return r
}

// cpu returns the seconds of processor time both ends have used.
func (e *ends) cpu(b *testing.B) (s float64) {
	for _, c := range []*exec.Cmd{e.cmdA, e.cmdB} {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid))
		if err != nil {
			b.Fatal(err)
		}
		f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		for _, i := range []int{11, 12} { // utime, stime
			ticks, _ := strconv.ParseFloat(f[i], 64)
			s += ticks / 100
		}
	}
	return s
}
