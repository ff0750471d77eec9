//go:build linux

// Command bench measures package aead beside its peers: the Go libraries it
// replaces, OpenSSL's EVP and Intel's ipsec-mb, all on one core in one run.
// make bench-aead builds it with its C peers and pins it.
//
// Every contender is a process of its own that waits for orders; for each row
// the contenders take turns, several rounds of a few milliseconds each, so that
// whatever else runs on the machine disturbs them alike. A figure is the median
// of the rounds, a spread their quartiles, and a ratio (ours to this contender)
// the median of the rounds' ratios. All contenders must seal the same batch to the same bytes.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"dssn/dataplane/aead"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	core := flag.Int("core", 0, "the core that does all the measured work")
	worker := flag.Bool("worker", false, "answer orders on standard input (used by bench itself)")
	peers := flag.String("peers", "", "the program built from peers.c; without it only Go is compared")
	rounds := flag.Int("rounds", 15, "rounds of each row")
	micros := flag.Int("us", 2000, "microseconds of each round for each contender")
	only := flag.String("only", "", "measure only rows whose title matches this regular expression")
	sweep := flag.Bool("sweep", false, "instead look for lengths from 0 to 9000 that are slower than the Go libraries")
	flag.Parse()
	if *worker || *sweep {
		if err := pin(*core); err != nil {
			return err
		}
	}
	if *worker {
		return work(os.Stdin, os.Stdout)
	}
	if *sweep {
		return sweepLengths(os.Stdout)
	}
	want, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("read -only: %w", err)
	}
	contenders, err := startAll(*peers, fmt.Sprint(*core))
	if err != nil {
		return err
	}
	defer func() {
		for _, c := range contenders {
			c.stop()
		}
	}()
	fmt.Printf("aead.Path() is %s; %d rounds of %d µs; GB/s of text: median (quartiles)\n", aead.Path(), *rounds, *micros)
	for _, row := range rows() {
		if !want.MatchString(row.title) {
			continue
		}
		if err := measureRow(contenders, row, *rounds, *micros); err != nil {
			return err
		}
	}
	return nil
}

// contender is one process and the library it is asked to use.
type contender struct {
	name, lib string
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       *bufio.Reader
}

// startAll starts our library on every path of this machine, the Go libraries,
// and the C peers if they were built.
func startAll(peers, core string) ([]*contender, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	list := []*contender{
		{name: "ours", lib: "ours", cmd: exec.Command(self, "-worker", "-core", core)},
		{name: "ours, AVX2", lib: "ours", cmd: exec.Command(self, "-worker", "-core", core)},
		{name: "Go", lib: "go", cmd: exec.Command(self, "-worker", "-core", core)},
	}
	list[1].cmd.Env = append(os.Environ(), "DSSN_CPU=avx2")
	if peers != "" {
		list = append(list,
			&contender{name: "OpenSSL", lib: "openssl", cmd: exec.Command("taskset", "-c", core, peers)},
			&contender{name: "ipsec-mb", lib: "ipsec-mb", cmd: exec.Command("taskset", "-c", core, peers)})
	} else {
		fmt.Println("without OpenSSL and ipsec-mb: they need a C compiler, libssl-dev and libipsec-mb-dev")
	}
	for _, c := range list {
		c.cmd.Stderr = os.Stderr
		if c.in, err = c.cmd.StdinPipe(); err != nil {
			return nil, err
		}
		out, err := c.cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		c.out = bufio.NewReader(out)
		if err := c.cmd.Start(); err != nil {
			return nil, fmt.Errorf("start %s: %w", c.name, err)
		}
	}
	return list, nil
}

func (c *contender) stop() {
	c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %s: %v\n", c.name, err)
	}
}

// ask has the contender do one round and returns its rate in GB/s.
func (c *contender) ask(r row, micros int) (rate float64, hash string, err error) {
	if _, err := fmt.Fprintf(c.in, "%s %s %s %d %s\n", c.lib, r.suite, r.verb, micros, r.lengths); err != nil {
		return 0, "", fmt.Errorf("ask %s: %w", c.name, err)
	}
	var nanos, bytes int64
	if _, err := fmt.Fscan(c.out, &nanos, &bytes, &hash); err != nil {
		return 0, "", fmt.Errorf("hear from %s: %w", c.name, err)
	}
	return float64(bytes) / float64(nanos), hash, nil
}

// row is one line of the table.
type row struct{ title, suite, verb, lengths string }

func rows() []row {
	var list []row
	same := func(n int) string { return strings.TrimSuffix(strings.Repeat(fmt.Sprintf("%d,", n), 64), ",") }
	// 7:4:1, in an order that repeats: 64 packets.
	pattern := []int{64, 570, 64, 64, 570, 64, 1420, 64, 570, 64, 64, 570}
	var imix []string
	for i := range 64 {
		imix = append(imix, fmt.Sprint(pattern[i%len(pattern)]))
	}
	for _, suite := range []string{"aes", "chacha"} {
		for _, verb := range []string{"seal", "open"} {
			for _, n := range []int{64, 570, 1420, 8900} {
				list = append(list, row{fmt.Sprintf("%-6s %s %4d B", suite, verb, n), suite, verb, same(n)})
			}
			list = append(list, row{fmt.Sprintf("%-6s %s   IMIX", suite, verb), suite, verb, strings.Join(imix, ",")})
		}
	}
	return list
}

// measureRow lets the contenders take turns and prints what they did.
func measureRow(contenders []*contender, r row, rounds, micros int) error {
	rates := make([][]float64, len(contenders))
	want := ""
	for round := range rounds + 1 {
		for i := range contenders {
			c := contenders[(i+round)%len(contenders)]
			rate, hash, err := c.ask(r, micros)
			if err != nil {
				return err
			}
			if want == "" {
				want = hash
			}
			if hash != want {
				return fmt.Errorf("%s: %s sealed the batch to other bytes than %s", r.title, c.name, contenders[0].name)
			}
			if round > 0 { // the first warms up
				k := slices.Index(contenders, c)
				rates[k] = append(rates[k], rate)
			}
		}
	}
	fmt.Printf("%s ", r.title)
	for i, c := range contenders {
		q1, median, q3 := quartiles(rates[i])
		fmt.Printf(" | %s %.2f (%.2f–%.2f)", c.name, median, q1, q3)
		if i > 1 {
			fmt.Printf(" %.2f×", ratio(rates[0], rates[i]))
		}
	}
	fmt.Printf(" | AVX2 to Go %.2f×\n", ratio(rates[1], rates[2]))
	return nil
}

// ratio is the median of the rounds' ratios.
func ratio(a, b []float64) float64 {
	ratios := make([]float64, len(a))
	for k := range ratios {
		ratios[k] = a[k] / b[k]
	}
	_, median, _ := quartiles(ratios)
	return median
}

func quartiles(v []float64) (q1, median, q3 float64) {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/4], v[len(v)/2], v[len(v)*3/4]
}
