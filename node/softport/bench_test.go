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

// BenchmarkTunnels is `make bench-dataplane`: wireguard-go and ours between the
// same two namespaces, in turn within each round, so that whatever else the
// machine does meets both. It prints medians over the rounds with the spread,
// and ratios to wireguard-go of the same round.
//
// TUNNEL_ROUNDS (3) and TUNNEL_SECONDS (3) set its length.
func BenchmarkTunnels(b *testing.B) {
	need.Root(b)
	need.Tool(b, "iperf3")
	contenders := []contender{
		{"wireguard-go", wireguardGo(b)},
		{"dssn wg (ChaCha20-Poly1305)", ourselves(b, "chacha")},
		{"native (AES-256-GCM)", ourselves(b, "aes")},
	}
	if path, ok := built(b, "wireguard-go-tailscale"); ok {
		contenders = append(contenders, contender{"Tailscale's wireguard-go", daemon{path, nil}})
	}
	if path, ok := built(b, "nebula"); ok {
		contenders = append(contenders, contender{"Nebula (AES-256-GCM)", daemon{path, []string{isNebula}}})
	}
	rounds, seconds := setting("TUNNEL_ROUNDS", 3), setting("TUNNEL_SECONDS", 3)
	results := make([][]result, len(contenders))
	for range rounds {
		for i, c := range contenders {
			results[i] = append(results[i], measure(b, c.daemon, seconds))
		}
	}
	b.ReportMetric(0, "ns/op")
	var t strings.Builder
	fmt.Fprintf(&t, "\n| %d rounds of %d s, median (low–high) | TCP 1 Gbit/s | CPU s/GB | TCP 4 Gbit/s | CPU s/GB | UDP 1372 B loss-free Gbit/s | loaded RTT p50 / p99 µs |\n|---|---|---|---|---|---|---|\n", rounds, seconds)
	for i, c := range contenders {
		fmt.Fprintf(&t, "| %s |", c.name)
		for _, f := range fields {
			fmt.Fprintf(&t, " %s |", spread(results[i], f, f2))
		}
		fmt.Fprintf(&t, " %s / %s |\n", spread(results[i], func(r result) float64 { return r.p50 }, f0), spread(results[i], func(r result) float64 { return r.p99 }, f0))
	}
	against := func(i, j int) {
		fmt.Fprintf(&t, "| %s : %s |", contenders[i].name, contenders[j].name)
		for _, f := range append(slices.Clone(fields), func(r result) float64 { return r.p99 }) {
			ratios := make([]float64, rounds)
			for k := range ratios {
				ratios[k] = f(results[i][k]) / f(results[j][k])
			}
			slices.Sort(ratios)
			fmt.Fprintf(&t, " %.2f (%.2f–%.2f) |", ratios[len(ratios)/2], ratios[0], ratios[rounds-1])
		}
		fmt.Fprintln(&t)
	}
	for i := range contenders[1:] {
		against(i+1, 0)
	}
	for i := 3; i < len(contenders); i++ { // peers that are neither ours nor the first
		against(1, i)
		against(2, i)
	}
	os.Stdout.WriteString(t.String())
}

type contender struct {
	name string
	daemon
}

type result struct{ tcp1, cpu1, tcp4, cpu4, udp, p50, p99 float64 }

var fields = []func(result) float64{
	func(r result) float64 { return r.tcp1 }, func(r result) float64 { return r.cpu1 },
	func(r result) float64 { return r.tcp4 }, func(r result) float64 { return r.cpu4 },
	func(r result) float64 { return r.udp },
}

func f0(x float64) string { return strconv.FormatFloat(x, 'f', 0, 64) }
func f2(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }

func spread(rs []result, f func(result) float64, print func(float64) string) string {
	v := make([]float64, len(rs))
	for i, r := range rs {
		v[i] = f(r)
	}
	slices.Sort(v)
	return fmt.Sprintf("%s (%s–%s)", print(v[len(v)/2]), print(v[0]), print(v[len(v)-1]))
}

func setting(name string, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return usual
}

// measure runs one contender through everything.
func measure(b *testing.B, d daemon, seconds int) (r result) {
	var e *ends
	if slices.Contains(d.env, isNebula) {
		e = connectNebula(b, d.path, d.path+"-cert")
	} else {
		e = connect(b, d, d)
		e.far = "10.9.0.2"
	}
	defer e.stop()
	e.echo(b)
	server := exec.Command("iperf3", "-s", "-p", "5999")
	e.b.Start(b, server)
	time.Sleep(300 * time.Millisecond) // until it listens; a client does not retry
	tcp := func(streams int) (gbps, cpuPerGB float64) {
		before := e.cpu(b)
		out := e.iperf(b, "-t", strconv.Itoa(seconds), "-P", strconv.Itoa(streams))
		got := out.End.Received
		return got.BPS / 1e9, (e.cpu(b) - before) / (got.Bytes / 1e9)
	}
	r.tcp1, r.cpu1 = tcp(1)
	r.tcp4, r.cpu4 = tcp(4)

	r.udp = e.lossFree(b)

	load := exec.Command("iperf3", "-c", "10.9.0.2", "-p", "5999", "-t", strconv.Itoa(seconds))
	e.a.Start(b, load)
	p := e.newPinger(b)
	defer p.close()
	time.Sleep(500 * time.Millisecond) // until the load is on
	var times []float64
	for end := time.Now().Add(time.Duration(seconds-1) * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if d, ok := p.once(time.Second); ok {
			times = append(times, float64(d.Microseconds()))
		}
	}
	load.Wait()
	slices.Sort(times)
	if n := len(times); n > 0 {
		r.p50, r.p99 = times[n/2], times[n*99/100]
	}
	return r
}

// isNebula in an environment says that the program is Nebula and not like
// wireguard-go.
const isNebula = "BENCH_NEBULA=1"

// lossFree is the highest rate of 1372-byte UDP, Gbit/s, that iperf3 keeps up and
// that loses nothing for a second: a search between 20 Mbit/s and 8 Gbit/s that
// divides the ratio of its bounds, to within 10 %. A rate has three tries, since
// what else the machine does may cost one: it passes with the first that loses nothing.
func (e *ends) lossFree(b *testing.B) float64 {
	low, high := 0.02, 8.0
	for high/low > 1.1 {
		rate := math.Sqrt(low * high)
		passed := false
		for range 3 {
			end := e.iperf(b, "-u", "-t", "1", "-l", "1372", "-w", "4M", "-b", fmt.Sprintf("%.0f", rate*1e9)).End.Sum
			if end.Lost == 0 && end.BPS > rate*0.95e9 {
				passed = true
				break
			}
			if end.BPS < rate*0.5e9 { // far beyond what can be generated here
				break
			}
		}
		if passed {
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
