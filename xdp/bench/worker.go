// Package bench measures the room against its peers: AF_XDP in Go against the same
// loops in C (peer/xsk.c, our own, on libxdp) and DPDK's testpmd, and transit
// against a bare redirect and the kernel's own forwarding. All rows of one table
// come from one run. The loops themselves are here; the table is a benchmark:
//
//	make bench-xdp
package bench

import (
	"sync/atomic"

	"dssn/xdp"
)

const batch = 64

// RxDrop receives and drops until stop is set, and returns how many packets came.
func RxDrop(s *xdp.Socket, stop *atomic.Bool, count *atomic.Uint64) error {
	pool := s.Pool()
	for !stop.Load() {
		s.Refill()
		in := s.Peek(batch)
		if len(in) == 0 {
			if err := s.Poke(); err != nil {
				return err
			}
			continue
		}
		pool.PutAll(in)
		s.Release(len(in))
		count.Add(uint64(len(in)))
	}
	return nil
}

// Forward receives on in, changes the two Ethernet addresses over and sends on out,
// which may be the same socket.
func Forward(in, out *xdp.Socket, stop *atomic.Bool, count *atomic.Uint64) error {
	u := in.Pool().UMEM()
	for !stop.Load() {
		out.Reclaim()
		in.Refill()
		got := in.Peek(batch)
		slots := out.Slots(len(got))
		if len(slots) == 0 {
			if err := in.Poke(); err != nil {
				return err
			}
			if err := out.Kick(); err != nil {
				return err
			}
			continue
		}
		for i := range slots {
			swapAddresses(u.Bytes(got[i]))
			slots[i] = got[i]
		}
		out.Submit(len(slots))
		in.Release(len(slots))
		if err := out.Kick(); err != nil {
			return err
		}
		count.Add(uint64(len(slots)))
	}
	return nil
}

func swapAddresses(b []byte) {
	if len(b) < 12 {
		return
	}
	var m [6]byte
	copy(m[:], b)
	copy(b, b[6:12])
	copy(b[6:], m[:])
}
