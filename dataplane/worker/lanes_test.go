package worker_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

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

// A worker with several lanes to one peer gives each flow one of them, so that
// its order is kept, and uses all of them; the other side takes packets by any.
func TestFlowsSpreadOverLanesAndEachKeepsToOne(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 1))
	a := newNode(t, aead.AES256GCM, addrA, addrB, wanB, 1)
	b := newNode(t, aead.AES256GCM, addrB, addrA, wanA, 1)
	var ours, theirs []*session.Peer
	for k := range 3 {
		p := &session.Peer{Key: dataplane.Key{1}, Lane: k}
		p.MoveTo(netip.AddrPortFrom(wanB.Addr(), uint16(100+k)))
		q := &session.Peer{Key: dataplane.Key{1}, Lane: k}
		for _, x := range []struct {
			n      *node
			p      *session.Peer
			key    [2]byte
			local  uint32
			remote uint32
			begins bool
		}{{a, p, [2]byte{1, 2}, 10, 20, true}, {b, q, [2]byte{2, 1}, 20, 10, false}} {
			s, err := session.New(x.p, &session.Keys{Suite: aead.AES256GCM, Send: [32]byte{x.key[0], byte(k)}, Receive: [32]byte{x.key[1], byte(k)},
				Local: x.local + uint32(k), Remote: x.remote + uint32(k), Created: t0, Initiator: x.begins})
			if err != nil {
				t.Fatal(err)
			}
			x.n.Do(func() { x.n.Install(s, x.begins) })
		}
		ours, theirs = append(ours, p), append(theirs, q)
	}
	publish := func(n *node, to netip.Addr, own []*session.Peer) {
		n.Publish(&worker.Tables{MTU: 1420, Routes: fib.New([]fib.Entry[*session.Lanes]{{Prefix: netip.PrefixFrom(to, 128), Value: lanes(own...)}})})
		n.poll(t, t0)
		n.outside.Out = nil
	}
	publish(a, addrB, ours)
	publish(b, addrA, theirs)

	const flows, each = 64, 20
	for i := range flows * each {
		p := udp(addrA, addrB, 40, r)
		binary.BigEndian.PutUint16(p[40:], uint16(i%flows)) // source port
		binary.BigEndian.PutUint32(p[48:], uint32(i))
		a.inside.In = append(a.inside.In, porttest.Packet{Data: p})
	}
	a.poll(t, t0)
	used := map[uint16]int{}
	for _, d := range a.outside.Out {
		used[d.Peer.Port()]++
		b.outside.In = append(b.outside.In, porttest.Datagram{Data: d.Data, Peer: wanA})
	}
	b.poll(t, t0)
	if len(used) != 3 {
		t.Errorf("%d flows used the lanes %v, want all three", flows, used)
	}
	last := map[uint16]uint32{}
	got := 0
	for _, p := range b.inside.Packets() {
		port, n := binary.BigEndian.Uint16(p[40:]), binary.BigEndian.Uint32(p[48:])
		if before, ok := last[port]; ok && n <= before {
			t.Fatalf("flow %d: packet %d came after %d", port, n, before)
		}
		last[port] = n
		got++
	}
	if got != flows*each {
		t.Errorf("%d of %d packets arrived", got, flows*each)
	}
}

func TestAllPacketsOfAFlowHashAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(32, 1))
	there, back := udp(addrA, addrB, 40, r), udp(addrB, addrA, 900, r)
	binary.BigEndian.PutUint16(there[40:], 7)
	binary.BigEndian.PutUint16(there[42:], 9)
	binary.BigEndian.PutUint16(back[40:], 9)
	binary.BigEndian.PutUint16(back[42:], 7)
	if packet.FlowHash(there) != packet.FlowHash(back) {
		t.Error("the two directions of a flow differ")
	}
	// IPv4: a fragment shows no ports, and goes with the others of its packet.
	v4 := make([]byte, 28)
	v4[0], v4[9] = 0x45, 17
	copy(v4[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	binary.BigEndian.PutUint16(v4[6:], 0x2000)
	first := packet.FlowHash(v4)
	binary.BigEndian.PutUint16(v4[6:], 100)
	binary.BigEndian.PutUint32(v4[20:], r.Uint32())
	if packet.FlowHash(v4) != first {
		t.Error("two fragments of one packet differ")
	}
	seen := map[uint32]bool{}
	for port := range 1000 {
		binary.BigEndian.PutUint16(there[40:], uint16(port))
		seen[packet.FlowHash(there)%8] = true
	}
	if len(seen) != 8 {
		t.Errorf("a thousand ports reach %d of 8 lanes", len(seen))
	}
}

// BenchmarkWorkersTogether has one, then two workers seal at the same time, on the
// same tables and the same reservation's tokens: what one could spoil for the other
// shows in the bytes per second of both.
func BenchmarkWorkersTogether(b *testing.B) {
	big := porttest.Packet{Data: tcp(addrA, addrB, 0, 60000),
		Offload: packet.Offload{NeedsChecksum: true, GSO: packet.GSOTCP6, SegmentSize: 1348, ChecksumStart: 40, ChecksumOffset: 16}}
	all := netip.MustParsePrefix("3fff:d55::/32")
	for n := 1; n <= 2; n++ {
		b.Run(fmt.Sprintf("%d", n), func(b *testing.B) {
			set := meter.NewRegistry(n).Compile(t0, []dataplane.Meter{{Reservation: 1, From: all, To: all, Rate: 400 * dssn.Gbps, Burst: dssn.GiB}})
			lanes := &session.Lanes{Key: dataplane.Key{1}, By: make([][]*session.Peer, n)}
			for i := range n {
				p := &session.Peer{Key: lanes.Key, Lane: i, Worker: i}
				p.MoveTo(wanB)
				lanes.By[i] = []*session.Peer{p}
			}
			tables := &worker.Tables{MTU: 1420, Meters: set, Routes: fib.New([]fib.Entry[*session.Lanes]{{Prefix: netip.PrefixFrom(addrB, 128), Value: lanes}})}
			var ready []*node
			for i := range n {
				x := &node{inside: &porttest.Inside{}, outside: &porttest.Outside{Discard: true}, peer: lanes.By[i][0]}
				x.Worker = worker.New(worker.Options{Number: i, Inside: x.inside, Outside: x.outside, Control: x, Wake: func() {}})
				x.Publish(tables)
				x.install(b, session.Keys{Suite: aead.AES256GCM, Send: [32]byte{byte(i)}, Receive: [32]byte{1}, Local: 10, Remote: 20, Created: t0, Initiator: true})
				ready = append(ready, x)
			}
			in := []porttest.Packet{big, big, big, big}
			const rounds = 20
			b.SetBytes(int64(n * rounds * 240000))
			now := t0
			for b.Loop() {
				var wait sync.WaitGroup
				for _, x := range ready {
					wait.Go(func() {
						for r := range rounds {
							x.inside.In = in
							x.Poll(now + time.Duration(r)*100*time.Microsecond)
						}
					})
				}
				wait.Wait()
				if now += rounds * 100 * time.Microsecond; now > t0+session.RekeyAfterTime {
					b.Fatal("the sessions are too old: run for a shorter time")
				}
			}
			if d := ready[0].droppedInAll(); d > 0 {
				b.Fatalf("%d packets were dropped", d)
			}
		})
	}
}
