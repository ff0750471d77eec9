package core

import (
	"fmt"
	"slices"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// Disputes of reservations. Counters of the two ends are read at different
// moments, so they are never compared as they stand: what was sealed at one seal
// is compared with what the other end says at the next, when it must have caught
// up. Counters only grow, so
//
//	received at seal k  ≤  sent at seal k+1                (nothing arrives that was not sent)
//	sent at seal k - received at seal k+1  ≤  tolerance    (what is lost on the way)
//
// and whatever breaks one of them is a dispute: from then on the contract's
// intervals are on no bill until the operator has decided. Nothing is averaged.
const (
	toleranceBytes  = 1 << 20 // lost without a question,
	toleranceShare  = 100     // or one in so many
	judgeAtLatest   = 24 * time.Hour
	disputeOfCounts = "counters"
)

// Mark is what both ends had counted when a seal was made.
type Mark struct {
	At       time.Time `json:"at"`
	Since    time.Time `json:"since"` // of the first mark that has not been judged
	Sent     uint64    `json:"sent_bytes"`
	Received uint64    `json:"received_bytes"`
}

// plus adds counters; what a lying node makes too large stays as large as can be.
func plus(a, b uint64) uint64 {
	if a+b < a {
		return 1<<64 - 1
	}
	return a + b
}

// mark reads a reservation's counters.
func (r *Reservation) mark(c *Core, at time.Time) Mark {
	return Mark{At: at, Since: at, Sent: c.count(r.Ingress, r.ID).SentBytes, Received: c.count(r.Egress, r.ID).ReceivedBytes}
}

func tolerated(sent uint64) uint64 { return max(toleranceBytes, sent/toleranceShare) }

// judge compares what was sealed before with what the ends say now. An end that
// has not been heard since then has not caught up.
func (x *step) judge() {
	for _, id := range sortedKeys(x.s.Unjudged) {
		m, r := x.s.Unjudged[id], x.s.Reservations[id]
		if r == nil || r.Dispute != nil {
			delete(x.s.Unjudged, id)
			continue
		}
		now := r.mark(x.Core, x.now)
		in, out := x.s.Nodes[r.Ingress], x.s.Nodes[r.Egress]
		heard := func(n *Node) bool { return n != nil && !n.Heard.Before(m.At) }
		switch {
		case m.Received > plus(now.Sent, tolerated(now.Sent)) && heard(in):
			x.dispute(r, m, fmt.Sprintf("%s says that %d bytes arrived, of which %s sent only %d", r.Egress, m.Received, r.Ingress, now.Sent))
		case m.Sent > plus(now.Received, tolerated(m.Sent)) && heard(out):
			x.dispute(r, m, fmt.Sprintf("%s says that it sent %d bytes, of which %s received only %d", r.Ingress, m.Sent, r.Egress, now.Received))
		case heard(in) && heard(out):
			r.agree(m, x.now)
		case x.now.Sub(m.Since) > judgeAtLatest:
			x.dispute(r, m, fmt.Sprintf("one of %s and %s has not reported for a day", r.Ingress, r.Egress))
		default:
			continue // asked again at the next seal
		}
		delete(x.s.Unjudged, id)
	}
}

// agree takes what was sealed up to m as settled between the ends.
func (r *Reservation) agree(m Mark, now time.Time) {
	r.Agreed = m
	for i := len(r.Intervals) - 1; i >= 0 && r.Intervals[i].Agreed.IsZero(); i-- {
		r.Intervals[i].Agreed = now
	}
}

func (x *step) dispute(r *Reservation, m Mark, detail string) {
	r.Dispute = &northbound.Dispute{Kind: disputeOfCounts, Reservation: r.ID, Institution: r.Institution, From: r.Agreed.At, At: x.now,
		Ingress: r.Ingress, Egress: r.Egress, Sent: m.Sent, Received: m.Received, Detail: detail}
	x.decided("dispute", northbound.OperatorInstitution, r.Dispute)
	x.event("dispute", r.Egress, r.ID, "the ends of %s disagree: %s; it is billed no further until `dssn usage resolve %s --bytes N --reason TEXT`", r.ID, detail, r.ID)
}

// Resolve is the operator's word on a dispute: how many bytes are to be billed.
type Resolve struct {
	By          Principal          `json:"by"`
	Transfer    string             `json:"transfer,omitempty"`
	Reservation dssn.ReservationID `json:"reservation,omitzero"`
	Bytes       uint64             `json:"bytes"`
	Reason      string             `json:"reason"`
}

// resolution is the evidence of a decision on a dispute.
type resolution struct {
	Transfer    string             `json:"transfer,omitempty"`
	Reservation dssn.ReservationID `json:"reservation,omitzero"`
	Bytes       uint64             `json:"bytes"`
	Sent        uint64             `json:"sent_or_served_bytes"`
	Received    uint64             `json:"received_or_verified_bytes"`
	Reason      string             `json:"reason"`
}

// resolve ends a dispute. The bytes cannot be more than either end claims.
func (x *step) resolve(in *Resolve) error {
	if !in.By.Operator {
		return refuse(Denied, "%s cannot decide a dispute: ask the operator", who(in.By))
	}
	if in.Reason == "" || len(in.Reason) > 1024 {
		return refuse(Invalid, "a decision needs a reason of at most 1024 bytes: give --reason")
	}
	if in.Transfer != "" {
		return x.resolveTransfer(in)
	}
	r := x.s.Reservations[in.Reservation]
	if r == nil || r.Dispute == nil {
		return refuse(Unknown, "the reservation %s is not disputed: see `dssn usage disputes`", in.Reservation)
	}
	now := r.mark(x.Core, x.now)
	claimed := max(now.Sent, now.Received) - min(max(now.Sent, now.Received), r.Agreed.Received)
	if in.Bytes > claimed {
		return refuse(Invalid, "neither end of %s claims %d bytes since %s, at most %d: give --bytes %d or less", r.ID, in.Bytes, r.Agreed.At.Format(time.RFC3339), claimed, claimed)
	}
	x.decided("resolve", who(in.By), resolution{Reservation: r.ID, Bytes: in.Bytes, Sent: now.Sent, Received: now.Received, Reason: in.Reason})
	kept := slices.DeleteFunc(r.Intervals, func(v northbound.UsageInterval) bool { return v.Agreed.IsZero() })
	from := r.Activated
	if n := len(kept); n > 0 {
		from = kept[n-1].To
	}
	if from.Before(r.Agreed.At) {
		from = r.Agreed.At // intervals of earlier bills are forgotten
	}
	to := x.now
	if !r.Ended.IsZero() && r.Ended.After(from) {
		to = r.Ended
	}
	if in.Bytes > 0 && from.Before(to) {
		kept = append(kept, northbound.UsageInterval{Reservation: r.ID, From: from, To: to, Sent: in.Bytes, Received: in.Bytes, Agreed: x.now})
	}
	r.Intervals = kept
	if o := x.s.OpenIntervals[r.ID]; o != nil { // what it holds was decided upon as well
		delete(x.s.OpenIntervals, r.ID)
	}
	r.Agreed = Mark{At: x.now, Since: x.now, Sent: now.Sent, Received: now.Received}
	r.Dispute = nil
	x.event("resolved", r.Egress, r.ID, "%s decided the dispute of %s: %d bytes are billed (%s)", who(in.By), r.ID, in.Bytes, in.Reason)
	return nil
}

func (x *step) resolveTransfer(in *Resolve) error {
	t := x.s.Transfers[in.Transfer]
	if t == nil || t.State != northbound.TransferDisputed {
		return refuse(Unknown, "no transfer %.40q is disputed: see `dssn usage disputes`", in.Transfer)
	}
	if most := max(t.HolderBytes, t.ReceiverBytes); in.Bytes > most {
		return refuse(Invalid, "neither end of transfer %s claims %d bytes, at most %d: give --bytes %d or less", t.ID, in.Bytes, most, most)
	}
	ds := x.s.Datasets[t.Data]
	if ds == nil {
		return refuse(Conflict, "the data of transfer %s is no longer in the catalogue", t.ID)
	}
	x.decided("resolve", who(in.By), resolution{Transfer: t.ID, Bytes: in.Bytes, Sent: t.HolderBytes, Received: t.ReceiverBytes, Reason: in.Reason})
	x.settled(t, ds, in.Bytes, who(in.By))
	return nil
}

// Disputes lists what is disputed and concerns the asker.
func (c *Core) Disputes(by Principal) []northbound.Dispute {
	out := []northbound.Dispute{}
	for _, id := range sortedKeys(c.s.Reservations) {
		if r := c.s.Reservations[id]; r.Dispute != nil && mayRead(by, r.Institution) {
			out = append(out, *r.Dispute)
		}
	}
	for _, id := range sortedKeys(c.s.Transfers) {
		if t := c.s.Transfers[id]; t.State == northbound.TransferDisputed && mayRead(by, t.Owner, t.Payer) {
			out = append(out, northbound.Dispute{Kind: "transfer", Transfer: t.ID, Reservation: t.Reservation, Institution: t.Payer, From: t.Started, At: t.Updated,
				Ingress: t.Holder, Egress: t.Receiver, Sent: t.HolderBytes, Received: t.ReceiverBytes,
				Detail: fmt.Sprintf("%s served %d bytes, %s verified %d", t.Holder, t.HolderBytes, t.Receiver, t.ReceiverBytes)})
		}
	}
	return out
}

// epochs of a node that were folded are remembered, so that a report of long ago
// cannot begin one of them again and be counted twice.
const maxFolded = 4096

// beginEpoch makes room for a new epoch of a node and returns it.
func (x *step) beginEpoch(n *Node, name string) (*Epoch, error) {
	if n.Folded[name] {
		return nil, refuse(Conflict, "the epoch %s of %s is closed and has been counted: a report of long ago changes nothing", name, n.Name)
	}
	if len(n.Folded) >= maxFolded {
		return nil, refuse(Conflict, "%s has begun %d epochs, more than a node has any reason to: remove it and let it join again", n.Name, maxFolded)
	}
	if x.s.Counters[n.Name] == nil {
		x.s.Counters[n.Name] = map[string]*Epoch{}
	}
	if len(x.s.Counters[n.Name]) >= maxEpochs {
		if n.Folded == nil {
			n.Folded = map[string]bool{}
		}
		for name := range x.s.Counters[n.Name] {
			if name != foldedEpoch {
				n.Folded[name] = true
			}
		}
		x.foldOldest(n.Name)
	}
	e := &Epoch{Counts: map[dssn.ReservationID]southbound.Count{}}
	x.s.Counters[n.Name][name] = e
	return e, nil
}
