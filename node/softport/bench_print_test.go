package softport

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"

	"dssn/internal/goal"
)

// field is one figure of a result.
type field struct {
	name string
	of   func(result) float64
	show func(float64) string
}

var fields = []field{
	{"TCP 1 Gbit/s", func(r result) float64 { return r.tcp1 }, f2},
	{"CPU s/GB", func(r result) float64 { return r.cpu1 }, f2},
	{"TCP 4 Gbit/s", func(r result) float64 { return r.tcp4 }, f2},
	{"CPU s/GB", func(r result) float64 { return r.cpu4 }, f2},
	{"UDP 1400 B loss-free Gbit/s", func(r result) float64 { return r.udp }, f2},
	{"loaded RTT p50 µs", func(r result) float64 { return r.p50 }, f0},
	{"p99 µs", func(r result) float64 { return r.p99 }, f0},
}

const (
	tcp1 = iota
	cpu1
	tcp4
	cpu4
	udp1400
	rttP50
	rttP99
)

func f0(x float64) string { return strconv.FormatFloat(x, 'f', 0, 64) }
func f2(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }

// spread is the median of v with the extremes; nothing of what was not measured.
func spread(v []float64, show func(float64) string) string {
	v = slices.DeleteFunc(slices.Clone(v), math.IsNaN)
	if len(v) == 0 {
		return ""
	}
	slices.Sort(v)
	return fmt.Sprintf("%s (%s–%s)", show(v[len(v)/2]), show(v[0]), show(v[len(v)-1]))
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func column(rs []result, f field) (v []float64) {
	for _, r := range rs {
		v = append(v, f.of(r))
	}
	return v
}

// against are the ratios of two contenders, round by round.
func against(a, b []result, f field) (v []float64) {
	for k := range a {
		v = append(v, f.of(a[k])/f.of(b[k]))
	}
	return v
}

func setting(name string, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return usual
}

// printTunnels prints what each contender did, and each beside wireguard-go.
func printTunnels(w io.Writer, contenders []contender, results [][]result, seconds int) {
	fmt.Fprintf(w, "\n| %d rounds of %d s, median (low–high) |", len(results[0]), seconds)
	for _, f := range fields {
		fmt.Fprintf(w, " %s |", f.name)
	}
	fmt.Fprint(w, "\n|---|---|---|---|---|---|---|---|\n")
	for i, c := range contenders {
		fmt.Fprintf(w, "| %s |", c.name)
		for _, f := range fields {
			fmt.Fprintf(w, " %s |", spread(column(results[i], f), f.show))
		}
		fmt.Fprintln(w)
	}
	for i, c := range contenders[1:] {
		fmt.Fprintf(w, "| %s : %s |", c.name, contenders[0].name)
		for _, f := range fields {
			fmt.Fprintf(w, " %s |", spread(against(results[i+1], results[0], f), f2))
		}
		fmt.Fprintln(w)
	}
}

// judgeTunnels prints the goals: medians of the ratios within each round.
func judgeTunnels(w io.Writer, contenders []contender, results [][]result) {
	place := map[string]int{}
	for i, c := range contenders {
		place[c.name] = i
	}
	goal.Head(w)
	row := func(what string, a, b string, figure int, least bool, bound float64) {
		i, okA := place[a]
		j, okB := place[b]
		if !okA || !okB {
			fmt.Fprintf(w, "| %s | not measured: a program is not built | | |\n", what)
			return
		}
		ratios := against(results[i], results[j], fields[figure])
		m, text := median(ratios), fmt.Sprintf("≤ %.2f", bound)
		met := m <= bound
		if least {
			text, met = fmt.Sprintf("≥ %.2f", bound), m >= bound
		}
		goal.Row(w, what, spread(ratios, f2), text, met)
	}
	const theirs, chacha, aes = "wireguard-go", "dssn wg (ChaCha20-Poly1305)", "native (AES-256-GCM)"
	const stdChaCha, stdAES = "dssn wg with x/crypto's cipher", "native with crypto/aes"
	for _, x := range []struct {
		name               string
		fast               string
		std                string
		stdTimes, stdCPU   float64
		fastTimes, fastCPU float64
	}{
		{"dssn wg", chacha, stdChaCha, 1.8, 0.55, 2.5, 0.42},
		{"native", aes, stdAES, 2.5, 0.42, 4, 0.26},
	} {
		for _, y := range []struct {
			streams    string
			times, cpu int
		}{{"1 stream", tcp1, cpu1}, {"4 streams", tcp4, cpu4}} {
			row(x.name+" : wireguard-go, TCP, "+y.streams+", the standard library's or x/crypto's cipher", x.std, theirs, y.times, true, x.stdTimes)
			row("… CPU per GB", x.std, theirs, y.cpu, false, x.stdCPU)
			row(x.name+" : wireguard-go, TCP, "+y.streams+", fast kernel", x.fast, theirs, y.times, true, x.fastTimes)
			row("… CPU per GB", x.fast, theirs, y.cpu, false, x.fastCPU)
		}
	}
	row("dssn wg : Tailscale's, TCP, 1 stream", chacha, tailscale, tcp1, true, 1)
	row("dssn wg : Tailscale's, TCP, 4 streams", chacha, tailscale, tcp4, true, 1)
	for _, x := range []string{chacha, aes} {
		row(x+" : wireguard-go, 1400 B UDP, loss-free", x, theirs, udp1400, true, 2.5)
		row(x+" : Nebula, 1400 B UDP, loss-free", x, nebula, udp1400, true, 1.4)
		row(x+" : wireguard-go, loaded round trip, p99", x, theirs, rttP99, false, 0.25)
	}
}
