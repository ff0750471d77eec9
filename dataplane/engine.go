// Package dataplane decides what happens to a packet between a node's inside
// (the interface its programs and AnyIP routes use) and its sealed tunnels.
//
// This file is the room's door: an Engine is given whole, immutable Tables and
// carries packets by them until the next Tables arrive. What stands behind it
// is the run-to-completion worker (package worker) on some kind of ports; the
// node cannot tell which but by Obtained.
//
// The package knows no routes, links or sockets of the host (room node), and
// no controller.
package dataplane

import (
	"fmt"
	"net/netip"
	"time"

	"dssn"
	"dssn/dataplane/aead"
)

// Key is a Curve25519 key, public or private, or a pre-shared key: 32 bytes.
// The zero value means none.
type Key [32]byte

// String prints a few digits, enough to tell keys apart in a log and too few
// to use one.
func (k Key) String() string { return fmt.Sprintf("%x…", k[:4]) }

// Tables are everything a packet can meet. A Tables value is immutable once it
// has been published.
type Tables struct {
	// Generation numbers the Assignment these tables were compiled from.
	Generation uint64
	Peers      []Peer
	Meters     []Meter
	// Block is the locator block of Peers' endpoints.
	Block netip.Prefix
}

// Peer is the other edge of a tunnel.
type Peer struct {
	Key          Key
	PresharedKey Key
	// Endpoint is the peer's node address and UDP port. The path to it is
	// written below the socket and never seen here.
	Endpoint netip.AddrPort
	// Lanes, if there are any, are all ways to the peer, each with a session and a
	// worker of its own, and take the place of Endpoint. A stock peer has none
	// and is reached by one, the first worker's.
	Lanes []Lane
	// Allowed are the inside prefixes that reach this peer, and the only
	// sources accepted from it. Longest match wins across peers.
	Allowed []netip.Prefix
	// Keepalive is the persistent keepalive interval; zero means none.
	Keepalive time.Duration
	// Suite seals what is sent to this peer and opens what comes from it. Zero
	// means ChaCha20-Poly1305, WireGuard's own. It is never negotiated: the
	// controller gives both ends the same. An engine that has only WireGuard's
	// refuses tables that name another.
	Suite aead.Suite
}

// Lane is one of several ways to a peer.
type Lane struct {
	Worker   int // of this engine's, by number
	Endpoint netip.AddrPort
	// Part is which part of a divided Meter the lane's packets are on.
	Part int
}

// Meter counts, and polices on the way in, the traffic of one reservation.
// A packet belongs to the meter whose From and To hold its inside source and
// destination; the longest To wins, then the longest From. A packet that
// leaves this node through a tunnel and belongs to no meter is dropped
// (DropNoMeter): nothing enters the network unallocated.
type Meter struct {
	Reservation dssn.ReservationID
	From, To    netip.Prefix
	// Rate polices packets of this meter that enter the network here, with
	// Burst bytes of depth. Rate zero drops everything. Packets that leave
	// the network here are counted and never policed.
	Rate  dssn.Bandwidth
	Burst dssn.ByteCount
	// Parts, if there are any, divide Rate: lanes of part i together are policed
	// to Parts[i], with as large a part of Burst. So traffic that travels by
	// several paths is held on each to what that path has for it.
	Parts []dssn.Bandwidth
	// Mark is written into the outer headers of what this meter sends, so that the
	// nodes on the way know it.
	Mark Mark
}

// Mark is what outer IPv6 headers say of a packet: the traffic class in bits 20 to 27
// and the flow label in bits 0 to 19, as they stand in the header's first word. Zero
// leaves both to the host.
type Mark uint32

// NewMark makes a mark of a traffic class and a flow label of at most 20 bits.
func NewMark(class uint8, label uint32) Mark { return Mark(class)<<20 | Mark(label&(1<<20-1)) }

// Class returns the traffic class.
func (m Mark) Class() uint8 { return uint8(m >> 20) }

// Label returns the flow label.
func (m Mark) Label() uint32 { return uint32(m & (1<<20 - 1)) }

// MaxParts bounds a meter's Parts.
const MaxParts = 4

// Count is what a reservation's meter has seen since the engine was opened.
// Every field only grows. Bytes are those of inside IPv6 packets, headers
// included.
type Count struct {
	Reservation     dssn.ReservationID `json:"reservation"`
	SentPackets     uint64             `json:"sent_packets"` // entered the network here
	SentBytes       uint64             `json:"sent_bytes"`
	PolicedPackets  uint64             `json:"policed_packets"` // dropped here, above the rate
	PolicedBytes    uint64             `json:"policed_bytes"`
	ReceivedPackets uint64             `json:"received_packets"` // left the network here
	ReceivedBytes   uint64             `json:"received_bytes"`
}

// PeerState is what an engine knows about one tunnel.
type PeerState struct {
	Key           Key
	LastHandshake time.Time // zero if there has been none
	SentBytes     uint64    // sealed, WireGuard headers included
	ReceivedBytes uint64
	// Suite seals the session in use; zero while there is none.
	Suite aead.Suite
	// Lanes is how many ways there are to the peer, Open how many of them have a
	// session to send by.
	Lanes, Open int
}

// Obtained says what a node really got, not what was asked for.
type Obtained struct {
	Engine       string `json:"engine"`        // for example "run-to-completion worker"
	Inside       string `json:"inside"`        // for example "TUN dssn0 with segmentation offload"
	Outside      string `json:"outside"`       // for example "UDP socket with GSO/GRO"
	Cipher       string `json:"cipher"`        // for example "ChaCha20-Poly1305"
	PresharedKey bool   `json:"preshared_key"` // every peer has one
	MTU          int    `json:"mtu"`           // of the inside interface, bytes
	Workers      int    `json:"workers"`       // threads that carry packets
}

// Engine carries packets. Its methods may be called from any goroutine.
type Engine interface {
	// Publish replaces the tables. Packets in flight see the old or the new
	// ones, whole. Meters of reservations in both keep their counts. After an
	// error the old tables are in force.
	Publish(*Tables) error
	// Counts appends one Count per reservation ever metered and returns the slice.
	Counts([]Count) []Count
	// Peers appends the state of every configured peer.
	Peers([]PeerState) []PeerState
	// Drops returns packets dropped by named reason; names are stable.
	Drops() map[string]uint64
	// Obtained says what this engine got from the host.
	Obtained() Obtained
	// Close stops the engine and removes what it created.
	Close() error
}
