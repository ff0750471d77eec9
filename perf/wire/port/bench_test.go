package port

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dssn"
	"dssn/internal/need"
	"dssn/xdp"
)

// The figures of a wire, each row printed and reported as metrics:
//
//	flood    what one wire passes on when offered 500,000 and all the generator's
//	         frames of 64 bytes, and of 1500
//	delay    how far the delay of UDP datagrams of 1400 bytes is from what was asked,
//	         at several loads: by the receiver kernel's timestamp minus the sender's clock
//	tcp      what a stock iperf3 reaches through it
//
// One iteration is one row. Sender, wire and receiver share the machine's cores.

func BenchmarkFlood(b *testing.B) {
	for _, c := range []struct {
		settings string
		length   int
		rate     uint64
	}{{"", 64, 500_000}, {"delay=10ms", 64, 500_000}, {"", 64, 0}, {"delay=10ms", 64, 0}, {"delay=10ms loss=0.1% jitter=1ms law=normal", 64, 500_000}, {"delay=10ms", 1500, 200_000}, {"", 1500, 0}} {
		b.Run(fmt.Sprintf("%s/%dB/%s", label(c.settings), c.length, offered(c.rate)), func(b *testing.B) {
			w := apart(b, c.settings)
			frame := make([]byte, c.length)
			mac := w.b.MAC(b, "wb")
			copy(frame, mac[:])
			frame[12], frame[13] = 0x88, 0xb5 // an EtherType for experiments
			var sink *xdp.Sink
			w.b.Do(b, func() (err error) {
				sink, err = xdp.NewSink(xdp.SinkOptions{Ifindex: w.b.Ifindex(b, "wb"), PacketBuffers: true})
				return err
			})
			defer sink.Close()
			for b.Loop() {
				const long = 3 * time.Second
				var took time.Duration
				var sent uint64
				before, _ := sink.Count()
				s0, _ := w.Stats()
				w.a.Do(b, func() error {
					g, err := xdp.NewGenerator(w.a.Ifindex(b, "wa"), frame)
					if err != nil {
						return err
					}
					defer g.Close()
					ctx, cancel := context.WithTimeout(context.Background(), long)
					defer cancel()
					count := uint64(long.Seconds() * float64(c.rate))
					if c.rate == 0 {
						count = 1 << 24
					}
					began := time.Now()
					err = g.Run(ctx, count, c.rate)
					took = time.Since(began)
					sent, _ = g.Sent()
					return err
				})
				s := w.drained(b)
				after, _ := sink.Count()
				got := float64(after.Packets - before.Packets)
				b.ReportMetric(got/took.Seconds()/1e6, "Mpps")
				b.ReportMetric(float64(sent)/took.Seconds()/1e6, "offered-Mpps")
				b.ReportMetric(100*(1-got/float64(sent-(s[0].Counters.Lost()-s0[0].Counters.Lost()))), "%unasked-loss")
				b.ReportMetric(got*float64(c.length)*8/took.Seconds()/1e9, "Gbit/s")
				b.ReportMetric(float64(s[0].LateP99.Nanoseconds())/1e3, "late-p99-us")
				b.ReportMetric(got/(s[0].CPU-s0[0].CPU).Seconds()/1e6, "Mpps/core") // of the wire's own CPU time
				b.ReportMetric(100*(s[0].CPU-s0[0].CPU).Seconds()/took.Seconds(), "%core")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// label and offered name a row.
func label(settings string) string {
	if settings == "" {
		return "no delay"
	}
	return settings
}

func offered(rate uint64) string {
	if rate == 0 {
		return "flood"
	}
	return fmt.Sprintf("%dkpps", rate/1000)
}

func BenchmarkDelayError(b *testing.B) {
	const size, delay = 1400, 10 * time.Millisecond
	for _, rate := range []dssn.Bandwidth{1 * dssn.Mbps, 10 * dssn.Mbps, 100 * dssn.Mbps, 500 * dssn.Mbps, dssn.Gbps} {
		b.Run(rate.String(), func(b *testing.B) {
			w := apart(b, "delay="+delay.String())
			w.neighbours(b)
			fd := socket(b, w.a, "fd00:77::1", 0)
			for b.Loop() {
				stop := make(chan struct{})
				out := w.listen(b, stop)
				gap := rate.TimeFor(dssn.ByteCount(size))
				n := uint64(2 * time.Second / gap)
				sendPaced(b, fd, n, size, gap)
				w.drained(b)
				time.Sleep(50 * time.Millisecond)
				close(stop)
				var off []float64
				for _, a := range <-out {
					off = append(off, float64(a.at-a.sent-int64(delay))/1e3)
				}
				if uint64(len(off)) < n*9/10 {
					b.Errorf("only %d of %d arrived", len(off), n)
				}
				slices.Sort(off)
				at := func(p float64) float64 { return off[min(len(off)-1, int(p*float64(len(off))))] }
				s, err := w.Stats()
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(s[0].LateP99.Nanoseconds())/1e3, "own-late-p99-us")
				b.ReportMetric(at(0), "min-us")
				b.ReportMetric(at(0.5), "p50-us")
				b.ReportMetric(at(0.99), "p99-us")
				b.ReportMetric(at(0.999), "p99.9-us")
				b.ReportMetric(at(1), "max-us")
				b.ReportMetric(100*(1-float64(len(off))/float64(n)), "%missing")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// sendPaced sends n datagrams, watching the clock.
func sendPaced(b *testing.B, fd int, n uint64, size int, gap time.Duration) {
	began := time.Now()
	for i := range n {
		due := time.Duration(i) * gap
		for left := due - time.Since(began); left > 0; left = due - time.Since(began) {
			if left > 200*time.Microsecond {
				time.Sleep(left - 100*time.Microsecond)
			}
		}
		if err := unix.Sendto(fd, datagram(i, size), 0, toB); err != nil && err != unix.ENOBUFS {
			b.Fatal(err)
		}
	}
}

func BenchmarkTCP(b *testing.B) {
	need.Tool(b, "iperf3")
	for _, settings := range []string{"", "delay=1ms", "delay=10ms", "rate=2G delay=1ms", "rate=1G delay=5ms", "rate=100M delay=10ms queue=1MiB"} {
		b.Run(label(settings), func(b *testing.B) {
			w := apart(b, settings)
			for b.Loop() {
				server := make(chan error, 1)
				go func() { server <- w.b.Try("iperf3", "-s", "-1") }()
				time.Sleep(300 * time.Millisecond)
				out, err := w.a.Output("iperf3", "-c", "fd00:77::2", "-t", "3", "-O", "1", "-f", "m")
				if err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
				<-server
				for line := range strings.Lines(string(out)) {
					if strings.Contains(line, "receiver") {
						f := strings.Fields(line)
						for i := range f {
							if f[i] == "Mbits/sec" {
								var v float64
								fmt.Sscan(f[i-1], &v)
								b.ReportMetric(v, "Mbit/s")
							}
						}
					}
				}
				s, _ := w.Stats()
				b.ReportMetric(float64(s[0].Missed+s[1].Missed), "missed")
				b.ReportMetric(float64(s[0].LateP99.Nanoseconds())/1e3, "late-p99-us")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}
