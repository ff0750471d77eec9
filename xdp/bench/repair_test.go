package bench

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"

	"golang.org/x/sys/unix"
)

// probeEvery and probesMissed are the liveness of the probe row: an adjacency is
// down after so many unanswered probes in a row.
const probeEvery, probesMissed = 5 * time.Millisecond, 4

// BenchmarkRepair cuts a link under load, again and again, and prints how long it
// took until the first packet by the backup, told by link events or by probes
// alone. The cut is the far end set down, which the kernel does under its global
// lock: the last column is how long that call took, and the event comes after it.
func BenchmarkRepair(b *testing.B) {
	need.Root(b)
	cuts := 10 * rounds
	for b.Loop() {
		fmt.Printf("\nFrom a cut link to the first repaired packet, 20,000 packets a second\n\n| | p50 | p99 | packets lost a cut | the cutting call itself, p50 |\n|---|---|---|---|---|\n")
		for _, how := range []string{"link events", "probes alone"} {
			c := newChain(b, false)
			to := c.hop(b, 1)
			var tr *xdp.Transit
			var sinks [2]*xdp.Sink
			c.dut.Do(b, func() (err error) {
				if tr, err = xdp.OpenTransit(xdp.TransitOptions{Block: netip.MustParsePrefix("5f00:d55::/32"), SID: 2}); err != nil {
					return err
				}
				if err := tr.SetRoutes([]xdp.TransitRoute{{SID: 3, Via: to, Backup: c.hop(b, 2)}}); err != nil {
					return err
				}
				_, err = tr.Attach(xdp.IngressOptions{Ifindex: c.dut.Ifindex(b, c.in), MAC: c.dut.MAC(b, c.in)})
				return err
			})
			for i := range sinks {
				c.end.Do(b, func() (err error) {
					sinks[i], err = xdp.NewSink(xdp.SinkOptions{Ifindex: c.end.Ifindex(b, fmt.Sprintf("s%d", i+1)), IPv6Only: true})
					return err
				})
			}
			var stopTelling func()
			if how == "link events" {
				var w *xdp.LinkWatcher
				c.dut.Do(b, func() (err error) { w, err = xdp.WatchLinks(); return err })
				go w.Run(func(ifindex int, up bool) { tr.SetLinkUp(ifindex, up) })
				stopTelling = func() { w.Close() }
			} else {
				stopTelling = probe(b, c, func(up bool) { tr.SetUp(to, up) })
			}
			var g *xdp.Generator
			c.gen.Do(b, func() (err error) {
				g, err = xdp.NewGenerator(c.gen.Ifindex(b, "g0"), c.carrier(b, 64, "5f00:d55:2:3::", 0))
				return err
			})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				defer close(done)
				c.gen.Do(b, func() error { pin(b, cpuGenerator); return g.Run(ctx, 1<<40, 20_000) })
			}()
			count := func(i int) uint64 { t, _ := sinks[i].Count(); return t.Packets }
			wait := func(i int) {
				for from, until := count(i), time.Now().Add(5*time.Second); count(i) == from; {
					if time.Now().After(until) {
						b.Fatalf("%s: no packet by link %d", how, i+1)
					}
					time.Sleep(100 * time.Microsecond)
				}
			}
			wait(0)
			var took, call []time.Duration
			for range cuts {
				before, cut := count(1), time.Now()
				setLink(b, c.end, "s1", false)
				call = append(call, time.Since(cut))
				for count(1) == before {
					time.Sleep(20 * time.Microsecond)
				}
				took = append(took, time.Since(cut))
				setLink(b, c.end, "s1", true)
				wait(0)
			}
			cancel()
			<-done
			stopTelling()
			time.Sleep(10 * time.Millisecond)
			sent, _ := g.Sent()
			slices.Sort(took)
			slices.Sort(call)
			fmt.Printf("| %s, %d cuts | %v | %v | %.1f | %v |\n", how, cuts, took[len(took)/2].Round(time.Microsecond), took[len(took)*99/100].Round(time.Microsecond),
				float64(sent-count(0)-count(1))/float64(cuts), call[len(call)/2].Round(time.Microsecond))
			g.Close()
			tr.Close()
			for _, s := range sinks {
				s.Close()
			}
		}
	}
}

// probe sends a frame over the first link every probeEvery, has the far end send it
// back, and tells whether it does.
func probe(b *testing.B, c *chain, tell func(up bool)) (stop func()) {
	open := func(n *xdptest.Netns, name string) (fd int) {
		n.Do(b, func() (err error) {
			const proto = 0xb688 // 0x88b6 in network order
			if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto); err != nil {
				return err
			}
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 5000})
			return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: n.Ifindex(b, name)})
		})
		return fd
	}
	near, far := open(c.dut, "d1"), open(c.end, "s1")
	frame := xdptest.Frame(0, 60)
	frame[13], frame[0] = 0xb6, 0xff
	answered := bytes.Clone(frame)
	answered[14] = 1
	var halt atomic.Bool
	var unanswered atomic.Int64
	receive := func(fd int, handle func([]byte)) {
		buf := make([]byte, 2048)
		for !halt.Load() {
			if n, from, err := unix.Recvfrom(fd, buf, 0); err == nil {
				if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype != unix.PACKET_OUTGOING {
					handle(buf[:n])
				}
			} else if err != unix.EAGAIN {
				time.Sleep(time.Millisecond)
			}
		}
	}
	down := false
	go receive(far, func(f []byte) {
		if f[14] == 0 {
			unix.Write(far, answered)
		}
	})
	go receive(near, func(f []byte) {
		if f[14] == 1 {
			unanswered.Store(0)
		}
	})
	go func() {
		for !halt.Load() {
			n := unanswered.Add(1) - 1
			if isDown := n >= probesMissed; isDown != down {
				down = isDown
				tell(!down)
			}
			unix.Write(near, frame)
			time.Sleep(probeEvery)
		}
	}()
	return func() {
		halt.Store(true)
		time.Sleep(20 * time.Millisecond)
		unix.Close(near)
		unix.Close(far)
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
