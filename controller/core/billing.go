package core

import (
	"encoding/json"
	"fmt"
	"time"

	"dssn/controller/ledger"
	"dssn/controller/northbound"
)

// Bill rates what an institution used from one time to another: a draft, of any
// period, that also counts what is not sealed or judged yet. zone are the
// tariff's offsets (ledger.Offsets).
func (c *Core) Bill(by Principal, institution string, from, to time.Time, tariff ledger.Tariff, zone []northbound.ZoneOffset) (northbound.Bill, error) {
	if institution == "" {
		institution = by.Institution
	}
	if err := c.mayBill(by, institution, from, to); err != nil {
		return northbound.Bill{}, err
	}
	b, _, err := c.rated(institution, from, to, tariff, zone, true)
	return b, err
}

func (c *Core) mayBill(by Principal, institution string, from, to time.Time) error {
	if c.s.Institutions[institution] == nil {
		return refuse(Unknown, "no institution is called %q: see `dssn institution list`", institution)
	}
	if !mayRead(by, institution) {
		return refuse(Denied, "the bill of %s is theirs: ask them", institution)
	}
	if !to.After(from) {
		return refuse(Invalid, "a period from %s to %s has no length: give an earlier --from", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	return nil
}

// rated gathers an institution's records of a period and rates them.
func (c *Core) rated(institution string, from, to time.Time, tariff ledger.Tariff, zone []northbound.ZoneOffset, draft bool) (b northbound.Bill, r northbound.BillRecords, err error) {
	r = northbound.BillRecords{Transfers: []northbound.UsageRecord{}, Contracts: []northbound.ContractRecord{},
		Period: northbound.PeriodRecord{Kind: "period", Institution: institution, Created: c.s.Institutions[institution].Created, From: from.UTC(), To: to.UTC()}}
	var disputed []string
	for _, id := range sortedKeys(c.s.Transfers) {
		t := c.s.Transfers[id]
		if t.Payer != institution {
			continue
		}
		if t.State == northbound.TransferDisputed {
			disputed = append(disputed, "transfer "+id)
		}
		if t.Record != nil && within(t.Record.Ended, from, to) {
			r.Transfers = append(r.Transfers, *t.Record)
		}
	}
	for _, id := range sortedKeys(c.s.Reservations) {
		v := c.s.Reservations[id]
		if v.Institution != institution || v.Implicit || v.Activated.IsZero() || !v.Activated.Before(to) {
			continue
		}
		if v.Dispute != nil {
			disputed = append(disputed, "reservation "+id.String())
		}
		rec := c.contractRecord(v, from, to, draft)
		if rec.Ended.IsZero() || !rec.Ended.Before(from) || len(rec.Intervals) > 0 || !rec.Judged.IsZero() {
			r.Contracts = append(r.Contracts, rec)
		}
	}
	if b, err = ledger.Bill(tariff, zone, from, to, r); err != nil {
		return b, r, fmt.Errorf("rate the use of %s: %w", institution, err)
	}
	b.Disputed = disputed
	return b, r, nil
}

func within(t, from, to time.Time) bool { return !t.Before(from) && t.Before(to) }

// contractRecord is a contract as of the end of a period, with the intervals
// that were agreed on in it.
func (c *Core) contractRecord(r *Reservation, from, to time.Time, draft bool) northbound.ContractRecord {
	rec := northbound.ContractRecord{Kind: "contract-usage", Reservation: r.ID, Institution: r.Institution, Data: r.Data, Class: r.Class, Priority: r.Priority,
		Activated: r.Activated, Segments: []northbound.ContractSegment{}}
	if r.Ended.Before(to) {
		rec.Ended = r.Ended
	}
	for _, s := range r.Segments {
		end := s.To
		if end.IsZero() || end.After(to) {
			end = to
		}
		if s.From.Before(end) {
			rec.Segments = append(rec.Segments, northbound.ContractSegment{Committed: s.Committed, Boost: s.Boost, From: s.From, To: end, Hops: s.Hops, Latency: s.Latency})
		}
	}
	if r.Volume > 0 {
		rec.Volume, rec.Deadline = r.Volume, r.Until
		if !r.Judged.IsZero() && r.Judged.Before(to) {
			rec.Judged, rec.Kept = r.Judged, !r.Missed
		}
	}
	for _, v := range r.Intervals {
		if within(v.Agreed, from, to) {
			rec.Intervals = append(rec.Intervals, v)
		}
	}
	if draft && r.Dispute == nil {
		rec.Intervals = append(rec.Intervals, c.provisional(r, from, to)...)
	}
	return rec
}

// provisional are the intervals of a draft on which the ends have not agreed
// yet, as if they did at its end.
func (c *Core) provisional(r *Reservation, from, to time.Time) (out []northbound.UsageInterval) {
	for _, v := range r.Intervals {
		if v.Agreed.IsZero() && v.To.After(from) && !v.To.After(to) {
			v.Agreed = to.Add(-1)
			out = append(out, v)
		}
	}
	if o := c.s.OpenIntervals[r.ID]; o != nil && o.From.Before(to) {
		end := to
		if !r.Ended.IsZero() && r.Ended.After(o.From) && r.Ended.Before(to) {
			end = r.Ended
		}
		out = append(out, northbound.UsageInterval{Reservation: r.ID, From: o.From, To: end, Sent: o.Sent, Received: o.Received, Agreed: to.Add(-1)})
	}
	return out
}

// IssueBill makes a bill of an institution, from the end of its last one on. It
// carries the tariff and its zone's offsets, so that a replay rates by the same.
type IssueBill struct {
	By          Principal               `json:"by"`
	Institution string                  `json:"institution"`
	To          time.Time               `json:"to"`
	Tariff      json.RawMessage         `json:"tariff"`
	Zone        []northbound.ZoneOffset `json:"zone,omitempty"`
}

// BillFrom is where the next bill of an institution begins.
func (c *Core) BillFrom(institution string) time.Time {
	if b := c.s.Bills[institution]; len(b) > 0 {
		return b[len(b)-1].To
	}
	if i := c.s.Institutions[institution]; i != nil {
		return i.Created
	}
	return time.Time{}
}

// issueBill rates the period and writes the bill's leaf and its file. Periods
// follow each other without gap or overlap, so nothing is billed twice, and
// nothing that is known when its period ends is left out.
func (x *step) issueBill(in *IssueBill) (*northbound.IssuedBill, error) {
	if !in.By.Operator {
		return nil, refuse(Denied, "%s cannot issue bills: ask the operator", who(in.By))
	}
	from := x.BillFrom(in.Institution)
	to := in.To.UTC()
	if to.IsZero() {
		to = x.now
	}
	if to.After(x.now) {
		return nil, refuse(Invalid, "the period would end at %s, which is to come: give an earlier --to", to.Format(time.RFC3339))
	}
	if x.s.Institutions[in.Institution] != nil && !to.After(from) {
		return nil, refuse(Conflict, "%s is billed until %s already, and nothing is billed twice: give a --to after that", in.Institution, from.Format(time.RFC3339))
	}
	if err := x.mayBill(in.By, in.Institution, from, to); err != nil {
		return nil, err
	}
	tariff, err := ledger.Read(in.Tariff)
	if err != nil {
		return nil, refuse(Invalid, "%v", err)
	}
	b, records, err := x.rated(in.Institution, from, to, tariff, in.Zone, false)
	if err != nil {
		return nil, refuse(Conflict, "the bill of %s cannot be made: %v", in.Institution, err)
	}
	b.Number = fmt.Sprintf("%s-%d", in.Institution, len(x.s.Bills[in.Institution])+1)
	issued := northbound.IssuedBill{Kind: "bill", Number: b.Number, Issued: x.now, By: who(in.By), Institution: in.Institution, From: b.From, To: b.To,
		Tariff: b.Tariff, TariffHash: b.TariffHash, Currency: b.Currency, Total: b.Total, Hash: ledger.BillHash(b)}
	file, err := json.Marshal(northbound.BillFile{Format: northbound.BillFileFormat, Bill: b, Tariff: in.Tariff, Records: records})
	if err != nil {
		return nil, refuse(Conflict, "the bill of %s cannot be written: %v", in.Institution, err)
	}
	issued.Leaf, _ = x.leaf(issued)
	x.effects = append(x.effects, Effect{Document: &Document{Name: billDocument(b.Number), Body: file}})
	x.s.Bills[in.Institution] = append(x.s.Bills[in.Institution], issued)
	x.forget(in.Institution, from)
	x.event("bill", "", 0, "bill %s: %s from %s to %s owes %s %s", b.Number, in.Institution, b.From.Format(time.RFC3339), b.To.Format(time.RFC3339), b.Total, b.Currency)
	return &issued, nil
}

// forget drops the intervals that the bill before the last has billed: their
// records are in its file, and no draft of a present period needs them.
func (x *step) forget(institution string, before time.Time) {
	for _, id := range sortedKeys(x.s.Reservations) {
		r := x.s.Reservations[id]
		if r.Institution != institution || r.Implicit {
			continue
		}
		n := 0
		for n < len(r.Intervals)-1 && !r.Intervals[n].Agreed.IsZero() && r.Intervals[n].Agreed.Before(before) {
			n++
		}
		r.Intervals = append([]northbound.UsageInterval(nil), r.Intervals[n:]...)
	}
}

func billDocument(number string) string { return "bill/" + number }

// IssuedBills lists the issued bills that concern the asker.
func (c *Core) IssuedBills(by Principal) []northbound.IssuedBill {
	out := []northbound.IssuedBill{}
	for _, name := range sortedKeys(c.s.Bills) {
		if mayRead(by, name) {
			out = append(out, c.s.Bills[name]...)
		}
	}
	return out
}

// IssuedBill finds a bill by its number; document is the name of its file.
func (c *Core) IssuedBill(by Principal, number string) (b northbound.IssuedBill, document string, err error) {
	for _, b := range c.IssuedBills(by) {
		if b.Number == number {
			return b, billDocument(number), nil
		}
	}
	return b, "", refuse(Unknown, "no bill of yours has the number %.40q: see `dssn bill list`", number)
}
