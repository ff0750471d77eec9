package northbound

import (
	"net/netip"
	"time"

	"dssn"
	"dssn/content"
	"dssn/controller/southbound"
)

// OperatorInstitution is the name of the institution that backbone nodes belong to.
const OperatorInstitution = "operator"

// Institution is a party: it owns a /64 and what is minted from it.
type Institution struct {
	Name       string       `json:"name"`
	Registrant netip.Prefix `json:"registrant"`
	// Keys are the Ed25519 keys of its terminals that may sign records.
	Keys [][]byte `json:"keys,omitempty"`
	// Roles are what grants to role:NAME know it by.
	Roles   []string  `json:"roles,omitempty"`
	Created time.Time `json:"created"`
}

// InstitutionRequest registers an institution.
type InstitutionRequest struct {
	Name string `json:"name"`
	// Region is the third group of its addresses; 0 means 1.
	Region uint16 `json:"region,omitempty"`
}

// TokenRequest asks for a token with which one node can join once.
type TokenRequest struct {
	Node        string          `json:"node"` // a topology name for backbone nodes
	Role        southbound.Role `json:"role"`
	Institution string          `json:"institution,omitempty"` // terminals only
	// Access is the capacity of a terminal's access link; 0 means 10G.
	Access dssn.Bandwidth `json:"access_bps,omitempty"`
	SID    dssn.SID       `json:"sid,omitempty"` // 0: the topology's, or the next free one
	// TTLSeconds is how long the token can be used; 0 means an hour.
	TTLSeconds int64 `json:"ttl_seconds,omitempty"`
}

// Token is a token just made. Its text is shown this once.
type Token struct {
	Token   string    `json:"token"`
	ID      string    `json:"id"`
	Node    string    `json:"node"`
	Expires time.Time `json:"expires"`
}

// PublishRequest registers a dataset of which the sending terminal is a holder.
type PublishRequest struct {
	Record *content.Record `json:"record"`
	// Holder names the terminal; only an operator needs it.
	Holder string `json:"holder,omitempty"`
}

// Dataset is a catalogue entry.
type Dataset struct {
	Record      content.Record `json:"record"`
	Institution string         `json:"institution"`
	Holders     []string       `json:"holders"` // node names
	Registered  time.Time      `json:"registered"`
	// Supersedes and SupersededBy are the versions of the same name before and after.
	Supersedes   dssn.DataID `json:"supersedes,omitzero"`
	SupersededBy dssn.DataID `json:"superseded_by,omitzero"`
}

// Resolution says who holds an identifier and by which grant the asker may have it.
type Resolution struct {
	Dataset    Dataset       `json:"dataset"`
	Holder     string        `json:"holder"` // the one that packets reach
	HolderNode dssn.NodeID   `json:"holder_node"`
	Grant      string        `json:"grant,omitempty"`
	Until      time.Time     `json:"until,omitzero"`
	Route      *Reservation  `json:"route,omitempty"` // what carries the data towards the asker
	Path       []string      `json:"path,omitempty"`
	Latency    time.Duration `json:"latency_ns,omitempty"`
}

// GrantRequest lets To reach Data until a time.
type GrantRequest struct {
	Data netip.Prefix `json:"data"` // one dataset's /128, or a prefix of the owner's /64
	// To is an institution's or a node's name, a node's identifier, or role:NAME
	// for every party that has the role.
	To    string    `json:"to"`
	Until time.Time `json:"until"`
	Terms
}

// Grant is a permission given by the owner of Data.
type Grant struct {
	ID      string       `json:"id"`
	Data    netip.Prefix `json:"data"`
	Owner   string       `json:"owner"`             // institution
	To      string       `json:"to"`                // institution; empty for a role
	ToNode  string       `json:"to_node,omitempty"` // that node of it only
	ToRole  string       `json:"to_role,omitempty"` // every party that has it
	Until   time.Time    `json:"until"`
	Created time.Time    `json:"created"`
	By      string       `json:"by"` // who asked
	// Approved names the second pair of eyes. A dataset of grade important or
	// core is reached only by a grant that somebody else than By has approved.
	Approved string `json:"approved,omitempty"`
	// Waits is set on a grant that needs an approval to have any effect.
	Waits bool `json:"waits,omitempty"`
	// Ended is set when it was revoked or ran out, with the reason.
	Ended  time.Time `json:"ended,omitzero"`
	Reason string    `json:"reason,omitempty"`
	Terms
	// Shut is set while none of the Windows is open, Edge when that changes next.
	Shut bool      `json:"shut,omitempty"`
	Edge time.Time `json:"edge,omitzero"`
	// Used is how much of the Quota was sent, Begun the transfers that began under
	// it, if they are limited.
	Used  dssn.ByteCount `json:"used_bytes,omitempty"`
	Begun []string       `json:"begun,omitempty"`
	// Rules are its conditions with who keeps each of them.
	Rules []Rule `json:"rules,omitempty"`
}

// ReservationRequest asks for bandwidth from the holder of Data to Consumer.
type ReservationRequest struct {
	Data      dssn.DataID    `json:"data"`
	Committed dssn.Bandwidth `json:"committed_bps"`
	// Ceiling is at least Committed; 0 means Committed.
	Ceiling dssn.Bandwidth `json:"ceiling_bps,omitempty"`
	// Burst is the policer's depth; 0 means 50 ms at the allocated rate (class assured:
	// 5 ms at the committed rate), at least 256 KiB.
	Burst dssn.ByteCount `json:"burst_bytes,omitempty"`
	Class dssn.Class     `json:"class"`
	// Priority, 1 to 100, is the weight in sharing, and says who keeps what is
	// committed where a failure leaves too little; 0 means 10.
	Priority int `json:"priority,omitempty"`
	// HoldSeconds is how long the hold waits for its commit; 0 means 30.
	HoldSeconds int64 `json:"hold_seconds,omitempty"`
	// Start and Until are the window; capacity is held for it now. A zero Start is
	// the commit, a zero Until the release.
	Start time.Time `json:"start,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// MaxDelay, of class assured, is the delay bound that is needed, one way from edge
	// to edge; 0 takes the one that is promised by default.
	MaxDelay time.Duration `json:"max_delay_ns,omitempty"`
	// Volume makes a reservation of class bulk one of content to be moved before Until,
	// its deadline, at rates that the controller chooses up to Ceiling (0: the access links').
	Volume dssn.ByteCount `json:"volume_bytes,omitempty"`
	// Consumer names the receiving terminal; only an operator needs it.
	Consumer string `json:"consumer,omitempty"`
}

// ModifyRequest changes a reservation; zero fields stay as they are.
type ModifyRequest struct {
	Committed *dssn.Bandwidth `json:"committed_bps,omitempty"`
	Ceiling   *dssn.Bandwidth `json:"ceiling_bps,omitempty"`
	Burst     *dssn.ByteCount `json:"burst_bytes,omitempty"`
	Priority  int             `json:"priority,omitempty"`
	Until     time.Time       `json:"until,omitzero"`
}

// ReservationState is a step in the life of a reservation:
//
//	requested → held → reserved → active ⇄ degraded → terminated
type ReservationState string

// The states. Requested is where a quote stands; degraded means that the
// committed rate or the path cannot be had at present.
const (
	StateRequested  ReservationState = "requested"
	StateHeld       ReservationState = "held"
	StateReserved   ReservationState = "reserved"
	StateActive     ReservationState = "active"
	StateDegraded   ReservationState = "degraded"
	StateTerminated ReservationState = "terminated"
)

// Reservation is bandwidth for one flow, in one direction.
type Reservation struct {
	ID     dssn.ReservationID `json:"id"`
	State  ReservationState   `json:"state"`
	Reason string             `json:"reason,omitempty"` // of the state
	// Implicit ones are background and come with a grant.
	Implicit    bool           `json:"implicit,omitempty"`
	Data        dssn.DataID    `json:"data,omitzero"`
	Institution string         `json:"institution"` // that pays
	Ingress     string         `json:"ingress"`     // node where the traffic enters, and the policer sits
	Egress      string         `json:"egress"`
	From        netip.Prefix   `json:"from"`
	To          netip.Prefix   `json:"to"`
	Class       dssn.Class     `json:"class"`
	Committed   dssn.Bandwidth `json:"committed_bps"`
	Ceiling     dssn.Bandwidth `json:"ceiling_bps"`
	Allocated   dssn.Bandwidth `json:"allocated_bps"`
	// Parts, if there are any, are how much of Allocated goes by Path and how much
	// by the first of Repairs, used beside it.
	Parts    []dssn.Bandwidth `json:"parts_bps,omitempty"`
	Burst    dssn.ByteCount   `json:"burst_bytes"`
	Priority int              `json:"priority"`
	// Limit names the link that keeps Allocated under Ceiling.
	Limit     string        `json:"limit,omitempty"`
	Path      []string      `json:"path,omitempty"`    // node names, both edges included
	Repairs   [][]string    `json:"repairs,omitempty"` // in order
	Latency   time.Duration `json:"latency_ns,omitempty"`
	Created   time.Time     `json:"created"`
	HeldUntil time.Time     `json:"held_until,omitzero"`
	Activated time.Time     `json:"activated,omitzero"` // committed by the asker
	Start     time.Time     `json:"start,omitzero"`     // of its window
	Until     time.Time     `json:"until,omitzero"`
	Ended     time.Time     `json:"ended,omitzero"`
	// DelayBound, of class assured, is promised: no bit inside the committed rate and
	// burst takes longer from edge to edge. See topology/bound for what it rests on.
	DelayBound time.Duration `json:"delay_bound_ns,omitempty"`
	// Volume, Plan and Finish are a bulk transfer's: what is to be moved, at which rates
	// it was placed, and when it will be done. Until is its deadline.
	Volume dssn.ByteCount `json:"volume_bytes,omitempty"`
	Plan   []RatePiece    `json:"plan,omitempty"`
	Finish time.Time      `json:"finish,omitzero"`
	// Moved is how much of Volume has arrived, as far as it was reported.
	Moved dssn.ByteCount `json:"moved_bytes,omitempty"`
	// Missed says that the deadline passed with the network in default: the bill has a credit.
	Missed bool `json:"missed,omitempty"`
	// Boosts are temporary raises, past ones included.
	Boosts []Boost `json:"boosts,omitempty"`
	// Resizes are the latest changes of rate and what was measured across them.
	Resizes []Resize `json:"resizes,omitempty"`
}

// Quote answers what a reservation would get now. Nothing is held.
type Quote struct {
	Admitted bool           `json:"admitted"`
	Detail   string         `json:"detail"` // one sentence
	Path     []string       `json:"path,omitempty"`
	Repairs  [][]string     `json:"repairs,omitempty"`
	Latency  time.Duration  `json:"latency_ns,omitempty"`
	Rate     dssn.Bandwidth `json:"rate_bps,omitempty"` // that it would be allocated now
	// DelayBound is what class assured would be promised, Finish when a bulk transfer
	// would be done.
	DelayBound time.Duration `json:"delay_bound_ns,omitempty"`
	Finish     time.Time     `json:"finish,omitzero"`
	Plan       []RatePiece   `json:"plan,omitempty"`
	// Bottleneck and what follows it say what is in the way where it is not admitted, and
	// what would be: a lesser rate, the same rate later, a longer delay, a later deadline.
	Bottleneck string         `json:"bottleneck,omitempty"`
	BestOffer  dssn.Bandwidth `json:"best_offer_bps,omitempty"`
	BestStart  time.Time      `json:"best_start,omitzero"`
	BestDelay  time.Duration  `json:"best_delay_ns,omitempty"`
	BestFinish time.Time      `json:"best_finish,omitzero"`
}
