package bench

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"

	"golang.org/x/sys/unix"
)

// cuts is how often each row cuts the link.
var cuts = func() int {
	if n, err := strconv.Atoi(os.Getenv("DSSN_BENCH_CUTS")); err == nil && n > 0 {
		return n
	}
	return 100
}()

// BenchmarkRepair cuts a link under load, again and again, and prints how long it
// took from the last packet that came over the link to the first by the backup. For link events the far end is set down,
// which the kernel does under its global lock: the last column is how long that call
// took, and the carrier is lost somewhere within it. For probes a switch in the middle
// of the link stops forwarding, both ways at once, and no carrier is lost.
func BenchmarkRepair(b *testing.B) {
	need.Root(b)
	need.Tool(b, "ethtool")
	// Two goroutines keep theirs.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 2))
	for b.Loop() {
		fmt.Printf("\nFrom the last packet over a cut link to the first repaired one, 5,000 packets a second\n\n| | p50 | p90 | p99 | packets lost a cut | the cutting call itself, p50, p99 | goal, p99 |\n|---|---|---|---|---|---|---|\n")
		for _, how := range []string{"link events", "probes alone"} {
			repair(b, how)
		}
	}
}

// repair prints one row.
func repair(b *testing.B, how string) {
	c := newChain(b, xdptest.NewNetns(b).Quiet(b), true)
	c.end.Quiet(b)
	// The answers to probes come to an address of ours.
	c.dut.IP(b, "addr", "add", "5f00:d55:2::/128", "dev", "lo", "nodad")
	near, farEnd := "d1", "s1"
	cut := func(up bool) { setLink(b, c.end, "s1", up) }
	if how == "probes alone" {
		near, farEnd = "d3", "s3"
		cut = c.switched(b, near, farEnd)
	}
	to := xdp.Adjacency{Ifindex: c.dut.Ifindex(b, near), From: c.dut.MAC(b, near), To: c.end.MAC(b, farEnd), MTU: 1500}
	open := func(n *xdptest.Netns, in string, sid uint16, routes ...xdp.TransitRoute) *xdp.Transit {
		var tr *xdp.Transit
		n.Do(b, func() (err error) {
			if tr, err = xdp.OpenTransit(xdp.TransitOptions{Block: netip.MustParsePrefix("5f00:d55::/32"), SID: sid}); err != nil {
				return err
			}
			if err := tr.SetRoutes(routes); err != nil {
				return err
			}
			mac := xdp.MAC(n.MAC(b, in))
			if in == c.in {
				mac = carrierMAC
			}
			_, err = tr.Attach(xdp.IngressOptions{Ifindex: n.Ifindex(b, in), MAC: mac})
			return err
		})
		return tr
	}
	tr := open(c.dut, c.in, 2, xdp.TransitRoute{SID: 3, Via: to, Backup: c.hop(b, 2)})
	defer tr.Close()
	// The neighbour shifts like any node: probes go round, carriers have arrived.
	back := xdp.Adjacency{Ifindex: c.end.Ifindex(b, farEnd), To: to.From, From: to.To, MTU: 1500}
	far := open(c.end, farEnd, 3, xdp.TransitRoute{SID: 2, Via: back})
	defer far.Close()
	var repaired *xdp.Sink
	c.end.Do(b, func() (err error) {
		repaired, err = xdp.NewSink(xdp.SinkOptions{Ifindex: c.end.Ifindex(b, "s2"), IPv6Only: true})
		return err
	})
	defer repaired.Close()
	direct := func() uint64 { v, _ := far.Counts(); return v.Of("kernel_local") }
	backup := func() uint64 { t, _ := repaired.Count(); return t.Packets }

	defer watch(b, c, how, tr, to)()
	send := c.paced(b)
	grows := func(count func() uint64) {
		for from, until := count(), time.Now().Add(5*time.Second); count() == from; {
			if time.Now().After(until) {
				b.Fatalf("%s: no packet came", how)
			}
			time.Sleep(100 * time.Microsecond)
		}
	}
	grows(direct)
	time.Sleep(200 * time.Millisecond)
	var took, call []time.Duration
	for range cuts {
		called := make(chan time.Duration)
		go func() {
			began := time.Now()
			cut(false)
			called <- time.Since(began)
		}()
		took = append(took, gap(direct, backup))
		call = append(call, <-called)
		cut(true)
		grows(direct)
		time.Sleep(30 * time.Millisecond)
	}
	sent := send()
	time.Sleep(10 * time.Millisecond)
	lost := float64(sent - direct() - backup())
	slices.Sort(took)
	slices.Sort(call)
	at := func(d []time.Duration, percent int) time.Duration {
		return d[(len(d)-1)*percent/100].Round(10 * time.Microsecond)
	}
	fmt.Printf("| %s, %d cuts | %v | %v | %v | %.1f | %v, %v | %s |\n", how, cuts, at(took, 50), at(took, 90), at(took, 99), lost/float64(cuts), at(call, 50), at(call, 99), map[string]string{"link events": "≤ 5 ms", "probes alone": "≤ 50 ms"}[how])
}

// switched joins the node under test and the far end by a switch, and returns what cuts
// and joins it.
func (c *chain) switched(b *testing.B, near, far string) (cut func(up bool)) {
	mid := xdptest.NewNetns(b).Quiet(b)
	xdptest.Veth(b, c.dut, near, mid, "m1")
	xdptest.Veth(b, mid, "m2", c.end, far)
	xdptest.Veth(b, mid, "hole", mid, "nothing")
	// A veth receives what is redirected to it only while it polls.
	if err := c.dut.Try("ethtool", "-K", near, "gro", "on"); err != nil {
		b.Fatal(err)
	}
	ways := map[string]string{"m1": "m2", "m2": "m1"}
	bares := map[string]*xdp.Bare{}
	for from, to := range ways {
		mid.Do(b, func() (err error) {
			bares[from], err = xdp.NewBare(xdp.BareOptions{From: mid.Ifindex(b, from), To: mid.Ifindex(b, to)})
			return err
		})
		b.Cleanup(func() { bares[from].Close() })
	}
	targets := map[string]int{"m1": mid.Ifindex(b, "m2"), "m2": mid.Ifindex(b, "m1")}
	hole := mid.Ifindex(b, "hole")
	return func(up bool) {
		mid.Do(b, func() error {
			for from, r := range bares {
				to := hole
				if up {
					to = targets[from]
				}
				if err := r.Aim(to); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// watch begins to repair: by link events, or by probes.
func watch(b *testing.B, c *chain, how string, tr *xdp.Transit, to xdp.Adjacency) (stop func()) {
	if how == "link events" {
		var w *xdp.LinkWatcher
		c.dut.Do(b, func() (err error) { w, err = xdp.WatchLinks(); return err })
		w.Ask([]xdp.AskedLink{{Ifindex: to.Ifindex, Name: "d1"}})
		// The thread is of the namespace in which the drivers are asked.
		go c.dut.Do(b, func() error { return w.Run(func(ifindex int, up bool) { tr.SetLinkUp(ifindex, up) }) })
		return func() { w.Close() }
	}
	var p *xdp.Prober
	c.dut.Do(b, func() (err error) {
		p, err = xdp.NewProber(xdp.ProberOptions{Block: netip.MustParsePrefix("5f00:d55::/32"), SID: 2})
		return err
	})
	p.Ask([]xdp.ProbeTarget{{SID: 3, Adjacency: to}})
	go p.Run(func(a xdp.Adjacency, up bool) { tr.SetUp(a, up) })
	return func() { p.Close() }
}

// gap waits for the first packet by the backup and returns how long after the last
// one by the link it came.
func gap(direct, backup func() uint64) time.Duration {
	took := make(chan time.Duration)
	go func() {
		punctual()
		before, last, count := backup(), time.Now(), direct()
		for backup() == before {
			if n := direct(); n != count {
				count, last = n, time.Now()
			}
			nap(50 * time.Microsecond)
		}
		took <- time.Since(last)
	}()
	return <-took
}

// punctual gives the calling goroutine a thread with real-time priority: sender and
// observer must not be late themselves. It ends with the goroutine.
func punctual() {
	runtime.LockOSThread()
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
}

// nap sleeps without giving the runtime's processor away, as a blocking call would.
func nap(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}

// paceEvery is the interval of the packets that are interrupted.
const paceEvery = 200 * time.Microsecond

// paced sends carriers into the chain until the returned function is called, which
// tells how many.
func (c *chain) paced(b *testing.B) (end func() uint64) {
	var stop atomic.Bool
	done := make(chan uint64)
	var fd int
	c.gen.Do(b, func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	})
	to := &unix.SockaddrLinklayer{Ifindex: c.gen.Ifindex(b, c.out), Halen: 6, Protocol: 0xdd86}
	frame := carrier(100, "5f00:d55:2:3::", 0)
	go func() {
		punctual()
		var sent uint64
		for due := time.Now(); !stop.Load(); due = due.Add(paceEvery) {
			if now := time.Now(); now.Before(due) {
				nap(due.Sub(now))
			} else {
				due = now
			}
			if unix.Sendto(fd, frame, 0, to) == nil {
				sent++
			}
		}
		unix.Close(fd)
		done <- sent
	}()
	return func() uint64 {
		stop.Store(true)
		return <-done
	}
}

// setLink sets an interface of the namespace up or down.
func setLink(b *testing.B, n *xdptest.Netns, name string, up bool) {
	n.Do(b, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, r); err != nil {
			return err
		}
		flags := r.Uint16() &^ unix.IFF_UP
		if up {
			flags |= unix.IFF_UP
		}
		r.SetUint16(flags)
		return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
	})
}
