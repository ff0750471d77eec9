package session

import (
	"net/netip"
	"sync/atomic"
	"time"

	"dssn/dataplane"
)

// Lanes are all ways to one peer, for routes to lead to: between native nodes one
// for each pair of workers, to a stock peer one. Each is a Peer of its own, with
// its own sessions, counters and replay windows, so that workers share nothing.
// A Lanes value is immutable once it is in tables.
type Lanes struct {
	Key dataplane.Key
	By  [][]*Peer // by the number of the worker that owns them
}

// Waiting is a packet without a session, and what its outer headers shall say.
type Waiting struct {
	Packet []byte
	Mark   dataplane.Mark
}

// Peer is the other side of a tunnel by one lane, as a worker sees it. The worker
// owns it; others read the atomic fields.
type Peer struct {
	Key dataplane.Key
	// Lane is the number of the lane, Worker that of its owner.
	Lane, Worker int
	// Shared says that the peer knows only the port that all our workers share, as a
	// stock one does.
	Shared bool
	// Part is which part of a divided meter its packets are on.
	Part int
	// Endpoint is where sealed packets go; invalid while unknown. Others read
	// it through Where.
	Endpoint netip.AddrPort
	// Source is our address that the peer's last genuine packet came to, and that
	// ours leave from: a host may have several. Invalid leaves it to routing.
	Source netip.Addr
	// Roams lets an authenticated packet change Endpoint to where it came from.
	Roams bool
	// Current is the session that seals; nil while there is none.
	Current *Session
	// Waiting are packets for a session that is not there yet, oldest first.
	Waiting []Waiting
	// AskedAt is when a session was last asked for.
	AskedAt time.Duration
	Asked   bool

	// Path is how large a packet the way to Endpoint carries.
	Path Path

	// Activity is what the timers are set by.
	Activity Activity
	// Bytes of transport messages, headers included.
	SentBytes, ReceivedBytes atomic.Uint64

	where atomic.Pointer[netip.AddrPort]
}

// MoveTo sets the endpoint, and leaves to routing which of our addresses faces it.
func (p *Peer) MoveTo(a netip.AddrPort) {
	p.Source = netip.Addr{}
	p.Endpoint = a
	p.where.Store(&a)
}

// Where returns the endpoint, to any goroutine.
func (p *Peer) Where() netip.AddrPort {
	if a := p.where.Load(); a != nil {
		return *a
	}
	return netip.AddrPort{}
}

// Activity holds times since the engine was opened, in nanoseconds; zero means
// never, or not now.
type Activity struct {
	LastSent     atomic.Int64 // anything sealed
	LastReceived atomic.Int64 // anything opened
	// Unanswered is when the first packet with data was sent since anything
	// was received.
	Unanswered atomic.Int64
	// Owing is when the first packet with data was received since anything was
	// sent.
	Owing atomic.Int64
}

// Sent records that something was sealed at now.
func (a *Activity) Sent(now time.Duration, data bool) {
	store(&a.LastSent, int64(now))
	store(&a.Owing, 0)
	if data && a.Unanswered.Load() == 0 {
		a.Unanswered.Store(int64(now))
	}
}

// Received records that something was opened at now.
func (a *Activity) Received(now time.Duration, data bool) {
	store(&a.LastReceived, int64(now))
	store(&a.Unanswered, 0)
	if data && a.Owing.Load() == 0 {
		a.Owing.Store(int64(now))
	}
}

// Answered records that the other side is there.
func (a *Activity) Answered() { store(&a.Unanswered, 0) }

// store writes only what is new, so that a line others read stays shared.
func store(x *atomic.Int64, v int64) {
	if x.Load() != v {
		x.Store(v)
	}
}
