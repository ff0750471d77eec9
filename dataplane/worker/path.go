package worker

import (
	"time"

	"dssn/dataplane/packet"
	"dssn/dataplane/session"
)

// The path's MTU, as far as packets meet it: what is too large is cut where
// that may be done, its sender is told where not, and probes are sent and
// answered. How large is too large is found out elsewhere (node/pathmtu).

// tellEvery bounds Packet Too Big messages.
const tellEvery = time.Millisecond

var noOffload packet.Offload

// fit makes the planned packet p fit the path. False says that only its sender
// can, and that it does not: then p is to be dropped.
func (w *Worker) fit(p []byte, path *session.Path) bool {
	c := &w.cut
	longest := c.Longest()
	large := path.Most > 0 && longest > path.Most
	if large {
		w.tell(p, path.Most)
	}
	return c.Fit(path.Fits) || !large
}

// tell sends the sender of p, an inside packet, word of how much fits.
func (w *Worker) tell(p []byte, mtu int) {
	if w.now < w.tellAt {
		return
	}
	w.tellAt = w.now + tellEvery
	if m := packet.TooBig(w.icmp[:], p, mtu); m != nil {
		w.parts[0] = m
		w.inside.Send(w.parts[:], noOffload) // who does not hear it will ask again
	}
}

// clamp has TCP agree on segments that fit, whichever end begins.
func (w *Worker) clamp(t *Tables, path *session.Path, p []byte, partial bool) {
	mtu := t.MTU
	if path.Most > 0 {
		mtu = min(mtu, path.Most)
	}
	if mtu > 0 {
		packet.ClampMSS(p, mtu, partial)
	}
}

// Probe seals and sends a probe of size bytes, as long on the wire as a packet
// of that size, if there is a session for it.
func (w *Worker) Probe(p *session.Peer, id uint32, size int) {
	if s := p.Current; s != nil && s.Usable(w.now) && size >= session.ProbeLen && size <= MaxPacket {
		w.flush()
		session.PutProbe(w.placePadded(s, size, size), session.ProbeAsk, id, size)
		w.flush()
	}
}

// probed takes what was sealed and is no packet. It reports false if it is no
// probe either, or one from a peer that is not known to speak of them.
func (w *Worker) probed(p *session.Peer, b []byte) bool {
	kind, id, size, ok := session.ParseProbe(b)
	if !ok || !p.Path.Probes {
		return false
	}
	if kind == session.ProbeAnswer {
		p.Path.Answer(id, size)
		return true
	}
	if s := p.Current; s != nil && s.Usable(w.now) {
		w.flush()
		session.PutProbe(w.placePadded(s, session.ProbeLen, session.ProbeLen), session.ProbeAnswer, id, size)
		w.flush()
	}
	return true
}
