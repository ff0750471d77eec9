package softport

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dssn/dataplane"
	"dssn/dataplane/enginetest"
	"dssn/dataplane/nstest"
	"dssn/internal/need"
)

// site is a router with frames and a host behind it.
type site struct {
	host, router *nstest.Namespace
	engine       *Engine
	address      string
}

// sites builds host – router – router – host; each router is made by open, in its
// namespace, with its links lan and wan.
func sites(t *testing.T, frames [2]bool) (s [2]*site) {
	t.Helper()
	need.Tool(t, "ethtool")
	for i := range s {
		s[i] = &site{host: nstest.New(t), router: nstest.New(t), address: fmt.Sprintf("3fff:d55:%d::2", i+1)}
		nstest.Join(t, s[i].host, s[i].router, "lan", "lan")
		s[i].router.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
		s[i].router.IP(t, fmt.Sprintf("addr add 3fff:d55:%d::1/64 dev lan nodad", i+1))
		s[i].host.IP(t, fmt.Sprintf("addr add %s/64 dev lan nodad", s[i].address))
		s[i].host.IP(t, fmt.Sprintf("-6 route add default via 3fff:d55:%d::1", i+1))
		// A veth leaves checksums to the receiver; a NIC would have completed them.
		if _, err := s[i].host.Run("ethtool", "-K", "lan", "tx", "off"); err != nil {
			t.Fatal(err)
		}
	}
	nstest.Join(t, s[0].router, s[1].router, "wan", "wan")
	var keys [2][2]dataplane.Key
	for i := range s {
		s[i].router.IP(t, fmt.Sprintf("addr add 5f00:d55::%d/64 dev wan nodad", i+1))
		keys[i][0], keys[i][1] = enginetest.NewKey(t)
	}
	for i, x := range s {
		o := Options{Interface: "wg0", MTU: 1420, Plain: true, PrivateKey: keys[i][0], ListenPort: 51820}
		if frames[i] {
			o.Frames = FrameLinks{LAN: "lan", WAN: "wan"}
		}
		if err := x.router.Do(func() (err error) { x.engine, err = Open(o); return err }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { x.engine.Close() })
		x.router.IP(t, "link set wg0 up")
		x.router.IP(t, fmt.Sprintf("-6 route add 3fff:d55:%d::/64 dev wg0", 2-i))
		text := fmt.Sprintf("public_key=%x\nendpoint=[5f00:d55::%d]:51820\nallowed_ip=3fff:d55:%d::/64\n", keys[1-i][1][:], 2-i, 2-i)
		if err := x.engine.Configure(bufio.NewReader(strings.NewReader(text))); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Hosts behind routers with frames, or one with and one without, reach each
// other; what can goes by AF_XDP, and the kernel has the rest.
func TestFramesCarryBetweenHosts(t *testing.T) {
	for name, frames := range map[string][2]bool{"both": {true, true}, "one end": {true, false}} {
		t.Run(name, func(t *testing.T) {
			s := sites(t, frames)
			ping := need.Tool(t, "ping")
			until(t, "an answer to a ping", func() bool {
				_, err := s[0].host.Run(ping, "-c1", "-W1", s[1].address)
				return err == nil
			})
			// Neighbours are known soon; then nothing goes through the socket.
			socket := func() (sum int) {
				out, err := s[0].router.Run("cat", "/proc/self/net/snmp6")
				if err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(out) {
					var n int
					if f := strings.Fields(line); f[0] == "Udp6InDatagrams" || f[0] == "Udp6OutDatagrams" {
						fmt.Sscan(f[1], &n)
						sum += n
					}
				}
				return sum
			}
			until(t, "both directions to be carried as frames", func() bool {
				lan0, wan0 := s[0].engine.frames.ports.Directed()
				before := socket()
				transfer(t, s[0].host, s[1].host, s[1].address, 1<<20)
				lan, wan := s[0].engine.frames.ports.Directed()
				return lan-lan0 > 400 && wan-wan0 > 20 && socket()-before < 20
			})
			if got := s[0].engine.Obtained().Outside; !strings.Contains(got, "AF_XDP on queue 0 of lan and wan") {
				t.Errorf("obtained %q", got)
			}
			// The router's own address answers, through the kernel.
			if out, err := s[0].host.Run(ping, "-c1", "-W2", "3fff:d55:2::1"); err != nil {
				t.Errorf("the far router does not answer: %v %s", err, out)
			}
			// A packet too large for the tunnel: its sender is told.
			until(t, "word that a packet was too large", func() bool {
				out, _ := s[0].host.Run(ping, "-c1", "-W1", "-s1452", "-Mdo", s[1].address)
				return strings.Contains(out, "mtu=1420") || strings.Contains(out, "mtu: 1420") || strings.Contains(out, "too long")
			})
			// And the last hop limit is the kernel's to answer for.
			out, _ := s[0].host.Run(ping, "-c1", "-W2", "-t1", s[1].address)
			if !strings.Contains(out, "Time exceeded") {
				t.Errorf("a hop limit of one: %s", out)
			}
			for name, n := range s[0].engine.Drops() {
				if n > 0 && name != "too_big" && name != "no_peer" {
					t.Errorf("%d dropped as %s", n, name)
				}
			}
		})
	}
}

// transfer sends n bytes by TCP and waits until they have come.
func transfer(t *testing.T, from, to *nstest.Namespace, address string, n int) {
	t.Helper()
	var l net.Listener
	if err := to.Do(func() (err error) { l, err = net.Listen("tcp6", "[::]:0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan int64, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- -1
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(30 * time.Second))
		k, _ := io.Copy(io.Discard, c)
		got <- k
	}()
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	if err := from.Do(func() error {
		c, err := net.DialTimeout("tcp6", fmt.Sprintf("[%s]:%d", address, port), 10*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(make([]byte, n))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if k := <-got; k != int64(n) {
		t.Fatalf("%d of %d bytes came", k, n)
	}
}

func TestFramesRefuseWhatCannotBe(t *testing.T) {
	n := nstest.New(t)
	a, b := nstest.Pair(t, "fd00::1/64", "fd00::2/64")
	_ = b
	for name, x := range map[string]struct {
		ns    *nstest.Namespace
		links FrameLinks
		want  string
	}{
		"no WAN":         {a, FrameLinks{LAN: "wan"}, "no WAN"},
		"one link twice": {a, FrameLinks{LAN: "wan", WAN: "wan"}, "two links"},
		"no such link":   {a, FrameLinks{WAN: "nowhere"}, "nowhere"},
		"no Ethernet":    {n, FrameLinks{WAN: "lo"}, "no Ethernet"},
	} {
		err := x.ns.Do(func() error { _, err := TryFrames(x.links); return err })
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := a.Do(func() error {
		got, err := TryFrames(FrameLinks{WAN: "wan"})
		if err == nil && !strings.Contains(got, "AF_XDP on queue 0 of wan") {
			t.Errorf("obtained %q", got)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if out, err := a.Run("ip", "link", "show", "wan"); err != nil || strings.Contains(out, "xdp") {
		t.Errorf("a program was left on the link: %s", out)
	}
}
