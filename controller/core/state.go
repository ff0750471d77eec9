package core

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/controller/policy"
	"dssn/controller/southbound"
	"dssn/topology"
)

// State is all that is remembered. It is plain data: its JSON is its snapshot,
// and the hash of that is the state hash.
type State struct {
	Now      time.Time    `json:"now"` // the latest time seen; it never goes back
	Topology string       `json:"topology"`
	Block    netip.Prefix `json:"block"`
	Operator netip.Prefix `json:"operator"`
	Secret   []byte       `json:"secret"`

	Institutions map[string]*northbound.Institution  `json:"institutions"`
	Tokens       map[string]*Token                   `json:"tokens"`
	Nodes        map[string]*Node                    `json:"nodes"` // by name
	Datasets     map[dssn.DataID]*northbound.Dataset `json:"datasets"`
	Names        map[string]dssn.DataID              `json:"names"` // newest version of each
	Grants       map[string]*northbound.Grant        `json:"grants"`
	Reservations map[dssn.ReservationID]*Reservation `json:"reservations"`
	Pairs        map[string]*Pair                    `json:"pairs"`    // by "ingress>egress"
	Counters     map[string]map[string]*Epoch        `json:"counters"` // by node name and epoch
	Transfers    map[string]*northbound.Transfer     `json:"transfers"`
	Receipts     map[string]*ReceiptLeaf             `json:"receipts"` // by transfer
	Issued       map[string]*Issue                   `json:"issued"`   // by node name
	Removed      map[dssn.NodeID]string              `json:"removed"`  // identifiers never to come back, with the reason
	Freezes      map[string]*northbound.Freeze       `json:"freezes"`
	Policy       *northbound.Policy                  `json:"policy,omitempty"`
	People       map[string]*Person                  `json:"people"`
	// Metering (metering.go): what is open, when it is sealed, and what waits to be
	// judged; Bills are those issued, by institution.
	OpenIntervals map[dssn.ReservationID]*OpenInterval `json:"open_intervals,omitempty"`
	IntervalEnd   time.Time                            `json:"interval_end,omitzero"`
	Unjudged      map[dssn.ReservationID]Mark          `json:"unjudged,omitempty"`
	Bills         map[string][]northbound.IssuedBill   `json:"bills,omitempty"`
	// Said are the latest signed words of the ends on transfers that are not settled.
	Said    map[string]*Said              `json:"said,omitempty"`
	Tags    map[dssn.ReservationID]uint32 `json:"tags,omitempty"` // see tags.go
	LastTag uint32                        `json:"last_tag,omitempty"`
	// Promises counts the changes of what is promised and of what can carry it.
	Promises   int64               `json:"promises,omitempty"`
	Events     []northbound.Event  `json:"events"`
	EventCount int64               `json:"event_count"`
	Leaves     int64               `json:"leaves"`
	Sessions   map[string]*Session `json:"sessions,omitempty"` // CAMARA's, by identifier
	Notices    map[string]*Notice  `json:"notices,omitempty"`  // on their way to sinks
	// Once are the answers to inputs that are applied once, by client and key.
	Once map[string]map[string]*Done `json:"once,omitempty"`
}

// Token is an enrolment token; its secret is known by its hash only.
type Token struct {
	Hash        []byte          `json:"hash"`
	Node        string          `json:"node"`
	Role        southbound.Role `json:"role"`
	Institution string          `json:"institution"`
	Access      dssn.Bandwidth  `json:"access_bps"`
	SID         dssn.SID        `json:"sid"`
	Expires     time.Time       `json:"expires"`
	Used        time.Time       `json:"used,omitzero"`
	UsedBy      []byte          `json:"used_by,omitempty"` // identity key
}

// Person is an account with its one token.
type Person struct {
	northbound.Person
	TokenID string `json:"token_id"`
	Hash    []byte `json:"hash"`
	// Tokens are further ones, by name.
	Tokens map[string]*APIToken `json:"tokens,omitempty"`
}

// Node is a member of the network.
type Node struct {
	Name        string              `json:"name"`
	Node        dssn.NodeID         `json:"node"`
	Role        southbound.Role     `json:"role"`
	Institution string              `json:"institution"`
	SID         dssn.SID            `json:"sid"`
	Key         []byte              `json:"key"` // Ed25519 identity
	TunnelKey   southbound.Key      `json:"tunnel_key"`
	Access      dssn.Bandwidth      `json:"access_bps,omitempty"`
	Hub         string              `json:"hub,omitempty"` // of a terminal, from its first adjacency
	Features    southbound.Features `json:"features"`
	Roles       []string            `json:"roles,omitempty"` // see northbound.RoleRequest
	Joined      time.Time           `json:"joined"`
	// SignsUsage is set by its first signed report; unsigned ones are refused then.
	SignsUsage bool `json:"signs_usage,omitempty"`
	// Heard is when its last report was taken. Folded are epochs that are closed.
	Heard  time.Time       `json:"heard,omitzero"`
	Folded map[string]bool `json:"folded,omitempty"`
	// Neighbours are the names with which a link is up, as this node sees it.
	Neighbours map[string]bool `json:"neighbours"`
	// InUse is the carrier that this edge says it uses, by peer name.
	InUse map[string]dssn.Carrier `json:"in_use,omitempty"`
}

// Reservation is the contract and what rating needs of its past.
type Reservation struct {
	northbound.Reservation
	// Segments are the committed rates of the past and present; the last is open
	// while the contract runs.
	Segments []Segment `json:"segments,omitempty"`
	// Intervals are what was metered, sealed ones only; Agreed is up to where both
	// ends agree on it, Dispute is set where they do not.
	Intervals []northbound.UsageInterval `json:"intervals,omitempty"`
	Agreed    Mark                       `json:"agreed,omitzero"`
	Dispute   *northbound.Dispute        `json:"dispute,omitempty"`
	// Session is the CAMARA session whose it is.
	Session string `json:"session,omitempty"`
	// Revision grows with every change of what is promised.
	Revision int `json:"revision,omitempty"`
	// MaxDelay is the delay bound that was asked for, 0 for none.
	MaxDelay time.Duration `json:"max_delay_ns,omitempty"`
	// Bounded is set on assured contracts whose delay is bounded; those of before were not.
	Bounded bool `json:"bounded,omitempty"`
	// DelayFault says why the promised delay cannot be kept at present.
	DelayFault string `json:"delay_fault,omitempty"`
	// PlanAt is the piece of Plan in force, -1 before the first and between two.
	PlanAt int `json:"plan_at,omitempty"`
	// OfferedBits is what a bulk transfer could have sent until OfferedAt.
	OfferedBits uint64    `json:"offered_bits,omitempty"`
	OfferedAt   time.Time `json:"offered_at,omitzero"`
	// History are the latest changes of rate, path and state, with their causes.
	History []northbound.Change `json:"history,omitempty"`
	// Judged is when it was known whether a bulk transfer's deadline was kept.
	Judged time.Time `json:"judged,omitzero"`
	// Metered is when the meter of either end last grew; Idle is set on background
	// traffic whose meters have not grown for idleAfter.
	Metered time.Time `json:"metered,omitzero"`
	Idle    bool      `json:"idle,omitempty"`
	// Quiet is when the meters had last stood still, and QuietLost and QuietSent what
	// they said of packets lost and sent until then.
	Quiet     time.Time `json:"quiet,omitzero"`
	QuietLost uint64    `json:"quiet_lost,omitempty"`
	QuietSent uint64    `json:"quiet_sent,omitempty"`
	// Measuring is set while the latest change of rate is not measured whole.
	Measuring bool `json:"measuring,omitempty"`
}

// Segment is a committed rate over a time; To is zero while it runs.
type Segment struct {
	Committed dssn.Bandwidth `json:"committed_bps"`
	// Boost is how much more was committed by a temporary raise.
	Boost dssn.Bandwidth `json:"boost_bps,omitempty"`
	From  time.Time      `json:"from"`
	To    time.Time      `json:"to,omitzero"`
	// Hops (links) and Latency are those of the path when the rate was agreed.
	Hops    int           `json:"hops,omitempty"`
	Latency time.Duration `json:"latency_ns,omitempty"`
}

// Pair is the way between two edges, in one direction. All reservations from
// Ingress to Egress share it (DESIGN.md says why).
type Pair struct {
	Ingress string     `json:"ingress"`
	Egress  string     `json:"egress"`
	Path    []string   `json:"path,omitempty"` // node names
	Repairs [][]string `json:"repairs,omitempty"`
	// Spread is true while the first repair is used beside Path (spread.go).
	Spread bool `json:"spread,omitempty"`
	// Leaving is the path that its edge may still be using.
	Leaving *Leaving `json:"leaving,omitempty"`
	// Fault says why the pair has not what it should; empty when all is well.
	Fault string `json:"fault,omitempty"`
}

// Epoch is the latest report of one run of a node's counters.
type Epoch struct {
	Sequence uint64                                  `json:"sequence"`
	Counts   map[dssn.ReservationID]southbound.Count `json:"counts"`
}

// Issue is what was last told to a node.
type Issue struct {
	Generation uint64 `json:"generation"`
	Digest     string `json:"digest"` // of the assignment but for its generation
}

// ReceiptLeaf is a written receipt and its place in the evidence log.
type ReceiptLeaf struct {
	Index int64           `json:"index"`
	Body  json.RawMessage `json:"body"`
}

// maxEvents bounds how many events are remembered.
const maxEvents = 4096

// Core is the controller's decisions. See the package's comment.
type Core struct {
	s State

	// Derived from s, rebuilt when dirty; never part of the state.
	graph       *topology.Graph // the backbone and the terminals
	backbone    *topology.Graph
	backboneOf  *topology.Graph // the base from which it was made
	stubs       map[string]stub
	index       map[string]int // node name to graph index
	forwarding  *forwarding
	assignments map[string]*southbound.Assignment
	rel         []relation            // what grants permit
	relOf       map[string][]relation // the same by terminal
	tally       tally
	tagging     tagging
	due         dueHeap
	waking      map[dssn.ReservationID]time.Time // the newest item of each in due
	ids         map[dssn.NodeID]*Node
	steers      bool            // see steering
	base        *topology.Graph // baseText, read
	baseText    string
	zones       map[string]*time.Location // read once
	policies    *policy.Set               // of s.Policy; nil for none
	// pairsChanged are pairs that gained their first or lost their last
	// reservation since they were last looked after.
	pairsChanged map[string]bool
	promised     *promises                   // the calendar, up to date when asked for
	unbooked     map[dssn.ReservationID]bool // what may have changed since it was
}

// New returns an empty core.
func New() *Core {
	c := &Core{assignments: map[string]*southbound.Assignment{}, tally: newTally(), tagging: newTagging(), pairsChanged: map[string]bool{},
		waking: map[dssn.ReservationID]time.Time{}, unbooked: map[dssn.ReservationID]bool{}, ids: map[dssn.NodeID]*Node{}}
	c.s = State{
		Institutions: map[string]*northbound.Institution{},
		Tokens:       map[string]*Token{},
		Nodes:        map[string]*Node{},
		Datasets:     map[dssn.DataID]*northbound.Dataset{},
		Names:        map[string]dssn.DataID{},
		Grants:       map[string]*northbound.Grant{},
		Reservations: map[dssn.ReservationID]*Reservation{},
		Pairs:        map[string]*Pair{},
		Counters:     map[string]map[string]*Epoch{},
		Transfers:    map[string]*northbound.Transfer{},
		Receipts:     map[string]*ReceiptLeaf{},
		Issued:       map[string]*Issue{},
		Removed:      map[dssn.NodeID]string{},
		Freezes:      map[string]*northbound.Freeze{},
		People:       map[string]*Person{},

		OpenIntervals: map[dssn.ReservationID]*OpenInterval{},
		Unjudged:      map[dssn.ReservationID]Mark{},
		Bills:         map[string][]northbound.IssuedBill{},
		Said:          map[string]*Said{},
	}
	return c
}

// Hash returns the SHA-256 of the state, in hexadecimal. It writes out the
// whole state: for start, tests and audits, not for every step.
func (c *Core) Hash() string {
	b, err := json.Marshal(&c.s)
	if err != nil {
		panic(fmt.Sprintf("the state cannot be written: %v", err)) // every field has a JSON form
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Snapshot returns the whole state as JSON.
func (c *Core) Snapshot() ([]byte, error) { return json.Marshal(&c.s) }

// Restore returns a core that continues from a snapshot.
func Restore(snapshot []byte) (*Core, error) {
	c := New()
	if err := json.Unmarshal(snapshot, &c.s); err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	if err := c.compilePolicy(); err != nil {
		return nil, err
	}
	c.tallyAll()
	c.wakeAll()
	if c.s.Topology != "" {
		x := &step{Core: c, now: c.s.Now}
		x.rebuild()
		x.setRelations(x.relations())
		x.tagAll()
		for _, name := range sortedKeys(c.s.Nodes) {
			a := x.compile(c.s.Nodes[name])
			if is := c.s.Issued[name]; is != nil {
				a.Generation = is.Generation
			}
			c.assignments[name] = a
		}
	}
	return c, nil
}
