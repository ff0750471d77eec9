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

	"dssn"
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
	return sitesOf(t, frames, 1, 1)
}

// sitesOf is sites with links of so many queues and with so many workers at the first
// end, who are the other's stock peer, as the other is theirs.
func sitesOf(t *testing.T, frames [2]bool, queues, workers int) (s [2]*site) {
	t.Helper()
	return sitesWith(t, queues, func(i int, private dataplane.Key) Options {
		o := Options{Interface: "wg0", MTU: 1420, Plain: true, PrivateKey: private, ListenPort: 51820}
		if i == 0 {
			o.Ports = make([]uint16, workers-1)
		}
		if frames[i] {
			o.Frames = FrameLinks{LAN: "lan", WAN: "wan"}
		}
		return o
	}, func(i int, e *Engine, other dataplane.Key) error {
		text := ""
		if i == 0 && workers > 1 { // somebody who never comes has the first worker
			text = fmt.Sprintf("public_key=%x\n", [32]byte{9})
		}
		text += fmt.Sprintf("public_key=%x\nendpoint=[5f00:d55::%d]:51820\nallowed_ip=3fff:d55:%d::/64\n", other[:], 2-i, 2-i)
		return e.Configure(bufio.NewReader(strings.NewReader(text)))
	})
}

// sitesWith is sites with links of so many queues, with engines as options say and set up by
// configure, which is told the other end's key.
func sitesWith(t *testing.T, queues int, options func(i int, private dataplane.Key) Options, configure func(i int, e *Engine, other dataplane.Key) error) (s [2]*site) {
	t.Helper()
	need.Tool(t, "ethtool")
	for i := range s {
		s[i] = &site{host: nstest.New(t), router: nstest.New(t), address: fmt.Sprintf("3fff:d55:%d::2", i+1)}
		nstest.JoinQueues(t, s[i].host, s[i].router, "lan", "lan", queues)
		s[i].router.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
		s[i].router.IP(t, fmt.Sprintf("addr add 3fff:d55:%d::1/64 dev lan nodad", i+1))
		s[i].host.IP(t, fmt.Sprintf("addr add %s/64 dev lan nodad", s[i].address))
		s[i].host.IP(t, fmt.Sprintf("-6 route add default via 3fff:d55:%d::1", i+1))
		// A veth leaves checksums to the receiver; a NIC would have completed them.
		if _, err := s[i].host.Run("ethtool", "-K", "lan", "tx", "off"); err != nil {
			t.Fatal(err)
		}
	}
	nstest.JoinQueues(t, s[0].router, s[1].router, "wan", "wan", queues)
	var keys [2][2]dataplane.Key
	for i := range s {
		s[i].router.IP(t, fmt.Sprintf("addr add 5f00:d55::%d/64 dev wan nodad", i+1))
		keys[i][0], keys[i][1] = enginetest.NewKey(t)
	}
	for i, x := range s {
		o := options(i, keys[i][0])
		if err := x.router.Do(func() (err error) { x.engine, err = Open(o); return err }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { x.engine.Close() })
		x.router.IP(t, "link set wg0 up")
		x.router.IP(t, fmt.Sprintf("-6 route add 3fff:d55:%d::/64 dev wg0", 2-i))
		if err := configure(i, x.engine, keys[1-i][1]); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// datagrams is how many the router's sockets have sent and received.
func (s *site) datagrams(t *testing.T) (sum int) {
	t.Helper()
	out, err := s.router.Run("cat", "/proc/self/net/snmp6")
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
			until(t, "both directions to be carried as frames", func() bool {
				lan0, wan0, _ := s[0].engine.frames.ports.Directed()
				before := s[0].datagrams(t)
				transfer(t, s[0].host, s[1].host, s[1].address, 1<<20)
				lan, wan, _ := s[0].engine.frames.ports.Directed()
				return lan-lan0 > 400 && wan-wan0 > 20 && s[0].datagrams(t)-before < 20
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
		err := x.ns.Do(func() error { _, err := TryFrames(x.links, 1); return err })
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := a.Do(func() error {
		got, err := TryFrames(FrameLinks{WAN: "wan"}, 1)
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

// A router with several workers, each with a queue of both links, opposite a stock peer: the
// peer is the second worker's, who has frames for what comes by its queue, and the
// kernel's ports for the rest.
func TestFramesOfSeveralWorkersCarryAStockPeer(t *testing.T) {
	s := sitesOf(t, [2]bool{true, true}, 3, 3)
	if got := s[0].engine.Obtained().Outside; !strings.Contains(got, "AF_XDP on queues 0 to 2 of lan and wan") {
		t.Errorf("obtained %q", got)
	}
	var before, after uint64
	until(t, "frames and the kernel's ports to share the work", func() bool {
		lan0, wan0, else0 := s[0].engine.frames.ports.Directed()
		for range 8 { // by other ports each time, and so by other queues
			transfer(t, s[0].host, s[1].host, s[1].address, 1<<17)
			transfer(t, s[1].host, s[0].host, s[0].address, 1<<17)
		}
		lan, wan, elsewhere := s[0].engine.frames.ports.Directed()
		before, after = lan0, lan
		return lan > lan0 && wan >= wan0 && elsewhere > else0
	})
	t.Logf("%d packets came as frames", after-before)
	for name, n := range s[0].engine.Drops() {
		if n > 0 && name != "no_peer" && name != "no_session" {
			t.Errorf("%d dropped as %s", n, name)
		}
	}
}

// Between native routers each worker has its queues, its port and its lane, and the flows of
// the hosts behind them are shared among the queues from end to end: nothing passes
// through a socket, and nothing comes by another queue than its worker's.
func TestLanesByFramesUseAllQueues(t *testing.T) {
	const workers, port = 3, 51820
	s := sitesWith(t, workers, func(i int, private dataplane.Key) Options {
		o := Options{Interface: "wg0", MTU: 1420, PrivateKey: private, ListenPort: port, Frames: FrameLinks{LAN: "lan", WAN: "wan"}}
		for k := 1; k < workers; k++ {
			o.Ports = append(o.Ports, enginetest.WorkerPort(port, k))
		}
		return o
	}, func(i int, e *Engine, other dataplane.Key) error {
		p := dataplane.Peer{Key: other, Allowed: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("3fff:d55:%d::/64", 2-i))}}
		for k := range workers {
			to := netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("5f00:d55::%d", 2-i)), enginetest.WorkerPort(port, k))
			p.Lanes = append(p.Lanes, dataplane.Lane{Worker: k, Endpoint: to})
		}
		here, there := netip.MustParsePrefix("3fff:d55:1::/64"), netip.MustParsePrefix("3fff:d55:2::/64")
		return e.Publish(&dataplane.Tables{Generation: 1, Peers: []dataplane.Peer{p}, Meters: []dataplane.Meter{
			{Reservation: 1, From: here, To: there, Rate: 100 * dssn.Gbps, Burst: 64 * dssn.MiB},
			{Reservation: 2, From: there, To: here, Rate: 100 * dssn.Gbps, Burst: 64 * dssn.MiB},
		}})
	})
	for i, x := range s {
		if got := x.engine.Obtained().Outside; !strings.Contains(got, "AF_XDP on queues 0 to 2 of lan and wan") {
			t.Errorf("end %d obtained %q", i, got)
		}
	}
	sent := func() (all []uint64) {
		s[0].engine.control.do(func() {
			for _, l := range s[0].engine.peers[s[0].engine.order[0]].lanes {
				all = append(all, l.SentBytes.Load())
			}
		})
		return all
	}
	var shares []uint64
	until(t, "all lanes to carry frames and no socket any", func() bool {
		before, datagrams := sent(), s[0].datagrams(t)
		_, _, else0 := s[0].engine.frames.ports.Directed()
		for range 16 { // by other ports each time, and so by other queues
			transfer(t, s[0].host, s[1].host, s[1].address, 1<<17)
		}
		_, _, elsewhere := s[0].engine.frames.ports.Directed()
		shares = sent()
		busy := 0
		for k := range shares {
			if shares[k] -= before[k]; shares[k] > 1<<17 {
				busy++
			}
		}
		return busy == workers && s[0].datagrams(t)-datagrams < 20 && elsewhere == else0
	})
	t.Logf("bytes by lane: %v", shares)
	for i, x := range s {
		for name, n := range x.engine.Drops() {
			if n > 0 && name != "no_peer" && name != "no_session" && name != "no_meter" {
				t.Errorf("end %d: %d dropped as %s", i, n, name)
			}
		}
	}
}
