//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"dssn/dataplane/aead"
)

// sweepLengths compares our path with the Go libraries at every length from 0
// to 9000, for one packet and for eight, and tells the worst. A length that looks
// slower is measured again, longer, before it counts.
func sweepLengths(out io.Writer) error {
	fmt.Fprintf(out, "every length from 0 to 9000 on %s against the Go libraries\n", aead.Path())
	for _, suite := range []string{"aes", "chacha"} {
		for _, packets := range []int{1, 8} {
			for _, open := range []bool{false, true} {
				if err := sweepOne(out, suite, packets, open); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func sweepOne(out io.Writer, suite string, packets int, open bool) error {
	worst, at, slower := math.Inf(1), 0, 0
	for n := 0; n <= 9000; n++ {
		list := strings.TrimSuffix(strings.Repeat(strconv.Itoa(n)+",", packets), ",")
		ours, err := newBatch("ours", suite, list)
		if err != nil {
			return err
		}
		std, err := newBatch("go", suite, list)
		if err != nil {
			return err
		}
		ratio := 0.0
		for _, effort := range []struct {
			rounds int
			limit  time.Duration
		}{{4, 5 * time.Microsecond}, {20, 10 * time.Microsecond}, {100, 20 * time.Microsecond}} {
			ratio, err = compare(ours, std, open, effort.rounds, effort.limit)
			if err != nil {
				return err
			}
			if ratio >= 0.98 {
				break
			}
		}
		if ratio < worst {
			worst, at = ratio, n
		}
		if ratio < 0.95 {
			slower++
		}
	}
	verb := "seal"
	if open {
		verb = "open"
	}
	fmt.Fprintf(out, "%-6s %s, %d at a time: worst %.2f× at %d B; %d lengths slower by more than 5 %%\n", suite, verb, packets, worst, at, slower)
	return nil
}

// compare returns (best time of std) / (best time of ours) over rounds in turn:
// other load on the machine only ever adds time.
func compare(ours, std *batch, open bool, rounds int, limit time.Duration) (float64, error) {
	best := [2]float64{math.Inf(1), math.Inf(1)}
	for range rounds {
		for i, b := range []*batch{ours, std} {
			t, calls, err := b.calls(open, limit)
			if err != nil {
				return 0, err
			}
			best[i] = min(best[i], float64(t)/float64(calls))
		}
	}
	return best[1] / best[0], nil
}

// calls runs the verb for about limit and returns the time of all calls.
// Opening is timed together with the sealing that must come before it.
func (b *batch) calls(open bool, limit time.Duration) (time.Duration, int, error) {
	start := time.Now()
	for n := 1; ; n++ {
		b.seal()
		if open && !b.open() {
			return 0, 0, fmt.Errorf("a sealed packet was refused")
		}
		if t := time.Since(start); t >= limit {
			return t, n, nil
		}
	}
}
