package worker_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"dssn"
	"dssn/dataplane"
	"dssn/dataplane/aead"
	"dssn/dataplane/fib"
	"dssn/dataplane/meter"
	"dssn/dataplane/packet"
	"dssn/dataplane/porttest"
	"dssn/dataplane/session"
	"dssn/dataplane/worker"
)

// node is a worker on memory ports, with a session that needed no handshake.
type node struct {
	*worker.Worker
	inside   *porttest.Inside
	outside  *porttest.Outside
	peer     *session.Peer
	session  *session.Session
	registry *meter.Registry
	wants    int
	hellos   int
	proved   int
	full     bool
}

func (n *node) Handshake([]byte, netip.AddrPort) bool { n.hellos++; return !n.full }
func (n *node) Want(*session.Peer)                    { n.wants++ }
func (n *node) Confirmed(*session.Session)            { n.proved++ }

var (
	addrA = netip.MustParseAddr("3fff:d55::a")
	addrB = netip.MustParseAddr("3fff:d55::b")
	wanA  = netip.MustParseAddrPort("[5f00:d55:1::1]:1")
	wanB  = netip.MustParseAddrPort("[5f00:d55:2::1]:2")
)

const t0 = time.Second

// newNode makes the end that a is; b is the other.
func newNode(t testing.TB, suite aead.Suite, a, b netip.Addr, wanOther netip.AddrPort, rate dssn.Bandwidth) *node {
	t.Helper()
	n := &node{inside: &porttest.Inside{}, outside: &porttest.Outside{}, registry: meter.NewRegistry(1)}
	n.Worker = worker.New(worker.Options{Inside: n.inside, Outside: n.outside, Control: n, Wake: func() {}})
	n.peer = &session.Peer{Key: dataplane.Key{1}}
	n.peer.MoveTo(wanOther)
	all := netip.MustParsePrefix("3fff:d55::/32")
	n.Publish(&worker.Tables{
		Routes: fib.New([]fib.Entry[*session.Lanes]{{Prefix: netip.PrefixFrom(b, 128), Value: lanes(n.peer)}}),
		Meters: n.registry.Compile(t0, []dataplane.Meter{{Reservation: 1, From: all, To: all, Rate: rate, Burst: 1 << 30}}),
		MTU:    1420,
	})
	n.poll(t, t0)
	return n
}

// lanes are those of one peer, all the first worker's.
func lanes(own ...*session.Peer) *session.Lanes {
	return &session.Lanes{Key: own[0].Key, By: [][]*session.Peer{own}}
}

func (n *node) poll(t testing.TB, now time.Duration) {
	t.Helper()
	for {
		busy, err := n.Poll(now)
		if err != nil {
			t.Fatal(err)
		}
		if !busy {
			return
		}
	}
}

func (n *node) install(t testing.TB, k session.Keys) {
	t.Helper()
	s, err := session.New(n.peer, &k)
	if err != nil {
		t.Fatal(err)
	}
	n.session = s
	n.Do(func() { n.Install(s, k.Initiator) })
	n.poll(t, t0)
	n.outside.Out = nil // the first keepalive
}

// pair are two ends of one session; a began it.
func pair(t testing.TB, suite aead.Suite) (a, b *node) {
	t.Helper()
	a = newNode(t, suite, addrA, addrB, wanB, 400*dssn.Gbps)
	b = newNode(t, suite, addrB, addrA, wanA, 400*dssn.Gbps)
	k1, k2 := [32]byte{1}, [32]byte{2}
	a.install(t, session.Keys{Suite: suite, Send: k1, Receive: k2, Local: 10, Remote: 20, Created: t0, Initiator: true})
	b.install(t, session.Keys{Suite: suite, Send: k2, Receive: k1, Local: 20, Remote: 10, Created: t0})
	return a, b
}

// carry moves what a sent to b.
func carry(t testing.TB, a, b *node, now time.Duration) {
	t.Helper()
	a.poll(t, now)
	for _, d := range a.outside.Out {
		b.outside.In = append(b.outside.In, porttest.Datagram{Data: d.Data, Peer: wanA})
	}
	a.outside.Out = nil
	b.poll(t, now)
}

// udp is a packet with n bytes of payload that random determines.
func udp(src, dst netip.Addr, n int, r *rand.Rand) []byte {
	p := make([]byte, 48+n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	p[0], p[1], p[2], p[3], p[6], p[7] = 0x60, 0, 0, 0, packet.UDP, 64
	binary.BigEndian.PutUint16(p[4:], uint16(8+n))
	copy(p[8:], src.AsSlice())
	copy(p[24:], dst.AsSlice())
	binary.BigEndian.PutUint16(p[44:], uint16(8+n))
	checksum(p)
	return p
}

// tcp is a packet of one flow.
func tcp(src, dst netip.Addr, seq uint32, n int) []byte {
	p := make([]byte, 72+n)
	p[0], p[6], p[7] = 0x60, packet.TCP, 64
	binary.BigEndian.PutUint16(p[4:], uint16(32+n))
	copy(p[8:], src.AsSlice())
	copy(p[24:], dst.AsSlice())
	copy(p[40:], []byte{1, 2, 3, 4})
	binary.BigEndian.PutUint32(p[44:], seq)
	p[52], p[53] = 8<<4, 0x10
	for i := range n {
		p[72+i] = byte(seq + uint32(i))
	}
	checksum(p)
	return p
}

// checksum completes the transport checksum of an IPv6 packet.
func checksum(p []byte) {
	at := 40 + 6
	if p[6] == packet.TCP {
		at = 40 + 16
	}
	p[at], p[at+1] = 0, 0
	sum := ^packet.Fold(packet.Sum(p[40:], packet.PseudoSum(p[8:24], p[24:40], p[6], len(p)-40)))
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(p[at:], sum)
}

func (n *node) dropped(name string) uint64 {
	m := map[string]uint64{}
	n.Drops(m)
	return m[name]
}

func (n *node) droppedInAll() (sum uint64) {
	m := map[string]uint64{}
	n.Drops(m)
	for _, v := range m {
		sum += v
	}
	return sum
}

// Everything that goes in at one end comes out at the other, byte for byte and
// in order, or is counted as dropped: for every suite, every mix of sizes and
// protocols, with and without offload.
func TestNoPacketIsLostDoubledOrChanged(t *testing.T) {
	for _, suite := range []aead.Suite{aead.ChaCha20Poly1305, aead.AES256GCM} {
		for seed := range uint64(40) {
			r := rand.New(rand.NewPCG(seed, 9))
			a, b := pair(t, suite)
			var want [][]byte
			seq := uint32(0)
			for range 200 {
				var x porttest.Packet
				switch r.IntN(4) {
				case 0:
					x.Data = udp(addrA, addrB, r.IntN(1373), r)
				case 1:
					n := 1 + r.IntN(1300)
					x.Data = tcp(addrA, addrB, seq, n)
					seq += uint32(n)
				case 2: // a large TCP packet
					n := 2000 + r.IntN(60000)
					x.Data = tcp(addrA, addrB, seq, n)
					seq += uint32(n)
					x.Offload = packet.Offload{NeedsChecksum: true, GSO: packet.GSOTCP6, SegmentSize: 1348, ChecksumStart: 40, ChecksumOffset: 16}
				case 3: // a large UDP packet
					x.Data = udp(addrA, addrB, 2000+r.IntN(50000), r)
					x.Offload = packet.Offload{NeedsChecksum: true, GSO: packet.GSOUDP, SegmentSize: 1372, ChecksumStart: 40, ChecksumOffset: 6}
				}
				a.inside.In = append(a.inside.In, x)
				want = append(want, porttest.CutUp(x)...)
			}
			carry(t, a, b, t0+time.Millisecond)
			got := b.inside.Packets()
			if len(got) != len(want) {
				t.Fatalf("suite %v, seed %d: %d packets in, %d out, %d and %d dropped", suite, seed, len(want), len(got), a.droppedInAll(), b.droppedInAll())
			}
			for i := range got {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("suite %v, seed %d: packet %d of %d was changed:\n%x\n%x", suite, seed, i, len(want), got[i], want[i])
				}
			}
			sent, received := a.registry.Counts(nil)[0], b.registry.Counts(nil)[0]
			if sent.SentPackets != uint64(len(want)) || sent.SentPackets != received.ReceivedPackets || sent.SentBytes != received.ReceivedBytes {
				t.Fatalf("meters disagree: %+v and %+v for %d packets", sent, received, len(want))
			}
			if len(b.inside.Out) >= len(want) {
				t.Errorf("%d packets were delivered in as many calls: nothing was joined", len(want))
			}
		}
	}
}

// Loss, reordering and duplication on the wire: what comes out is a subset of
// what went in, each once, and the rest has a name.
func TestABadWireLosesAndNothingElse(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 5))
		a, b := pair(t, aead.ChaCha20Poly1305)
		sent := map[string]bool{}
		for range 300 {
			p := udp(addrA, addrB, 20+r.IntN(300), r)
			sent[string(p)] = true
			a.inside.In = append(a.inside.In, porttest.Packet{Data: p})
		}
		a.poll(t, t0)
		var wire []porttest.Datagram
		lost, doubled, damaged := 0, 0, 0
		for _, d := range a.outside.Out {
			d.Peer = wanA
			switch r.IntN(10) {
			case 0:
				lost++
				continue
			case 1:
				doubled++
				wire = append(wire, porttest.Datagram{Data: bytes.Clone(d.Data), Peer: wanA})
			case 2:
				damaged++
				d.Data = bytes.Clone(d.Data)
				d.Data[16+r.IntN(len(d.Data)-16)] ^= 1 << r.IntN(8)
			}
			wire = append(wire, d)
		}
		for i := range wire { // within the window
			j := min(i+r.IntN(64), len(wire)-1)
			wire[i], wire[j] = wire[j], wire[i]
		}
		b.outside.In = wire
		b.poll(t, t0)
		for _, p := range b.inside.Packets() {
			if !sent[string(p)] {
				t.Fatalf("seed %d: a packet came out that never went in, or twice", seed)
			}
			delete(sent, string(p))
		}
		if len(sent) != lost+damaged || b.dropped("bad_tag") != uint64(damaged) || b.dropped("replayed") != uint64(doubled) {
			t.Fatalf("seed %d: %d missing of %d lost and %d damaged; bad_tag %d, replayed %d of %d", seed, len(sent), lost, damaged,
				b.dropped("bad_tag"), b.dropped("replayed"), doubled)
		}
	}
}

// Each reason to drop has a packet that is dropped for it and for nothing else.
func TestEveryDropHasItsName(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	good := udp(addrA, addrB, 100, r)
	other := netip.MustParseAddr("3fff:d55::c")
	in := func(n *node, p []byte) { n.inside.In = []porttest.Packet{{Data: p}}; n.poll(t, t0) }
	arrive := func(n *node, b []byte) {
		n.outside.In = []porttest.Datagram{{Data: b, Peer: wanA}}
		n.poll(t, t0)
	}
	sealed := func(a *node, p []byte) []byte {
		in(a, p)
		return a.outside.Out[0].Data
	}
	for name, test := range map[string]func(a, b *node) *node{
		"malformed": func(a, b *node) *node { in(a, good[:47]); return a },
		"no_peer":   func(a, b *node) *node { in(a, udp(addrA, other, 1, r)); return a },
		"no_meter":  func(a, b *node) *node { in(a, udp(netip.MustParseAddr("fd00::1"), addrB, 1, r)); return a },
		"no_lane": func(a, b *node) *node {
			a.Publish(&worker.Tables{MTU: 1420, Routes: fib.New([]fib.Entry[*session.Lanes]{{Prefix: netip.PrefixFrom(addrB, 128),
				Value: &session.Lanes{Key: a.peer.Key, By: [][]*session.Peer{nil, {a.peer}}}}})})
			in(a, good)
			return a
		},
		"policed": func(a, b *node) *node {
			c := newNode(t, aead.ChaCha20Poly1305, addrA, addrB, wanB, 0)
			in(c, good)
			return c
		},
		"too_big": func(a, b *node) *node {
			a.peer.Path.Fits, a.peer.Path.Most = 100, 100
			in(a, good)
			return a
		},
		"no_endpoint": func(a, b *node) *node { a.peer.Endpoint = netip.AddrPort{}; in(a, good); return a },
		"send_failed": func(a, b *node) *node { a.outside.Refuse = 1; in(a, good); return a },
		"bad_message": func(a, b *node) *node { arrive(b, make([]byte, 40)); return b },
		"bad_index": func(a, b *node) *node {
			m := sealed(a, good)
			m[4] ^= 1
			arrive(b, m)
			return b
		},
		"bad_tag": func(a, b *node) *node {
			m := sealed(a, good)
			m[20] ^= 1
			arrive(b, m)
			return b
		},
		"replayed": func(a, b *node) *node {
			m := sealed(a, good)
			arrive(b, bytes.Clone(m))
			arrive(b, m)
			return b
		},
		"expired": func(a, b *node) *node {
			m := sealed(a, good)
			b.outside.In = []porttest.Datagram{{Data: m, Peer: wanA}}
			b.poll(t, t0+session.RejectAfterTime)
			return b
		},
		"bad_inner": func(a, b *node) *node {
			m := make([]byte, session.HeaderLen+32+aead.TagSize)
			m[0] = 4
			binary.LittleEndian.PutUint32(m[4:], 20)
			job := []aead.Job{{Key: a.session.Send, Buf: m[16:]}}
			aead.Seal(job)
			arrive(b, m)
			return b
		},
		"bad_source": func(a, b *node) *node { arrive(b, sealed(a, udp(other, addrB, 1, r))); return b },
		"inside_full": func(a, b *node) *node {
			b.inside.Refuse = 1
			arrive(b, sealed(a, good))
			return b
		},
		"control_full": func(a, b *node) *node {
			b.full = true
			m := make([]byte, 148)
			m[0] = 1
			arrive(b, m)
			return b
		},
		"no_session": func(a, b *node) *node {
			a.peer.Current = nil
			for range 129 {
				in(a, good)
			}
			return a
		},
	} {
		a, b := pair(t, aead.ChaCha20Poly1305)
		n := test(a, b)
		if n.dropped(name) != 1 || n.droppedInAll() != 1 {
			m := map[string]uint64{}
			n.Drops(m)
			t.Errorf("%s: drops are %v", name, m)
		}
	}
}

func TestPacketsWaitForTheirSessionInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	a := newNode(t, aead.ChaCha20Poly1305, addrA, addrB, wanB, 400*dssn.Gbps)
	b := newNode(t, aead.ChaCha20Poly1305, addrB, addrA, wanA, 400*dssn.Gbps)
	var want [][]byte
	for range 5 {
		p := udp(addrA, addrB, 64, r)
		want = append(want, p)
		a.inside.In = append(a.inside.In, porttest.Packet{Data: p})
	}
	a.poll(t, t0)
	if a.wants != 1 || len(a.outside.Out) != 0 {
		t.Fatalf("without a session: asked %d times, sent %d messages", a.wants, len(a.outside.Out))
	}
	k1, k2 := [32]byte{1}, [32]byte{2}
	b.install(t, session.Keys{Suite: aead.ChaCha20Poly1305, Send: k2, Receive: k1, Local: 20, Remote: 10, Created: t0})
	s, _ := session.New(a.peer, &session.Keys{Suite: aead.ChaCha20Poly1305, Send: k1, Receive: k2, Local: 10, Remote: 20, Created: t0, Initiator: true})
	a.Do(func() { a.Install(s, true) })
	carry(t, a, b, t0)
	if got := b.inside.Packets(); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d of %d packets came out in order", len(got), len(want))
	}
	if b.proved != 1 {
		t.Errorf("the responder's session was confirmed %d times", b.proved)
	}
}

func TestTimersLearnWhatTheyNeed(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	a, b := pair(t, aead.ChaCha20Poly1305)
	now := t0 + time.Second
	a.inside.In = []porttest.Packet{{Data: udp(addrA, addrB, 1, r)}}
	carry(t, a, b, now)
	if x := &a.peer.Activity; x.Unanswered.Load() != int64(now) || x.LastSent.Load() != int64(now) {
		t.Errorf("after sending: %d unanswered, last sent %d", x.Unanswered.Load(), x.LastSent.Load())
	}
	if x := &b.peer.Activity; x.Owing.Load() != int64(now) || x.LastReceived.Load() != int64(now) {
		t.Errorf("after receiving: %d owing, last received %d", x.Owing.Load(), x.LastReceived.Load())
	}
	b.Do(func() { b.Keepalive(b.peer) })
	now += time.Second
	b.poll(t, now)
	a.outside.In = []porttest.Datagram{{Data: b.outside.Out[0].Data, Peer: wanB}}
	a.poll(t, now)
	if a.peer.Activity.Unanswered.Load() != 0 || b.peer.Activity.Owing.Load() != 0 || a.peer.Activity.Owing.Load() != 0 {
		t.Error("a keepalive did not settle the account, or opened one")
	}
	// The initiator asks for a new session after two minutes of sending.
	a.inside.In = []porttest.Packet{{Data: udp(addrA, addrB, 1, r)}}
	a.poll(t, t0+session.RekeyAfterTime)
	if a.wants != 1 {
		t.Errorf("after %v of a session, asked %d times for another", session.RekeyAfterTime, a.wants)
	}
	// Without one it stops after three.
	a.outside.Out = nil
	a.inside.In = []porttest.Packet{{Data: udp(addrA, addrB, 1, r)}}
	a.poll(t, t0+session.RejectAfterTime)
	if len(a.outside.Out) != 0 {
		t.Error("a session was used beyond its life")
	}
}

func TestTheLastCounterIsNotUsed(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	a, _ := pair(t, aead.ChaCha20Poly1305)
	a.session.Counter = session.RejectAfterMessages - 1
	for range 3 {
		a.inside.In = append(a.inside.In, porttest.Packet{Data: udp(addrA, addrB, 1, r)})
	}
	a.poll(t, t0)
	if len(a.outside.Out) != 1 || a.wants == 0 {
		t.Errorf("with one counter left, %d messages were sent and %d sessions wanted", len(a.outside.Out), a.wants)
	}
}

func TestRoamingFollowsOnlyGenuinePackets(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	a, b := pair(t, aead.ChaCha20Poly1305)
	elsewhere := netip.MustParseAddrPort("[5f00:d55:9::1]:9")
	send := func(damage byte) {
		a.inside.In = []porttest.Packet{{Data: udp(addrA, addrB, 1, r)}}
		a.poll(t, t0)
		m := a.outside.Out[len(a.outside.Out)-1].Data
		m[17] ^= damage
		b.outside.In = []porttest.Datagram{{Data: m, Peer: elsewhere}}
		b.poll(t, t0)
	}
	send(0)
	if b.peer.Where() != wanA {
		t.Error("a steered peer roamed")
	}
	b.peer.Roams = true
	send(1)
	if b.peer.Where() != wanA {
		t.Error("a forged packet moved the peer")
	}
	send(0)
	if b.peer.Where() != elsewhere {
		t.Errorf("the peer is at %v, not where its packet came from", b.peer.Where())
	}
}

// The words of the package comment, one by one: allocation.
func TestTheWorkerDoesNotAllocate(t *testing.T) {
	a, b := pair(t, aead.ChaCha20Poly1305)
	big := porttest.Packet{Data: tcp(addrA, addrB, 0, 40000),
		Offload: packet.Offload{NeedsChecksum: true, GSO: packet.GSOTCP6, SegmentSize: 1348, ChecksumStart: 40, ChecksumOffset: 16}}
	a.outside.Discard = true
	in := []porttest.Packet{big, big, big}
	if n := testing.AllocsPerRun(50, func() { a.inside.In = in; a.Poll(t0) }); n != 0 {
		t.Errorf("outbound: %v allocations for three large packets", n)
	}
	a.outside.Discard = false
	var rounds [][]porttest.Datagram
	for range 60 {
		a.outside.Out = nil
		a.inside.In = in
		a.poll(t, t0)
		rounds = append(rounds, a.outside.Out)
	}
	b.inside.Took = func([][]byte, packet.Offload) {}
	i := 0
	if n := testing.AllocsPerRun(50, func() { b.outside.In = rounds[i]; i++; b.Poll(t0) }); n != 0 {
		t.Errorf("inbound: %v allocations for three large packets", n)
	}
	if got := b.registry.Counts(nil)[0].ReceivedPackets; got == 0 {
		t.Error("nothing was received")
	}
}

// Copies: what is delivered lies where it was received.
func TestInboundCopiesNothing(t *testing.T) {
	a, b := pair(t, aead.ChaCha20Poly1305)
	a.inside.In = []porttest.Packet{{Data: tcp(addrA, addrB, 0, 20000),
		Offload: packet.Offload{NeedsChecksum: true, GSO: packet.GSOTCP6, SegmentSize: 1348, ChecksumStart: 40, ChecksumOffset: 16}}}
	var given, parts [][]byte
	b.outside.Gave = func(buf []byte) { given = append(given, buf) }
	b.inside.Took = func(p [][]byte, _ packet.Offload) { parts = append(parts, p...) }
	carry(t, a, b, t0)
	for _, p := range parts {
		if !slices.ContainsFunc(given, func(g []byte) bool { return within(p, g) }) {
			t.Fatal("a part was delivered from elsewhere than where it was received")
		}
	}
	if len(parts) != 15 {
		t.Errorf("%d parts were delivered, want 15", len(parts))
	}
}

func within(p, g []byte) bool {
	start, at := uintptr(unsafe.Pointer(unsafe.SliceData(g))), uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	return at >= start && at+uintptr(len(p)) <= start+uintptr(len(g))
}

// Channels, locks and goroutines: the files of the packet path have none.
func TestThePacketPathWaitsForNobody(t *testing.T) {
	for _, name := range []string{"outbound.go", "inbound.go", "sessions.go", "tables.go", "ports.go", "path.go", "frames.go", "../meter/pool.go", "../meter/share.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt, *ast.GoStmt:
				t.Errorf("%s has a %T", name, n)
			case *ast.UnaryExpr:
				if n.Op == token.ARROW {
					t.Errorf("%s receives from a channel", name)
				}
			case *ast.SelectorExpr:
				if n.Sel.Name == "Lock" || n.Sel.Name == "RLock" || n.Sel.Name == "Wait" {
					t.Errorf("%s calls %s", name, n.Sel.Name)
				}
			}
			return true
		})
	}
}

// Whatever arrives from outside, nothing is delivered and nothing breaks;
// whatever comes from inside, every packet is sent or dropped by name.
func FuzzWorker(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	f.Add(udp(addrA, addrB, 100, r), byte(0), uint16(0), uint16(0), uint16(0))
	f.Add(tcp(addrA, addrB, 100, 4000), byte(4), uint16(1348), uint16(40), uint16(16))
	f.Add([]byte{4, 0, 0, 0, 20, 0, 0, 0}, byte(0), uint16(0), uint16(0), uint16(0))
	f.Fuzz(func(t *testing.T, p []byte, gso byte, size, start, offset uint16) {
		if len(p) == 0 || len(p) > worker.MaxPacket || gso != 0 && size < 16 {
			return
		}
		a, b := pair(t, aead.ChaCha20Poly1305)
		b.outside.In = []porttest.Datagram{{Data: bytes.Clone(p), Peer: wanA}}
		b.poll(t, t0)
		if len(b.inside.Out) != 0 {
			t.Fatal("something forged was delivered")
		}
		x := porttest.Packet{Data: p, Offload: packet.Offload{NeedsChecksum: gso != 0, GSO: packet.GSO(gso), SegmentSize: size, ChecksumStart: start, ChecksumOffset: offset}}
		want := porttest.CutUp(x)
		a.inside.In = []porttest.Packet{x}
		a.poll(t, t0)
		sent, dropped := len(a.outside.Out), a.droppedInAll()
		if want == nil && (sent != 0 || dropped != 1) || want != nil && sent+int(dropped) != len(want) && !(sent == 0 && dropped == 1) {
			t.Fatalf("%d packets in, %d sent, %d dropped", len(want), sent, dropped)
		}
		for _, d := range a.outside.Out {
			b.outside.In = append(b.outside.In, porttest.Datagram{Data: d.Data, Peer: wanA})
		}
		before := b.droppedInAll()
		b.poll(t, t0)
		if got := len(b.inside.Packets()) + int(b.droppedInAll()-before); got != sent {
			t.Fatalf("%d messages arrived, %d came out or were dropped", sent, got)
		}
	})
}

func BenchmarkWorker(b *testing.B) {
	for _, suite := range []aead.Suite{aead.ChaCha20Poly1305, aead.AES256GCM} {
		x, y := pair(b, suite)
		big := porttest.Packet{Data: tcp(addrA, addrB, 0, 60000),
			Offload: packet.Offload{NeedsChecksum: true, GSO: packet.GSOTCP6, SegmentSize: 1348, ChecksumStart: 40, ChecksumOffset: 16}}
		in := []porttest.Packet{big, big, big, big}
		b.Run(fmt.Sprintf("outbound %v", suite), func(b *testing.B) {
			x.outside.Discard = true
			b.SetBytes(240000)
			for b.Loop() {
				x.inside.In = in
				x.Poll(t0)
			}
		})
		_ = y
	}
}
