package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// ports is a node under test with two links to a neighbour, polled by whoever
// holds the sockets.
type ports struct{ gen, dut *xdptest.Netns }

func newPorts(b *testing.B) *ports {
	p := &ports{xdptest.NewNetns(b).Quiet(b), xdptest.NewNetns(b).Quiet(b)}
	for _, n := range []string{"0", "1"} {
		xdptest.Veth(b, p.gen, "g"+n, p.dut, "d"+n)
		sysfs(b, p.dut, "d"+n, "napi_defer_hard_irqs", "2")
		sysfs(b, p.dut, "d"+n, "gro_flush_timeout", "200000")
	}
	return p
}

// goLoop runs one of the package's loops on the CPU under test.
func (p *ports) goLoop(b *testing.B, mode string) sample {
	u, err := xdp.NewUMEM(xdp.UMEMOptions{Frames: 8192})
	if err != nil {
		b.Fatal(err)
	}
	defer u.Close()
	pool, err := u.NewPool(8192)
	if err != nil {
		b.Fatal(err)
	}
	var stop atomic.Bool
	var count atomic.Uint64
	ready, done := make(chan int, 1), make(chan error, 1)
	go p.dut.Do(b, func() error {
		pin(b, cpuTest)
		open := func(name string) (*xdp.Socket, error) {
			return xdp.Open(pool, xdp.SocketOptions{Ifindex: p.dut.Ifindex(b, name), Mode: xdp.ModeCopy, BusyPoll: batch, TxBudget: batch})
		}
		in, err := open("d0")
		if err != nil {
			done <- err
			return nil
		}
		defer in.Close()
		d, err := xdp.NewDirector(xdp.DirectorOptions{Ifindex: p.dut.Ifindex(b, "d0"), All: true})
		if err != nil {
			done <- err
			return nil
		}
		defer d.Close()
		if err := d.Add(0, in); err != nil {
			done <- err
			return nil
		}
		out := in
		if mode == "forward" {
			if out, err = open("d1"); err != nil {
				done <- err
				return nil
			}
			defer out.Close()
		}
		ready <- unix.Gettid()
		if mode == "rxdrop" {
			err = RxDrop(in, &stop, &count)
		} else {
			err = Forward(in, out, &stop, &count)
		}
		done <- err
		return nil
	})
	var thread int
	select {
	case thread = <-ready:
	case err := <-done:
		b.Fatal(err)
	}
	v := rate(p.counter(b, mode), cpuOf(fmt.Sprintf("/proc/self/task/%d", thread)))
	stop.Store(true)
	if err := <-done; err != nil {
		b.Error(err)
	}
	return v
}

// counter is what all are measured by: the device's own counts.
func (p *ports) counter(b *testing.B, mode string) func() uint64 {
	device := "d0"
	if mode == "forward" {
		device = "d1"
	}
	return func() uint64 {
		received, sent := traffic(b, p.dut, device)
		if mode == "rxdrop" {
			return received
		}
		return sent
	}
}

func (p *ports) peer(b *testing.B, mode, name string, args ...string) sample {
	cpu, stop := run(b, p.dut, name, args...)
	defer stop()
	count := p.counter(b, mode)
	time.Sleep(time.Second) // until it has bound its sockets,
	for from, until := count(), time.Now().Add(10*time.Second); count() == from && time.Now().Before(until); {
		time.Sleep(50 * time.Millisecond) // and as long as nothing comes of it
	}
	return rate(count, cpu)
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

// BenchmarkAFXDP prints the table of AF_XDP: one iteration is one table.
func BenchmarkAFXDP(b *testing.B) {
	need.Root(b)
	xsk := compileC(b)
	testpmd := need.Tool(b, "dpdk-testpmd")
	// A collection would interrupt the generator's long system call.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for b.Loop() {
		for _, size := range []int{64, 1500} {
			var t table
			for range rounds {
				p := newPorts(b)
				stop := flood(b, p.gen, "g0", xdptest.Frame(1, size))
				for _, mode := range []string{"rxdrop", "l2fwd", "forward"} {
					row := func(who string) string { return fmt.Sprintf("%s %d B, %s", mode, size, who) }
					devices, fwd := []string{"d0"}, map[string]string{"rxdrop": "rxonly", "l2fwd": "macswap", "forward": "macswap"}[mode]
					if mode == "forward" {
						devices = append(devices, "d1")
					}
					t.add(row("Go"), p.goLoop(b, mode))
					t.add(row("C"), p.peer(b, mode, "taskset", append([]string{"-c", "1", xsk, mode}, devices...)...))
					// testpmd wants a main core of its own, which only prints.
					prefix := fmt.Sprintf("dssn%d", time.Now().UnixNano())
					args := []string{"-l", "0,1", "--no-pci", "--no-huge", "-m", "256", "--file-prefix", prefix}
					for i, d := range devices {
						args = append(args, "--vdev", fmt.Sprintf("net_af_xdp%d,iface=%s,start_queue=0,queue_count=1,busy_budget=64", i, d))
					}
					args = append(args, "--", "--forward-mode", fwd, "--auto-start", "--stats-period", "1", "--nb-cores", "1",
						"--total-num-mbufs", "16384", "--burst", "64")
					t.add(row("DPDK"), p.peer(b, mode, testpmd, args...))
					os.RemoveAll(filepath.Join("/var/run/dpdk", prefix))
				}
				stop()
			}
			t.print(fmt.Sprintf("AF_XDP on veth, copy mode, one core, busy polling, frames of %d B", size), func(row string) string {
				if base, ok := strings.CutSuffix(row, ", Go"); ok {
					return base + ", C"
				}
				if base, ok := strings.CutSuffix(row, ", DPDK"); ok {
					return base + ", C"
				}
				return ""
			})
		}
	}
}
