package worker

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"dssn/dataplane/aead"
	"dssn/dataplane/packet"
	"dssn/dataplane/session"
)

// Step is what one stage says of a packet.
type Step struct {
	Stage  string `json:"stage"`
	Answer string `json:"answer"`
}

// TraceInside says what would become of a packet that came from inside, stage
// by stage, by the tables in force: nothing is sent, counted or policed. Call it
// from within Do.
func (w *Worker) TraceInside(p []byte) (steps []Step) {
	say := func(stage, format string, a ...any) {
		steps = append(steps, Step{stage, fmt.Sprintf(format, a...)})
	}
	drop := func(v Verdict) []Step { say("verdict", "drop: %s", verdictNames[v]); return steps }
	t := w.tables.Load()

	src, dst, n, ok := packet.Addresses(p)
	if !ok || n != len(p) {
		say("parse", "%d bytes are no whole IPv4 or IPv6 packet", len(p))
		return drop(dropMalformed)
	}
	say("parse", "%v → %v, %d bytes", src, dst, n)
	var f flow
	w.route(t, &f, src, dst)
	if f.lanes == nil {
		say("route", "no peer's allowed prefixes hold %v", dst)
		return drop(dropNoPeer)
	}
	if len(f.own) == 0 {
		say("route", "peer %v, whose lanes belong to other workers than %d", f.lanes.Key, w.number)
		return drop(dropNoLane)
	}
	peer := f.lane(p)
	say("route", "peer %v at %v, lane %d of worker %d", peer.Key, peer.Endpoint, peer.Lane, w.number)
	switch {
	case t.Meters == nil:
		say("police", "this interface has no meters: everything passes")
	case f.meter == nil:
		say("police", "no reservation covers these addresses")
		return drop(dropNoMeter)
	default:
		say("police", "rate %v, burst %v, part %d of %d", f.meter.Rate, f.meter.Burst, min(peer.Part, len(f.meter.Shares)-1)+1, len(f.meter.Shares))
		if f.meter.Rate == 0 {
			return drop(dropPoliced)
		}
	}
	s := peer.Current
	if s == nil || !s.Usable(w.now) {
		say("seal", "no session: the packet waits (%d do) and a handshake begins", len(peer.Waiting))
		say("verdict", "wait")
		return steps
	}
	say("seal", "session %08x, counter %d, %v old, %v", s.Remote, s.Counter, w.now-s.Created, s.Send.Suite())
	if !peer.Endpoint.IsValid() {
		say("send", "nobody knows where the peer is")
		return drop(dropNoEndpoint)
	}
	padded := (n + 15) &^ 15
	if n <= t.MTU && padded > t.MTU {
		padded = t.MTU
	}
	say("send", "%d bytes of UDP to %v", padded+session.Overhead, peer.Endpoint)
	say("verdict", "send")
	return steps
}

// HasLane reports whether a lane to where a packet from inside goes is this
// worker's, HasSession whether the session that a datagram names is. Call them from
// within Do.
func (w *Worker) HasLane(p []byte) bool {
	src, dst, _, ok := packet.Addresses(p)
	if !ok {
		return false
	}
	var f flow
	w.route(w.tables.Load(), &f, src, dst)
	return len(f.own) > 0
}

// HasSession: see HasLane.
func (w *Worker) HasSession(b []byte) bool {
	return len(b) >= session.Overhead && w.sessions[binary.LittleEndian.Uint32(b[4:])] != nil
}

// TraceOutside says what would become of a datagram that came from a peer. It
// opens a copy and leaves the replay window alone.
func (w *Worker) TraceOutside(b []byte) (steps []Step) {
	say := func(stage, format string, a ...any) {
		steps = append(steps, Step{stage, fmt.Sprintf(format, a...)})
	}
	drop := func(v Verdict) []Step { say("verdict", "drop: %s", verdictNames[v]); return steps }
	if len(b) < session.Overhead {
		say("parse", "%d bytes are no WireGuard message", len(b))
		return drop(dropBadMessage)
	}
	switch kind := binary.LittleEndian.Uint32(b); kind {
	case session.TypeTransport:
	case 1, 2, 3:
		say("parse", "handshake message of type %d", kind)
		say("verdict", "to the tunnel machine")
		return steps
	default:
		say("parse", "no WireGuard message has type %#x", kind)
		return drop(dropBadMessage)
	}
	index, counter := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint64(b[8:])
	say("parse", "transport message, index %08x, counter %d", index, counter)
	s := w.sessions[index]
	if s == nil {
		say("session", "there is none with this index")
		return drop(dropBadIndex)
	}
	say("session", "of peer %v, %v old", s.Peer.Key, w.now-s.Created)
	if w.now-s.Created >= session.RejectAfterTime {
		return drop(dropExpired)
	}
	text := bytes.Clone(b[session.HeaderLen:])
	jobs := []aead.Job{{Key: s.Receive, Buf: text}}
	binary.LittleEndian.PutUint64(jobs[0].Nonce[4:], counter)
	aead.Open(jobs)
	if !jobs[0].OK {
		say("open", "the tag is wrong")
		return drop(dropBadTag)
	}
	inner := text[:len(text)-aead.TagSize]
	if len(inner) == 0 {
		say("open", "a keepalive")
		say("verdict", "accepted")
		return steps
	}
	src, dst, n, ok := packet.Addresses(inner)
	if !ok {
		say("open", "what was sealed is no packet")
		return drop(dropBadInner)
	}
	say("open", "%v → %v, %d bytes", src, dst, n)
	t := w.tables.Load()
	var from *session.Lanes
	if t.Routes != nil {
		from, _ = t.Routes.Lookup(src)
	}
	if from == nil || from.Key != s.Peer.Key {
		say("source", "%v may not come from this peer", src)
		return drop(dropBadSource)
	}
	say("source", "allowed")
	say("verdict", "deliver")
	return steps
}
