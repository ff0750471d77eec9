package worker_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"dssn"
	"dssn/dataplane"
	"dssn/dataplane/aead"
	"dssn/dataplane/fib"
	"dssn/dataplane/porttest"
	"dssn/dataplane/session"
	"dssn/dataplane/worker"
)

// TestEachPacketWearsItsMetersMark sends two reservations' packets in turns to one peer,
// some before there is a session.
func TestEachPacketWearsItsMetersMark(t *testing.T) {
	a := newNode(t, aead.ChaCha20Poly1305, addrA, addrB, wanB, 400*dssn.Gbps)
	all, other := netip.MustParsePrefix("3fff:d55::/32"), netip.MustParseAddr("3fff:d55::b0")
	gold := dataplane.NewMark(46<<2, 7)
	a.Publish(&worker.Tables{
		Routes: fib.New([]fib.Entry[*session.Lanes]{{Prefix: all, Value: lanes(a.peer)}}),
		Meters: a.registry.Compile(t0, []dataplane.Meter{
			{Reservation: 1, From: all, To: all, Rate: dssn.Gbps, Burst: 1 << 30},
			{Reservation: 2, From: all, To: netip.PrefixFrom(other, 128), Rate: dssn.Gbps, Burst: 1 << 30, Mark: gold},
		}),
		MTU: 1420,
	})
	r := rand.New(rand.NewPCG(3, 3))
	var want []dataplane.Mark
	send := func() {
		for i := range 12 {
			dst, mark := addrB, dataplane.Mark(0)
			if i/2%2 == 1 {
				dst, mark = other, gold
			}
			want = append(want, mark)
			a.inside.In = append(a.inside.In, porttest.Packet{Data: udp(addrA, dst, 64, r)})
		}
		a.poll(t, t0)
	}
	send() // these wait
	s, err := session.New(a.peer, &session.Keys{Suite: aead.ChaCha20Poly1305, Send: [32]byte{1}, Receive: [32]byte{2}, Local: 10, Remote: 20, Created: t0, Initiator: true})
	if err != nil {
		t.Fatal(err)
	}
	a.Do(func() { a.Install(s, true) })
	a.poll(t, t0)
	send()
	a.Do(func() { a.Keepalive(a.peer) })
	a.poll(t, t0)
	want = append(want, 0) // what is nobody's wears none
	if len(a.outside.Out) != len(want) {
		t.Fatalf("%d datagrams left, want %d", len(a.outside.Out), len(want))
	}
	for i, d := range a.outside.Out {
		if d.Mark != want[i] {
			t.Errorf("datagram %d wears class %#x and label %d, want %#x and %d", i, d.Mark.Class(), d.Mark.Label(), want[i].Class(), want[i].Label())
		}
	}
}
