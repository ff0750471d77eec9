package worker

import (
	"encoding/binary"
	"net/netip"

	"dssn/dataplane/aead"
	"dssn/dataplane/packet"
	"dssn/dataplane/session"
)

// inbound carries a batch from outside to inside.
func (w *Worker) inbound(t *Tables) bool {
	for i := range w.slots {
		w.slots[i] = Datagrams{Buf: w.slotBuf[i]}
	}
	n, _ := w.outside.Receive(w.slots)
	for i := range n {
		d := &w.slots[i]
		for b := d.Buf; len(b) > 0; {
			size := min(d.Segment, len(b))
			w.arrive(b[:size:size], d, nil)
			b = b[size:]
		}
	}
	if len(w.opens) > 0 {
		w.open(t)
	}
	return n > 0
}

// arrive sorts one datagram: a transport message of a live session is to be
// opened, a handshake message is Control's. It came in a slot or in a frame.
func (w *Worker) arrive(b []byte, slot *Datagrams, frame *Frame) {
	if len(b) < session.Overhead {
		w.drops.add(dropBadMessage, 1)
		return
	}
	switch kind := binary.LittleEndian.Uint32(b); kind {
	case session.TypeTransport:
	case 1, 2, 3:
		from, to := origin(slot, frame)
		w.handed = handed{local: *to, shared: slot != nil && slot.Shared}
		if !w.control.Handshake(b, *from) {
			w.drops.add(dropControl, 1)
		}
		return
	default:
		w.drops.add(dropBadMessage, 1)
		return
	}
	index := binary.LittleEndian.Uint32(b[4:])
	s := w.last
	if s == nil || s.Local != index {
		if s = w.sessions[index]; s == nil {
			w.drops.add(dropBadIndex, 1)
			return
		}
		w.last = s
	}
	if w.now-s.Created >= session.RejectAfterTime {
		w.drops.add(dropExpired, 1)
		return
	}
	if len(w.opens) == cap(w.opens) {
		w.open(w.tables.Load())
	}
	counter := binary.LittleEndian.Uint64(b[8:])
	w.opens = append(w.opens, aead.Job{Key: s.Receive, Buf: b[session.HeaderLen:]})
	binary.LittleEndian.PutUint64(w.opens[len(w.opens)-1].Nonce[4:], counter)
	w.opened = append(w.opened, incoming{session: s, counter: counter, slot: slot, frame: frame})
}

// origin says where a message came from, and to which of our addresses.
func origin(slot *Datagrams, frame *Frame) (*netip.AddrPort, *netip.Addr) {
	if frame != nil {
		return &frame.Peer, &frame.Local
	}
	return &slot.Peer, &slot.Local
}

// open opens the batch and delivers what is genuine, new and allowed.
func (w *Worker) open(t *Tables) {
	aead.Open(w.opens)
	for i := range w.opens {
		if v, ok := w.accept(t, &w.opens[i], &w.opened[i]); !ok {
			w.drops.add(v, 1)
		}
	}
	w.deliver()
	w.settle()
	clear(w.opens)
	clear(w.opened)
	w.opens, w.opened = w.opens[:0], w.opened[:0]
}

// accept judges one opened message. It returns false and the reason for one
// that is to be dropped; an empty one is accepted and goes nowhere.
func (w *Worker) accept(t *Tables, job *aead.Job, in *incoming) (Verdict, bool) {
	s := in.session
	if !job.OK {
		return dropBadTag, false
	}
	if !s.Fresh(in.counter) {
		return dropReplayed, false
	}
	p := s.Peer
	if !s.Confirmed {
		s.Confirmed = true
		if !s.Initiator {
			w.become(s)
			w.control.Confirmed(s)
			w.release(p)
		}
	}
	inner := job.Buf[:len(job.Buf)-aead.TagSize]
	p.Activity.Received(w.now, len(inner) > 0)
	p.ReceivedBytes.Add(uint64(len(inner) + session.Overhead))
	from, to := origin(in.slot, in.frame)
	if p.Roams && *from != p.Endpoint {
		p.MoveTo(*from)
	}
	if *to != p.Source {
		p.Source = *to
	}
	if !s.Asked && s == p.Current && s.OldToReceive(w.now) {
		s.Asked = true
		w.want(p)
	}
	if len(inner) == 0 {
		return 0, true
	}
	src, dst, n, ok := packet.Addresses(inner)
	if !ok {
		if w.probed(p, inner) {
			return 0, true
		}
		return dropBadInner, false
	}
	f := &w.inFlow
	if !f.is(t, src, dst) {
		w.settle()
		*f = flow{tables: t, src: src, dst: dst}
		if t.Routes != nil {
			f.lanes, _ = t.Routes.Lookup(src)
		}
		w.account(t, f)
		if f.meter != nil {
			w.counter = f.meter.Share(w.number, 0).Counter
		}
	}
	if f.lanes == nil || f.lanes.Key != p.Key {
		return dropBadSource, false
	}
	w.count.add(n)
	w.clamp(t, &p.Path, inner[:n], false)
	if in.frame != nil && w.deliverFrame(in.frame, n, dst) {
		return 0, true
	}
	if !w.join.Add(inner[:n]) {
		w.deliver()
		w.join.Add(inner[:n])
	}
	return 0, true
}

// settle adds what the current flow received to its meter.
func (w *Worker) settle() {
	if w.inFlow.meter != nil && w.count.packets > 0 {
		w.counter.ReceivedPackets.Add(w.count.packets)
		w.counter.ReceivedBytes.Add(w.count.bytes)
	}
	w.count = tally{}
}

// deliver sends what is joined to the inside.
func (w *Worker) deliver() {
	if w.join.Empty() {
		return
	}
	packets := len(w.join.Parts)
	o := w.join.Finish()
	if err := w.inside.Send(w.join.Parts, o); err != nil {
		w.drops.add(dropDeliver, packets)
	}
	w.join.Reset()
}

// route fills f with where packets from src to dst go.
func (w *Worker) route(t *Tables, f *flow, src, dst netip.Addr) {
	*f = flow{tables: t, src: src, dst: dst}
	if t.Routes != nil {
		if f.lanes, _ = t.Routes.Lookup(dst); f.lanes != nil {
			f.own = f.lanes.By[w.number]
		}
	}
	w.account(t, f)
}

// account fills f with whose meter its packets are on.
func (w *Worker) account(t *Tables, f *flow) {
	if t.Meters != nil {
		f.meter = t.Meters.Find(f.src, f.dst)
	}
}
