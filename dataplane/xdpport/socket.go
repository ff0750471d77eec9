package xdpport

import (
	"dssn/dataplane/worker"
	"dssn/xdp"
)

// socket is what both ports do alike.
type socket struct {
	*xdp.Socket
	pool *xdp.Pool
	umem *xdp.UMEM
	// examine strips a received frame to what the worker takes; false for none
	// of its business.
	examine func(f *worker.Frame) bool
	// request, if not nil, asks the NIC for something about a frame to be sent.
	request func(f *worker.Frame, d *xdp.Desc)
}

// metadata stays free before a packet, for a request to the NIC.
const metadata = xdp.TxMetadataBytes

// receive takes what has come, keeps what examine accepts, and gives the rest
// back.
func (s *socket) receive(in []worker.Frame) (n int) {
	s.Reclaim()
	s.Refill()
	got := s.Peek(len(in))
	if len(got) == 0 {
		s.Poke()
		return 0
	}
	size := uint64(s.umem.FrameSize())
	for i := range got {
		base := got[i].Addr &^ (size - 1)
		f := &in[n]
		f.Memory = s.umem.Bytes(xdp.Desc{Addr: base, Len: uint32(size)})
		f.Addr = base
		f.Begin = int(got[i].Addr - base)
		f.End = f.Begin + int(got[i].Len)
		if s.examine(f) {
			n++
		} else {
			s.pool.Put(base)
		}
	}
	s.Release(len(got))
	return n
}

// send queues frames and has the kernel send them; what finds no room is given
// back and lost.
func (s *socket) send(out []*worker.Frame) (sent int) {
	for sent < len(out) {
		slots := s.Slots(len(out) - sent)
		if len(slots) == 0 {
			if s.Reclaim() == 0 {
				break
			}
			continue
		}
		for i := range slots {
			f := out[sent+i]
			slots[i] = xdp.Desc{Addr: f.Addr + uint64(f.Begin), Len: uint32(f.End - f.Begin)}
			if s.request != nil {
				s.request(f, &slots[i])
			}
		}
		s.Submit(len(slots))
		sent += len(slots)
	}
	// A kernel that cannot be told otherwise moves 32 at a time.
	const atATime = 32
	for range (sent + atATime - 1) / atATime {
		s.Kick()
	}
	s.Reclaim()
	for _, f := range out[sent:] {
		s.pool.Put(f.Addr)
	}
	return sent
}

// Drop implements worker.Frames.
func (s *socket) Drop(f *worker.Frame) { s.pool.Put(f.Addr) }
