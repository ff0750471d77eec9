// Package enginetest is the suite that every dataplane.Engine passes, alone and
// opposite any other: tunnels between two network namespaces that carry,
// police, count and survive publishing.
package enginetest

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/dataplane"
	"dssn/dataplane/nstest"
)

// Open opens an engine on a TUN of this name, in the namespace of the calling
// thread, with an MTU of 1420.
type Open func(name string, private dataplane.Key, port uint16) (dataplane.Engine, error)

// Run runs the suite with an engine opened by each function at either end.
func Run(t *testing.T, openA, openB Open) {
	for name, test := range map[string]func(*testing.T, *End, *End){
		"two engines carry, police and count alike":                 carryPoliceAndCount,
		"what has no reservation or no peer is dropped by name":     dropByName,
		"publishing under traffic keeps the session and the counts": publishUnderTraffic,
		"a bad publish changes nothing":                             badPublish,
		"TCP carries every byte both ways":                          tcpBothWays,
	} {
		t.Run(name, func(t *testing.T) {
			a, b := Two(t, openA, openB)
			test(t, a, b)
		})
	}
}

// NewKey draws a key pair.
func NewKey(t testing.TB) (private, public dataplane.Key) {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return dataplane.Key(k.Bytes()), dataplane.Key(k.PublicKey().Bytes())
}

// End is one node of a test: its namespace, its engine and its inside address.
type End struct {
	*nstest.Namespace
	dataplane.Engine
	public   dataplane.Key
	address  netip.Addr
	endpoint netip.AddrPort
}

// Two opens two engines joined by a wire, not yet published.
func Two(t testing.TB, openA, openB Open) (a, b *End) {
	t.Helper()
	na, nb := nstest.Pair(t, "5f00:d55:1::1/32", "5f00:d55:2::1/32")
	make := func(n *nstest.Namespace, digit int, open Open) *End {
		private, public := NewKey(t)
		e := &End{
			Namespace: n, public: public,
			address:  netip.MustParseAddr(fmt.Sprintf("3fff:d55:12:7::%d", digit)),
			endpoint: netip.MustParseAddrPort(fmt.Sprintf("[5f00:d55:%d::1]:51820", digit)),
		}
		err := n.Do(func() (err error) {
			e.Engine, err = open("dssn0", private, 51820)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		n.IP(t, fmt.Sprintf("addr add %v/64 dev dssn0 nodad", e.address))
		return e
	}
	return make(na, 1, openA), make(nb, 2, openB)
}

// WorkerPort is the UDP port of an engine's worker with this number, the first
// one's being port. Engines with several workers are opened so.
func WorkerPort(port uint16, worker int) uint16 { return port + 4*uint16(worker) }

// lanesTo are one for each pair of workers where both engines have more than one
// or ours has: none to a stock peer.
func (e *End) lanesTo(other *End) (lanes []dataplane.Lane) {
	ours, theirs := e.Obtained().Workers, other.Obtained().Workers
	if ours == 0 || theirs == 0 || ours*theirs == 1 {
		return nil // an engine that knows no lanes, or nothing to choose
	}
	for k := range max(ours, theirs) {
		to := netip.AddrPortFrom(other.endpoint.Addr(), WorkerPort(other.endpoint.Port(), k%theirs))
		lanes = append(lanes, dataplane.Lane{Worker: k % ours, Endpoint: to})
	}
	return lanes
}

func (e *End) tables(generation uint64, other *End, meters ...dataplane.Meter) *dataplane.Tables {
	return &dataplane.Tables{
		Generation: generation,
		Peers: []dataplane.Peer{{
			Key: other.public, PresharedKey: dataplane.Key{1, 2, 3}, Endpoint: other.endpoint, Lanes: e.lanesTo(other),
			Allowed: []netip.Prefix{netip.PrefixFrom(other.address, 128)},
		}},
		Meters: meters,
	}
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 128) }

func (e *End) count(id dssn.ReservationID) dataplane.Count {
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
func (e *End) listen(t *testing.T) net.PacketConn {
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

func dst(e *End) net.Addr { return net.UDPAddrFromAddrPort(netip.AddrPortFrom(e.address, 9)) }

func carryPoliceAndCount(t *testing.T, a, b *End) {
	// Nothing that could refill a bucket noticeably while the test runs: what
	// passes is the burst, judged by counters.
	const forth, back dssn.ReservationID = 1, 2
	meters := []dataplane.Meter{
		{Reservation: forth, From: host(a.address), To: host(b.address), Rate: dssn.Gbps, Burst: dssn.MiB},
		{Reservation: back, From: host(b.address), To: host(a.address), Rate: 1, Burst: 10 * 1048},
	}
	for _, p := range []struct{ e, other *End }{{a, b}, {b, a}} {
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
	for _, e := range []*End{a, b} {
		peers := e.Peers(nil)
		if len(peers) != 1 || peers[0].LastHandshake.IsZero() || peers[0].SentBytes == 0 || peers[0].ReceivedBytes == 0 {
			t.Errorf("peers are %+v, want one with a handshake and bytes both ways", peers)
		}
		if o := e.Obtained(); !o.PresharedKey || o.MTU != 1420 {
			t.Errorf("obtained %+v, want a pre-shared key and an MTU of 1420", o)
		}
	}
}

func dropByName(t *testing.T, a, b *End) {
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

func publishUnderTraffic(t *testing.T, a, b *End) {
	meter := dataplane.Meter{Reservation: 1, From: host(a.address), To: host(b.address), Rate: dssn.Gbps, Burst: dssn.MiB}
	for _, p := range []struct{ e, other *End }{{a, b}, {b, a}} {
		if err := p.e.Publish(p.e.tables(1, p.other, meter)); err != nil {
			t.Fatal(err)
		}
	}
	s := a.listen(t)
	s.WriteTo(make([]byte, 100), dst(b))
	eventually(t, "the session stands", func() bool { return b.count(1).ReceivedPackets == 1 })
	handshake := a.Peers(nil)[0].LastHandshake

	const generations, each = 50, 20
	extra, _ := NewKey(t)
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

func badPublish(t *testing.T, a, b *End) {
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

// tcpBothWays sends more than any buffer holds in both directions at once.
func tcpBothWays(t *testing.T, a, b *End) {
	meters := []dataplane.Meter{
		{Reservation: 1, From: host(a.address), To: host(b.address), Rate: 400 * dssn.Gbps, Burst: 64 * dssn.MiB},
		{Reservation: 2, From: host(b.address), To: host(a.address), Rate: 400 * dssn.Gbps, Burst: 64 * dssn.MiB},
	}
	for _, p := range []struct{ e, other *End }{{a, b}, {b, a}} {
		if err := p.e.Publish(p.e.tables(1, p.other, meters...)); err != nil {
			t.Fatal(err)
		}
	}
	var l net.Listener
	if err := b.Do(func() (err error) {
		l, err = net.Listen("tcp6", netip.AddrPortFrom(b.address, 80).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const size = 24 << 20
	results := make(chan error, 4)
	serve := func(c net.Conn, mine, theirs uint64) {
		go func() { results <- write(c, mine, size) }()
		go func() { results <- read(c, theirs, size) }()
	}
	go func() {
		c, err := l.Accept()
		if err != nil {
			results <- err
			return
		}
		serve(c, 2, 1)
	}()
	if err := a.Do(func() error {
		c, err := net.DialTimeout("tcp6", l.Addr().String(), 10*time.Second)
		if err == nil {
			serve(c, 1, 2)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		select {
		case err := <-results:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(60 * time.Second):
			t.Fatal("the transfer hangs")
		}
	}
	for _, r := range []dssn.ReservationID{1, 2} {
		from, to := a, b
		if r == 2 {
			from, to = b, a
		}
		if s := from.count(r); s.SentBytes < size || s.PolicedPackets != 0 {
			t.Errorf("reservation %d: counted %+v for %d bytes of data", r, s, size)
		}
		if s, c := from.count(r), to.count(r); c.ReceivedBytes > s.SentBytes || c.ReceivedBytes < size {
			t.Errorf("reservation %d: sent %d, received %d", r, s.SentBytes, c.ReceivedBytes)
		}
	}
}

// write sends n bytes that only seed determines; read expects them.
func write(c net.Conn, seed uint64, n int) error {
	b := make([]byte, 1<<16)
	for at := 0; at < n; at += len(b) {
		fill(b, seed, at)
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func read(c net.Conn, seed uint64, n int) error {
	b, want := make([]byte, 1<<16), make([]byte, 1<<16)
	for at := 0; at < n; at += len(b) {
		if _, err := io.ReadFull(c, b); err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", at, n, err)
		}
		if fill(want, seed, at); !bytes.Equal(b, want) {
			return fmt.Errorf("a byte after %d differs from what was sent", at)
		}
	}
	return nil
}

func fill(b []byte, seed uint64, at int) {
	x := seed*0x9e3779b97f4a7c15 + uint64(at)
	for i := 0; i < len(b); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[i:], x)
	}
}
