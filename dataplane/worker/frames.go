package worker

import (
	"net/netip"

	"dssn/dataplane/session"
)

// Ports whose packets lie in memory that they share with a NIC: a packet is
// received, sealed or opened where it lies, and sent from there. They take the way
// of all packets through this package; what differs is where a packet is put
// to be sealed (nowhere) and how it is given away.
//
//	            ┌──────────────── Memory ─────────────────┐
//	received    │          headroom │ packet      │ rest  │
//	sealed      │        │ header 16│ packet │ 0s │ tag 16│
//	addressed   │ link, IP, UDP │ header │ packet │ 0s │ tag │
//
// They stand beside the ordinary ports and not in their place. What they cannot
// address, for want of a neighbour's address or for its size, leaves by the
// ordinary port of that side, where the kernel knows what to do.

// Frame is one packet in shared memory. It belongs to the port it came from until
// Receive, to the worker from then on, and to a port again with Send or Drop.
type Frame struct {
	Memory     []byte // all of the frame that may be used
	Begin, End int    // the packet is Memory[Begin:End]
	Addr       uint64 // the ports' name for it
	// Peer and Local are where a datagram comes from and came to, or goes to and
	// is to come from; see Datagrams.
	Peer  netip.AddrPort
	Local netip.Addr

	moved bool // given away
}

// Bytes returns the packet.
func (f *Frame) Bytes() []byte { return f.Memory[f.Begin:f.End] }

// Frames is a port of frames. Both ports of a worker share their memory, so each
// takes what the other gave. Only the worker calls it; no call waits.
type Frames interface {
	// Receive fills in from its beginning and returns how many came: IPv6 packets
	// inside, payloads of UDP datagrams outside.
	Receive(in []Frame) int
	// Send takes all of out, addressed, and returns how many of the first will be
	// sent; the rest is lost.
	Send(out []*Frame) int
	// Drop takes f back.
	Drop(f *Frame)
	// Headroom is how many bytes Address needs before a packet.
	Headroom() int
}

// FrameInside is a port of frames towards this node's neighbours.
type FrameInside interface {
	Frames
	// Address puts before f what the link needs for it to reach dst. False says
	// that it cannot be reached this way, and leaves f as it is.
	Address(f *Frame, dst netip.Addr) bool
}

// FrameOutside is a port of frames towards peers.
type FrameOutside interface {
	Frames
	// Address puts before f all headers of a datagram to f.Peer, from f.Local if
	// that is valid. False says that it cannot be reached this way, and leaves f
	// as it is.
	Address(f *Frame) bool
}

// frameBatch is how many frames are carried at a time.
const frameBatch = 64

// fast is a worker's ports of frames and what is on its way between them.
type fast struct {
	inside  FrameInside
	outside FrameOutside
	in      [frameBatch]Frame
	leaving []leaving // sealed or to be
	batch   []*Frame  // addressed, to the outside
	back    []*Frame  // addressed, to the inside
	lent    []*Frame  // leaving by the ordinary port, ours until it is done
}

type leaving struct {
	frame   *Frame
	session *session.Session
}

// SetFrames gives the worker ports of frames; from within Do, or before the first
// Poll.
func (w *Worker) SetFrames(inside FrameInside, outside FrameOutside) {
	w.flush()
	w.fast = &fast{inside: inside, outside: outside,
		leaving: make([]leaving, 0, frameBatch), batch: make([]*Frame, 0, frameBatch),
		back: make([]*Frame, 0, frameBatch), lent: make([]*Frame, 0, frameBatch)}
}

// framesOutbound carries a batch of frames from inside to outside.
func (w *Worker) framesOutbound(t *Tables) bool {
	x := w.fast
	if x.inside == nil {
		return false
	}
	n := x.inside.Receive(x.in[:])
	for i := range n {
		f := &x.in[i]
		f.moved = false
		p := f.Bytes()
		// A packet at the end of its life, or no packet of IPv6, is the kernel's to
		// answer for.
		const hopLimit = 7
		if len(p) < 40 || p[0]>>4 != 6 || p[hopLimit] <= 1 {
			w.punt(p)
		} else {
			p[hopLimit]--
			w.enter(t, p, noOffload, f)
		}
		if !f.moved {
			x.inside.Drop(f)
		}
	}
	w.flush()
	return n > 0
}

// punt gives a packet to the kernel as if it came out of the tunnel.
func (w *Worker) punt(p []byte) {
	w.parts[0] = p
	if w.inside.Send(w.parts[:], noOffload) != nil {
		w.drops.add(dropDeliver, 1)
	}
}

// placeFrame prepares a packet of n bytes to be sealed where it lies. It reports
// false if there is no room for that.
func (w *Worker) placeFrame(f *Frame, s *session.Session, n int) bool {
	x := w.fast
	if x.outside == nil {
		return false
	}
	padded := w.padded(s, n)
	begin, end := f.Begin-session.HeaderLen, f.Begin+padded+tagLen
	if begin < x.outside.Headroom() || end > len(f.Memory) {
		return false
	}
	if len(x.leaving) == cap(x.leaving) {
		w.flush()
	}
	f.Begin, f.End, f.moved = begin, end, true
	w.prepare(f.Memory[begin:end:end], s, n, padded)
	x.leaving = append(x.leaving, leaving{f, s})
	return true
}

// depart sends the frames that were sealed.
func (w *Worker) depart() {
	x := w.fast
	if len(x.leaving) == 0 {
		return
	}
	for i := 0; i < len(x.leaving); {
		p := x.leaving[i].session.Peer
		if !p.Endpoint.IsValid() {
			w.drops.add(dropNoEndpoint, 1)
			x.outside.Drop(x.leaving[i].frame)
			i++
			continue
		}
		sum := 0
		for ; i < len(x.leaving) && x.leaving[i].session.Peer == p; i++ { // a run of one peer
			f := x.leaving[i].frame
			sum += f.End - f.Begin
			f.Peer, f.Local = p.Endpoint, p.Source
			if x.outside.Address(f) {
				x.batch = append(x.batch, f)
				continue
			}
			x.lent = append(x.lent, f)
			w.sends = append(w.sends, Datagrams{Buf: f.Bytes(), Segment: f.End - f.Begin, Peer: f.Peer, Local: f.Local, Shared: p.Shared})
		}
		p.Activity.Sent(w.now, true)
		p.SentBytes.Add(uint64(sum))
	}
	if len(x.batch) > 0 {
		if sent := x.outside.Send(x.batch); sent < len(x.batch) {
			w.drops.add(dropSend, len(x.batch)-sent)
		}
	}
	if len(x.lent) > 0 {
		w.transmit()
		for _, f := range x.lent {
			x.outside.Drop(f)
		}
	}
	clear(x.leaving)
	x.leaving, x.batch, x.lent = x.leaving[:0], x.batch[:0], x.lent[:0]
}

// framesInbound carries a batch of frames from outside to inside.
func (w *Worker) framesInbound(t *Tables) bool {
	x := w.fast
	if x.outside == nil {
		return false
	}
	n := x.outside.Receive(x.in[:])
	for i := range n {
		f := &x.in[i]
		f.moved = false
		w.arrive(f.Bytes(), nil, f)
	}
	if len(w.opens) > 0 {
		w.open(t)
	}
	if len(x.back) > 0 {
		if sent := x.inside.Send(x.back); sent < len(x.back) {
			w.drops.add(dropDeliver, len(x.back)-sent)
		}
		x.back = x.back[:0]
	}
	for i := range n {
		if f := &x.in[i]; !f.moved {
			x.outside.Drop(f)
		}
	}
	return n > 0
}

// deliverFrame gives an opened packet, n bytes to dst behind the message header in
// f, to a neighbour. It reports false if that is not this port's to do.
func (w *Worker) deliverFrame(f *Frame, n int, dst netip.Addr) bool {
	x := w.fast
	begin, end := f.Begin, f.End
	f.Begin += session.HeaderLen
	f.End = f.Begin + n
	p := f.Bytes()
	const hopLimit = 7
	if x.inside == nil || p[0]>>4 != 6 || p[hopLimit] <= 1 || !x.inside.Address(f, dst) {
		f.Begin, f.End = begin, end
		return false
	}
	p[hopLimit]--
	f.moved = true
	x.back = append(x.back, f)
	return true
}
