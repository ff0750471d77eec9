package northbound

import (
	"encoding/json"
	"time"

	"dssn"
)

// BillLine is one rated fact.
type BillLine struct {
	Dimension string `json:"dimension"`
	Subject   string `json:"subject"`  // a transfer, a reservation or the institution
	Quantity  string `json:"quantity"` // exact decimal
	Unit      string `json:"unit"`
	Price     string `json:"price"`  // per unit, the tariff's factors included
	Amount    string `json:"amount"` // exact: quantity times price
	Record    string `json:"record"` // hash of what was rated
	// Status says Used or Unused of reserved bandwidth, where that is known.
	Status string `json:"status,omitempty"`
	// Terms are what else the price was chosen by.
	Terms BillTerms `json:"terms,omitzero"`
}

// BillTerms are the circumstances that a tariff may price differently. Empty
// ones are unknown, or of no concern to the tariff.
type BillTerms struct {
	Band     string `json:"band,omitempty"`     // time band, named by the tariff
	Distance string `json:"distance,omitempty"` // path class by hops, named by the tariff
	Latency  string `json:"latency,omitempty"`  // latency class, named by the tariff
	Class    string `json:"class,omitempty"`
	Grade    string `json:"grade,omitempty"`
	Priority int    `json:"priority,omitempty"` // 1 to 100
}

// Bill is what an institution owes for a period.
type Bill struct {
	// Number is set on an issued bill: the institution and a count from 1 on. A
	// bill without one is a draft of any period.
	Number      string    `json:"number,omitempty"`
	Institution string    `json:"institution"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	Tariff      string    `json:"tariff"`      // version
	TariffHash  string    `json:"tariff_hash"` // SHA-256, hexadecimal
	Currency    string    `json:"currency"`
	// Zone are the offsets from UTC by which local time was told.
	Zone  []ZoneOffset `json:"zone,omitempty"`
	Lines []BillLine   `json:"lines"`
	// Disputed are transfers and reservations with disagreements that are not
	// settled: what they disagree on is not on this bill.
	Disputed []string `json:"disputed,omitempty"`
	// Total is the sum of the lines, rounded once, half to even, to cents.
	Total string `json:"total"`
}

// ZoneOffset is local time's offset from UTC from a moment on.
type ZoneOffset struct {
	From    time.Time `json:"from"`
	Seconds int       `json:"seconds"`
}

// ContractRecord is what a bill needs to know of a contract in a period. It is
// as of the period's end.
type ContractRecord struct {
	Kind        string             `json:"kind"` // "contract-usage"
	Reservation dssn.ReservationID `json:"reservation"`
	Institution string             `json:"institution"`
	Data        dssn.DataID        `json:"data"`
	Class       dssn.Class         `json:"class"`
	Priority    int                `json:"priority"`
	Activated   time.Time          `json:"activated"`
	Ended       time.Time          `json:"ended,omitzero"`
	Segments    []ContractSegment  `json:"segments"`
	Intervals   []UsageInterval    `json:"intervals,omitempty"`
	// Volume and Deadline are a bulk contract's; Judged is when it was known
	// whether the deadline was kept, and Kept whether it was.
	Volume   dssn.ByteCount `json:"volume_bytes,omitempty"`
	Deadline time.Time      `json:"deadline,omitzero"`
	Judged   time.Time      `json:"judged,omitzero"`
	Kept     bool           `json:"kept,omitempty"`
}

// ContractSegment is a committed rate over a time, by the path it was sold on.
type ContractSegment struct {
	Committed dssn.Bandwidth `json:"committed_bps"`
	// Boost is how much more was committed by a temporary raise.
	Boost   dssn.Bandwidth `json:"boost_bps,omitempty"`
	From    time.Time      `json:"from"`
	To      time.Time      `json:"to"`
	Hops    int            `json:"hops,omitempty"` // links
	Latency time.Duration  `json:"latency_ns,omitempty"`
}

// UsageInterval is what both ends of a reservation counted in a time.
type UsageInterval struct {
	Reservation dssn.ReservationID `json:"reservation"`
	From        time.Time          `json:"from"`
	To          time.Time          `json:"to"`
	Sent        uint64             `json:"sent_bytes"`     // at the ingress
	Received    uint64             `json:"received_bytes"` // at the egress
	// Agreed is when the ends' counters were found to agree on it: it is billed in
	// the period in which that is. Zero in evidence leaves, which are written before.
	Agreed time.Time `json:"agreed,omitzero"`
	// Seal is its place in the evidence log; nil where the operator decided on it,
	// and in the text that the seal covers.
	Seal *IntervalSeal `json:"seal,omitempty"`
}

// IntervalSeal leads from an interval to a leaf of kind "interval".
type IntervalSeal struct {
	Leaf  int64 `json:"leaf"`  // of the evidence log
	Index int   `json:"index"` // in the leaf's tree
	Size  int   `json:"size"`  // of the leaf's tree
	// Proof is the audit path of RFC 6962 §2.1.1, hashes in hexadecimal, from the
	// interval up.
	Proof []string `json:"proof,omitempty"`
}

// PeriodRecord is what a bill knows of its institution: flat fees cite it.
type PeriodRecord struct {
	Kind        string    `json:"kind"` // "period"
	Institution string    `json:"institution"`
	Created     time.Time `json:"created"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
}

// BillRecords are all records that a bill was rated from.
type BillRecords struct {
	Period    PeriodRecord     `json:"period"`
	Transfers []UsageRecord    `json:"transfers"`
	Contracts []ContractRecord `json:"contracts"`
}

// BillFileFormat is the name of the bill file's format.
const BillFileFormat = "dssn-bill/1"

// BillFile is an issued bill with all that is needed to rate it again and to
// find it in the evidence log, offline.
type BillFile struct {
	Format  string          `json:"format"` // BillFileFormat
	Bill    Bill            `json:"bill"`
	Tariff  json.RawMessage `json:"tariff"`
	Records BillRecords     `json:"records"`
	// Evidence is the receipt (package evidence) of the bill's leaf.
	Evidence json.RawMessage `json:"evidence,omitempty"`
}

// BillRequest issues a bill from the end of the last one on.
type BillRequest struct {
	Institution string `json:"institution"`
	// To is the period's end; zero means now.
	To time.Time `json:"to,omitzero"`
}

// IssuedBill is an entry of the list of issued bills, and the body of its leaf.
type IssuedBill struct {
	Kind        string    `json:"kind"` // "bill"
	Number      string    `json:"number"`
	Issued      time.Time `json:"issued"`
	By          string    `json:"by"`
	Institution string    `json:"institution"`
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	Tariff      string    `json:"tariff"`
	TariffHash  string    `json:"tariff_hash"`
	Currency    string    `json:"currency"`
	Total       string    `json:"total"`
	// Hash is the SHA-256, hexadecimal, of the bill's JSON.
	Hash string `json:"hash"`
	Leaf int64  `json:"leaf,omitempty"` // its place in the evidence log; not in the leaf itself
}

// Dispute is a disagreement of two ends. What it is about is not billed.
type Dispute struct {
	Kind        string             `json:"kind"` // "counters" of a reservation, or "transfer"
	Transfer    string             `json:"transfer,omitempty"`
	Reservation dssn.ReservationID `json:"reservation,omitzero"`
	Institution string             `json:"institution"` // that would pay
	From        time.Time          `json:"from,omitzero"`
	At          time.Time          `json:"at"`
	Ingress     string             `json:"ingress"` // node names; of a transfer, holder and receiver
	Egress      string             `json:"egress"`
	Sent        uint64             `json:"sent_bytes"`     // or served
	Received    uint64             `json:"received_bytes"` // or verified
	Detail      string             `json:"detail"`
}

// ResolveRequest decides a dispute.
type ResolveRequest struct {
	// Bytes are billed.
	Bytes  uint64 `json:"bytes"`
	Reason string `json:"reason"`
}
