package tunnel

import (
	"crypto/ecdh"
	"encoding/binary"
	"io"
	"time"

	"golang.org/x/crypto/blake2s"

	"dssn/dataplane/aead"
	"dssn/dataplane/session"
)

// lane is one way to a peer: a handshake and sessions of its own. Its sessions
// replace each other like this:
//
//	         initiation answered          used by the other side
//	(none) ---------------------> next ---------------------------> current
//	         response to ours                                          |
//	(none) ---------------------------------------------> current      | another current
//	                                                                   v
//	                     too many, or too old: erased <------------- past
type lane struct {
	Lane
	peer *peer
	jar  jar

	// Our initiation under way.
	wanting   bool
	noise     noise
	ephemeral *ecdh.PrivateKey
	terms     terms // of the session that it will make
	local     uint32
	sentAt    time.Duration
	everSent  bool
	retryAt   time.Duration
	since     time.Duration // of the first try
	gaveUpAt  time.Duration
	firedFor  time.Duration // Unanswered that has already led to a handshake
	agreedAt  time.Duration // of the latest session; what was unanswered before is answered

	// Their initiations.
	newest   [12]byte
	heardAt  time.Duration
	everHear bool

	current, next *held
	past          []*held // oldest first
}

// held is a session that a worker has.
type held struct {
	local   uint32
	created time.Duration
	terms   terms
}

// maxPast sessions of a lane still open what was sealed before their successors
// were agreed on. Two that begin at the same moment make two sessions; with room
// for three, nothing is lost even when such a pair follows another.
const maxPast = 3

// terms are what a session is agreed on under.
type terms struct {
	suite aead.Suite
	psk   Key // bound to the suite
}

// bind makes a pre-shared key good for one suite only, so that two ends that were
// told different suites agree on nothing instead of on a session that neither
// can open. WireGuard's own suite leaves the key as it is.
func bind(psk Key, s aead.Suite) Key {
	if s == aead.ChaCha20Poly1305 {
		return psk
	}
	h, _ := blake2s.New256(psk[:]) // a key of this length is no error
	h.Write([]byte("dssn suite " + s.String()))
	return Key(h.Sum(nil))
}

// stale reports whether the current session was agreed on under other terms than
// the peer's present ones.
func (l *lane) stale() bool { return l.current != nil && l.current.terms != l.peer.terms }

// install makes s the lane's current session and keeps what it replaces.
func (m *Machine) install(l *lane, s *held, out []Effect) []Effect {
	out = m.retire(l, &l.current, out)
	l.current = s
	return out
}

// retire moves a session to the past ones.
func (m *Machine) retire(l *lane, s **held, out []Effect) []Effect {
	if *s == nil {
		return out
	}
	if len(l.past) == maxPast {
		out = m.erase(l, &l.past[0], out)
		l.past = append(l.past[:0], l.past[1:]...)
	}
	l.past = append(l.past, *s)
	*s = nil
	return out
}

// take removes from next or the past ones a session that the other side has used
// for the first time; nil if it is neither.
func (l *lane) take(local uint32) (s *held) {
	if l.next != nil && l.next.local == local {
		s, l.next = l.next, nil
		return s
	}
	for i, p := range l.past {
		if p.local == local {
			l.past = append(l.past[:i], l.past[i+1:]...)
			return p
		}
	}
	return nil
}

// expire erases the sessions that are too old to open anything.
func (m *Machine) expire(l *lane, t time.Duration, out []Effect) []Effect {
	for _, s := range []**held{&l.current, &l.next} {
		if *s != nil && t-(*s).created >= rejectAfter {
			out = m.erase(l, s, out)
		}
	}
	for len(l.past) > 0 && t-l.past[0].created >= rejectAfter {
		out = m.erase(l, &l.past[0], out)
		l.past = append(l.past[:0], l.past[1:]...)
	}
	return out
}

// leave ends everything of a lane.
func (m *Machine) leave(l *lane, out []Effect) []Effect {
	m.endHandshake(l)
	for i := range l.past {
		out = m.erase(l, &l.past[i], out)
	}
	l.past = nil
	out = m.erase(l, &l.current, out)
	out = m.erase(l, &l.next, out)
	return append(out, l.effect(Forget))
}

// effect begins an effect on this lane.
func (l *lane) effect(k EffectKind) Effect {
	return Effect{Kind: k, Handle: l.Handle, Worker: l.Worker}
}

// newIndex draws a local index that is not in use and says whose it is.
func (m *Machine) newIndex(l *lane) (uint32, error) {
	for {
		var b [4]byte
		if _, err := io.ReadFull(m.random, b[:]); err != nil {
			return 0, err
		}
		i := session.IndexOf(l.Worker, binary.LittleEndian.Uint32(b[:]))
		if m.index[i] == nil {
			m.index[i] = l
			return i, nil
		}
	}
}

func (m *Machine) erase(l *lane, s **held, out []Effect) []Effect {
	if *s == nil {
		return out
	}
	delete(m.index, (*s).local)
	e := l.effect(Erase)
	e.Local = (*s).local
	*s = nil
	return append(out, e)
}

func (m *Machine) endHandshake(l *lane) {
	if l.ephemeral != nil {
		delete(m.index, l.local)
	}
	l.ephemeral, l.noise, l.terms, l.wanting = nil, noise{}, terms{}, false
}
