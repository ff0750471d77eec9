package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
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

// sample is how fast something went, in millions: a second of the clock, and a
// second of the CPU that did it.
type sample struct{ wall, cpu float64 }

// windows are short and many, and the best one counts: it is the one that other
// work on the machine disturbed least, for every row alike.
const warmUp, window, windows = 250 * time.Millisecond, 150 * time.Millisecond, 8

// rate watches a counter grow, after a warm-up, beside the CPU time of the threads
// that make it grow.
func rate(read func() uint64, cpu func() time.Duration) (best sample) {
	time.Sleep(warmUp)
	for range windows {
		from, began, used := read(), time.Now(), cpu()
		time.Sleep(window)
		// A device may begin its counts anew when a program is attached.
		n := max(float64(int64(read()-from)), 0) / 1e6
		if s := (sample{n / time.Since(began).Seconds(), n / (cpu() - used).Seconds()}); s.wall > best.wall {
			best = s
		}
	}
	return best
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

// traffic reads how many packets an interface of the namespace received, without
// those it dropped, and how many it sent.
func traffic(b *testing.B, n *xdptest.Netns, iface string) (received, sent uint64) {
	n.Do(b, func() error {
		all, err := os.ReadFile("/proc/thread-self/net/dev")
		for _, l := range strings.Split(string(all), "\n") {
			if name, rest, ok := strings.Cut(strings.TrimSpace(l), ":"); ok && name == iface {
				var v [16]uint64
				for i, f := range strings.Fields(rest) {
					v[i], err = strconv.ParseUint(f, 10, 64)
				}
				received, sent = v[1]-v[3], v[9]
			}
		}
		return err
	})
	return received, sent
}

// run starts a peer in the namespace and tells its CPU time.
func run(b *testing.B, n *xdptest.Netns, name string, args ...string) (cpu func() time.Duration, stop func()) {
	b.Helper()
	c := exec.Command(name, args...)
	var errors strings.Builder
	c.Stderr = &errors
	in, _ := c.StdinPipe() // testpmd ends when its input does
	n.Start(b, c)
	gone := make(chan struct{})
	go func() { c.Wait(); close(gone) }()
	return cpuOf(fmt.Sprintf("/proc/%d/task/*", c.Process.Pid)), func() {
		select {
		case <-gone:
			b.Errorf("%s ended by itself: %s", name, errors.String())
		default:
		}
		in.Close()
		c.Process.Signal(os.Interrupt)
		select {
		case <-gone:
		case <-time.After(5 * time.Second):
			c.Process.Kill()
			<-gone
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

// best and middle are the best and the median of a row's samples.
func (t *table) best(row string) (best sample) {
	for _, s := range t.rows[row] {
		if s.wall > best.wall {
			best = s
		}
	}
	return best
}

func (t *table) middle(row string) float64 {
	var v []float64
	for _, s := range t.rows[row] {
		v = append(v, s.wall)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// print writes each row, and the ratio of its best to that of the row that compare
// names.
func (t *table) print(title string, compare func(row string) string) {
	fmt.Printf("\n%s\n\n| | Mpps, best window | median of %d rounds | ratio of the best |\n|---|---|---|---|\n", title, rounds)
	for _, row := range t.order {
		ratio := ""
		if to := compare(row); len(t.rows[to]) > 0 {
			ratio = fmt.Sprintf("%.0f %% of %s", 100*t.best(row).wall/t.best(to).wall, to)
		}
		fmt.Printf("| %s | %.3f | %.3f | %s |\n", row, t.best(row).wall, t.middle(row), ratio)
	}
}

var rounds = func() int {
	if n, err := strconv.Atoi(os.Getenv("DSSN_BENCH_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return 3
}()
