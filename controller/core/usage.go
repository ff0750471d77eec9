package core

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"time"

	"dssn"
	"dssn/controller/ledger"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// oneSidedAfter is how long a holder that is done waits for a receiver's
// report before the transfer is taken to be a stock client's.
const oneSidedAfter = time.Minute

// Limits on what one report may make the controller remember.
const (
	maxEpochs     = 64
	maxCounts     = 1 << 16
	maxDeliveries = 1 << 16
)

var (
	validEpoch    = regexp.MustCompile(`^[0-9a-f]{16}$`)
	validTransfer = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// NodeKey returns a node's identifier and identity key, with which the shell
// checks a report's signature before it is journaled: a replay need not repeat
// the work, and the journal keeps the signature for whoever audits it.
func (c *Core) NodeKey(name string) (dssn.NodeID, ed25519.PublicKey, bool) {
	n := c.s.Nodes[name]
	if n == nil {
		return dssn.NodeID{}, nil, false
	}
	return n.Node, n.Key, true
}

// usage takes a node's cumulative report. Within an epoch every counter only
// grows, so a report that is repeated, late or out of order changes nothing.
// What a node says about traffic that is not its own is passed over.
func (x *step) usage(in *Usage) error {
	n := x.s.Nodes[in.Node]
	if n == nil {
		return refuse(Unknown, "no node is named %q: join first", in.Node)
	}
	u := in.Report
	if n.SignsUsage && len(u.Signature) == 0 {
		x.event("usage-unsigned", n.Name, 0, "%s has signed its reports before and sent an unsigned one, which was not taken", n.Name)
		return refuse(Denied, "%s signs its reports: an unsigned one is not taken", n.Name)
	}
	if !validEpoch.MatchString(u.Epoch) {
		return refuse(Invalid, "the epoch %.40q is not 16 hexadecimal digits", u.Epoch)
	}
	if len(u.Counts) > maxCounts || len(u.Deliveries) > maxDeliveries {
		return refuse(Invalid, "a report of %d counts and %d deliveries is too long", len(u.Counts), len(u.Deliveries))
	}
	e := x.s.Counters[n.Name][u.Epoch]
	if e == nil {
		var err error
		if e, err = x.beginEpoch(n, u.Epoch); err != nil {
			return err
		}
	}
	n.SignsUsage = n.SignsUsage || len(u.Signature) > 0
	e.Sequence = max(e.Sequence, u.Sequence)
	for _, c := range u.Counts {
		if r := x.s.Reservations[c.Reservation]; r != nil && (r.Ingress == n.Name || r.Egress == n.Name) {
			x.counted(n, r, e, c)
		}
	}
	for _, d := range u.Deliveries {
		x.delivery(n, d)
	}
	n.Heard = x.now
	return nil
}

// foldedEpoch gathers the epochs of long ago; its name is no valid epoch, so no
// report can reach it.
const foldedEpoch = "before"

// foldOldest adds the epochs other than the newest few into one. Which are
// oldest is not known by their random names; a node that begins so many epochs
// has long since given up the lesser ones, and order by name is at least the
// same in every replay.
func (x *step) foldOldest(node string) {
	all := x.s.Counters[node]
	folded := all[foldedEpoch]
	if folded == nil {
		folded = &Epoch{Counts: map[dssn.ReservationID]southbound.Count{}}
		all[foldedEpoch] = folded
	}
	for _, name := range sortedKeys(all) {
		if name == foldedEpoch {
			continue
		}
		for id, c := range all[name].Counts {
			folded.Counts[id] = added(folded.Counts[id], c)
		}
		delete(all, name)
	}
}

func grown(a, b southbound.Count) southbound.Count {
	return southbound.Count{
		Reservation: b.Reservation,
		SentPackets: max(a.SentPackets, b.SentPackets), SentBytes: max(a.SentBytes, b.SentBytes),
		PolicedPackets: max(a.PolicedPackets, b.PolicedPackets), PolicedBytes: max(a.PolicedBytes, b.PolicedBytes),
		ReceivedPackets: max(a.ReceivedPackets, b.ReceivedPackets), ReceivedBytes: max(a.ReceivedBytes, b.ReceivedBytes),
	}
}

func added(a, b southbound.Count) southbound.Count {
	return southbound.Count{
		Reservation: b.Reservation,
		SentPackets: plus(a.SentPackets, b.SentPackets), SentBytes: plus(a.SentBytes, b.SentBytes),
		PolicedPackets: plus(a.PolicedPackets, b.PolicedPackets), PolicedBytes: plus(a.PolicedBytes, b.PolicedBytes),
		ReceivedPackets: plus(a.ReceivedPackets, b.ReceivedPackets), ReceivedBytes: plus(a.ReceivedBytes, b.ReceivedBytes),
	}
}

// delivery takes one end's account of a transfer.
func (x *step) delivery(n *Node, d southbound.Delivery) {
	peer := x.nodeByID(d.Peer)
	ds := x.s.Datasets[d.Data]
	if peer == nil || ds == nil || !validTransfer.MatchString(d.Transfer) {
		return
	}
	holder, receiver := n, peer
	if d.End == southbound.EndReceiver {
		holder, receiver = peer, n
	} else if d.End != southbound.EndHolder {
		return
	}
	t := x.s.Transfers[d.Transfer]
	if t == nil {
		t = &northbound.Transfer{
			ID: d.Transfer, State: northbound.TransferRunning, Data: d.Data, Holder: holder.Name, Receiver: receiver.Name,
			Owner: ds.Institution, Payer: receiver.Institution, Started: d.Started.UTC(), Updated: x.now,
		}
		x.s.Transfers[d.Transfer] = t
		x.begun(t)
	}
	if t.Data != d.Data || t.Holder != holder.Name || t.Receiver != receiver.Name {
		x.event("usage-mismatch", n.Name, 0, "%s reports the transfer %s as another: data %s from %s to %s", n.Name, d.Transfer, d.Data, holder.Name, receiver.Name)
		return
	}
	if t.State == northbound.TransferSettled || t.State == northbound.TransferDisputed {
		return
	}
	before := *t // its Parts are not looked at
	if r := x.s.Reservations[d.Reservation]; r != nil && r.Egress == receiver.Name && r.Ingress == holder.Name {
		t.Reservation = d.Reservation
	}
	if s := d.Started.UTC(); !s.IsZero() && s.Before(t.Started) {
		t.Started = s
	}
	if t.Started.After(x.now) { // a clock that is ahead
		t.Started = x.now
	}
	x.said(t.ID, d)
	if d.End == southbound.EndHolder {
		t.HolderBytes, t.HolderDone = max(t.HolderBytes, d.ContentBytes), t.HolderDone || d.Done
	} else {
		x.part(t, max(t.ReceiverBytes, d.ContentBytes)-t.ReceiverBytes)
		t.ReceiverBytes, t.ReceiverDone = max(t.ReceiverBytes, d.ContentBytes), t.ReceiverDone || d.Done
	}
	if t.HolderBytes != before.HolderBytes || t.ReceiverBytes != before.ReceiverBytes || t.HolderDone != before.HolderDone || t.ReceiverDone != before.ReceiverDone ||
		t.Reservation != before.Reservation || !t.Started.Equal(before.Started) {
		t.Updated = x.now
		defer x.wake(dueTransfer, t.ID, 0)
		if r := x.s.Reservations[t.Reservation]; r != nil && live(r) && r.Volume > 0 {
			defer x.progress(r)
		}
	}
	if t.State == northbound.TransferOneSided && t.ReceiverDone {
		t.State = northbound.TransferRunning // the receiver's report was only late
	}
	// A receiver that is done has said its last word. Where the holder knows the
	// same number, it need not have heard that it was the last: it may have gone
	// away, and the rest come from another.
	if t.ReceiverDone && (t.HolderDone || t.ReceiverBytes > 0 && t.HolderBytes == t.ReceiverBytes) {
		x.settle(t, ds)
	}
}

// settle turns two equal accounts into a usage record, and two unequal ones
// into a dispute; nothing is averaged.
func (x *step) settle(t *northbound.Transfer, ds *northbound.Dataset) {
	if t.HolderBytes != t.ReceiverBytes {
		t.State = northbound.TransferDisputed
		x.over(t)
		x.decided("dispute", northbound.OperatorInstitution, *t)
		x.event("dispute", t.Receiver, t.Reservation, "the ends of transfer %s disagree: %s served %d bytes, %s verified %d", t.ID, t.Holder, t.HolderBytes, t.Receiver, t.ReceiverBytes)
		return
	}
	x.settled(t, ds, t.ReceiverBytes, "")
}

// settled writes the usage record of a transfer; by is who decided on its bytes,
// or empty where both ends agree.
func (x *step) settled(t *northbound.Transfer, ds *northbound.Dataset, bytes uint64, by string) {
	rec := &northbound.UsageRecord{
		Kind: "usage", Transfer: t.ID, Data: t.Data, Name: ds.Record.Name, Root: ds.Record.Root.String(),
		Owner: t.Owner, Payer: t.Payer, Reservation: t.Reservation, Bytes: bytes, Decided: by, Started: t.Started, Ended: x.now,
	}
	if by == "" {
		rec.Parts = t.Parts
	}
	x.termsOf(rec, t.Reservation)
	t.Parts = nil
	t.Statements = x.statements(t)
	if h := x.s.Nodes[t.Holder]; h != nil {
		rec.Holder = h.Node
	}
	if r := x.s.Nodes[t.Receiver]; r != nil {
		rec.Receiver = r.Node
		if rec.Grant = t.Grant; rec.Grant == "" {
			if g := x.grantFor(r, t.Data); g != nil {
				rec.Grant = g.ID
			}
		}
	}
	rec.Hash = ledger.RecordHash(rec)
	rec.Leaf, _ = x.leaf(rec)
	t.State, t.Record = northbound.TransferSettled, rec
	agreed := "equal at both ends"
	if by != "" {
		agreed = "decided by " + by
	}
	x.event("settled", t.Receiver, t.Reservation, "transfer %s: %d bytes, %s", t.ID, rec.Bytes, agreed)
	x.over(t)
}

func hashJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("a record cannot be written: " + err.Error()) // plain data
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// receiptBody is what a receipt says.
type receiptBody struct {
	Kind   string                 `json:"kind"` // "receipt"
	Issued time.Time              `json:"issued"`
	Record northbound.UsageRecord `json:"record"`
	// Statements are the signed words of both terminals.
	Statements []northbound.Statement `json:"statements,omitempty"`
}

// receipt writes the receipt of a settled transfer; asking again gives the same.
func (x *step) receipt(in *Receipt) (*ReceiptLeaf, error) {
	t := x.s.Transfers[in.Transfer]
	if t == nil {
		return nil, refuse(Unknown, "no transfer is called %q: see `dssn usage`", in.Transfer)
	}
	if !in.By.Operator && in.By.Institution != t.Payer && in.By.Institution != t.Owner {
		return nil, refuse(Denied, "the transfer %s is between %s and %s: only they can have its receipt", t.ID, t.Owner, t.Payer)
	}
	if old := x.s.Receipts[t.ID]; old != nil {
		return old, nil
	}
	switch t.State {
	case northbound.TransferRunning:
		return nil, refuse(Conflict, "the transfer %s is not settled yet: %s reports %d bytes (done: %v), %s reports %d (done: %v); ask again in a moment", t.ID, t.Holder, t.HolderBytes, t.HolderDone, t.Receiver, t.ReceiverBytes, t.ReceiverDone)
	case northbound.TransferDisputed:
		return nil, refuse(Conflict, "the transfer %s is disputed: %s served %d bytes, %s verified %d; ask the operator", t.ID, t.Holder, t.HolderBytes, t.Receiver, t.ReceiverBytes)
	case northbound.TransferOneSided:
		return nil, refuse(Conflict, "the transfer %s was taken by a client that reports nothing, so only %s knows it: fetch with `dssn get` to have receipts", t.ID, t.Holder)
	}
	if missing := x.unsigned(t); missing != "" {
		return nil, refuse(Conflict, "%s has not signed its word on the transfer %s: update the program there; a transfer that begins then has a receipt", missing, t.ID)
	}
	i, body := x.leaf(receiptBody{Kind: "receipt", Issued: x.now, Record: *t.Record, Statements: t.Statements})
	x.s.Receipts[t.ID] = &ReceiptLeaf{Index: i, Body: body}
	return x.s.Receipts[t.ID], nil
}
