package core

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"time"

	"dssn"
	"dssn/content"
	"dssn/controller/northbound"
	"dssn/controller/northbound/camara"
	"dssn/controller/southbound"
)

// Principal is who asks, as the connection proved it.
type Principal = northbound.WhoAmI

// Input is one thing said to the core; exactly one field is set, beside the
// conditions Once and Match (once.go). Its JSON is
// the body of a journal entry, so fields are added and never renamed.
type Input struct {
	Once  *Once  `json:"once,omitempty"`
	Match string `json:"match,omitempty"` // If-Match

	Configure      *Configure      `json:"configure,omitempty"`
	AddInstitution *AddInstitution `json:"add_institution,omitempty"`
	CreateToken    *CreateToken    `json:"create_token,omitempty"`
	Join           *Join           `json:"join,omitempty"`
	RemoveNode     *RemoveNode     `json:"remove_node,omitempty"`
	Hello          *Hello          `json:"hello,omitempty"`
	Adjacencies    *Adjacencies    `json:"adjacencies,omitempty"`
	PathUse        *PathUse        `json:"path_use,omitempty"`
	Usage          *Usage          `json:"usage,omitempty"`
	Reports        *Reports        `json:"reports,omitempty"`
	Publish        *Publish        `json:"publish,omitempty"`
	Grant          *Grant          `json:"grant,omitempty"`
	Revoke         *Revoke         `json:"revoke,omitempty"`
	Reserve        *Reserve        `json:"reserve,omitempty"`
	Commit         *Commit         `json:"commit,omitempty"`
	Modify         *Modify         `json:"modify,omitempty"`
	Release        *Release        `json:"release,omitempty"`
	Extend         *Extend         `json:"extend,omitempty"`
	Boost          *Boost          `json:"boost,omitempty"`
	Receipt        *Receipt        `json:"receipt,omitempty"`
	Resolve        *Resolve        `json:"resolve,omitempty"`
	IssueBill      *IssueBill      `json:"issue_bill,omitempty"`
	Approve        *Approve        `json:"approve,omitempty"`
	Freeze         *Freeze         `json:"freeze,omitempty"`
	Unfreeze       *Unfreeze       `json:"unfreeze,omitempty"`
	AddPerson      *AddPerson      `json:"add_person,omitempty"`
	RemovePerson   *RemovePerson   `json:"remove_person,omitempty"`
	CreateSession  *CreateSession  `json:"create_session,omitempty"`
	DeleteSession  *DeleteSession  `json:"delete_session,omitempty"`
	ExtendSession  *ExtendSession  `json:"extend_session,omitempty"`
	SessionReady   *SessionReady   `json:"session_ready,omitempty"`
	NoticeDone     *NoticeDone     `json:"notice_done,omitempty"`
	SetRoles       *SetRoles       `json:"set_roles,omitempty"`
	Repack         *Repack         `json:"repack,omitempty"`
	SetPolicy      *SetPolicy      `json:"set_policy,omitempty"`
	AddAPIToken    *AddAPIToken    `json:"add_api_token,omitempty"`
	RemoveAPIToken *RemoveAPIToken `json:"remove_api_token,omitempty"`
	Tick           *Tick           `json:"tick,omitempty"`
}

// Configure sets the network, at first start and whenever its file changed.
type Configure struct {
	Topology string       `json:"topology"` // te-topology/1 text
	Block    netip.Prefix `json:"block"`
	Operator netip.Prefix `json:"operator"`
	// Secret is 32 random bytes from which pre-shared keys are drawn; it is
	// taken the first time only.
	Secret []byte `json:"secret,omitempty"`
}

// AddInstitution registers an institution.
type AddInstitution struct {
	By      Principal                     `json:"by"`
	Request northbound.InstitutionRequest `json:"request"`
}

// CreateToken makes a token; the core learns only the hash of its secret.
type CreateToken struct {
	By      Principal               `json:"by"`
	Request northbound.TokenRequest `json:"request"`
	ID      string                  `json:"id"`          // random
	Hash    []byte                  `json:"secret_hash"` // SHA-256 of the secret
}

// Join makes the holder of a token's secret and of an identity key a node. The
// shell has checked that the request was signed by Key.
type Join struct {
	Token         string              `json:"token"` // its ID
	Hash          []byte              `json:"secret_hash"`
	Key           ed25519.PublicKey   `json:"key"`
	TunnelKey     southbound.Key      `json:"tunnel_key"`
	RegistrantKey []byte              `json:"registrant_key,omitempty"`
	Features      southbound.Features `json:"features"`
}

// RemoveNode ends a node: its certificate is no longer accepted.
type RemoveNode struct {
	By     Principal `json:"by"`
	Node   string    `json:"node"`
	Reason string    `json:"reason,omitempty"`
}

// Hello is a node's features as it attaches.
type Hello struct {
	Node     string              `json:"node"`
	Features southbound.Features `json:"features"`
	// Generation is that of the assignment which the node has.
	Generation uint64 `json:"generation,omitempty"`
}

// Adjacencies are all links of a node as it sees them now.
type Adjacencies struct {
	Node  string                 `json:"node"`
	Links []southbound.Adjacency `json:"links"`
}

// PathUse says that an edge moved by itself to another of its paths.
type PathUse struct {
	Node    string       `json:"node"`
	Peer    dssn.NodeID  `json:"peer"`
	Carrier dssn.Carrier `json:"carrier"`
}

// Usage is a node's cumulative report. Journals of before there were Reports have
// one to an entry.
type Usage struct {
	Node   string           `json:"node"`
	Report southbound.Usage `json:"report"`
}

// Publish registers a record that the shell has verified (content.Verify); the
// core checks it again, for a journal is only as good as its reader.
type Publish struct {
	By     Principal      `json:"by"`
	Holder string         `json:"holder"`
	Record content.Record `json:"record"`
}

// Grant permits.
type Grant struct {
	By      Principal               `json:"by"`
	ID      string                  `json:"id"` // random
	Request northbound.GrantRequest `json:"request"`
}

// Revoke ends a grant.
type Revoke struct {
	By Principal `json:"by"`
	ID string    `json:"id"`
}

// Reserve holds bandwidth.
type Reserve struct {
	By      Principal                     `json:"by"`
	ID      dssn.ReservationID            `json:"id"` // random
	Request northbound.ReservationRequest `json:"request"`
	// Bounds has the delay of class assured bounded; entries of before did not.
	Bounds bool `json:"bounds,omitempty"`
}

// Commit makes a hold a contract.
type Commit struct {
	By Principal          `json:"by"`
	ID dssn.ReservationID `json:"id"`
}

// Modify changes a reservation.
type Modify struct {
	By      Principal                `json:"by"`
	ID      dssn.ReservationID       `json:"id"`
	Request northbound.ModifyRequest `json:"request"`
}

// Release ends a reservation.
type Release struct {
	By Principal          `json:"by"`
	ID dssn.ReservationID `json:"id"`
}

// Receipt asks that a settled transfer's receipt be written.
type Receipt struct {
	By       Principal `json:"by"`
	Transfer string    `json:"transfer"`
}

// Approve is the second pair of eyes on a grant.
type Approve struct {
	By Principal `json:"by"`
	ID string    `json:"id"`
}

// Freeze stops reach.
type Freeze struct {
	By      Principal                `json:"by"`
	ID      string                   `json:"id"` // random
	Request northbound.FreezeRequest `json:"request"`
}

// Unfreeze lifts a freeze.
type Unfreeze struct {
	By Principal `json:"by"`
	ID string    `json:"id"`
}

// AddPerson registers a person; the core learns only the hash of the token's secret.
type AddPerson struct {
	By      Principal                `json:"by"`
	Request northbound.PersonRequest `json:"request"`
	Token   string                   `json:"token"` // its identifier, random
	Hash    []byte                   `json:"secret_hash"`
}

// RemovePerson ends an account.
type RemovePerson struct {
	By   Principal `json:"by"`
	Name string    `json:"name"`
}

// Tick lets time pass: whatever was due ends.
type Tick struct{}

// Reply is what an accepted input gives back; the field that fits it is set.
type Reply struct {
	Institution *northbound.Institution
	Token       *northbound.Token // without its text
	Node        *Node
	Dataset     *northbound.Dataset
	Grant       *northbound.Grant
	Reservation *northbound.Reservation
	Receipt     *ReceiptLeaf
	Freeze      *northbound.Freeze
	Person      *northbound.Person // without its token
	Bill        *northbound.IssuedBill
	Roles       *northbound.Roles
	Policy      *northbound.Policy
	APIToken    *northbound.APIToken // without its text
	// Reports are the refusals of Input.Reports, one each; nil for those taken.
	Reports []error
	Session *camara.SessionInfo
}

// Effect is something to be carried out, in order; exactly one field is set.
type Effect struct {
	// Assignment is the newest for its node.
	Assignment *southbound.Assignment
	// Leaf goes into the evidence log.
	Leaf *Leaf
	// Event is for the operator's log; the core remembers it too.
	Event *northbound.Event
	// Document is to be kept under its name before anybody is answered.
	Document *Document
	// Disconnect names a node whose stream must end now.
	Disconnect dssn.NodeID
}

// Document is a text that is too large to be part of the state and never changes.
type Document struct {
	Name string
	Body []byte
}

// Leaf is one entry of the evidence log. Indexes begin at 0 and are consecutive.
type Leaf struct {
	Index int64
	Data  []byte // JSON
}

// RefusalKind says what sort of refusal it is; each has one HTTP status.
type RefusalKind string

// The kinds of refusal.
const (
	Invalid  RefusalKind = "invalid"  // the request makes no sense
	Denied   RefusalKind = "denied"   // not permitted to the asker
	Unknown  RefusalKind = "unknown"  // no such thing
	Conflict RefusalKind = "conflict" // something stands in the way
	Capacity RefusalKind = "capacity" // a link is full
	Expired  RefusalKind = "expired"  // its time is over
	// The thing is not as the asker saw it; or a key was used for something else.
	Precondition RefusalKind = "precondition"
	Reused       RefusalKind = "reused"
)

// Refusal is a decision against an input, with its reason. The state has not
// changed, but for what was due by that time.
type Refusal struct {
	Kind   RefusalKind `json:"kind"`
	Detail string      `json:"detail"` // one sentence with a next step
	// Bottleneck and Offer are set for Capacity: the link and what would be admitted.
	Bottleneck string         `json:"bottleneck,omitempty"`
	Offer      dssn.Bandwidth `json:"offer,omitempty"`
	// Code, if set, is what CAMARA calls it (session.go).
	Code string `json:"code,omitempty"`
	// Start, Delay and Finish, if set, are when all of it, which delay, and which
	// deadline would be admitted instead.
	Start  time.Time     `json:"start,omitzero"`
	Delay  time.Duration `json:"delay,omitempty"`
	Finish time.Time     `json:"finish,omitzero"`
}

// Error returns the sentence.
func (r *Refusal) Error() string { return r.Detail }

func refuse(kind RefusalKind, format string, args ...any) error {
	return &Refusal{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// never is a time after every deadline.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
