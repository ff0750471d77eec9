package northbound

import (
	"net/netip"
	"time"

	"dssn"
	"dssn/controller/southbound"
)

// Count is one end's packets and inside bytes of a reservation, all epochs of
// that node's counters together.
type Count struct {
	Node            string `json:"node"`
	SentPackets     uint64 `json:"sent_packets"`
	SentBytes       uint64 `json:"sent_bytes"`
	PolicedPackets  uint64 `json:"policed_packets"`
	PolicedBytes    uint64 `json:"policed_bytes"`
	ReceivedPackets uint64 `json:"received_packets"`
	ReceivedBytes   uint64 `json:"received_bytes"`
}

// ReservationUsage is a reservation as metered at both ends.
type ReservationUsage struct {
	Reservation dssn.ReservationID `json:"reservation"`
	Institution string             `json:"institution"`
	Implicit    bool               `json:"implicit,omitempty"`
	Data        dssn.DataID        `json:"data,omitzero"`
	Ingress     Count              `json:"ingress"`
	Egress      Count              `json:"egress"`
	// LostPackets and LostBytes entered and did not leave, or are on their way.
	LostPackets uint64 `json:"lost_packets"`
	LostBytes   uint64 `json:"lost_bytes"`
}

// TransferState says what both ends' reports of a transfer amount to.
type TransferState string

// The states of a transfer: running; settled (both ends done and equal to the
// byte); disputed (both done, not equal); one-sided (the holder is done and the
// receiver was a stock client that reports nothing).
const (
	TransferRunning  TransferState = "running"
	TransferSettled  TransferState = "settled"
	TransferDisputed TransferState = "disputed"
	TransferOneSided TransferState = "one-sided"
)

// Transfer is one transfer as both ends report it.
type Transfer struct {
	ID            string             `json:"id"`
	State         TransferState      `json:"state"`
	Data          dssn.DataID        `json:"data"`
	Holder        string             `json:"holder"` // node names
	Receiver      string             `json:"receiver"`
	Owner         string             `json:"owner"` // institutions
	Payer         string             `json:"payer"`
	Reservation   dssn.ReservationID `json:"reservation,omitzero"`
	Grant         string             `json:"grant,omitempty"` // under which it began
	HolderBytes   uint64             `json:"holder_bytes"`
	ReceiverBytes uint64             `json:"receiver_bytes"`
	HolderDone    bool               `json:"holder_done"`
	ReceiverDone  bool               `json:"receiver_done"`
	Started       time.Time          `json:"started"`
	Updated       time.Time          `json:"updated"`
	// Parts are ReceiverBytes by quarters of an hour, until it is settled.
	Parts []UsagePart `json:"parts,omitempty"`
	// Record is the usage record, once settled.
	Record *UsageRecord `json:"record,omitempty"`
	// Statements are what the ends have signed of it, once settled.
	Statements []Statement `json:"statements,omitempty"`
}

// Statement is one terminal's signed word on a transfer.
type Statement struct {
	Node dssn.NodeID `json:"node"`
	// Key is the terminal's Ed25519 identity key: its leaf of kind "join" in the
	// evidence log has it, and Node is minted from it.
	Key      []byte              `json:"key"`
	Delivery southbound.Delivery `json:"delivery"`
}

// UsageRecord is a settled transfer: what both ends agree on. It is a leaf of
// the evidence log and is what bills cite.
type UsageRecord struct {
	Kind        string             `json:"kind"` // "usage"
	Transfer    string             `json:"transfer"`
	Data        dssn.DataID        `json:"data"`
	Name        string             `json:"name"`
	Root        string             `json:"root"`
	Owner       string             `json:"owner"`
	Payer       string             `json:"payer"`
	Holder      dssn.NodeID        `json:"holder"`
	Receiver    dssn.NodeID        `json:"receiver"`
	Grant       string             `json:"grant,omitempty"`
	Reservation dssn.ReservationID `json:"reservation,omitzero"`
	Bytes       uint64             `json:"bytes"`
	// Decided names who decided on Bytes where the ends disagreed.
	Decided string `json:"decided,omitempty"`
	// Parts are the bytes by when they were reported, in quarters of an hour; they
	// add up to Bytes. Records without them count at Ended.
	Parts []UsagePart `json:"parts,omitempty"`
	// Class, Priority, Hops (links) and Latency are those of Reservation.
	Class    string        `json:"class,omitempty"`
	Priority int           `json:"priority,omitempty"`
	Hops     int           `json:"hops,omitempty"`
	Latency  time.Duration `json:"latency_ns,omitempty"`
	Started  time.Time     `json:"started"`
	Ended    time.Time     `json:"ended"`
	Hash     string        `json:"hash,omitempty"` // SHA-256 of the record without this field, hexadecimal
	Leaf     int64         `json:"leaf,omitempty"` // its place in the evidence log
}

// UsagePart is what was verified in the quarter of an hour that begins at At, by
// the controller's clock.
type UsagePart struct {
	At    time.Time `json:"at"`
	Bytes uint64    `json:"bytes"`
}

// Usage is what was metered, newest last.
type Usage struct {
	Reservations []ReservationUsage `json:"reservations"`
	Transfers    []Transfer         `json:"transfers"`
}

// ReceiptRequest asks for the receipt of a settled transfer.
type ReceiptRequest struct {
	Transfer string `json:"transfer"`
}

// Link is one direction of a link as the controller sees it.
type Link struct {
	Name      string         `json:"name"` // from>to
	From      string         `json:"from"`
	To        string         `json:"to"`
	Access    bool           `json:"access,omitempty"`
	Up        bool           `json:"up"`
	Capacity  dssn.Bandwidth `json:"capacity_bps"`
	Committed dssn.Bandwidth `json:"committed_bps"`
	Allocated dssn.Bandwidth `json:"allocated_bps"`
	Latency   time.Duration  `json:"latency_ns"`
}

// Node is a node as the controller sees it.
type Node struct {
	Name        string              `json:"name"`
	Node        dssn.NodeID         `json:"node"`
	Role        southbound.Role     `json:"role"`
	Institution string              `json:"institution"`
	SID         dssn.SID            `json:"sid"`
	Hub         string              `json:"hub,omitempty"`
	Features    southbound.Features `json:"features"`
	Joined      time.Time           `json:"joined"`
	// Connected, Seen, Applied and Problem are as of now, not remembered.
	Connected bool              `json:"connected"`
	Since     time.Time         `json:"since,omitzero"` // of Connected
	Seen      time.Time         `json:"seen,omitzero"`
	Issued    uint64            `json:"issued"`  // newest generation
	Applied   uint64            `json:"applied"` // generation it acts on
	Problem   string            `json:"problem,omitempty"`
	Obtained  map[string]string `json:"obtained,omitempty"`
	Paths     []PathState       `json:"paths,omitempty"`
	// Transit is what it saw of reservations on their way, if it meters them there; for
	// the operator only.
	Transit []southbound.TransitCount `json:"transit,omitempty"`
}

// PathState is a path of an edge as its probes see it.
type PathState struct {
	Peer    string        `json:"peer"`
	Hops    []string      `json:"hops,omitempty"`
	Carrier dssn.Carrier  `json:"carrier"`
	Alive   bool          `json:"alive"`
	InUse   bool          `json:"in_use"`
	RTT     time.Duration `json:"rtt_ns"`
	Since   time.Time     `json:"since"`
	// Suite seals the packets on it: what both ends were told.
	Suite string `json:"suite"`
}

// Status is the whole network at a glance.
type Status struct {
	Network      string        `json:"network"`
	Version      string        `json:"version"`
	Now          time.Time     `json:"now"`
	Block        netip.Prefix  `json:"block"`
	Operator     netip.Prefix  `json:"operator"`
	Journal      int64         `json:"journal"` // entries
	StateHash    string        `json:"state_hash,omitempty"`
	LogSize      int64         `json:"log_size"` // evidence leaves
	LogKey       string        `json:"log_key"`
	Institutions []Institution `json:"institutions"`
	Nodes        []Node        `json:"nodes"`
	Links        []Link        `json:"links"`
	Datasets     int           `json:"datasets"`
	Grants       int           `json:"grants"`
	Reservations int           `json:"reservations"` // not terminated, implicit ones included
	// BGP is how the domain stands with its neighbours; only the operator sees it,
	// and only where it is configured.
	BGP *BGP `json:"bgp,omitempty"`
}

// Event is something that happened and why: the answer to "why did my rate or
// path change at T".
type Event struct {
	Sequence    int64              `json:"sequence"`
	At          time.Time          `json:"at"`
	Kind        string             `json:"kind"` // for example path-changed, link-down
	Node        string             `json:"node,omitempty"`
	Reservation dssn.ReservationID `json:"reservation,omitzero"`
	Detail      string             `json:"detail"` // one sentence
}

// WhoAmI says as whom a connection is known.
type WhoAmI struct {
	Operator    bool   `json:"operator"`
	Node        string `json:"node,omitempty"`
	Institution string `json:"institution,omitempty"`
	Person      string `json:"person,omitempty"`
	Role        Role   `json:"role,omitempty"` // of a person
	// Device is the terminal whose the caller is, or for which a person's token is
	// good alone; "" means that the caller stands for no single terminal.
	Device string `json:"device,omitempty"`
	// Scopes are all that a person's token is good for; nil means everything that
	// the role may.
	Scopes []string `json:"scopes,omitempty"`
}
