package tunnel

import (
	"encoding/binary"
	"net/netip"
	"time"

	"dssn/dataplane/session"
)

// Want says that there is something to send to p and no session, or an old one.
func (m *Machine) Want(now Now, k Key, out []Effect) []Effect {
	if p := m.peers[k]; p != nil && !p.wanting {
		return m.begin(now, p, out)
	}
	return out
}

// begin starts a new series of tries, unless one was sent a moment ago: then
// its time comes with Tick.
func (m *Machine) begin(now Now, p *peer, out []Effect) []Effect {
	p.wanting, p.since = true, now.Mono
	if p.everSent && now.Mono-p.sentAt < rekeyTimeout {
		p.retryAt = p.sentAt + rekeyTimeout
		return out
	}
	return m.initiate(now, p, out)
}

// initiate sends one initiation and makes it the one under way.
func (m *Machine) initiate(now Now, p *peer, out []Effect) []Effect {
	e, err := generate(m.random)
	if err != nil {
		return out
	}
	m.endHandshake(p)
	p.wanting = true
	p.sentAt, p.everSent, p.retryAt = now.Mono, true, now.Mono+rekeyTimeout+m.jitter()
	local, err := m.newIndex(p)
	if err != nil {
		return out
	}
	b, err := p.noise.initiate(make([]byte, 0, initiationLen), m, p, local, e, m.tai64n(now.Wall))
	if err != nil {
		delete(m.index, local)
		return out
	}
	p.local, p.ephemeral = local, e
	return append(out, Effect{Kind: Send, Handle: p.Handle, Message: p.jar.stamp(now.Mono, p.gate, b)})
}

func (m *Machine) jitter() time.Duration {
	var b [4]byte
	m.random.Read(b[:]) // whatever it gives
	return time.Duration(binary.LittleEndian.Uint32(b[:])) * maxJitter >> 32
}

// Message takes a handshake message that came from an address. Busy says that
// more come than there is time for: then only senders that prove their address
// by a cookie are worked for. Unless it returns Accepted nothing changed,
// except that a cookie may have been answered with.
func (m *Machine) Message(now Now, from netip.AddrPort, b []byte, busy bool, out []Effect) ([]Effect, Reason) {
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
				out = append(out, Effect{Kind: Send, To: from, Message: reply})
			}
			return out, CookieDemanded
		}
		if !m.limiter.allow(now.Mono, from.Addr()) {
			return out, RateLimited
		}
	}
	if b[0] == typeInitiation {
		return m.initiation(now, from, b, out)
	}
	return m.response(now, from, b, out)
}

func (m *Machine) cookieReply(now Now, b []byte, out []Effect) ([]Effect, Reason) {
	p := m.index[binary.LittleEndian.Uint32(b[4:])]
	if p == nil {
		return out, UnknownIndex
	}
	if !p.jar.take(now.Mono, &p.cookieKey, b) {
		return out, BadMessage
	}
	return out, Accepted
}

// initiation answers and agrees on a session that the other side must use first.
func (m *Machine) initiation(now Now, from netip.AddrPort, b []byte, out []Effect) ([]Effect, Reason) {
	var n noise
	p, stamp := n.consumeInitiation(m, b)
	switch {
	case p == nil:
		return out, UnknownPeer
	case !newer(stamp, p.newest):
		return out, ReplayedHello
	case p.everHear && now.Mono-p.heardAt < initiationGap:
		return out, FloodedHello
	}
	e, err := generate(m.random)
	if err != nil {
		return out, BadMessage
	}
	local, err := m.newIndex(p)
	if err != nil {
		return out, BadMessage
	}
	remote := binary.LittleEndian.Uint32(b[4:])
	reply, err := n.respond(make([]byte, 0, responseLen), p, local, remote, b[8:40], e)
	if err != nil {
		delete(m.index, local)
		return out, BadMessage
	}
	p.newest, p.heardAt, p.everHear = stamp, now.Mono, true
	receive, send := n.split()

	out = m.erase(p, &p.previous, out)
	out = m.erase(p, &p.next, out)
	p.next = &held{local, now.Mono}
	out, to := m.moved(p, from, out)
	out = append(out,
		Effect{Kind: Install, Handle: p.Handle, Local: local, Keys: &session.Keys{
			Suite: p.Suite, Send: send, Receive: receive, Local: local, Remote: remote, Created: now.Mono}},
		Effect{Kind: Send, Handle: p.Handle, To: to, Message: p.jar.stamp(now.Mono, p.gate, reply)})
	return out, Accepted
}

// response ends our handshake: the session is ours to use at once.
func (m *Machine) response(now Now, from netip.AddrPort, b []byte, out []Effect) ([]Effect, Reason) {
	local, remote := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[4:])
	p := m.index[local]
	if p == nil || p.ephemeral == nil || p.local != local {
		return out, UnknownIndex
	}
	if !p.noise.consumeResponse(m, p, p.ephemeral, b) {
		return out, BadMessage
	}
	send, receive := p.noise.split()
	// The index goes over from the handshake to the session.
	p.ephemeral, p.noise, p.wanting = nil, noise{}, false
	p.lastHandshake, p.agreedAt = now.Wall, now.Mono

	if p.next != nil {
		out = m.erase(p, &p.previous, out)
		out = m.erase(p, &p.current, out)
		p.previous, p.next = p.next, nil
	} else {
		out = m.erase(p, &p.previous, out)
		p.previous = p.current
	}
	p.current = &held{local, now.Mono}
	out, _ = m.moved(p, from, out)
	return append(out, Effect{Kind: Install, Handle: p.Handle, Local: local, Current: true, Keys: &session.Keys{
		Suite: p.Suite, Send: send, Receive: receive, Local: local, Remote: remote, Created: now.Mono, Initiator: true}}), Accepted
}

// moved lets a genuine handshake move a peer that roams.
func (m *Machine) moved(p *peer, from netip.AddrPort, out []Effect) ([]Effect, netip.AddrPort) {
	if !p.Roams {
		return out, netip.AddrPort{}
	}
	return append(out, Effect{Kind: Move, Handle: p.Handle, To: from}), from
}

// Confirmed says that the peer's side used the session with this index, which
// has become the worker's current one.
func (m *Machine) Confirmed(now Now, k Key, local uint32, out []Effect) []Effect {
	p := m.peers[k]
	if p == nil || p.next == nil || p.next.local != local {
		return out
	}
	out = m.erase(p, &p.previous, out)
	p.previous, p.current, p.next = p.current, p.next, nil
	p.lastHandshake, p.agreedAt = now.Wall, now.Mono
	// What we wanted is there; an initiation under way may still be answered.
	p.wanting = false
	return out
}

// Tick lets time pass; call it a few times a second. Look returns what a peer's
// packets did, by its handle.
func (m *Machine) Tick(now Now, look func(handle any) Activity, out []Effect) []Effect {
	for _, p := range m.order {
		out = m.tick(now, p, look(p.Handle), out)
	}
	return out
}

func (m *Machine) tick(now Now, p *peer, a Activity, out []Effect) []Effect {
	t := now.Mono
	for _, s := range []**held{&p.previous, &p.current, &p.next} {
		if *s != nil && t-(*s).created >= rejectAfter {
			out = m.erase(p, s, out)
		}
	}
	if p.ephemeral != nil && !p.wanting && t-p.sentAt >= rejectAfter {
		m.endHandshake(p)
	}
	if p.wanting && t >= p.retryAt {
		if t-p.since >= giveUpAfter {
			m.endHandshake(p)
			p.gaveUpAt = t
			out = append(out, Effect{Kind: Forget, Handle: p.Handle})
		} else {
			out = m.initiate(now, p, out)
		}
	}
	if !p.wanting && a.Unanswered > p.agreedAt && t-a.Unanswered >= keepaliveTimeout+rekeyTimeout &&
		(p.firedFor != a.Unanswered || a.LastSent > p.gaveUpAt) {
		p.firedFor = a.Unanswered
		out = m.begin(now, p, out)
	}
	if a.Owing != 0 && t-a.Owing >= keepaliveTimeout && p.current != nil {
		return append(out, Effect{Kind: Keepalive, Handle: p.Handle})
	}
	if p.Keepalive > 0 {
		if last := max(a.LastSent, a.LastReceived); last == 0 || t-last >= p.Keepalive {
			if p.current != nil {
				out = append(out, Effect{Kind: Keepalive, Handle: p.Handle})
			} else if !p.wanting {
				out = m.begin(now, p, out)
			}
		}
	}
	return out
}
