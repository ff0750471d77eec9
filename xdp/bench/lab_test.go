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
	"syscall"
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

// flood is a generator at work, aimed now here and now there.
type flood struct {
	*xdp.Generator
	thread int
	cpu    func() time.Duration
	stop   func()
}

// newFlood begins to send frames out of an interface.
func newFlood(b *testing.B, n *xdptest.Netns, iface string, frames ...[]byte) *flood {
	b.Helper()
	var g *xdp.Generator
	n.Do(b, func() (err error) { g, err = xdp.NewGenerator(n.Ifindex(b, iface), frames...); return err })
	ctx, cancel := context.WithCancel(context.Background())
	done, thread := make(chan struct{}), make(chan int, 1)
	go func() {
		defer close(done)
		n.Do(b, func() error {
			pin(b, cpuGenerator)
			thread <- unix.Gettid()
			return g.Run(ctx, 1<<40, 0)
		})
	}()
	f := &flood{Generator: g, thread: <-thread}
	f.cpu = cpuOf(fmt.Sprintf("/proc/self/task/%d", f.thread))
	f.stop = func() {
		cancel()
		<-done
		g.Close()
	}
	return f
}

// first gives the generator real-time priority for the time of a turn, so that whoever
// receives, whenever it runs, has something to receive; rest takes it away again.
func (f *flood) first() (rest func()) {
	unix.SchedSetAttr(f.thread, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	return func() {
		unix.SchedSetAttr(f.thread, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
		time.Sleep(pause)
	}
}

func (f *flood) sent() uint64 { n, _ := f.Sent(); return n }

// contender is one row of a table: something that moves frames arriving by a link of
// its own, on the CPU under test.
type contender struct {
	name    string
	ifindex int // of the generator's end of its link
	count   func() uint64
	cpu     func() time.Duration
	goal    string // what is asked of the row; may be empty
	// resume and pause, if not nil, are for one that polls also when nothing comes.
	resume, pause func()
}

// A turn is short, and turns go round many times, so that whatever else the machine
// does falls upon all rows alike. What is compared is frames by a second of the CPU
// that moved them: time that the machine gave to others is not in it.
// Between turns the others on the machine have a pause.
const settle, turn, pause = 20 * time.Millisecond, 80 * time.Millisecond, 50 * time.Millisecond

// sample is how fast one turn went, in millions, by the clock and by CPU time.
type sample struct {
	wall, cpu float64
	// fed says that the generator had its CPU and sent more than came through, so that
	// it is the receiver's speed and not the generator's.
	fed bool
}

// measure gives a contender one turn.
func (f *flood) measure(b *testing.B, n *xdptest.Netns, c contender) (s sample) {
	defer f.first()()
	if c.resume != nil {
		c.resume()
		defer c.pause()
	}
	n.Do(b, func() error { return f.Aim(c.ifindex) })
	time.Sleep(settle)
	from, offered, began, used, sending := c.count(), f.sent(), time.Now(), c.cpu(), f.cpu()
	time.Sleep(turn)
	moved, used, sending, took := float64(c.count()-from)/1e6, c.cpu()-used, f.cpu()-sending, time.Since(began)
	s.fed = float64(f.sent()-offered)/1e6 > moved*1.01 && sending > took*9/10
	s.wall = moved / took.Seconds()
	if used > turn/8 { // otherwise it hardly ran
		s.cpu = moved / used.Seconds()
	}
	return s
}

// cycles is how often turns go round.
var cycles = func() int {
	if n, err := strconv.Atoi(os.Getenv("DSSN_BENCH_CYCLES")); err == nil && n > 0 {
		return n
	}
	return 60
}()

// contest lets the contenders take turns and prints a table. Each row is compared, turn
// by turn, with those that against names.
func (f *flood) contest(b *testing.B, n *xdptest.Netns, title string, cs []contender, against func(name string) []string) {
	all := make(map[string][]sample)
	for range cycles {
		for _, c := range cs {
			all[c.name] = append(all[c.name], f.measure(b, n, c))
		}
	}
	fmt.Printf("\n%s: %d turns of %v each\n\n| | Mpps by the clock, best turn | Mpps by a second of CPU, median (quartiles) | ratio by CPU, median (quartiles) | goal | turns fed |\n|---|---|---|---|---|---|\n", title, cycles, turn)
	for _, c := range cs {
		best, fed := 0.0, 0
		var cpu []float64
		for _, s := range all[c.name] {
			best = max(best, s.wall)
			if s.fed && s.cpu > 0 {
				fed++
				cpu = append(cpu, s.cpu)
			}
		}
		var ratios []string
		for _, to := range against(c.name) {
			var r []float64
			for i, s := range all[c.name] {
				if o := all[to][i]; s.fed && o.fed && s.cpu > 0 && o.cpu > 0 {
					r = append(r, 100*s.cpu/o.cpu)
				}
			}
			ratios = append(ratios, fmt.Sprintf("%.1f %% (%.0f–%.0f) of %s", quantile(r, 50), quantile(r, 25), quantile(r, 75), to))
		}
		fmt.Printf("| %s | %.3f | %.3f (%.2f–%.2f) | %s | %s | %d |\n", c.name, best, quantile(cpu, 50), quantile(cpu, 25), quantile(cpu, 75), strings.Join(ratios, ", "), c.goal, fed)
	}
}

// quantile is the value below which a percentage of v lies; 0 of nothing.
func quantile(v []float64, percent int) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[(len(v)-1)*percent/100]
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

// run starts a program in the namespace. It can be paused, and its CPU time is told.
func run(b *testing.B, n *xdptest.Netns, name string, args ...string) (c contender, stop func()) {
	b.Helper()
	cmd := exec.Command(name, args...)
	var errors strings.Builder
	cmd.Stderr = &errors
	in, _ := cmd.StdinPipe() // testpmd ends when its input does
	n.Start(b, cmd)
	gone := make(chan struct{})
	go func() { cmd.Wait(); close(gone) }()
	c.cpu = cpuOf(fmt.Sprintf("/proc/%d/task/*", cmd.Process.Pid))
	c.resume = func() { cmd.Process.Signal(syscall.SIGCONT) }
	c.pause = func() { cmd.Process.Signal(syscall.SIGSTOP) }
	return c, func() {
		select {
		case <-gone:
			b.Errorf("%s %v ended by itself: %s", name, args, errors.String())
		default:
		}
		c.resume()
		in.Close()
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-gone:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
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
