// Package southbound is what a controller and its nodes say to each other: the
// join request, the messages of the one mutually authenticated stream per node,
// and the whole numbered Assignment.
//
// It holds plain data and its validation; both the controller's server and the
// node's client are built on it, and neither imports the other. Values are
// descriptions: safe to copy, compare and store.
package southbound

import (
	"net/netip"
	"time"

	"dssn"
)

// Role is what a node is for.
type Role string

// The two roles of a node.
const (
	RoleBackbone Role = "backbone"
	RoleTerminal Role = "terminal"
)

// Key is a Curve25519 public key or a pre-shared key; JSON shows it as base64.
type Key []byte

// JoinRequest is what a node sends, over TLS whose server key the token pins,
// to become part of the network.
type JoinRequest struct {
	Token string `json:"token"`
	// CSR is a DER PKCS#10 request for the node's Ed25519 identity key.
	CSR []byte `json:"csr"`
	// TunnelKey is the node's Curve25519 public key.
	TunnelKey Key `json:"tunnel_key"`
	// RegistrantKey is the Ed25519 public key that signs this institution's
	// catalogue records; terminals only.
	RegistrantKey []byte   `json:"registrant_key,omitempty"`
	Features      Features `json:"features"`
	Version       string   `json:"version"`
}

// Features is what a node found its host able to do, before it joined.
type Features struct {
	// NextCSID is true if the kernel shifts carriers (seg6local End with the
	// next-csid flavour). Without it, or without CarrierEgress, the
	// node falls back to shortest paths, and Why says what was missing.
	NextCSID bool `json:"next_csid"`
	// CarrierEgress is true if the tc-egress program that writes carriers loads.
	CarrierEgress bool   `json:"carrier_egress"`
	Why           string `json:"why,omitempty"`
	// AES256GCM is true if the CPU has instructions for it. Between two nodes
	// that both say so it is the suite of their tunnels.
	AES256GCM bool `json:"aes_256_gcm,omitempty"`
	// Workers is how many threads carry packets, if the node is a terminal, each
	// with a UDP port of its own (WorkerPort). Zero says that it knows no lanes.
	Workers int `json:"workers,omitempty"`
}

// MaxWorkers bounds the workers of a node that lanes are made for.
const MaxWorkers = 16

// WorkerPort is the UDP port of a node's worker, the first one's being port. They
// are four apart: hellos and probes have ports between the first two.
func WorkerPort(port uint16, worker int) uint16 { return port + 4*uint16(worker) }

// Suite is the cipher of a tunnel's packets, by its usual name.
type Suite string

// The suites. Both ends of a tunnel are told the same, and never negotiate it.
const (
	SuiteChaCha20Poly1305 Suite = "" // WireGuard's own
	SuiteAES256GCM        Suite = "AES-256-GCM"
)

// String returns the suite's usual name.
func (s Suite) String() string {
	if s == SuiteChaCha20Poly1305 {
		return "ChaCha20-Poly1305"
	}
	return string(s)
}

// JoinResponse makes the sender a node.
type JoinResponse struct {
	// Certificate and CA are DER. The certificate's URI name is
	// spiffe://dssn/node/<NodeID>.
	Certificate []byte       `json:"certificate"`
	CA          []byte       `json:"ca"`
	Node        dssn.NodeID  `json:"node"`
	Name        string       `json:"name"`
	Role        Role         `json:"role"`
	SID         dssn.SID     `json:"sid"`
	Block       netip.Prefix `json:"block"`
	Institution string       `json:"institution"`
	// Registrant is the /64 from which this node's institution mints.
	Registrant netip.Prefix `json:"registrant"`
	// LogKey is the evidence log's verifier key (golang.org/x/mod/sumdb/note form).
	LogKey string `json:"log_key"`
	// Controllers are the URLs to attach to, the present one first.
	Controllers []string    `json:"controllers"`
	Assignment  *Assignment `json:"assignment"`
}

// Assignment is everything one node is told to do. It is whole: a node holding
// generation n needs no other generation to act on n. Generations of one node
// only grow.
type Assignment struct {
	Generation uint64       `json:"generation"`
	Node       dssn.NodeID  `json:"node"`
	SID        dssn.SID     `json:"sid"`
	Block      netip.Prefix `json:"block"`
	// Steering is false when some node on the way cannot shift carriers; every
	// Path is then the shortest one and its carrier names the egress only.
	Steering bool `json:"steering"`
	// Neighbours are the nodes expected at the far end of this node's links,
	// told apart by the name that their hello carries.
	Neighbours []Neighbour `json:"neighbours"`
	// Routes lead to locators: a backbone node has one per SID, a terminal has
	// one for the whole block.
	Routes  []Route  `json:"routes"`
	Peers   []Peer   `json:"peers"`
	Meters  []Meter  `json:"meters"`
	Permits []Permit `json:"permits"`
	// Transit are the tagged contracts that may pass here; backbone nodes only.
	Transit []TransitMeter `json:"transit,omitempty"`
}

// Neighbour is a node at the other end of a link.
type Neighbour struct {
	Node dssn.NodeID `json:"node"`
	Name string      `json:"name"`
	SID  dssn.SID    `json:"sid"`
	// Terminal is true of an edge: what comes in from there is its own.
	Terminal bool `json:"terminal,omitempty"`
}

// Route sends a locator prefix to a neighbour. Backup, if set, is a loop-free
// alternate (RFC 5286 inequality 1) that the node uses by itself while the
// link to Via is down.
type Route struct {
	Prefix netip.Prefix `json:"prefix"`
	Via    dssn.NodeID  `json:"via"`
	Backup dssn.NodeID  `json:"backup,omitzero"`
}

// Peer is the other edge of a tunnel, with the paths to it in order of
// preference: the first is the allocated one, the rest are repairs that the
// ingress edge takes by itself.
type Peer struct {
	Node         dssn.NodeID `json:"node"`
	Name         string      `json:"name"`
	SID          dssn.SID    `json:"sid"`
	TunnelKey    Key         `json:"tunnel_key"`
	PresharedKey Key         `json:"preshared_key"`
	Port         uint16      `json:"port"` // UDP, of the peer's tunnels
	Suite        Suite       `json:"suite,omitempty"`
	// Lanes, if there are any, each have sessions of their own between one worker
	// here and one there. A peer without has one, between the first workers.
	Lanes   []Lane         `json:"lanes,omitempty"`
	Allowed []netip.Prefix `json:"allowed"`
	Paths   []Path         `json:"paths"`
}

// Lane joins a worker of this node to one of the peer.
type Lane struct {
	Here  int `json:"here"`
	There int `json:"there"`
	// Path is which of the Peer's Paths the lane takes while that works: 0 for
	// the one that the peer's traffic takes. Lanes of one worker here take the
	// same; lanes of another path are told by the worker's UDP source port.
	Path int `json:"path,omitempty"`
}

// Path is one way to a peer and the same way back (for probes).
type Path struct {
	Carrier dssn.Carrier `json:"carrier"`
	Return  dssn.Carrier `json:"return"`
	Hops    []string     `json:"hops"` // node names, both edges included
	// SIDs are those of Hops, so that an edge can measure the path hop by hop.
	SIDs    []dssn.SID    `json:"sids,omitempty"`
	Latency time.Duration `json:"latency_ns"`
}

// Meter is one reservation's traffic through this node, in the words of the
// contract. From and To are inside prefixes; the node polices it only where it
// is Ingress.
type Meter struct {
	Reservation dssn.ReservationID `json:"reservation"`
	From        netip.Prefix       `json:"from"`
	To          netip.Prefix       `json:"to"`
	Ingress     bool               `json:"ingress"`
	Class       dssn.Class         `json:"class"`
	Committed   dssn.Bandwidth     `json:"committed_bps"`
	Ceiling     dssn.Bandwidth     `json:"ceiling_bps"`
	Allocated   dssn.Bandwidth     `json:"allocated_bps"` // what the policer is set to
	Burst       dssn.ByteCount     `json:"burst_bytes"`
	// Parts, if there are any, are how much of Allocated each of the Peer's Paths
	// has been given; lanes are policed to what their path has.
	Parts []dssn.Bandwidth `json:"parts_bps,omitempty"`
	// Tag, if not zero, is the flow label of this contract's packets on the way; the
	// ingress edge writes it, and the class as DSCP, into their outer header.
	Tag uint32 `json:"tag,omitempty"`
}

// MaxTag is the greatest tag; 0 is none. The host's own flow labels begin far above
// (RFC 6437 labels of Linux have the highest of their 20 bits).
const MaxTag = 4095

// TransitMeter is a contract as a node on its way sees it: packets from Source with
// Tag. At most Ceiling of inside packets, with Burst bytes of depth, is the contract's.
type TransitMeter struct {
	Reservation dssn.ReservationID `json:"reservation"`
	Tag         uint32             `json:"tag"`
	Class       dssn.Class         `json:"class"`
	Source      dssn.SID           `json:"source"` // of the ingress edge
	Committed   dssn.Bandwidth     `json:"committed_bps"`
	Ceiling     dssn.Bandwidth     `json:"ceiling_bps"`
	Burst       dssn.ByteCount     `json:"burst_bytes"`
}

// Permit lets one node reach one identifier prefix held here until a time.
// The holder's server refuses whatever no permit covers.
type Permit struct {
	Data  netip.Prefix `json:"data"`
	To    dssn.NodeID  `json:"to"`
	Until time.Time    `json:"until"`
	// Limit, if it is set, is how many transfers may begin under Grant in all, and
	// Begun those that have as far as the controller knows. Others are admitted
	// while they and those fit, and a request that names no transfer is not.
	Grant string   `json:"grant,omitempty"`
	Limit int      `json:"limit,omitempty"`
	Begun []string `json:"begun,omitempty"`
}

// Up is one message from a node; exactly one field is set.
type Up struct {
	Hello       *Hello       `json:"hello,omitempty"`
	Adjacencies *Adjacencies `json:"adjacencies,omitempty"`
	Paths       *PathStates  `json:"paths,omitempty"`
	Usage       *Usage       `json:"usage,omitempty"`
	Applied     *Applied     `json:"applied,omitempty"`
	Transit     *Transit     `json:"transit,omitempty"`
}

// Down is one message from the controller; exactly one field is set.
type Down struct {
	Assignment *Assignment `json:"assignment,omitempty"`
	Delta      *Delta      `json:"delta,omitempty"` // to nodes whose hello said Deltas
	UsageAck   *UsageAck   `json:"usage_ack,omitempty"`
}

// Hello opens the stream.
type Hello struct {
	Generation uint64   `json:"generation"` // of the assignment held; 0 for none
	Features   Features `json:"features"`
	Version    string   `json:"version"`
	// Deltas says that the node can apply changes to what this stream sent before.
	Deltas bool `json:"deltas,omitempty"`
}

// Adjacencies are all of a node's links as they are now; each message replaces
// the one before it.
type Adjacencies struct {
	Links []Adjacency `json:"links"`
}

// Adjacency is one link of the sender, seen from its side.
type Adjacency struct {
	Interface string         `json:"interface"`
	Neighbour string         `json:"neighbour"` // the name its hello carried; "" before the first
	Up        bool           `json:"up"`
	Speed     dssn.Bandwidth `json:"speed_bps"` // 0 if the interface does not say
}

// PathStates says which of its paths an edge uses and what it saw of them.
type PathStates struct {
	States []PathState `json:"states"`
}

// PathState is one path of one peer.
type PathState struct {
	Peer    dssn.NodeID   `json:"peer"`
	Carrier dssn.Carrier  `json:"carrier"`
	Alive   bool          `json:"alive"`
	InUse   bool          `json:"in_use"`
	RTT     time.Duration `json:"rtt_ns"` // latest probe; 0 if none came back
	Since   time.Time     `json:"since"`  // of the present Alive and InUse
}

// Applied says that a node acts on a generation, or why it cannot.
type Applied struct {
	Generation uint64            `json:"generation"`
	Problem    string            `json:"problem,omitempty"`
	Obtained   map[string]string `json:"obtained,omitempty"`
}

// Transit is what a backbone node has seen of tagged contracts. It is for people and is
// not remembered: bills and evidence are made of what the edges count.
type Transit struct {
	Counts []TransitCount `json:"counts"`
}

// TransitCount is one contract's packets at one node on their way, since it first
// metered them. Bytes are those of outer IPv6 packets.
type TransitCount struct {
	Reservation dssn.ReservationID `json:"reservation"`
	Tag         uint32             `json:"tag"`
	Class       dssn.Class         `json:"class"`
	Packets     uint64             `json:"packets"`
	Bytes       uint64             `json:"bytes"`
	// Policed are those above the ceiling, dropped; they are part of Packets.
	PolicedPackets uint64 `json:"policed_packets"`
	PolicedBytes   uint64 `json:"policed_bytes"`
	// ForeignPackets carried the tag and came from another node than its edge. They
	// are not in the others, and took nothing from the contract.
	ForeignPackets uint64 `json:"foreign_packets"`
}

// Usage is a node's cumulative counters. Within one Epoch they only grow, so a
// lost, repeated or reordered report changes nothing once a later one arrived.
// A node begins a new epoch whenever its counters may have begun again at zero.
type Usage struct {
	Epoch      string     `json:"epoch"` // random, 16 hexadecimal digits
	Sequence   uint64     `json:"sequence"`
	At         time.Time  `json:"at"`
	Counts     []Count    `json:"counts"`
	Deliveries []Delivery `json:"deliveries"`
	// Signature is by the node's Ed25519 identity key; see Sign. A controller that
	// has had a signed report of a node takes no unsigned one any more.
	Signature []byte `json:"signature,omitempty"`
}

// Count is one reservation's packets and inside bytes at this node.
type Count struct {
	Reservation     dssn.ReservationID `json:"reservation"`
	SentPackets     uint64             `json:"sent_packets"`
	SentBytes       uint64             `json:"sent_bytes"`
	PolicedPackets  uint64             `json:"policed_packets"`
	PolicedBytes    uint64             `json:"policed_bytes"`
	ReceivedPackets uint64             `json:"received_packets"`
	ReceivedBytes   uint64             `json:"received_bytes"`
}

// DeliveryEnd says which end of a transfer reports.
type DeliveryEnd string

// The two ends of a transfer.
const (
	EndHolder   DeliveryEnd = "holder"
	EndReceiver DeliveryEnd = "receiver"
)

// Delivery is one transfer as one end knows it, cumulative.
type Delivery struct {
	Transfer    string             `json:"transfer"` // random, 32 hexadecimal digits, chosen by the receiver
	End         DeliveryEnd        `json:"end"`
	Data        dssn.DataID        `json:"data"`
	Peer        dssn.NodeID        `json:"peer"` // the other end
	Reservation dssn.ReservationID `json:"reservation"`
	// ContentBytes are distinct content bytes: verified by the receiver, or
	// served by the holder and acknowledged by the receiver.
	ContentBytes uint64    `json:"content_bytes"`
	Started      time.Time `json:"started"`
	Updated      time.Time `json:"updated"`
	Done         bool      `json:"done"`
	// Signature is the sender's for this delivery alone; see AppendSigned.
	Signature []byte `json:"signature,omitempty"`
}

// UsageAck says that reports up to Sequence of Epoch are durable.
type UsageAck struct {
	Epoch    string `json:"epoch"`
	Sequence uint64 `json:"sequence"`
}
