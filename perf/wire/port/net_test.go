package port

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"dssn/internal/need"
	"dssn/perf/wire"
	"dssn/xdp/xdptest"
)

// testWire is a wire between two hosts a and b.
type testWire struct {
	a, b, middle *xdptest.Netns
	*Wire
}

func between(t testing.TB, settings string, mtu int, ordinary bool) *testWire {
	t.Helper()
	need.Root(t)
	need.Tool(t, "ip")
	need.Tool(t, "ethtool")
	s, err := wire.Parse(settings)
	if err != nil {
		t.Fatal(err)
	}
	w := &testWire{a: xdptest.NewNetns(t), b: xdptest.NewNetns(t), middle: xdptest.NewNetns(t).Quiet(t)}
	size := fmt.Sprint(max(mtu, 1500))
	for i, end := range []*xdptest.Netns{w.a, w.b} {
		near, far := []string{"wa", "wb"}[i], []string{"pa", "pb"}[i]
		xdptest.Veth(t, end, near, w.middle, far, "mtu", size)
		w.middle.IP(t, "link", "set", far, "mtu", size)
		if err := end.Try("ethtool", "-K", near, "tx", "off", "gro", "on"); err != nil {
			t.Fatal(err)
		}
		end.IP(t, "addr", "add", fmt.Sprintf("fd00:77::%d/64", i+1), "dev", near, "nodad")
	}
	w.middle.Do(t, func() error {
		w.Wire, err = Open(Options{Interfaces: [2]string{"pa", "pb"}, Settings: [2]wire.Settings{s, s}, MTU: mtu, Ordinary: ordinary})
		return err
	})
	ended := make(chan error, 1)
	go func() { ended <- w.Run() }()
	t.Cleanup(func() {
		w.Stop()
		if err := errors.Join(<-ended, w.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// neighbours lets both ends know each other, so that no discovery is needed
// (nor seen by the tests' counts).
func (w *testWire) neighbours(t testing.TB) {
	t.Helper()
	for i, end := range []*xdptest.Netns{w.a, w.b} {
		other, name := []*xdptest.Netns{w.b, w.a}[i], []string{"wa", "wb"}[i]
		mac := other.MAC(t, []string{"wb", "wa"}[i])
		end.IP(t, "neigh", "replace", fmt.Sprintf("fd00:77::%d", 2-i), "lladdr", net.HardwareAddr(mac[:]).String(), "dev", name, "nud", "permanent")
	}
}

// socket opens a UDP socket inside a host.
func socket(t testing.TB, n *xdptest.Netns, address string, port int) (fd int) {
	t.Helper()
	n.Do(t, func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 16<<20)
		return unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.MustParseAddr(address).As16(), Port: port})
	})
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

const testPort = 5000

var toB = &unix.SockaddrInet6{Addr: netip.MustParseAddr("fd00:77::2").As16(), Port: testPort}

// arrival is one datagram as it came out.
type arrival struct {
	number uint64
	sent   int64 // as the sender wrote
	at     int64 // by the kernel's clock (CLOCK_REALTIME)
}

// listen receives at b until stop is closed.
func (w *testWire) listen(t testing.TB, stop <-chan struct{}) <-chan []arrival {
	fd := socket(t, w.b, "fd00:77::2", testPort)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50000})
	out := make(chan []arrival, 1)
	go func() {
		var got []arrival
		buf, control := make([]byte, 65536), make([]byte, 128)
		for {
			n, cn, _, _, err := unix.Recvmsg(fd, buf, control, 0)
			if err != nil {
				select {
				case <-stop:
					out <- got
					return
				default:
					continue
				}
			}
			if n < 16 {
				continue
			}
			a := arrival{number: binary.BigEndian.Uint64(buf), sent: int64(binary.BigEndian.Uint64(buf[8:]))}
			messages, _ := unix.ParseSocketControlMessage(control[:cn])
			for _, m := range messages {
				if m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
					a.at = (*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Nano()
				}
			}
			got = append(got, a)
		}
	}()
	return out
}

func realtime() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_REALTIME, &ts)
	return ts.Nano()
}

func datagram(number uint64, size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint64(b, number)
	binary.BigEndian.PutUint64(b[8:], uint64(realtime()))
	return b
}

// drained waits until nothing is held any more.
func (w *testWire) drained(t testing.TB) (s [2]Stats) {
	t.Helper()
	for range 500 {
		var err error
		if s, err = w.Stats(); err != nil {
			t.Fatal(err)
		}
		if s[0].Held+s[1].Held == 0 {
			return s
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("frames are still held after five seconds: %+v", s)
	return s
}
