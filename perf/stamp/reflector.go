package stamp

import (
	"net/netip"
	"time"
)

// Reflector answers probes. A stateful one numbers its replies per session, so
// that a sender can tell in which direction packets were lost (RFC 8762 §4.3).
type Reflector struct {
	Stateful bool
	Key      []byte // nil for unauthenticated mode
	Error    ErrorEstimate
	// MaxSessions bounds the state; zero means DefaultMaxSessions. When it is
	// full, the session silent for longest makes room.
	MaxSessions int

	sessions map[sessionKey]*sessionState
	Counts   ReflectorCounts
}

// ReflectorCounts only grow.
type ReflectorCounts struct {
	Reflected uint64 `json:"reflected"`
	Short     uint64 `json:"short"`     // too short to be a probe
	BadMAC    uint64 `json:"bad_mac"`   // authentication failed
	Displaced uint64 `json:"displaced"` // sessions that made room for others
}

// DefaultMaxSessions bounds a stateful reflector's memory: 64 bytes each.
const DefaultMaxSessions = 1 << 16

// sessionTimeout ends a silent session (RFC 8762 §4.3's REFWAIT, 900 s).
const sessionTimeout = 15 * time.Minute

type sessionKey struct {
	from netip.AddrPort
	ssid uint16
}

type sessionState struct {
	next uint32
	last time.Time
}

// Reflect appends to b the answer to a probe that came from an address at
// received with a TTL and that is answered at now. ok is false for what is not
// answered.
func (r *Reflector) Reflect(b, probe []byte, from netip.AddrPort, ttl uint8, received, now time.Time) (reply []byte, ok bool) {
	p, err := ParseProbe(probe, r.Key, received)
	switch err {
	case nil:
	case ErrMAC:
		r.Counts.BadMAC++
		return b, false
	default:
		r.Counts.Short++
		return b, false
	}
	answer := Reply{Sequence: p.Sequence, Sent: now, Received: received, Error: r.Error, SSID: p.SSID, Probe: p, TTL: ttl}
	if r.Stateful {
		answer.Sequence = r.number(sessionKey{from, p.SSID}, received)
	}
	b = AppendReply(b, answer, r.Key)
	base := BaseBytes
	if r.Key != nil {
		base = AuthenticatedBytes
	}
	if len(probe) > base {
		b = reflectTLVs(b, probe[base:])
	}
	r.Counts.Reflected++
	return b, true
}

func (r *Reflector) number(k sessionKey, now time.Time) uint32 {
	if r.sessions == nil {
		r.sessions = map[sessionKey]*sessionState{}
	}
	s := r.sessions[k]
	if s == nil {
		limit := r.MaxSessions
		if limit <= 0 {
			limit = DefaultMaxSessions
		}
		if len(r.sessions) >= limit {
			r.makeRoom(now)
		}
		s = &sessionState{}
		r.sessions[k] = s
	}
	n := s.next
	s.next, s.last = n+1, now
	return n
}

// makeRoom drops every session that has timed out, or else the oldest.
func (r *Reflector) makeRoom(now time.Time) {
	var oldest sessionKey
	var when time.Time
	dropped := false
	for k, s := range r.sessions {
		if now.Sub(s.last) > sessionTimeout {
			delete(r.sessions, k)
			dropped = true
		} else if when.IsZero() || s.last.Before(when) {
			oldest, when = k, s.last
		}
	}
	if !dropped {
		delete(r.sessions, oldest)
		r.Counts.Displaced++
	}
}
