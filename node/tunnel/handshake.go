package tunnel

import (
	"encoding/binary"
	"net/netip"
	"time"

	"dssn/dataplane/session"
)

// Want says that there is something to send to k by its lane of this number, and
// no session, or an old one.
func (m *Machine) Want(now Now, k Key, number int, out []Effect) []Effect {
	if p := m.peers[k]; p != nil && number < len(p.lanes) && !p.lanes[number].wanting {
		return m.begin(now, p.lanes[number], out)
	}
	return out
}

// begin starts a new series of tries, unless one was sent a moment ago: then
// its time comes with Tick.
func (m *Machine) begin(now Now, l *lane, out []Effect) []Effect {
	l.wanting, l.since = true, now.Mono
	if l.everSent && now.Mono-l.sentAt < rekeyTimeout {
		l.retryAt = l.sentAt + rekeyTimeout
		return out
	}
	return m.initiate(now, l, out)
}

// renew replaces a session whose terms are no longer the peer's. It waits for no
// more than a moment after the last initiation: each end begins when it is
// told, and whoever is told last succeeds.
func (m *Machine) renew(now Now, l *lane, out []Effect) []Effect {
	if l.everSent && now.Mono-l.sentAt < renewGap {
		return out
	}
	l.since = now.Mono
	return m.initiate(now, l, out)
}

// initiate sends one initiation and makes it the one under way.
func (m *Machine) initiate(now Now, l *lane, out []Effect) []Effect {
	e, err := generate(m.random)
	if err != nil {
		return out
	}
	m.endHandshake(l)
	l.wanting = true
	l.sentAt, l.everSent, l.retryAt = now.Mono, true, now.Mono+rekeyTimeout+m.jitter()
	local, err := m.newIndex(l)
	if err != nil {
		return out
	}
	b, err := l.noise.initiate(make([]byte, 0, initiationLen), m, l.peer, local, e, m.tai64n(now.Wall))
	if err != nil {
		delete(m.index, local)
		return out
	}
	l.local, l.ephemeral, l.terms = local, e, l.peer.terms
	send := l.effect(Send)
	send.Message = l.jar.stamp(now.Mono, l.peer.gate, b)
	return append(out, send)
}

func (m *Machine) jitter() time.Duration {
	var b [4]byte
	m.random.Read(b[:]) // whatever it gives
	return time.Duration(binary.LittleEndian.Uint32(b[:])) * maxJitter >> 32
}

// Message takes a handshake message that a worker heard from an address. Busy says
// that more come than there is time for: then only senders that prove their
// address by a cookie are worked for. Unless it returns Accepted nothing changed,
// except that a cookie may have been answered with.
func (m *Machine) Message(now Now, worker int, from netip.AddrPort, b []byte, busy bool, out []Effect) ([]Effect, Reason) {
	if !wellFormed(b) {
		return out, BadMessage
	}
	if b[0] == typeCookie {
		return m.cookieReply(now, b, out)
	}
	if !m.gate.Admits(b) {
		return out, BadMAC
	}
	if busy {
		if !m.baker.knows(now.Mono, m.random, b, from) {
			if reply, err := m.baker.reply(now.Mono, m.random, b, from); err == nil {
				out = append(out, Effect{Kind: Send, Worker: worker, To: from, Message: reply})
			}
			return out, CookieDemanded
		}
		if !m.limiter.allow(now.Mono, from.Addr()) {
			return out, RateLimited
		}
	}
	if b[0] == typeInitiation {
		return m.initiation(now, worker, from, b, out)
	}
	return m.response(now, from, b, out)
}

func (m *Machine) cookieReply(now Now, b []byte, out []Effect) ([]Effect, Reason) {
	l := m.index[binary.LittleEndian.Uint32(b[4:])]
	if l == nil {
		return out, UnknownIndex
	}
	if !l.jar.take(now.Mono, &l.peer.cookieKey, b) {
		return out, BadMessage
	}
	return out, Accepted
}

// laneOf finds the lane that an initiation is for: by the worker that heard it and
// where it came from; a stock peer's only one in any case, and where addresses
// are translated on the way, the first of the worker's.
func (p *peer) laneOf(worker int, from netip.AddrPort) (first *lane) {
	if len(p.lanes) == 1 {
		return p.lanes[0]
	}
	for _, l := range p.lanes {
		if l.Worker != worker {
			continue
		}
		if l.Endpoint == from {
			return l
		}
		if first == nil {
			first = l
		}
	}
	return first
}

// initiation answers and agrees on a session that the other side must use first.
func (m *Machine) initiation(now Now, worker int, from netip.AddrPort, b []byte, out []Effect) ([]Effect, Reason) {
	var n noise
	p, stamp := n.consumeInitiation(m, b)
	if p == nil {
		return out, UnknownPeer
	}
	l := p.laneOf(worker, from)
	switch {
	case l == nil:
		return out, UnknownLane
	case !newer(stamp, l.newest):
		return out, ReplayedHello
	case l.everHear && now.Mono-l.heardAt < initiationGap:
		return out, FloodedHello
	}
	e, err := generate(m.random)
	if err != nil {
		return out, BadMessage
	}
	local, err := m.newIndex(l)
	if err != nil {
		return out, BadMessage
	}
	remote := binary.LittleEndian.Uint32(b[4:])
	reply, err := n.respond(make([]byte, 0, responseLen), p, &p.terms.psk, local, remote, b[8:40], e)
	if err != nil {
		delete(m.index, local)
		return out, BadMessage
	}
	l.newest, l.heardAt, l.everHear = stamp, now.Mono, true
	receive, send := n.split()

	out = m.erase(l, &l.next, out)
	l.next = &held{local, now.Mono, p.terms}
	out, to := m.moved(l, from, out)
	install, answer := l.effect(Install), l.effect(Send)
	install.Local = local
	install.Keys = &session.Keys{Suite: p.terms.suite, Send: send, Receive: receive, Local: local, Remote: remote, Created: now.Mono}
	answer.To, answer.Message = to, l.jar.stamp(now.Mono, p.gate, reply)
	return append(out, install, answer), Accepted
}

// response ends our handshake: the session is ours to use at once.
func (m *Machine) response(now Now, from netip.AddrPort, b []byte, out []Effect) ([]Effect, Reason) {
	local, remote := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[4:])
	l := m.index[local]
	if l == nil || l.ephemeral == nil || l.local != local {
		return out, UnknownIndex
	}
	if !l.noise.consumeResponse(m, l.ephemeral, &l.terms.psk, b) {
		return out, BadMessage
	}
	send, receive := l.noise.split()
	s := &held{local, now.Mono, l.terms}
	// The index goes over from the handshake to the session.
	l.ephemeral, l.noise, l.terms, l.wanting = nil, noise{}, terms{}, false
	l.peer.lastHandshake, l.agreedAt = now.Wall, now.Mono

	out = m.retire(l, &l.next, out) // both began at once: the other side uses it, if at all, for a moment
	out = m.install(l, s, out)
	out, _ = m.moved(l, from, out)
	install := l.effect(Install)
	install.Local, install.Current = local, true
	install.Keys = &session.Keys{Suite: s.terms.suite, Send: send, Receive: receive, Local: local, Remote: remote, Created: now.Mono, Initiator: true}
	return append(out, install), Accepted
}

// moved lets a genuine handshake move a peer that roams.
func (m *Machine) moved(l *lane, from netip.AddrPort, out []Effect) ([]Effect, netip.AddrPort) {
	if !l.peer.Roams {
		return out, netip.AddrPort{}
	}
	move := l.effect(Move)
	move.To = from
	return append(out, move), from
}

// Confirmed says that the peer's side used the session with this index, which
// has become the worker's current one.
func (m *Machine) Confirmed(now Now, local uint32, out []Effect) []Effect {
	l := m.index[local]
	if l == nil {
		return out
	}
	s := l.take(local)
	if s == nil {
		return out
	}
	out = m.install(l, s, out)
	l.peer.lastHandshake, l.agreedAt = now.Wall, s.created // the worker may have sent by it since, before this was told
	// What we wanted is there; an initiation under way may still be answered.
	l.wanting = false
	return out
}

// Tick lets time pass; call it a few times a second. Look returns what a lane's
// packets did, by its handle.
func (m *Machine) Tick(now Now, look func(handle any) Activity, out []Effect) []Effect {
	for _, p := range m.order {
		for _, l := range p.lanes {
			out = m.tick(now, l, look(l.Handle), out)
		}
	}
	return out
}

func (m *Machine) tick(now Now, l *lane, a Activity, out []Effect) []Effect {
	t := now.Mono
	out = m.expire(l, t, out)
	if l.ephemeral != nil && !l.wanting && t-l.sentAt >= rejectAfter {
		m.endHandshake(l)
	}
	if !l.wanting && l.stale() {
		out = m.renew(now, l, out)
	}
	if l.wanting && t >= l.retryAt {
		if t-l.since >= giveUpAfter {
			m.endHandshake(l)
			l.gaveUpAt = t
			out = append(out, l.effect(Forget))
		} else {
			out = m.initiate(now, l, out)
		}
	}
	if !l.wanting && a.Unanswered >= l.agreedAt && a.Unanswered > 0 && t-a.Unanswered >= keepaliveTimeout+rekeyTimeout &&
		(l.firedFor != a.Unanswered || a.LastSent > l.gaveUpAt) {
		l.firedFor = a.Unanswered
		out = m.begin(now, l, out)
	}
	if a.Owing != 0 && t-a.Owing >= keepaliveTimeout && l.current != nil {
		return append(out, l.effect(Keepalive))
	}
	if l.peer.Keepalive > 0 {
		if last := max(a.LastSent, a.LastReceived); last == 0 || t-last >= l.peer.Keepalive {
			if l.current != nil {
				out = append(out, l.effect(Keepalive))
			} else if !l.wanting {
				out = m.begin(now, l, out)
			}
		}
	}
	return out
}
