package softport

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dssn/dataplane/aead"
	"dssn/dataplane/enginetest"
)

// BenchmarkLanes carries four TCP streams one way through native tunnels with so
// many workers at each end. Both ends, the senders and the receivers share this
// machine's cores: with no more of them than one end's workers, lanes can cost and
// not win. CPU is that of the whole process, TCP included.
func BenchmarkLanes(b *testing.B) {
	for _, n := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("%d workers", n), func(b *testing.B) {
			x, y := enginetest.Native(b, workers(n), aead.AES256GCM)
			const streams, size = 4, 64 << 20
			var l net.Listener
			if err := y.Do(func() (err error) {
				l, err = net.Listen("tcp6", netip.AddrPortFrom(y.Address(), 81).String())
				return err
			}); err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() { io.Copy(io.Discard, c); c.Close() }()
				}
			}()
			b.SetBytes(streams * size)
			cpu := func() time.Duration {
				var r unix.Rusage
				unix.Getrusage(unix.RUSAGE_SELF, &r)
				return time.Duration(r.Utime.Nano() + r.Stime.Nano())
			}
			before, sent := cpu(), 0
			for b.Loop() {
				var wait sync.WaitGroup
				for range streams {
					wait.Go(func() {
						var c net.Conn
						if err := x.Do(func() (err error) {
							c, err = net.DialTimeout("tcp6", l.Addr().String(), 10*time.Second)
							return err
						}); err != nil {
							b.Error(err)
							return
						}
						buf := make([]byte, 1<<20)
						for range size >> 20 {
							c.Write(buf)
						}
						c.(*net.TCPConn).CloseWrite()
						io.Copy(io.Discard, c) // until the other side has read all
						c.Close()
					})
				}
				wait.Wait()
				sent += streams * size
			}
			b.ReportMetric((cpu()-before).Seconds()/float64(sent)*1e9, "cpu-s/GB")
		})
	}
}
