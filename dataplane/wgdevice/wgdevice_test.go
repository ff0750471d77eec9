package wgdevice

import (
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/dataplane"
	"dssn/dataplane/nstest"
)

func newKey(t testing.TB) (private, public dataplane.Key) {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return dataplane.Key(k.Bytes()), dataplane.Key(k.PublicKey().Bytes())
}

// end is one node of a test: its namespace, its engine and its inside address.
type end struct {
	*nstest.Namespace
	*Engine
	public   dataplane.Key
	address  netip.Addr
	endpoint netip.AddrPort
}

// twoEnds are two engines joined by a wire, not yet published.
func twoEnds(t *testing.T) (a, b *end) {
	t.Helper()
	na, nb := nstest.Pair(t, "5f00:d55:1::1/32", "5f00:d55:2::1/32")
	make := func(n *nstest.Namespace, digit int) *end {
		private, public := newKey(t)
		e := &end{
			Namespace: n, public: public,
			address:  netip.MustParseAddr(fmt.Sprintf("3fff:d55:12:7::%d", digit)),
			endpoint: netip.MustParseAddrPort(fmt.Sprintf("[5f00:d55:%d::1]:51820", digit)),
		}
		err := n.Do(func() (err error) {
			e.Engine, err = Open(Options{Interface: "dssn0", PrivateKey: private, ListenPort: 51820})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		n.IP(t, fmt.Sprintf("addr add %v/64 dev dssn0 nodad", e.address))
		return e
	}
	return make(na, 1), make(nb, 2)
}

func (e *end) tables(generation uint64, other *end, meters ...dataplane.Meter) *dataplane.Tables {
	return &dataplane.Tables{
		Generation: generation,
		Peers: []dataplane.Peer{{
			Key: other.public, PresharedKey: dataplane.Key{1, 2, 3}, Endpoint: other.endpoint,
			Allowed: []netip.Prefix{netip.PrefixFrom(other.address, 128)},
		}},
		Meters: meters,
	}
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 128) }

func (e *end) count(id dssn.ReservationID) dataplane.Count {
	for _, c := range e.Counts(nil) {
		if c.Reservation == id {
			return c
		}
	}
	return dataplane.Count{}
}

// eventually waits until ok, for as long as a loaded machine could need.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain until %s", what)
}

// listen opens a UDP socket inside and counts what arrives.
func (e *end) listen(t *testing.T) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	err := e.Do(func() (err error) {
		c, err = net.ListenPacket("udp6", netip.AddrPortFrom(e.address, 9).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func dst(e *end) net.Addr { return net.UDPAddrFromAddrPort(netip.AddrPortFrom(e.address, 9)) }

func TestTwoEnginesCarryPoliceAndCountAlike(t *testing.T) {
	a, b := twoEnds(t)
	// Nothing that could refill a bucket noticeably while the test runs: what
	// passes is the burst, judged by counters.
	const forth, back dssn.ReservationID = 1, 2
	meters := []dataplane.Meter{
		{Reservation: forth, From: host(a.address), To: host(b.address), Rate: dssn.Gbps, Burst: dssn.MiB},
		{Reservation: back, From: host(b.address), To: host(a.address), Rate: 1, Burst: 10 * 1048},
	}
	for _, p := range []struct{ e, other *end }{{a, b}, {b, a}} {
		if err := p.e.Publish(p.e.tables(1, p.other, meters...)); err != nil {
			t.Fatal(err)
		}
	}
	sa, sb := a.listen(t), b.listen(t)

	// The device keeps 128 packets for a session that is not there yet.
	sa.WriteTo(make([]byte, 1000), dst(b))
	eventually(t, "the session stands", func() bool { return b.count(forth).ReceivedPackets == 1 })

	const packets = 200
	for range packets - 1 {
		if _, err := sa.WriteTo(make([]byte, 1000), dst(b)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "B has received all that A sent", func() bool { return b.count(forth).ReceivedPackets == packets })
	sent, received := a.count(forth), b.count(forth)
	if sent.SentPackets != packets || sent.SentBytes != packets*1048 || received.ReceivedBytes != sent.SentBytes || sent.PolicedPackets != 0 {
		t.Errorf("A sent %d packets of 1048 bytes: A counts %+v, B counts %+v", packets, sent, received)
	}

	for range 50 {
		if _, err := sb.WriteTo(make([]byte, 1000), dst(a)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "B's policer has seen 50 packets", func() bool {
		c := b.count(back)
		return c.SentPackets+c.PolicedPackets == 50
	})
	if c := b.count(back); c.SentPackets != 10 || c.PolicedPackets != 40 || c.PolicedBytes != 40*1048 {
		t.Errorf("a burst of ten packets at 1 bit/s: B counts %+v, want 10 sent and 40 policed", c)
	}
	eventually(t, "A has received the ten", func() bool { return a.count(back).ReceivedPackets == 10 })
	if d := b.Drops(); d[dataplane.DropPoliced] != 40 {
		t.Errorf("B's drops are %v, want 40 policed", d)
	}

	// Both ends saw a handshake, and only addresses of the tables were used.
	for _, e := range []*end{a, b} {
		peers := e.Peers(nil)
		if len(peers) != 1 || peers[0].LastHandshake.IsZero() || peers[0].SentBytes == 0 || peers[0].ReceivedBytes == 0 {
			t.Errorf("peers are %+v, want one with a handshake and bytes both ways", peers)
		}
		if o := e.Obtained(); !o.PresharedKey || o.MTU != 1420 {
			t.Errorf("obtained %+v, want a pre-shared key and an MTU of 1420", o)
		}
	}
}

func TestWhatHasNoReservationOrNoPeerIsDroppedByName(t *testing.T) {
	a, b := twoEnds(t)
	if err := a.Publish(a.tables(1, b)); err != nil {
		t.Fatal(err)
	}
	s := a.listen(t)
	before := a.Drops()
	s.WriteTo([]byte("unallocated"), dst(b))
	s.WriteTo([]byte("nobody's"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[3fff:d55:12:7::99]:9")))
	eventually(t, "both drops are named", func() bool {
		d := a.Drops()
		return d[dataplane.DropNoMeter] == before[dataplane.DropNoMeter]+1 && d[dataplane.DropNoPeer] > before[dataplane.DropNoPeer]
	})
}

func TestPublishUnderTrafficKeepsTheSessionAndTheCounts(t *testing.T) {
	a, b := twoEnds(t)
	meter := dataplane.Meter{Reservation: 1, From: host(a.address), To: host(b.address), Rate: dssn.Gbps, Burst: dssn.MiB}
	for _, p := range []struct{ e, other *end }{{a, b}, {b, a}} {
		if err := p.e.Publish(p.e.tables(1, p.other, meter)); err != nil {
			t.Fatal(err)
		}
	}
	s := a.listen(t)
	s.WriteTo(make([]byte, 100), dst(b))
	eventually(t, "the session stands", func() bool { return b.count(1).ReceivedPackets == 1 })
	handshake := a.Peers(nil)[0].LastHandshake

	const generations, each = 50, 20
	extra, _ := newKey(t)
	for g := range generations {
		next := a.tables(uint64(g+2), b, meter)
		if g%2 == 0 { // a third party comes and goes
			next.Peers = append(next.Peers, dataplane.Peer{Key: extra, Endpoint: netip.MustParseAddrPort("[5f00:d55:3::1]:1"),
				Allowed: []netip.Prefix{netip.MustParsePrefix("3fff:d55:99::/48")}})
		}
		for range each {
			s.WriteTo(make([]byte, 100), dst(b))
		}
		if err := a.Publish(next); err != nil {
			t.Fatal(err)
		}
		// The TUN's queue is 500 packets long: give the device time to empty it.
		eventually(t, "the packets of this generation are sent", func() bool { return a.count(1).SentPackets == uint64(1+(g+1)*each) })
		if n := len(a.Peers(nil)); n != 2-g%2 {
			t.Fatalf("after generation %d there are %d peers", g+2, n)
		}
	}
	eventually(t, "every packet arrived", func() bool { return b.count(1).ReceivedPackets == 1+generations*each })
	if c := a.count(1); c.SentPackets != 1+generations*each || c.PolicedPackets != 0 {
		t.Errorf("A counts %+v, want %d sent", c, 1+generations*each)
	}
	if got := a.Peers(nil)[0].LastHandshake; !got.Equal(handshake) {
		t.Errorf("publishing began a new session: handshake at %v, then at %v", handshake, got)
	}
}

func TestABadPublishChangesNothing(t *testing.T) {
	a, b := twoEnds(t)
	good := a.tables(1, b)
	if err := a.Publish(good); err != nil {
		t.Fatal(err)
	}
	bad := a.tables(2, b)
	bad.Peers = append(bad.Peers, bad.Peers[0])
	err := a.Publish(bad)
	if err == nil || !strings.Contains(err.Error(), "twice") {
		t.Fatalf("publishing one peer twice: %v", err)
	}
	if p := a.Peers(nil); len(p) != 1 || p[0].Key != b.public {
		t.Errorf("afterwards the peers are %v", p)
	}
}

func TestChangesOnlySayWhatChanged(t *testing.T) {
	_, k1 := newKey(t)
	_, k2 := newKey(t)
	p := netip.MustParsePrefix
	ep := netip.MustParseAddrPort("[5f00:d55:1::1]:51820")
	one := &dataplane.Tables{Peers: []dataplane.Peer{
		{Key: k1, Endpoint: ep, Allowed: []netip.Prefix{p("3fff:d55:1::/48"), p("3fff:d55:2::/48")}},
	}}
	if in, out := changes(one, one); in != "" || out != "" {
		t.Errorf("nothing changed, yet %q and %q", in, out)
	}
	two := &dataplane.Tables{Peers: []dataplane.Peer{
		{Key: k1, Endpoint: ep, Allowed: []netip.Prefix{p("3fff:d55:1::/48")}},
		{Key: k2, Endpoint: ep, Allowed: []netip.Prefix{p("3fff:d55:2::/48")}},
	}}
	in, out := changes(one, two)
	if want := fmt.Sprintf("public_key=%x\npublic_key=%x\nendpoint=%v\nallowed_ip=3fff:d55:2::/48\n", k1[:], k2[:], ep); in != want || out != "" {
		t.Errorf("a prefix moved: got %q and %q, want %q and nothing", in, out, want)
	}
	if in, out := changes(two, &dataplane.Tables{}); in != "" || strings.Count(out, "remove=true") != 2 {
		t.Errorf("everybody left: got %q and %q", in, out)
	}
}

func TestOpenSaysWhatIsInTheWay(t *testing.T) {
	n := nstest.New(t)
	private, _ := newKey(t)
	err := n.Do(func() error {
		taken, err := net.ListenPacket("udp6", "[::]:51820")
		if err != nil {
			return err
		}
		defer taken.Close()
		e, err := Open(Options{Interface: "dssn0", PrivateKey: private, ListenPort: 51820})
		if err == nil {
			e.Close()
			t.Error("opened on a port that was taken")
		} else if !strings.Contains(err.Error(), "51820") || !strings.Contains(err.Error(), "in use") {
			t.Errorf("the refusal does not name the port: %v", err)
		}
		if _, err := net.InterfaceByName("dssn0"); err == nil {
			t.Error("the interface was left behind")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
