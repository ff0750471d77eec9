package node

import (
	"net/netip"

	"dssn"
	"dssn/controller/southbound"
	"dssn/dataplane"
	"dssn/node/kernel"
	"dssn/node/liveness"
)

// Input is something that happened to a node; see the types below.
type Input interface{ input() }

// The inputs of a Core.
type (
	// Tick is the passing of time; it comes every few milliseconds.
	Tick struct{}
	// LinkSeen is a watched interface as it is now.
	LinkSeen struct{ Link kernel.Link }
	// HelloHeard is a hello that arrived on a watched interface.
	HelloHeard struct {
		Interface string
		From      netip.Addr
		Hello     liveness.Hello
	}
	// ProbeAnswered is an authenticated answer to one of our probes.
	ProbeAnswered struct{ Probe liveness.Probe }
	// Assigned is an Assignment from the controller, or from the disk.
	Assigned struct {
		Assignment *southbound.Assignment
		FromDisk   bool
	}
	// Attached says that the stream to the controller began: it must be told
	// everything.
	Attached struct{}
	// DataHeld are the identifiers that this node's server answers on.
	DataHeld struct{ Data []dssn.DataID }
	// Published says how the engine took tables.
	Published struct {
		Generation uint64
		Problem    string
	}
	// Realised says how the kernel took a plan.
	Realised struct {
		Generation uint64
		Problem    string
	}
)

func (Tick) input()          {}
func (LinkSeen) input()      {}
func (HelloHeard) input()    {}
func (ProbeAnswered) input() {}
func (Assigned) input()      {}
func (Attached) input()      {}
func (DataHeld) input()      {}
func (Published) input()     {}
func (Realised) input()      {}

// ProbePeer is an edge with which probes are exchanged.
type ProbePeer struct {
	Key  liveness.ProbeKey
	Open bool // our engine has the tunnel with it
}

// LaneKey tells the lanes to a peer apart, below the socket.
type LaneKey struct {
	To   netip.Addr // the peer's node address
	Port uint16     // UDP, of our worker
}

// Effect is something to be done, in the order given; see the types below.
type Effect interface{ effect() }

// The effects of a Core.
type (
	// UseLink says that a watched link is up: hear hellos on it, and write
	// carriers into what leaves by it.
	UseLink struct {
		Name  string
		Index int
	}
	// LoseLink is the end of UseLink.
	LoseLink struct {
		Name  string
		Index int
	}
	// SendHello says a hello on a link.
	SendHello struct {
		Index int
		Hello liveness.Hello
	}
	// SendProbe asks a path.
	SendProbe struct{ liveness.ProbeToSend }
	// SetProbePeers replaces the edges whose probes are believed and answered.
	// Gate, if not zero, is the SID of the node at the other end of this edge's
	// link: a probe to a carrier of one SID, the egress alone, is written as Gate
	// and egress. It goes the same way, and is not taken for traffic that
	// shall travel by the carrier in use.
	SetProbePeers struct {
		Peers map[dssn.SID]ProbePeer
		Gate  dssn.SID
	}
	// SetCarrier makes packets to a peer's address travel by a carrier.
	SetCarrier struct {
		To      netip.Addr
		Carrier dssn.Carrier
	}
	// ClearCarrier makes them travel as they are.
	ClearCarrier struct{ To netip.Addr }
	// SetLaneCarrier makes a lane's packets to a peer, those from this UDP port,
	// travel by a carrier of their own.
	SetLaneCarrier struct {
		Lane    LaneKey
		Carrier dssn.Carrier
	}
	// ClearLaneCarrier makes them travel as the peer's others.
	ClearLaneCarrier struct{ Lane LaneKey }
	// PublishTables hands tables to the engine.
	PublishTables struct{ Tables *dataplane.Tables }
	// SetKernel makes the kernel what the plan says. Adopt forbids to remove
	// what an earlier process left.
	SetKernel struct {
		Generation uint64
		Plan       *kernel.Plan
		Adopt      bool
	}
	// SetTransit makes the transit program do what the plan says. Adopt leaves an
	// adopted program as it is: this one does not know its neighbours yet.
	SetTransit struct {
		Plan  *TransitPlan
		Adopt bool
	}
	// SetAdmission replaces what the server of identifiers goes by.
	SetAdmission struct{ Assignment *southbound.Assignment }
	// SendUp tells the controller; it is lost without harm while there is none.
	SendUp struct{ Up southbound.Up }
	// Persist keeps an Assignment for the next start.
	Persist struct{ Assignment *southbound.Assignment }
	// Switched tells that traffic to a peer moved.
	Switched struct {
		Peer   dssn.NodeID
		Name   string
		Hops   []string
		Switch liveness.Switch
	}
	// Noticed is something for the log.
	Noticed struct {
		Text string
		Args []any
	}
)

func (UseLink) effect()          {}
func (LoseLink) effect()         {}
func (SendHello) effect()        {}
func (SendProbe) effect()        {}
func (SetProbePeers) effect()    {}
func (SetCarrier) effect()       {}
func (ClearCarrier) effect()     {}
func (SetLaneCarrier) effect()   {}
func (ClearLaneCarrier) effect() {}
func (PublishTables) effect()    {}
func (SetKernel) effect()        {}
func (SetTransit) effect()       {}
func (SetAdmission) effect()     {}
func (SendUp) effect()           {}
func (Persist) effect()          {}
func (Switched) effect()         {}
func (Noticed) effect()          {}
