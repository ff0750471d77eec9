package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dssn/xdp"
	"dssn/xdp/xdptest"

	"golang.org/x/sys/unix"
)

// The machine's two CPUs: one sends, the other is the device under test.
const cpuGenerator, cpuTest = 0, 1

// pin binds the calling goroutine's thread to a CPU.
func pin(b *testing.B, cpu int) {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		b.Error(err)
	}
}

// sysfs writes a setting of an interface of the namespace.
func sysfs(b *testing.B, n *xdptest.Netns, iface, name, value string) {
	b.Helper()
	script := fmt.Sprintf("mount -t sysfs sysfs /sys && echo %s > /sys/class/net/%s/%s", value, iface, name)
	if err := n.Try("unshare", "-m", "sh", "-c", script); err != nil {
		b.Fatal(err)
	}
}

// flood sends frames until the returned function is called.
func flood(b *testing.B, n *xdptest.Netns, iface string, frames ...[]byte) (stop func()) {
	b.Helper()
	var g *xdp.Generator
	n.Do(b, func() (err error) { g, err = xdp.NewGenerator(n.Ifindex(b, iface), frames...); return err })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Do(b, func() error {
			pin(b, cpuGenerator)
			return g.Run(ctx, 1<<40, 0)
		})
	}()
	return func() {
		cancel()
		<-done
		g.Close()
	}
}

// sample is how fast something went: a second of the clock, and a second of the
// CPU that did it, which other work on the machine disturbs less. Millions.
type sample struct{ wall, cpu float64 }

// Short, so that the rounds of all rows lie close together: what disturbs the
// machine then disturbs the rows alike.
const warmUp, window = 250 * time.Millisecond, 750 * time.Millisecond

// rate watches a counter grow, after a warm-up, beside the CPU time of the threads
// that make it grow.
func rate(read func() uint64, cpu func() time.Duration) sample {
	time.Sleep(warmUp)
	from, began, used := read(), time.Now(), cpu()
	time.Sleep(window)
	n := float64(read()-from) / 1e6
	return sample{n / time.Since(began).Seconds(), n / (cpu() - used).Seconds()}
}

// cpuOf is the CPU time of threads, by their folders under /proc.
func cpuOf(pattern string) func() time.Duration {
	return func() (sum time.Duration) {
		files, _ := filepath.Glob(filepath.Join(pattern, "schedstat"))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			var ns int64
			fmt.Sscan(string(b), &ns)
			sum += time.Duration(ns)
		}
		return max(sum, 1)
	}
}

// sent reads how many packets an interface of the namespace has sent.
func sent(b *testing.B, n *xdptest.Netns, iface string) (count uint64) {
	n.Do(b, func() error {
		all, err := os.ReadFile("/proc/thread-self/net/dev")
		for _, l := range strings.Split(string(all), "\n") {
			if name, rest, ok := strings.Cut(strings.TrimSpace(l), ":"); ok && name == iface {
				count, err = strconv.ParseUint(strings.Fields(rest)[9], 10, 64)
			}
		}
		return err
	})
	return count
}

// follow runs a peer in the namespace, pinned, and keeps the last number that the
// expression finds in what it prints.
func follow(b *testing.B, n *xdptest.Netns, expression string, name string, args ...string) (last *atomic.Uint64, cpu func() time.Duration, stop func()) {
	b.Helper()
	c := exec.Command(name, args...)
	out, err := c.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	var errors strings.Builder
	c.Stderr = &errors
	in, _ := c.StdinPipe() // testpmd ends when its input does
	n.Start(b, c)
	last = new(atomic.Uint64)
	match := regexp.MustCompile(expression)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for s := bufio.NewScanner(out); s.Scan(); {
			if m := match.FindStringSubmatch(s.Text()); m != nil {
				v, _ := strconv.ParseUint(m[1], 10, 64)
				last.Store(v)
			}
		}
	}()
	return last, cpuOf(fmt.Sprintf("/proc/%d/task/*", c.Process.Pid)), func() {
		select {
		case <-gone:
			b.Errorf("%s ended by itself: %s", name, errors.String())
		default:
		}
		in.Close()
		c.Process.Signal(os.Interrupt)
		ended := make(chan struct{})
		go func() { c.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			c.Process.Kill()
			<-ended
		}
	}
}

// pinNAPI binds the kernel threads that poll an interface to the CPU under test and
// tells their CPU time.
func pinNAPI(b *testing.B, iface string) (cpu func() time.Duration) {
	b.Helper()
	for range 50 {
		found := 0
		comms, _ := filepath.Glob("/proc/[0-9]*/comm")
		for _, f := range comms {
			comm, _ := os.ReadFile(f)
			if strings.HasPrefix(string(comm), "napi/"+iface+"-") {
				pid, _ := strconv.Atoi(strings.Split(f, "/")[2])
				var set unix.CPUSet
				set.Set(cpuTest)
				if unix.SchedSetaffinity(pid, &set) == nil {
					found = pid
				}
			}
		}
		if found != 0 {
			return cpuOf(fmt.Sprintf("/proc/%d", found))
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.Fatalf("no kernel thread polls %s", iface)
	return nil
}

// table collects the rounds of each row and prints medians.
type table struct {
	order []string
	rows  map[string][]sample
}

func (t *table) add(row string, v sample) {
	if t.rows == nil {
		t.rows = make(map[string][]sample)
	}
	if _, ok := t.rows[row]; !ok {
		t.order = append(t.order, row)
	}
	t.rows[row] = append(t.rows[row], v)
}

// column sorts one figure of a row's samples.
func (t *table) column(row string, of func(sample) float64) (v []float64) {
	for _, s := range t.rows[row] {
		v = append(v, of(s))
	}
	slices.Sort(v)
	return v
}

// beforeMark is in the names of rows that only serve to compare.
const beforeMark = ", before: "

func byCPU(s sample) float64  { return s.cpu }
func byWall(s sample) float64 { return s.wall }

// print writes each row's medians, spread, and the ratio to the row that compare
// names: the median of the rounds' own ratios, since rounds are interleaved.
func (t *table) print(title string, compare func(row string) string) {
	fmt.Printf("\n%s\n\n| | Mpps of a CPU: median | spread | of the clock | ratio, by CPU |\n|---|---|---|---|---|\n", title)
	for _, row := range t.order {
		if strings.Contains(row, beforeMark) {
			continue
		}
		v, w := t.column(row, byCPU), t.column(row, byWall)
		ratio := ""
		if to := compare(row); len(t.rows[to]) == len(v) {
			var each []float64
			for i := range v {
				each = append(each, t.rows[row][i].cpu/t.rows[to][i].cpu)
			}
			slices.Sort(each)
			ratio = fmt.Sprintf("%.0f %% (%.0f–%.0f) of %s", 100*each[len(each)/2], 100*each[0], 100*each[len(each)-1], strings.Split(to, beforeMark)[0])
		}
		fmt.Printf("| %s | %.3f | %.3f–%.3f | %.3f | %s |\n", row, v[len(v)/2], v[0], v[len(v)-1], w[len(w)/2], ratio)
	}
}

var rounds = func() int {
	if n, err := strconv.Atoi(os.Getenv("DSSN_BENCH_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return 5
}()
