package core

import (
	"encoding/hex"
	"time"

	"dssn"
	"dssn/controller/evidence/merkle"
	"dssn/controller/ledger"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// Metering turns cumulative counters into intervals. What a report adds to a
// reservation's counters is taken by the controller's clock, never by a node's:
// a node whose clock is hours off changes nothing. Every five minutes what was
// metered since is sealed: each interval becomes part of its contract's record,
// and one leaf of the evidence log for each institution has the root of them.
//
//	|----- interval -----|----- interval -----|
//	    ^   ^  ^   ^            reports of both ends, each adds its increase
//	                     ^ sealed: leaf with the root
//	                                          ^ judged: both ends agree on what
//	                                            was sealed before, or it is a dispute
const intervalLength = 5 * time.Minute

// OpenInterval is what was metered of a reservation since the last seal.
type OpenInterval struct {
	From     time.Time `json:"from"`
	Sent     uint64    `json:"sent_bytes"`
	Received uint64    `json:"received_bytes"`
}

// metered adds what a report of n has added to a reservation's counters.
func (x *step) metered(n *Node, r *Reservation, sent, received uint64) {
	if sent == 0 && received == 0 {
		return
	}
	if x.s.IntervalEnd.IsZero() {
		x.s.IntervalEnd = x.now.Truncate(intervalLength).Add(intervalLength)
		x.wake(dueInterval, "", 0)
	}
	o := x.s.OpenIntervals[r.ID]
	if o == nil {
		o = &OpenInterval{From: x.s.IntervalEnd.Add(-intervalLength)}
		if o.From.Before(r.Activated) {
			o.From = r.Activated
		}
		x.s.OpenIntervals[r.ID] = o
	}
	// An egress that was silent longer reports what arrived in all that time: it
	// is spread over it, or it would look like a burst.
	if received > 0 && o.Received == 0 && !n.Heard.IsZero() && n.Heard.Before(o.From) {
		o.From = n.Heard.Truncate(intervalLength)
		if k := len(r.Intervals); k > 0 && o.From.Before(r.Intervals[k-1].To) {
			o.From = r.Intervals[k-1].To
		}
		if o.From.Before(r.Activated) {
			o.From = r.Activated
		}
	}
	o.Sent, o.Received = plus(o.Sent, sent), plus(o.Received, received)
}

// counted takes one reservation's counters out of a report and meters what they
// added within their epoch.
func (x *step) counted(n *Node, r *Reservation, e *Epoch, c southbound.Count) {
	old := e.Counts[r.ID]
	now := grown(old, c)
	if e.Counts[r.ID] = now; now != old && !ended(r) {
		defer x.grew(r)
	}
	var sent, received uint64
	if r.Ingress == n.Name {
		sent = now.SentBytes - old.SentBytes
	}
	if r.Egress == n.Name {
		received = now.ReceivedBytes - old.ReceivedBytes
	}
	x.metered(n, r, sent, received)
	x.spend(n, r, old, now)
}

// intervalLeaf is the evidence of an institution's usage in an interval.
type intervalLeaf struct {
	Kind         string    `json:"kind"` // "interval", or "interval-background" of flows without a contract
	Institution  string    `json:"institution"`
	To           time.Time `json:"to"`
	Reservations int       `json:"reservations"`
	Sent         uint64    `json:"sent_bytes"`
	Received     uint64    `json:"received_bytes"`
	// Root is the RFC 6962 root, hexadecimal, of the JSON of each
	// northbound.UsageInterval (ledger.IntervalText), in the order of reservations.
	Root string `json:"root"`
}

// seal closes the open intervals, and judges those sealed before.
func (x *step) seal() {
	end := x.s.IntervalEnd
	x.judge()
	type group struct{ institution, kind string }
	leaves := map[group]*intervalLeaf{}
	texts := map[group][][]byte{}
	members := map[group][]*Reservation{} // with a contract
	var order []group
	for _, id := range sortedKeys(x.s.OpenIntervals) {
		o, r := x.s.OpenIntervals[id], x.s.Reservations[id]
		if r == nil {
			continue
		}
		v := northbound.UsageInterval{Reservation: id, From: o.From, To: end, Sent: o.Sent, Received: o.Received}
		if !r.Ended.IsZero() && r.Ended.After(o.From) && r.Ended.Before(end) {
			v.To = r.Ended
		}
		g := group{r.Institution, "interval"}
		if r.Implicit {
			g.kind = "interval-background"
		} else {
			r.Intervals = append(r.Intervals, v)
			members[g] = append(members[g], r)
			m := r.mark(x.Core, x.now)
			if old, waits := x.s.Unjudged[id]; waits {
				m.Since = old.Since
			}
			x.s.Unjudged[id] = m
		}
		if leaves[g] == nil {
			leaves[g] = &intervalLeaf{Kind: g.kind, Institution: g.institution, To: end}
			order = append(order, g)
		}
		l := leaves[g]
		l.Reservations++
		l.Sent, l.Received = plus(l.Sent, v.Sent), plus(l.Received, v.Received)
		texts[g] = append(texts[g], ledger.IntervalText(v))
	}
	for _, g := range order {
		root, proofs := merkle.Proofs(texts[g])
		leaves[g].Root = hex.EncodeToString(root[:])
		at, _ := x.leaf(leaves[g])
		for i, r := range members[g] {
			s := &northbound.IntervalSeal{Leaf: at, Index: i, Size: len(proofs)}
			for _, h := range proofs[i] {
				s.Proof = append(s.Proof, hex.EncodeToString(h[:]))
			}
			r.Intervals[len(r.Intervals)-1].Seal = s
		}
	}
	clear(x.s.OpenIntervals)
	x.s.IntervalEnd = time.Time{}
	if len(x.s.Unjudged) > 0 {
		x.s.IntervalEnd = x.now.Truncate(intervalLength).Add(intervalLength)
		x.wake(dueInterval, "", 0)
	}
}

// part adds what the receiver of a transfer has verified since its last report
// to the quarter of an hour in which the controller hears of it.
func (x *step) part(t *northbound.Transfer, more uint64) {
	if more == 0 {
		return
	}
	at := x.now.Truncate(15 * time.Minute)
	n := len(t.Parts)
	if n > 0 && (t.Parts[n-1].At.Equal(at) || n >= maxParts) {
		t.Parts[n-1].Bytes += more
		return
	}
	t.Parts = append(t.Parts, northbound.UsagePart{At: at, Bytes: more})
}

// maxParts bounds what is kept of one transfer: six weeks.
const maxParts = 4096

// segment is the committed rate from now on, by the path that it is sold on.
func (x *step) segment(r *Reservation) Segment {
	s := Segment{Committed: r.Committed, From: x.now}
	s.Hops, s.Latency = x.soldPath(r)
	return s
}

// soldPath is the present path of a reservation, in links and one-way time.
func (c *Core) soldPath(r *Reservation) (hops int, latency time.Duration) {
	p := c.s.Pairs[pairKey(r.Ingress, r.Egress)]
	if p == nil || len(p.Path) < 2 {
		return 0, 0
	}
	if v := c.view(r); len(v.Path) > 0 {
		latency = v.Latency
	}
	return len(p.Path) - 1, latency
}

// termsOf says by which contract, or as what, a transfer was carried.
func (c *Core) termsOf(rec *northbound.UsageRecord, id dssn.ReservationID) {
	r := c.s.Reservations[id]
	if r == nil {
		return
	}
	rec.Class, rec.Priority = r.Class.String(), r.Priority
	rec.Hops, rec.Latency = c.soldPath(r)
}

// until is a segment that ends then.
func (s Segment) until(t time.Time) Segment {
	s.To = t
	return s
}
