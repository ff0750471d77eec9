package port

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
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
	elsewhere func() ([2]Stats, error) // the wire is another process's: how to ask it
}

// Stats asks the wire, wherever it runs.
func (w *testWire) Stats() ([2]Stats, error) {
	if w.elsewhere != nil {
		return w.elsewhere()
	}
	return w.Wire.Stats()
}

func between(t testing.TB, settings string, mtu int, ordinary bool) *testWire {
	t.Helper()
	s, err := wire.Parse(settings)
	if err != nil {
		t.Fatal(err)
	}
	w := hosts(t, mtu)
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

// apart is between with the wire in a process of its own, as in a lab: the Go
// runtime stops all goroutines of a process to collect garbage, and a wire beside
// a busy sender would stand still until the sender's thread gets a core.
func apart(b *testing.B, settings string) *testWire {
	b.Helper()
	w := hosts(b, 1500)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"="+settings, "GOGC=400")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	w.middle.Start(b, cmd)
	answers := json.NewDecoder(out)
	w.elsewhere = func() (s [2]Stats, err error) {
		if _, err := fmt.Fprintln(in, "stats"); err != nil {
			return s, err
		}
		return s, answers.Decode(&s)
	}
	if _, err := w.Stats(); err != nil { // it stands
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return w
}

// helperVariable has the settings of the wire that a helper process shall be.
const helperVariable = "DSSN_TEST_WIRE"

func TestMain(m *testing.M) {
	settings, helper := os.LookupEnv(helperVariable)
	if !helper {
		os.Exit(m.Run())
	}
	if err := serve(settings); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve is the helper: a wire that answers with its figures whatever line it reads.
func serve(settings string) error {
	s, err := wire.Parse(settings)
	if err != nil {
		return err
	}
	w, err := Open(Options{Interfaces: [2]string{"pa", "pb"}, Settings: [2]wire.Settings{s, s}})
	if err != nil {
		return err
	}
	go w.Run()
	answers := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		s, err := w.Stats()
		if err != nil {
			return err
		}
		if err := answers.Encode(s); err != nil {
			return err
		}
	}
	w.Stop()
	return w.Close()
}

// hosts makes two hosts and, between them, a namespace with the ports pa and pb.
func hosts(t testing.TB, mtu int) *testWire {
	t.Helper()
	need.Root(t)
	need.Tool(t, "ip")
	need.Tool(t, "ethtool")
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
