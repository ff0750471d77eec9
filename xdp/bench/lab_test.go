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

// rate is how fast a counter grows, in millions a second, after a warm-up.
func rate(read func() uint64) float64 {
	time.Sleep(500 * time.Millisecond)
	from, began := read(), time.Now()
	time.Sleep(1500 * time.Millisecond)
	return float64(read()-from) / time.Since(began).Seconds() / 1e6
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
func follow(b *testing.B, n *xdptest.Netns, expression string, name string, args ...string) (last *atomic.Uint64, stop func()) {
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
	return last, func() {
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

// threads pins the kernel threads that poll an interface.
func pinNAPI(b *testing.B, iface string) {
	b.Helper()
	for range 50 {
		found := false
		comms, _ := filepath.Glob("/proc/[0-9]*/comm")
		for _, f := range comms {
			comm, _ := os.ReadFile(f)
			if strings.HasPrefix(string(comm), "napi/"+iface+"-") {
				pid, _ := strconv.Atoi(strings.Split(f, "/")[2])
				var set unix.CPUSet
				set.Set(cpuTest)
				if unix.SchedSetaffinity(pid, &set) == nil {
					found = true
				}
			}
		}
		if found {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.Fatalf("no kernel thread polls %s", iface)
}

// table collects the rounds of each row and prints medians.
type table struct {
	order []string
	rows  map[string][]float64
}

func (t *table) add(row string, v float64) {
	if t.rows == nil {
		t.rows = make(map[string][]float64)
	}
	if _, ok := t.rows[row]; !ok {
		t.order = append(t.order, row)
	}
	t.rows[row] = append(t.rows[row], v)
}

func (t *table) median(row string) float64 {
	v := slices.Sorted(slices.Values(t.rows[row]))
	if len(v) == 0 {
		return 0
	}
	return v[len(v)/2]
}

// print writes each row's median, spread, and ratio to the row that compare names.
func (t *table) print(title string, compare func(row string) string) {
	fmt.Printf("\n%s\n\n| | Mpps median | spread | ratio |\n|---|---|---|---|\n", title)
	for _, row := range t.order {
		v := t.rows[row]
		ratio := ""
		if to := compare(row); to != "" && t.median(to) > 0 {
			ratio = fmt.Sprintf("%.0f %% of %s", 100*t.median(row)/t.median(to), to)
		}
		fmt.Printf("| %s | %.3f | %.3f–%.3f | %s |\n", row, t.median(row), slices.Min(v), slices.Max(v), ratio)
	}
}

var rounds = func() int {
	if n, err := strconv.Atoi(os.Getenv("DSSN_BENCH_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return 3
}()
