package worker_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"dssn/dataplane/aead"
	"dssn/dataplane/packet"
	"dssn/dataplane/porttest"
	"dssn/dataplane/session"
)

// What is larger than the path is cut where that may be done; where not, its
// sender is told how large it may be, and the packet is counted.
func TestWhatThePathDoesNotCarryIsCutOrItsSenderTold(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	a, b := pair(t, aead.ChaCha20Poly1305)
	a.peer.Path.Fits, a.peer.Path.Most = 1300, 1300
	large := udp(addrA, addrB, 1372, r)
	a.inside.In = []porttest.Packet{{Data: large}}
	carry(t, a, b, t0)
	if len(b.inside.Out) != 0 || a.dropped("too_big") != 1 || a.droppedInAll() != 1 {
		t.Errorf("%d arrived, %d dropped as too_big", len(b.inside.Out), a.dropped("too_big"))
	}
	if len(a.inside.Out) != 1 || a.inside.Out[0].Data[40] != 2 || binary.BigEndian.Uint32(a.inside.Out[0].Data[44:]) != 1300 {
		t.Fatalf("its sender was told %v", a.inside.Out)
	}
	// TCP is cut finer, and its sender told all the same.
	a.inside.Out = nil
	a.inside.In = []porttest.Packet{{Data: tcp(addrA, addrB, 0, 20000),
		Offload: packet.Offload{NeedsChecksum: true, GSO: packet.GSOTCP6, SegmentSize: 1348, ChecksumStart: 40, ChecksumOffset: 16}}}
	carry(t, a, b, t0+second)
	sum := 0
	for _, p := range b.inside.Packets() {
		if len(p) > 1300 {
			t.Errorf("a segment of %d bytes", len(p))
		}
		sum += len(p) - 72
	}
	if sum != 20000 || len(a.inside.Out) != 1 {
		t.Errorf("%d of 20000 bytes arrived; the sender was told %d times", sum, len(a.inside.Out))
	}
	// While the truth is being found out nobody is told, and nothing is withheld.
	a.peer.Path.Most = 0
	a.inside.Out, b.inside.Out = nil, nil
	a.inside.In = []porttest.Packet{{Data: large}}
	carry(t, a, b, t0+2*second)
	if len(b.inside.Out) != 1 || len(a.inside.Out) != 0 {
		t.Errorf("%d arrived, the sender was told %d times", len(b.inside.Out), len(a.inside.Out))
	}
}

const second = 1e9

// Both ends of a connection hear of what the tunnel carries, whichever begins.
func TestSYNsAreClampedBothWays(t *testing.T) {
	syn := func(src, dst netip.Addr) []byte {
		p := tcp(src, dst, 0, 0)
		p = append(p[:60], 2, 4, 8940>>8, 8940&0xff, 1, 1, 1, 1, 1, 1, 1, 1)
		p[53] = 2
		checksum(p)
		return p
	}
	mss := func(p []byte) int { return int(binary.BigEndian.Uint16(p[62:])) }
	for name, limit := range map[string]func(a, b *node){
		"the inside's MTU":          func(a, b *node) {},
		"the sender's path's MTU":   func(a, b *node) { a.peer.Path.Fits, a.peer.Path.Most = 1300, 1300 },
		"the receiver's path's MTU": func(a, b *node) { b.peer.Path.Fits, b.peer.Path.Most = 1300, 1300 },
	} {
		a, b := pair(t, aead.ChaCha20Poly1305)
		limit(a, b)
		a.inside.In = []porttest.Packet{{Data: syn(addrA, addrB)}}
		carry(t, a, b, t0)
		want := 1420 - 60
		if name != "the inside's MTU" {
			want = 1300 - 60
		}
		p := bytes.Clone(b.inside.Packets()[0])
		got := mss(p)
		sum := bytes.Clone(p[56:58])
		checksum(p)
		if got != want || !bytes.Equal(sum, p[56:58]) {
			t.Errorf("%s: MSS %d, want %d; checksum %x, want %x", name, got, want, sum, p[56:58])
		}
	}
}

// A probe is as long on the wire as a packet of its size, is answered by a peer
// that knows of probes, and reaches nobody's inside.
func TestProbesAreAnswered(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	a, b := pair(t, aead.ChaCha20Poly1305)
	a.peer.Path.Probes, b.peer.Path.Probes = true, true
	a.inside.In = []porttest.Packet{{Data: udp(addrA, addrB, 1372, r)}}
	a.poll(t, t0)
	length := len(a.outside.Out[0].Data)
	carry(t, a, b, t0) // b may seal now
	b.inside.Out = nil
	a.Do(func() { a.Probe(a.peer, 7, 1420) })
	a.poll(t, t0)
	if got := len(a.outside.Out[0].Data); got != length {
		t.Errorf("a probe of 1420 is %d bytes on the wire, a packet %d", got, length)
	}
	carry(t, a, b, t0)
	b.peer.Current = b.session
	a.Do(func() { a.Probe(a.peer, 8, 1420) })
	carry(t, a, b, t0)
	for _, d := range b.outside.Out {
		a.outside.In = append(a.outside.In, porttest.Datagram{Data: d.Data, Peer: wanB})
	}
	a.poll(t, t0)
	if id, size := a.peer.Path.Answered(); id != 8 || size != 1420 {
		t.Errorf("answered: probe %d of %d", id, size)
	}
	if len(b.inside.Out)+len(a.inside.Out) != 0 || a.droppedInAll()+b.droppedInAll() != 0 {
		t.Error("a probe reached somebody's inside, or was dropped")
	}
	// From a stock peer's point of view it is no packet; nothing answers it.
	b.peer.Path.Probes, b.outside.Out = false, nil
	a.Do(func() { a.Probe(a.peer, 9, 100) })
	carry(t, a, b, t0)
	if b.dropped("bad_inner") != 1 || len(b.outside.Out) != 0 {
		t.Error("a probe was answered to a peer that should know of none")
	}
}

// Nothing that is sealed can be taken for a probe and a packet both.
func FuzzProbe(f *testing.F) {
	b := make([]byte, 64)
	session.PutProbe(b, session.ProbeAsk, 3, 64)
	f.Add(bytes.Clone(b))
	session.PutProbe(b, session.ProbeAnswer, 3, 1420)
	f.Add(b[:session.ProbeLen])
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, id, size, ok := session.ParseProbe(b)
		if !ok {
			return
		}
		if _, _, _, isPacket := packet.Addresses(b); isPacket {
			t.Fatal("a packet and a probe")
		}
		again := make([]byte, len(b))
		session.PutProbe(again, kind, id, size)
		if k, i, s, ok := session.ParseProbe(again); !ok || k != kind || i != id || s != size {
			t.Fatalf("%d %d %d became %d %d %d", kind, id, size, k, i, s)
		}
	})
}

// The path's MTU costs the worker no allocation.
func TestTellingDoesNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	a, _ := pair(t, aead.ChaCha20Poly1305)
	a.peer.Path.Fits, a.peer.Path.Most = 1300, 1300
	a.inside.Took = func([][]byte, packet.Offload) {}
	in := []porttest.Packet{{Data: udp(addrA, addrB, 1372, r)}}
	now := t0
	if n := testing.AllocsPerRun(50, func() { now += second; a.inside.In = in; a.Poll(now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
