// Package tunnel is WireGuard's control half as a state machine: handshakes,
// timers, rekeying, cookies, for all peers of one node. It is bit-compatible
// with WireGuard.
//
// A Machine takes inputs with the time they came at and appends effects; it
// reads no clock, owns no socket, starts no goroutine, and belongs to one. It
// never seals or opens a packet of the tunnel: sessions are handed out by
// Install effects and live with the packet worker, which reports back what the
// timers need to know.
//
// Where it departs from wireguard-go, on purpose: an initiation that arrives
// while one of ours is under way does not make us forget ours, so that two
// nodes that begin at the same moment need no second try; and timestamps we
// send never go back, even if the clock does.
package tunnel

import (
	"crypto/ecdh"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"

	"dssn/dataplane"
	"dssn/dataplane/aead"
	"dssn/dataplane/session"
)

// Key is a Curve25519 key or a pre-shared key.
type Key = dataplane.Key

// Now is a reading of both clocks: Mono drives every timer and never goes back;
// Wall appears in timestamps only.
type Now struct {
	Mono time.Duration
	Wall time.Time
}

// Timers of the protocol (paper, section 6.1), and wireguard-go's jitter.
const (
	rekeyTimeout     = session.RekeyTimeout
	keepaliveTimeout = session.KeepaliveTimeout
	rejectAfter      = session.RejectAfterTime
	giveUpAfter      = 90 * time.Second
	maxJitter        = 334 * time.Millisecond
	initiationGap    = 20 * time.Millisecond // between initiations of one lane
	renewGap         = 50 * time.Millisecond // before an initiation that new terms call for
)

// Config is what a machine must know of a peer.
type Config struct {
	Key          Key
	PresharedKey Key
	Keepalive    time.Duration // zero: none
	// Roams lets a genuine handshake move the peer's endpoint to its source.
	Roams bool
	// Suite seals this peer's sessions; zero means ChaCha20-Poly1305.
	Suite aead.Suite
	// Lanes are the ways to the peer, each with sessions of its own. A stock
	// peer has one. The machine keeps what it knows of a lane by its place in
	// the list.
	Lanes []Lane
}

// Lane is one way to a peer.
type Lane struct {
	// Worker is who of this node's workers owns the lane, and Endpoint where the
	// other side's is: by both an initiation is known to be for this lane.
	Worker   int
	Endpoint netip.AddrPort
	// Handle comes back in effects; the machine does not look at it.
	Handle any
}

// Activity is what a peer's packets did: times since the engine was opened,
// zero for never. See session.Activity.
type Activity struct{ LastSent, LastReceived, Unanswered, Owing time.Duration }

// EffectKind says what an Effect asks for.
type EffectKind uint8

// The effects.
const (
	Send      EffectKind = 1 + iota // send Message to To, or to the peer's endpoint if To is invalid
	Install                         // open with Keys from now on; if Current also seal, at once
	Erase                           // forget the session with index Local
	Keepalive                       // seal and send an empty packet
	Forget                          // drop what waits for a session: there will be none
	Move                            // the peer is at To
)

// Effect is something the caller must do, in the order given.
type Effect struct {
	Kind    EffectKind
	Handle  any // of the lane; nil for an answer to nobody known
	Worker  int // who is to do it: the lane's owner, or who heard the nobody
	To      netip.AddrPort
	Source  netip.Addr // of Send: which of our addresses; the caller's to fill in
	Shared  bool       // of Send: by the port that all workers share; the caller's to fill in
	Message []byte
	Keys    *session.Keys
	Current bool
	Local   uint32
}

// Reason says why a message was dropped. The zero Reason is accepted.
type Reason string

// The reasons.
const (
	Accepted       Reason = ""
	BadMessage     Reason = "bad_handshake"      // wrong length or type, or not genuine
	BadMAC         Reason = "bad_mac1"           // does not know our key
	UnknownPeer    Reason = "unknown_peer"       // genuine or not, from nobody known
	ReplayedHello  Reason = "replayed_handshake" // not newer than the last one
	FloodedHello   Reason = "handshake_too_soon" // faster than fifty a second
	UnknownIndex   Reason = "unknown_handshake"  // answers nothing we asked
	CookieDemanded Reason = "cookie_demanded"    // busy: a cookie was sent instead
	RateLimited    Reason = "handshake_limited"  // busy: this address begins too often
	UnknownLane    Reason = "unknown_lane"       // genuine, and to a worker with which the peer shares no lane
)

// Machine is all tunnels' state.
type Machine struct {
	private *ecdh.PrivateKey
	public  Key
	random  io.Reader
	gate    *Gate
	baker   baker
	limiter limiter
	peers   map[Key]*peer
	order   []*peer // as added
	index   map[uint32]*lane
	stamp   [12]byte // last sent
}

// peer is one tunnel.
type peer struct {
	Config
	public    *ecdh.PublicKey
	static    []byte // shared secret of both static keys
	gate      *Gate  // makes first MACs
	cookieKey [32]byte
	terms     terms // of sessions agreed on from now on
	lanes     []*lane

	lastHandshake time.Time
}

// New returns the machine of a node with this key. Random is crypto/rand.Reader
// outside of tests.
func New(private Key, random io.Reader) (*Machine, error) {
	k, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		return nil, fmt.Errorf("use the node's tunnel key: %w", err)
	}
	m := &Machine{private: k, public: Key(k.PublicKey().Bytes()), random: random, peers: map[Key]*peer{}, index: map[uint32]*lane{}}
	m.gate = NewGate(m.public)
	m.baker.seal = labelled("cookie--", m.public)
	return m, nil
}

// Public returns the node's own public key.
func (m *Machine) Public() Key { return m.public }

// Set adds a peer or changes one. Lanes that stay keep their sessions; those of
// lanes that are gone are erased. Where the pre-shared key or the suite is another,
// the next Tick begins to replace the sessions, which carry until then. The error
// says that the key is none of Curve25519, or our own.
func (m *Machine) Set(c Config, out []Effect) ([]Effect, error) {
	if c.Suite == 0 {
		c.Suite = aead.ChaCha20Poly1305
	}
	p := m.peers[c.Key]
	if p == nil {
		var err error
		if p, err = m.meet(c.Key); err != nil {
			return out, err
		}
	}
	p.Config, p.terms = c, terms{c.Suite, bind(c.PresharedKey, c.Suite)}
	for i, l := range p.lanes {
		if i >= len(c.Lanes) || l.Handle != c.Lanes[i].Handle {
			out = m.leave(l, out)
			p.lanes[i] = nil
		}
	}
	lanes := make([]*lane, len(c.Lanes))
	copy(lanes, p.lanes)
	for i := range lanes {
		if lanes[i] == nil {
			lanes[i] = &lane{peer: p}
		}
		l := lanes[i]
		l.Lane = c.Lanes[i]
		if l.ephemeral != nil && l.terms != p.terms {
			l.retryAt = 0 // what is under way can come to nothing
		}
	}
	p.lanes = lanes
	return out, nil
}

// meet makes a peer that has no lanes yet.
func (m *Machine) meet(k Key) (*peer, error) {
	public, err := ecdh.X25519().NewPublicKey(k[:])
	if err != nil {
		return nil, fmt.Errorf("add peer %v: %w", k, err)
	}
	if k == m.public {
		return nil, fmt.Errorf("add peer %v: this is the node's own key", k)
	}
	static, err := m.private.ECDH(public)
	if err != nil {
		return nil, fmt.Errorf("add peer %v: %w", k, err)
	}
	p := &peer{public: public, static: static, gate: NewGate(k), cookieKey: labelled("cookie--", k)}
	m.peers[k] = p
	m.order = append(m.order, p)
	return p, nil
}

// Remove forgets a peer and erases its sessions.
func (m *Machine) Remove(k Key, out []Effect) []Effect {
	p := m.peers[k]
	if p == nil {
		return out
	}
	delete(m.peers, k)
	for i, q := range m.order {
		if q == p {
			m.order = append(m.order[:i], m.order[i+1:]...)
			break
		}
	}
	for _, l := range p.lanes {
		out = m.leave(l, out)
	}
	clear(p.static)
	return out
}

// State is what a machine knows of a peer.
type State struct {
	LastHandshake time.Time  // when the latest session was agreed on, zero if never
	Open          int        // lanes that have a session to send by
	Suite         aead.Suite // of the newest of those, zero if there is none
}

// State returns what is known of the peer k.
func (m *Machine) State(k Key) (s State) {
	p := m.peers[k]
	if p == nil {
		return s
	}
	s.LastHandshake = p.lastHandshake
	var newest time.Duration
	for _, l := range p.lanes {
		if c := l.current; c != nil {
			s.Open++
			if c.created >= newest {
				newest, s.Suite = c.created, c.terms.suite
			}
		}
	}
	return s
}

// tai64n is the time as twelve bytes that sort, coarsened to 2^24 ns as
// wireguard-go does so that it tells little about the clock; never earlier than
// or equal to the one before.
func (m *Machine) tai64n(wall time.Time) [12]byte {
	var t [12]byte
	binary.BigEndian.PutUint64(t[0:], 0x400000000000000a+uint64(wall.Unix()))
	binary.BigEndian.PutUint32(t[8:], uint32(wall.Nanosecond())&^(1<<24-1))
	if !newer(t, m.stamp) {
		t = m.stamp
		for i := 11; i >= 0; i-- {
			if t[i]++; t[i] != 0 {
				break
			}
		}
	}
	m.stamp = t
	return t
}

func newer(a, b [12]byte) bool { return string(a[:]) > string(b[:]) }

// CheckKey reports why public cannot be a peer of the node with this private
// key (zero if it is not known yet).
func CheckKey(public, private Key) error {
	p, err := ecdh.X25519().NewPublicKey(public[:])
	if err != nil {
		return fmt.Errorf("use %v as a peer's key: %w", public, err)
	}
	if private == (Key{}) {
		return nil
	}
	k, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		return fmt.Errorf("use the node's tunnel key: %w", err)
	}
	if Key(k.PublicKey().Bytes()) == public {
		return fmt.Errorf("use %v as a peer's key: it is the node's own", public)
	}
	if _, err := k.ECDH(p); err != nil {
		return fmt.Errorf("use %v as a peer's key: %w", public, err)
	}
	return nil
}
