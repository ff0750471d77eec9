package bench

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"

	"golang.org/x/sys/unix"
)

// TestMain lets the test program be the Go contender: a process of its own, like the
// others, so that it can be paused and its CPU time told.
func TestMain(m *testing.M) {
	if loop := os.Getenv("DSSN_BENCH_LOOP"); loop != "" {
		debug.SetGCPercent(-1)
		if err := goLoop(strings.Fields(loop)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// goLoop runs one of the package's loops: "rxdrop DEV", "l2fwd DEV", "forward DEV DEV".
func goLoop(args []string) error {
	// The worker's thread alone: the runtime's own ones, which wake up some thousand
	// times a second, belong on other CPUs.
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpuTest)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return err
	}
	u, err := xdp.NewUMEM(xdp.UMEMOptions{Frames: 8192})
	if err != nil {
		return err
	}
	pool, err := u.NewPool(8192)
	if err != nil {
		return err
	}
	var sockets []*xdp.Socket
	for _, name := range args[1:] {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		s, err := xdp.Open(pool, xdp.SocketOptions{Ifindex: i.Index, Mode: xdp.ModeCopy, BusyPoll: batch, TxBudget: batch})
		if err != nil {
			return err
		}
		sockets = append(sockets, s)
		if len(sockets) == 1 {
			d, err := xdp.NewDirector(xdp.DirectorOptions{Ifindex: i.Index, All: true})
			if err != nil {
				return err
			}
			if err := d.Add(0, s); err != nil {
				return err
			}
		}
	}
	if len(sockets) == 0 {
		return errors.New("no device")
	}
	var stop atomic.Bool
	var count atomic.Uint64
	if args[0] == "rxdrop" {
		return RxDrop(sockets[0], &stop, &count)
	}
	return Forward(sockets[0], sockets[len(sockets)-1], &stop, &count)
}

// ports is a node under test with links to a neighbour, polled by whoever holds the
// sockets: two for each contender.
type ports struct{ gen, dut *xdptest.Netns }

func newPorts(b *testing.B, contenders int) *ports {
	p := &ports{xdptest.NewNetns(b).Quiet(b), xdptest.NewNetns(b).Quiet(b)}
	for i := range 2 * contenders {
		n := fmt.Sprint(i)
		xdptest.Veth(b, p.gen, "g"+n, p.dut, "d"+n)
		sysfs(b, p.dut, "d"+n, "napi_defer_hard_irqs", "2")
		sysfs(b, p.dut, "d"+n, "gro_flush_timeout", "200000")
	}
	return p
}

// start starts the i-th contender and waits until frames come through. What all are
// measured by is the device's own counts.
func (p *ports) start(b *testing.B, f *flood, i int, who, mode string, devices []string, name string, args ...string) (contender, func()) {
	c, stop := run(b, p.dut, name, args...)
	c.name = fmt.Sprintf("%s, %s", mode, who)
	c.ifindex = p.gen.Ifindex(b, fmt.Sprintf("g%d", 2*i))
	counted := devices[len(devices)-1]
	c.count = func() uint64 {
		received, sent := traffic(b, p.dut, counted)
		if mode == "rxdrop" {
			return received
		}
		return sent
	}
	p.gen.Do(b, func() error { return f.Aim(c.ifindex) })
	time.Sleep(time.Second) // until it has bound its sockets, after which counts may begin anew
	from, until := c.count(), time.Now().Add(10*time.Second)
	for c.count() == from && time.Now().Before(until) {
		time.Sleep(50 * time.Millisecond)
	}
	c.pause()
	return c, stop
}

func compileC(b *testing.B) string {
	need.Tool(b, "gcc")
	need.File(b, "libxdp's headers", "/usr/include/xdp/xsk.h")
	out := filepath.Join(b.TempDir(), "xsk")
	if text, err := exec.Command("gcc", "-O2", "-o", out, filepath.Join("peer", "xsk.c"), "-lxdp", "-lbpf").CombinedOutput(); err != nil {
		b.Fatalf("compiling the C peer: %v\n%s", err, text)
	}
	return out
}

// BenchmarkAFXDP prints the tables of AF_XDP: one iteration is all of them.
func BenchmarkAFXDP(b *testing.B) {
	need.Root(b)
	xsk := compileC(b)
	testpmd := need.Tool(b, "dpdk-testpmd")
	// A collection would interrupt the generator's long system call.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for b.Loop() {
		for _, size := range []int{64, 1500} {
			for _, mode := range []string{"rxdrop", "l2fwd", "forward"} {
				contest(b, mode, size, xsk, testpmd)
			}
		}
	}
}

func contest(b *testing.B, mode string, size int, xsk, testpmd string) {
	p := newPorts(b, 3)
	f := newFlood(b, p.gen, "g0", xdptest.Frame(1, size))
	defer f.stop()
	devices := func(i int) []string {
		d := []string{fmt.Sprintf("d%d", 2*i)}
		if mode == "forward" {
			d = append(d, fmt.Sprintf("d%d", 2*i+1))
		}
		return d
	}
	pinned := func(program string, args ...string) []string {
		return append([]string{"-c", fmt.Sprint(cpuTest), program}, args...)
	}
	loop := "DSSN_BENCH_LOOP=" + strings.Join(append([]string{mode}, devices(0)...), " ")
	g, stop := p.start(b, f, 0, "Go", mode, devices(0), "env", loop, os.Args[0])
	defer stop()
	g.goal = "≥ 97 % of C, ≥ 100 % of DPDK"
	c, stop := p.start(b, f, 1, "C", mode, devices(1), "taskset", pinned(xsk, append([]string{mode}, devices(1)...)...)...)
	defer stop()
	// testpmd wants a main core of its own, which only prints.
	prefix := fmt.Sprintf("dssn%d", time.Now().UnixNano())
	defer os.RemoveAll(filepath.Join("/var/run/dpdk", prefix))
	args := []string{"-l", fmt.Sprintf("%d,%d", cpuGenerator, cpuTest), "--no-pci", "--no-huge", "-m", "256", "--file-prefix", prefix}
	for i, d := range devices(2) {
		args = append(args, "--vdev", fmt.Sprintf("net_af_xdp%d,iface=%s,start_queue=0,queue_count=1,busy_budget=64", i, d))
	}
	fwd := map[string]string{"rxdrop": "rxonly", "l2fwd": "macswap", "forward": "macswap"}[mode]
	args = append(args, "--", "--forward-mode", fwd, "--auto-start", "--stats-period", "1", "--nb-cores", "1", "--total-num-mbufs", "16384", "--burst", "64")
	d, stop := p.start(b, f, 2, "DPDK testpmd", mode, devices(2), testpmd, args...)
	defer stop()
	title := fmt.Sprintf("AF_XDP %s on veth, copy mode, one core, busy polling, frames of %d B", mode, size)
	f.contest(b, p.gen, title, []contender{g, c, d}, func(name string) []string {
		if name == g.name {
			return []string{c.name, d.name}
		}
		return nil
	})
}
