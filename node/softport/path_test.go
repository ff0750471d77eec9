package softport

import (
	"bufio"
	"bytes"
	"fmt"
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

// line is A – router – B, with engines of ours at both ends. The router's link
// to B is what the path MTU depends on.
type line struct {
	a, r, b *nstest.Namespace
	ea, eb  *Engine
}

func newLine(t *testing.T, o Options, linkMTU, farMTU int) *line {
	t.Helper()
	l := &line{a: nstest.New(t), r: nstest.New(t), b: nstest.New(t)}
	nstest.Join(t, l.a, l.r, "wan", "left")
	nstest.Join(t, l.b, l.r, "wan", "right")
	l.r.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	for _, x := range []struct {
		n   *nstest.Namespace
		dev string
		mtu int
	}{{l.a, "wan", linkMTU}, {l.r, "left", linkMTU}, {l.r, "right", farMTU}, {l.b, "wan", farMTU}} {
		x.n.IP(t, fmt.Sprintf("link set %s mtu %d", x.dev, x.mtu))
	}
	l.a.IP(t, "addr add 5f00:d55:1::1/64 dev wan nodad")
	l.r.IP(t, "addr add 5f00:d55:1::2/64 dev left nodad")
	l.r.IP(t, "addr add 5f00:d55:2::2/64 dev right nodad")
	l.b.IP(t, "addr add 5f00:d55:2::1/64 dev wan nodad")
	l.a.IP(t, "-6 route add default via 5f00:d55:1::2")
	l.b.IP(t, "-6 route add default via 5f00:d55:2::2")
	var keys [2][2]dataplane.Key
	for i := range keys {
		keys[i][0], keys[i][1] = enginetest.NewKey(t)
	}
	for i, n := range []*nstest.Namespace{l.a, l.b} {
		mine := o
		mine.Interface, mine.PrivateKey, mine.ListenPort = "dssn0", keys[i][0], 51820
		var e *Engine
		if err := n.Do(func() (err error) { e, err = Open(mine); return err }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		n.IP(t, fmt.Sprintf("addr add 3fff:d55:12:7::%d/64 dev dssn0 nodad", i+1))
		n.IP(t, "link set dssn0 up")
		all := netip.MustParsePrefix("3fff:d55::/32")
		tables := &dataplane.Tables{Generation: 1, Peers: []dataplane.Peer{{
			Key: keys[1-i][1], Endpoint: netip.MustParseAddrPort(fmt.Sprintf("[5f00:d55:%d::1]:51820", 2-i)),
			Allowed: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("3fff:d55:12:7::%d/128", 2-i))},
		}}}
		if o.Plain { // no meters
			p := tables.Peers[0]
			text := fmt.Sprintf("public_key=%x\nendpoint=%v\nallowed_ip=%v\n", p.Key[:], p.Endpoint, p.Allowed[0])
			if err := e.Configure(bufio.NewReader(strings.NewReader(text))); err != nil {
				t.Fatal(err)
			}
		} else {
			tables.Meters = []dataplane.Meter{{Reservation: 1, From: all, To: all, Rate: 1e11, Burst: 1 << 30}}
			if err := e.Publish(tables); err != nil {
				t.Fatal(err)
			}
		}
		if i == 0 {
			l.ea = e
		} else {
			l.eb = e
		}
	}
	return l
}

// hush has the router keep silent about what is too large: a black hole.
func (l *line) hush(t *testing.T) {
	t.Helper()
	l.r.IP(t, "-6 rule add iif lo to 5f00:d55:1::1 pref 1 blackhole")
}

// fits is what A's worker holds packets to, once settled.
func (l *line) fits() (fits, most int) {
	done := make(chan struct{})
	l.ea.control.do(func() {
		for _, p := range l.ea.peers {
			l.ea.threads[0].worker.Do(func() { fits, most = p.lanes[0].Path.Fits, p.lanes[0].Path.Most; close(done) })
		}
	})
	<-done
	return fits, most
}

// tcp sends so many bytes from A to B and waits until they have arrived.
func (l *line) tcp(t *testing.T, n int) {
	t.Helper()
	var listener net.Listener
	if err := l.b.Do(func() (err error) { listener, err = net.Listen("tcp6", "[3fff:d55:12:7::2]:77"); return }); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	got := make(chan int, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			got <- -1
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		sum, buf := 0, make([]byte, 1<<16)
		for {
			k, err := c.Read(buf)
			if sum += k; err != nil {
				got <- sum
				return
			}
		}
	}()
	var c net.Conn
	if err := l.a.Do(func() (err error) {
		c, err = net.DialTimeout("tcp6", "[3fff:d55:12:7::2]:77", 20*time.Second)
		return err
	}); err != nil {
		t.Fatal(err, l.ea.Drops(), l.eb.Drops())
	}
	if _, err := c.Write(bytes.Repeat([]byte{7}, n)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if sum := <-got; sum != n {
		t.Fatalf("%d of %d bytes arrived", sum, n)
	}
}

func TestAPathNarrowerThanTheLinkIsNoBlackHole(t *testing.T) {
	l := newLine(t, Options{MTU: 1420}, 1500, 1400)
	l.hush(t)
	l.tcp(t, 3<<20)
	want := 1400 - growth6
	until(t, "the path MTU", func() bool {
		fits, most := l.fits()
		return fits <= want && fits > want-16 && fits == most
	})
	// Who sends what is too large is told: ping learns the size.
	var said string
	until(t, "word of the size towards the inside", func() bool {
		said, _ = l.a.Run(need.Tool(t, "ping"), "-c1", "-W1", "-s1372", "-Mdo", "3fff:d55:12:7::2")
		return strings.Contains(said, "mtu") || strings.Contains(said, "too long")
	})
	if n := l.ea.Drops()["too_big"]; n == 0 {
		t.Errorf("nothing was dropped as too_big; ping said %s", said)
	}
	l.tcp(t, 1<<20)
}

func TestJumboFramesAreUsedWhereThePathHasThem(t *testing.T) {
	l := newLine(t, Options{MTU: 8920}, 9000, 9000)
	l.tcp(t, 3<<20)
	out, err := l.a.Run(need.Tool(t, "ping"), "-c2", "-s8872", "-Mdo", "3fff:d55:12:7::2")
	if err != nil {
		t.Errorf("a jumbo packet: %v %s", err, out)
	}
	if fits, _ := l.fits(); fits != 0 {
		t.Errorf("packets are held to %d bytes", fits)
	}
	// The far link shrinks, silently: TCP goes on, large packets after a while too.
	l.hush(t)
	l.r.IP(t, "link set right mtu 1500")
	l.tcp(t, 3<<20)
	until(t, "the smaller path to be noticed", func() bool { fits, most := l.fits(); return fits <= 1420 && fits > 1400 && most == fits })
}

// A stock peer answers no probes; what routers say is heard.
func TestWithAStockPeerRoutersAreHeard(t *testing.T) {
	l := newLine(t, Options{MTU: 1420, Plain: true}, 1500, 1400)
	l.tcp(t, 3<<20)
	until(t, "the path MTU", func() bool { fits, most := l.fits(); return fits == 1400-growth6 && most == fits })
	if out, err := l.a.Run(need.Tool(t, "ping"), "-c1", "-W1", "-s1372", "-Mdo", "3fff:d55:12:7::2"); err == nil {
		t.Errorf("a packet larger than the path was carried in fragments: %s", out)
	}
}

// A host with two addresses in one network answers from the one it was asked at.
func TestAnswersLeaveFromTheAddressAsked(t *testing.T) {
	need.Root(t)
	ours := ourselves(t, "chacha")
	for name, theirs := range map[string]daemon{"ours asks": ours, "wireguard-go asks": wireguardGo(t)} {
		t.Run(name, func(t *testing.T) {
			e := connect(t, theirs, ours)
			defer e.stop()
			e.b.IP(t, "addr add fd00::22/64 dev wan nodad")
			e.b.IP(t, "addr add 192.0.2.2/24 dev wan")
			e.b.IP(t, "addr add 192.0.2.22/24 dev wan")
			e.a.IP(t, "addr add 192.0.2.1/24 dev wan")
			for _, address := range []string{"fd00::22", "192.0.2.22", "192.0.2.2"} {
				key, err := e.a.Run("wg", "show", e.ifA, "peers")
				if err != nil {
					t.Fatal(err)
				}
				endpoint := net.JoinHostPort(address, "51820")
				if out, err := e.a.Run("wg", "set", e.ifA, "peer", strings.TrimSpace(key), "endpoint", endpoint); err != nil {
					t.Fatal(err, out)
				}
				e.echo(t)
				// A roaming peer would follow an answer from elsewhere.
				if now, _ := e.a.Run("wg", "show", e.ifA, "endpoints"); !strings.HasSuffix(strings.TrimSpace(now), endpoint) {
					t.Errorf("asked at %s, answered from %s", endpoint, now)
				}
			}
			// The address goes: what is sent next leaves from another.
			e.b.Sysctl(t, "net/ipv4/conf/wan/promote_secondaries", "1")
			e.b.IP(t, "addr del 192.0.2.2/24 dev wan")
			until(t, "an answer to what left from another address", func() bool {
				_, err := e.b.Run(need.Tool(t, "ping"), "-c1", "-W1", "10.9.0.1")
				return err == nil
			})
		})
	}
}
