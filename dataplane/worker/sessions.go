package worker

import (
	"dssn/dataplane/session"
)

// What Control tells a worker, from within Do.

// Install adds a session. A current one seals from now on, and the packets
// that waited for it leave; if none waited, an empty one does, so that the
// other side learns that the session stands.
func (w *Worker) Install(s *session.Session, current bool) {
	w.sessions[s.Local] = s
	if !current {
		return
	}
	p := s.Peer
	w.become(s)
	if len(p.Waiting) == 0 {
		w.Keepalive(p)
	} else {
		w.release(p)
	}
}

// become makes s the session that seals. Having agreed on it, the other side
// has answered whatever was sent before.
func (w *Worker) become(s *session.Session) {
	w.now = max(w.now, s.Created) // it may have been agreed on after this batch's clock was read
	s.Peer.Current = s
	s.Peer.Asked = false
	s.Peer.Activity.Answered()
}

// Erase removes and wipes a session.
func (w *Worker) Erase(local uint32) {
	s := w.sessions[local]
	if s == nil {
		return
	}
	delete(w.sessions, local)
	if s.Peer.Current == s {
		s.Peer.Current = nil
	}
	if w.last == s {
		w.last = nil
	}
	s.Wipe()
}

// Keepalive sends an empty packet, if there is a session for it.
func (w *Worker) Keepalive(p *session.Peer) {
	if s := p.Current; s != nil && s.Usable(w.now) {
		w.place(s, 0)
		w.flush()
	}
}

// Forget drops what waits for a session with p.
func (w *Worker) Forget(p *session.Peer) {
	w.drops.add(dropNoSession, len(p.Waiting))
	w.waiting -= len(p.Waiting)
	p.Waiting = nil
	p.Asked = false
}

// Send gives a control message to the outside port.
func (w *Worker) Send(d Datagrams) {
	w.flush()
	w.sends = append(w.sends[:0], d)
	w.transmit()
}

// release seals and sends what waited for p's session.
func (w *Worker) release(p *session.Peer) {
	w.flush()
	for _, b := range p.Waiting {
		w.mark = b.Mark
		copy(w.place(p.Current, len(b.Packet)), b.Packet)
	}
	w.mark = 0
	w.waiting -= len(p.Waiting)
	p.Waiting = nil
	w.flush()
}

// Bounds of what waits for sessions: packets for one peer (as many as
// wireguard-go keeps) and for all.
const (
	maxWaitingPeer = 128
	maxWaitingAll  = 4096
)

// wait keeps a packet until p has a session, and asks for one.
func (w *Worker) wait(p *session.Peer, segment int) {
	w.want(p)
	if len(p.Waiting) >= maxWaitingPeer || w.waiting >= maxWaitingAll {
		w.drops.add(dropNoSession, 1)
		return
	}
	b := make([]byte, w.cut.Len(segment))
	w.cut.Write(b, segment)
	p.Waiting = append(p.Waiting, session.Waiting{Packet: b, Mark: w.mark})
	w.waiting++
}

// want asks for a session, once a second at most.
func (w *Worker) want(p *session.Peer) {
	const again = 1e9
	if p.Asked && w.now-p.AskedAt < again {
		return
	}
	p.Asked, p.AskedAt = true, w.now
	w.control.Want(p)
}

// SetOutside moves the worker to another outside port. The caller closes the
// old one.
func (w *Worker) SetOutside(o Outside) {
	w.flush()
	w.outside = o
}
