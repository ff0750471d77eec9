// Package pathmtu finds out how large a packet the path of one tunnel carries,
// by sealed probes that the other end answers: packetization layer path MTU
// discovery for datagrams (RFC 8899). It decides and does nothing: a Machine is
// (now, input) → effects, reads no clock and belongs to one goroutine.
//
// All sizes are bytes of inside packets. What is inside is at least Base, the
// least that IPv6 promises to every host; what is outside does not matter here.
//
//	            ┌────────────── asked and not answered ─────────────┐
//	            ▼                                                   │
//	ceiling ──answered──► settled ──verify: lost──► base ──answered──► search ──► settled
//	   │ lost                 ▲                       │ lost
//	   └──────────────────────┼───► base              ▼
//	                          │                     small ──answered──► narrow (under Base: said, not mended)
//	                          └── mute ◄── lost ──────┘
//
// A size counts as lost when Tries probes of it were not answered.
package pathmtu

import "time"

// Base is the size every path must carry (RFC 8200, section 5).
const Base = 1280

// Bounds of a search.
const (
	Tries       = 3
	granularity = 8 // bytes by which the answer may be too small
	small       = 64
)

// Times of a search.
const (
	firstWait   = 600 * time.Millisecond // for an answer, before any has come
	leastWait   = 200 * time.Millisecond
	verifyEvery = 10 * time.Second  // that what fitted still does
	raiseEvery  = 60 * time.Second  // whether the ceiling does now
	searchEvery = 600 * time.Second // whether anything between does (RFC 8899, section 5.1.1)
	muteFor     = 60 * time.Second  // after which a peer that answers nothing is asked again
)

// likely are sizes that paths have, largest first: inside of 9000, 1500 (IPv4 and
// IPv6 outside), 1492 (PPPoE) and 1480 (a tunnel) bytes.
var likely = []int{8940, 8920, 1440, 1420, 1412, 1400}

// Input is what has happened.
type Input struct {
	// Ceiling is the largest packet that the inside and the first link have.
	Ceiling int
	// Hint is what somebody who may be wrong says fits: a router's ICMP message.
	// Zero means that nobody does.
	Hint int
	// AnsweredID and AnsweredSize name the last probe that was answered.
	AnsweredID   uint32
	AnsweredSize int
	// Active says that packets are being exchanged; without it nothing is sent.
	Active bool
	// Moved says that the path is another one now.
	Moved bool
}

// Output is what to do.
type Output struct {
	// Probe is the size of a probe to send, zero for none, and ID its name.
	Probe int
	ID    uint32
	// Fits and Most are session.Path's; Changed says that they are others than
	// before.
	Fits, Most int
	Changed    bool
	// Narrow says that the path carries less than Base.
	Narrow bool
}

// State says where a search stands.
type State uint8

// The states.
const (
	TryCeiling State = iota
	TryBase
	TrySmall
	Search
	Settled
	Narrow
	Mute
)

// String returns the state's name.
func (s State) String() string {
	return [...]string{"ceiling", "base", "small", "search", "settled", "narrow", "mute"}[s]
}

// Machine is one path's. The zero value is ready.
type Machine struct {
	state   State
	ceiling int
	fits    int // the largest that was answered
	lost    int // the smallest that was not; 0: none
	hint    int

	size    int // of the probe under way; 0: none
	id      uint32
	tries   int
	sentAt  time.Duration
	rtt     time.Duration
	checkAt time.Duration // in Settled, Narrow and Mute: when to look again
	raiseAt time.Duration
	seekAt  time.Duration

	saidFits, saidMost int
}

// State returns where the search stands.
func (m *Machine) State() State { return m.state }

// Step lets the machine know what has happened until now.
func (m *Machine) Step(now time.Duration, in Input) (out Output) {
	ceiling := max(in.Ceiling, Base)
	if in.Moved || m.ceiling != 0 && ceiling != m.ceiling {
		*m = Machine{id: m.id, rtt: m.rtt, saidFits: m.saidFits, saidMost: m.saidMost}
	}
	m.ceiling = ceiling
	if in.Hint != m.hint {
		if m.hint = in.Hint; m.hint != 0 && m.hint < m.current() && m.state == Settled {
			m.checkAt = now // believe nobody: ask
		}
	}
	if m.size != 0 && in.AnsweredID == m.id && in.AnsweredSize == m.size {
		if rtt := now - m.sentAt; m.tries == 1 {
			m.rtt = rtt
		}
		m.answered(now)
	} else if m.size != 0 && now-m.sentAt >= m.wait() {
		if m.tries < Tries {
			m.tries++
			m.sentAt = now
			out.Probe, out.ID = m.size, m.id
		} else {
			m.unanswered(now)
		}
	}
	if m.size == 0 && in.Active {
		if m.size = m.next(now); m.size != 0 {
			m.id++
			m.tries, m.sentAt = 1, now
			out.Probe, out.ID = m.size, m.id
		}
	}
	out.Fits, out.Most = m.say()
	out.Changed = out.Fits != m.saidFits || out.Most != m.saidMost
	m.saidFits, m.saidMost = out.Fits, out.Most
	out.Narrow = m.state == Narrow
	return out
}

func (m *Machine) wait() time.Duration {
	if m.rtt == 0 {
		return firstWait
	}
	return max(leastWait, 3*m.rtt)
}

// current is the size that packets may have now.
func (m *Machine) current() int {
	if m.state == Settled {
		return m.fits
	}
	return m.ceiling
}

// answered moves on after the probe under way came through.
func (m *Machine) answered(now time.Duration) {
	size := m.size
	m.size = 0
	if size != small {
		m.fits = max(m.fits, size)
	}
	switch {
	case size == m.ceiling:
		m.lost = 0
		m.settle(now)
	case m.state == TrySmall:
		m.state, m.checkAt = Narrow, now+verifyEvery
	case m.state == Settled:
		m.checkAt = now + verifyEvery
	default:
		m.search(now)
	}
}

// unanswered moves on after all probes of a size were lost.
func (m *Machine) unanswered(now time.Duration) {
	size := m.size
	m.size = 0
	switch m.state {
	case TryCeiling:
		m.lost, m.state = size, TryBase
	case TryBase:
		m.state = TrySmall
	case TrySmall: // it may be down, or speak of no probes: assume nothing
		m.state, m.checkAt, m.fits, m.lost = Mute, now+muteFor, 0, 0
	case Search:
		m.lost = size
		m.search(now)
	case Settled:
		if size > m.fits { // it was only to see whether the path has grown
			m.checkAt = now + verifyEvery
			return
		}
		m.fits, m.lost, m.state = 0, size, TryBase
		if size == Base {
			m.state = TrySmall
		}
	}
}

// search goes on between what fits and what is lost, or ends.
func (m *Machine) search(now time.Duration) {
	if m.lost == 0 {
		m.lost = m.ceiling + 1
	}
	if m.lost-m.fits <= granularity {
		m.settle(now)
		return
	}
	m.state = Search
}

func (m *Machine) settle(now time.Duration) {
	m.state = Settled
	m.checkAt, m.raiseAt, m.seekAt = now+verifyEvery, now+raiseEvery, now+searchEvery
}

// next chooses the size to probe now, zero for none.
func (m *Machine) next(now time.Duration) int {
	switch m.state {
	case TryCeiling:
		return m.ceiling
	case TryBase:
		return Base
	case TrySmall:
		return small
	case Search:
		return m.between()
	case Mute, Narrow:
		if now >= m.checkAt {
			m.state = TryCeiling
			return m.ceiling
		}
	case Settled:
		switch {
		case now < m.checkAt:
		case m.fits < m.ceiling && now >= m.seekAt:
			m.lost = 0
			m.search(now)
			return m.between()
		case m.fits < m.ceiling && now >= m.raiseAt:
			m.raiseAt = now + raiseEvery
			return m.ceiling
		default:
			return m.fits
		}
	}
	return 0
}

// between is the next size of a search: what is said to fit, what is likely, or
// the middle.
func (m *Machine) between() int {
	inside := func(n int) bool { return n > m.fits && n < m.lost }
	switch {
	case inside(m.hint):
		return m.hint
	case m.hint == m.fits && inside(m.hint+granularity): // true? Then nothing larger fits
		return m.hint + granularity
	}
	if m.lost > m.ceiling && inside(m.ceiling) {
		return m.ceiling
	}
	for _, n := range likely {
		if inside(n) {
			return n
		}
	}
	return m.fits + (m.lost-m.fits)/2
}

// say is what packets are to be held to: nothing while the ceiling is believed
// in or nobody answers; what is certain while it is searched, but no sender is told
// yet what a larger answer would take back only after minutes.
func (m *Machine) say() (fits, most int) {
	switch m.state {
	case Settled:
		if m.fits >= m.ceiling {
			return 0, 0
		}
		return m.fits, m.fits
	case TryBase, TrySmall, Search:
		return max(m.fits, Base), 0
	case Narrow:
		return Base, Base
	}
	return 0, 0
}
