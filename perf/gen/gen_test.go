package gen

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/xdp/xdptest"

	"golang.org/x/sys/unix"
)

// bench is a sender and a receiver joined by a veth.
type bench struct{ a, b *xdptest.Netns }

func newBench(t testing.TB) bench {
	need.Root(t)
	n := bench{xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)}
	xdptest.Veth(t, n.a, "a0", n.b, "b0")
	return n
}

func (n bench) streams(t testing.TB, text string) []Compiled {
	t.Helper()
	f, err := ParseFile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	src, dst := n.a.MAC(t, "a0"), n.b.MAC(t, "b0")
	c, err := f.Compile(net.HardwareAddr(src[:]), net.HardwareAddr(dst[:]), ClockTag())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run sends in a and counts in b, as two processes on one host would. The outcome
// has the counting side's drops.
func (n bench) run(t testing.TB, o Options, sink Engine) (*Outcome, []StreamOutcome) {
	t.Helper()
	var c counter
	var err error
	o.Device, o.SinkEngine = "a0", sink
	n.b.Do(t, func() error {
		x := o
		x.Sink = "b0"
		c, err = newCounter(x)
		return err
	})
	defer c.Close()
	var r *Outcome
	n.a.Do(t, func() error {
		r, err = Run(t.Context(), o)
		return err
	})
	got := make([]StreamOutcome, len(r.Streams))
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		arrived, sent := uint64(0), uint64(0)
		for i := range got {
			if err := c.collect(i, &got[i]); err != nil {
				t.Fatal(err)
			}
			arrived += got[i].Received.Frames
			sent += r.Streams[i].Sent.Frames
		}
		r.SinkDropped = c.dropped()
		if arrived+r.Refused+r.SinkDropped >= sent || time.Now().After(end) {
			return r, got
		}
	}
}

const everyProtocol = `
[[stream]]
name = "small"
src = "192.0.2.1"
dst = "198.51.100.1-198.51.100.7"
src_port = "1024-1027"
size = 60
pps = 20000
count = 4000

[[stream]]
name = "mix"
src = "2001:db8::1"
dst = "2001:db8::2"
size = "imix"
bitrate = "50M"
burst = 8
count = 1000

[[stream]]
name = "syn"
protocol = "tcp-syn"
src = "2001:db8::1-2001:db8::4"
dst = "2001:db8::2"
dst_port = 443
pps = 1000
count = 200

[[stream]]
name = "tunnel"
protocol = "wireguard"
src = "5f00:d55:11::"
dst = "5f00:d55:14::"
carrier = "5f00:d55:12:13:14::"
size = [200, 1400]
pps = 5000
count = 1000
`

func TestEveryEngineDeliversEveryFrameOnce(t *testing.T) {
	for _, engine := range []Engine{EngineKernel, EngineAFXDP} {
		for _, sink := range []Engine{EngineKernel, EngineAFXDP} {
			t.Run(fmt.Sprintf("%s to %s", engine, sink), func(t *testing.T) {
				n := newBench(t)
				r, got := n.run(t, Options{Streams: n.streams(t, everyProtocol), Engine: engine}, sink)
				// A busy machine may let the AF_XDP socket overflow; it must say so.
				sum := r.SinkDropped
				for i, s := range got {
					sum += s.Received.Frames
					sum -= r.Streams[i].Sent.Frames
				}
				if sum != 0 || r.SinkDropped > 0 && sink == EngineKernel {
					t.Errorf("%d frames more than were sent were counted or dropped", int64(sum))
				}
				for i, s := range got {
					want := r.Streams[i].Sent.Frames
					if r.SinkDropped > 0 {
						want = s.Received.Frames
					}
					if s.Received.Frames != want || want == 0 || s.Received.Duplicates+s.Received.Reordered+s.Received.Late != 0 {
						t.Errorf("%s: sent %d, refused %d, received %+v", r.Streams[i].Name, want, r.Refused, s.Received)
					}
					if s.Received.OtherClock != 0 || s.Received.Negative != 0 {
						t.Errorf("%s: %d frames of another clock, %d from the future, on one host", r.Streams[i].Name, s.Received.OtherClock, s.Received.Negative)
					}
					if s.Delay.Count() != want || s.Variation.Count() != want-1 {
						t.Errorf("%s: %d delays and %d variations of %d frames", r.Streams[i].Name, s.Delay.Count(), s.Variation.Count(), want)
					}
					if s.Delay.Max() <= 0 || s.Delay.At(50) > time.Second {
						t.Errorf("%s: delays of %v to %v", r.Streams[i].Name, s.Delay.At(0), s.Delay.Max())
					}
				}
			})
		}
	}
}

// TestTheKernelCountsLikeTracker sends one stream with losses, duplicates and
// disorder, whose frames say that they left up to a minute ago, to the kernel's
// program and to its twin.
func TestTheKernelCountsLikeTracker(t *testing.T) {
	n := newBench(t)
	streams := n.streams(t, "[[stream]]\nsrc=\"2001:db8::1\"\ndst=\"2001:db8::2\"\n")
	var c counter
	n.b.Do(t, func() (err error) {
		c, err = newCounter(Options{Streams: streams, Sink: "b0"})
		return err
	})
	defer c.Close()
	var out int
	n.a.Do(t, func() (err error) {
		out, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		return unix.Bind(out, &unix.SockaddrLinklayer{Ifindex: n.a.Ifindex(t, "a0")})
	})
	defer unix.Close(out)
	r := rand.New(rand.NewPCG(5, 6))
	var twin Tracker
	clock := newTAI()
	var delays []time.Duration
	number := uint64(0)
	for range 60_000 {
		switch r.IntN(50) {
		case 0:
			number += r.Uint64N(5)
		case 1:
			number -= min(number, r.Uint64N(40))
		case 2:
			if r.IntN(40) == 0 {
				number += r.Uint64N(200_000)
			} else if r.IntN(40) == 0 {
				number -= min(number, r.Uint64N(100_000))
			}
		}
		number++
		delay := time.Duration(math.Exp(r.Float64() * math.Log(60e9)))
		now := clock.now()
		b := frame(&streams[0].Heads[0], number, now-uint64(delay))
		sig, _ := Find(b)
		before := twin.Frames
		twin.Arrive(sig, len(b), now, ClockTag())
		if twin.Frames > before {
			delays = append(delays, delay)
		}
		if _, err := unix.Write(out, b); err != nil {
			t.Fatal(err)
		}
	}
	var got StreamOutcome
	want := twin.TrafficReceived
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err := c.collect(0, &got); err != nil {
			t.Fatal(err)
		}
		if v := got.Received; v.Frames+v.Duplicates+v.Late == want.Frames+want.Duplicates+want.Late {
			break
		}
	}
	have := got.Received
	have.First, have.Last, have.Jitter, want.First, want.Last, want.Jitter = 0, 0, 0, 0, 0, 0
	if have != want || want.Duplicates == 0 || want.Reordered == 0 || want.Late == 0 {
		t.Errorf("the kernel counted\n%+v, its twin\n%+v", have, want)
	}
	slices.Sort(delays)
	for _, p := range []float64{70, 80, 90, 95, 99} { // where delays exceed a scheduler's
		want := delays[int(p/100*float64(len(delays)))-1]
		if got := got.Delay.At(p); got < want*99/100 || got > want*103/100+100*time.Millisecond {
			t.Errorf("%g %% of delays under %v, want %v", p, got, want)
		}
	}
	if n := got.Delay.Count(); n != want.Frames {
		t.Errorf("%d delays of %d frames", n, want.Frames)
	}
}
