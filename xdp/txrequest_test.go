package xdp_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"dssn/xdp"
	"dssn/xdp/xdptest"
)

// timed is a socket on a stand-in NIC with a clock, whose packets have room before them
// for requests.
func timed(t *testing.T) (*xdp.Socket, *xdptest.Kernel) {
	u, err := xdp.NewUMEM(xdp.UMEMOptions{Frames: 64, TxMetadata: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	pool, err := u.NewPool(64)
	if err != nil {
		t.Fatal(err)
	}
	s, k, err := xdptest.New(pool, xdp.SocketOptions{Fill: 16, Rx: 16, Tx: 16, Completion: 16}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s, k
}

// packet takes a frame and writes a numbered packet with room before it.
func packet(t *testing.T, s *xdp.Socket, number uint64) xdp.Desc {
	addr, ok := s.Pool().Get()
	if !ok {
		t.Fatal("no frame")
	}
	d := xdp.Desc{Addr: addr + 64, Len: 60}
	b := s.Pool().UMEM().Bytes(d)
	clear(b)
	binary.BigEndian.PutUint64(b, number)
	return d
}

// submit queues one descriptor as it is.
func submit(t *testing.T, s *xdp.Socket, d xdp.Desc) {
	slots := s.Slots(1)
	if len(slots) == 0 {
		t.Fatal("no slot")
	}
	slots[0] = d
	s.Submit(1)
}

func TestAPacketLeavesAtItsLaunchTimeAndTellsWhen(t *testing.T) {
	s, k := timed(t)
	u := s.Pool().UMEM()
	first := packet(t, s, 1)
	if !u.RequestTimestamp(&first) || !u.RequestLaunchTime(&first, 5000) {
		t.Fatal("no room to ask")
	}
	second := packet(t, s, 2) // wants nothing, and waits behind
	submit(t, s, first)
	submit(t, s, second)
	k.Clock = 4999
	s.Kick()
	if n := s.Reclaim(); n != 0 || len(k.Wire) != 0 {
		t.Fatalf("%d packets left before their time", len(k.Wire))
	}
	k.Clock = 5003
	s.Kick()
	if n := s.Reclaim(); n != 2 || len(k.Wire) != 2 {
		t.Fatalf("%d packets left at their time, %d were reclaimed", len(k.Wire), n)
	}
	if at := u.SentAt(first); at != 5003 {
		t.Errorf("the packet says that it left at %d, the NIC sent it at 5003", at)
	}
	// Its frame comes back, and what was asked for it is asked no more.
	k.Clock = 1
	for number := uint64(3); number < 3+64; number++ {
		submit(t, s, packet(t, s, number))
		s.Kick()
		if s.Reclaim() != 1 {
			t.Fatalf("packet %d, for which nothing was asked, did not leave", number)
		}
	}
}

// TestRequestsInAnyMixAreWhatTheNICDoes asks at random, and compares what left, when and
// with which checksum.
func TestRequestsInAnyMixAreWhatTheNICDoes(t *testing.T) {
	s, k := timed(t)
	u := s.Pool().UMEM()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	type asked struct {
		d        xdp.Desc
		launch   uint64
		stamp    bool
		checksum bool
	}
	for number := range uint64(2000) {
		a := asked{d: packet(t, s, number), stamp: r.IntN(2) == 0, checksum: r.IntN(2) == 0}
		if r.IntN(2) == 0 {
			a.launch = k.Clock + uint64(r.IntN(3))*1000
		}
		const start, offset = 14, 16
		binary.BigEndian.PutUint16(u.Bytes(a.d)[start+offset:], 0x1234) // the pseudo-header's sum
		for _, i := range r.Perm(3) {                                   // in any order
			switch {
			case i == 0 && a.stamp:
				u.RequestTimestamp(&a.d)
			case i == 1 && a.launch != 0:
				u.RequestLaunchTime(&a.d, a.launch)
			case i == 2 && a.checksum:
				u.RequestChecksum(&a.d, start, offset)
			}
		}
		before := len(k.Wire)
		submit(t, s, a.d)
		s.Kick()
		for a.launch > k.Clock {
			if len(k.Wire) != before {
				t.Fatalf("seed %#x: packet %d left at %d, before its time %d", seed, number, k.Clock, a.launch)
			}
			k.Clock += 500
			s.Kick()
		}
		if s.Reclaim() != 1 || len(k.Wire) != before+1 {
			t.Fatalf("seed %#x: packet %d did not leave at %d, its time being %d", seed, number, k.Clock, a.launch)
		}
		w := k.Wire[before]
		if binary.BigEndian.Uint64(w) != number {
			t.Fatalf("seed %#x: packet %d left as %d", seed, number, binary.BigEndian.Uint64(w))
		}
		if a.stamp && u.SentAt(a.d) != k.Clock {
			t.Fatalf("seed %#x: packet %d says it left at %d, and did at %d", seed, number, u.SentAt(a.d), k.Clock)
		}
		// A finished checksum makes the sum of all with the pseudo-header's come out as
		// ones; an unasked one stays as it was.
		var sum uint32
		for i := start; i < len(w); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(w[i:]))
		}
		sum += 0x1234 // was in the field
		for sum>>16 != 0 {
			sum = sum&0xffff + sum>>16
		}
		if a.checksum && sum != 0xffff {
			t.Fatalf("seed %#x: packet %d sums up to %#x", seed, number, sum)
		} else if !a.checksum && binary.BigEndian.Uint16(w[start+offset:]) != 0x1234 {
			t.Fatalf("seed %#x: packet %d has the checksum %#x, which nobody asked for", seed, number, binary.BigEndian.Uint16(w[start+offset:]))
		}
		k.Clock += uint64(r.IntN(100))
		k.Wire = k.Wire[:0]
	}
}
