package ledger

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"time"

	"dssn"
	"dssn/controller/northbound"
)

// How records become quantities. A period is [from, to): a transfer belongs to
// the one in which it was settled, an interval to the one in which the ends agreed
// on it, a reserved time to the part of it that lies within. Periods that follow
// each other therefore share nothing and leave nothing out.

// RecordHash is the SHA-256, in hexadecimal, of a usage record's JSON without
// its Hash and Leaf.
func RecordHash(r *northbound.UsageRecord) string {
	c := *r
	c.Hash, c.Leaf = "", 0
	return hashJSON(c)
}

// ContractHash is what a bill line cites of a contract's record.
func ContractHash(r *northbound.ContractRecord) string { return hashJSON(r) }

// IntervalText is an interval as the evidence log's seal covers it: its JSON
// without Agreed and Seal.
func IntervalText(v northbound.UsageInterval) []byte {
	v.Agreed, v.Seal = time.Time{}, nil
	b, err := json.Marshal(v)
	if err != nil {
		panic("an interval cannot be written: " + err.Error()) // plain data
	}
	return b
}

// rater is one bill in the making.
type rater struct {
	t        *Tariff
	cal      *calendar
	from, to time.Time
	facts    []Fact
}

func factsOf(t Tariff, zone []northbound.ZoneOffset, from, to time.Time, r northbound.BillRecords) ([]Fact, error) {
	cal, err := newCalendar(&t, zone)
	if err != nil {
		return nil, err
	}
	x := &rater{t: &t, cal: cal, from: from, to: to}
	for i := range r.Transfers {
		if err := x.transfer(&r.Transfers[i]); err != nil {
			return nil, err
		}
	}
	for i := range r.Contracts {
		if err := checkContract(&r.Contracts[i]); err != nil {
			return nil, err
		}
		x.contract(&r.Contracts[i])
	}
	x.flat(&r.Period)
	return x.facts, nil
}

func (x *rater) within(t time.Time) bool { return !t.Before(x.from) && t.Before(x.to) }

// priced reports whether the tariff asks for a dimension.
func (x *rater) priced(dim Dimension) bool { return x.t.Prices[dim] != "" }

func (x *rater) add(dim Dimension, subject, record, status string, terms northbound.BillTerms, v *big.Int, exponent int32) {
	if v.Sign() != 0 {
		x.facts = append(x.facts, Fact{Dimension: dim, Subject: subject, Quantity: scaled(v, exponent), Record: record, Status: status, Terms: terms})
	}
}

func (x *rater) terms(class string, priority int, data dssn.DataID, hops int, latency time.Duration) northbound.BillTerms {
	t := northbound.BillTerms{Class: class, Priority: priority, Grade: data.Grade().String()}
	if hops > 0 {
		t.Distance = step(x.t.Distances, int64(hops))
		t.Latency = step(x.t.Latencies, int64((latency+time.Microsecond-1)/time.Microsecond))
	}
	return t
}

// transfer adds what was verified, by band.
func (x *rater) transfer(r *northbound.UsageRecord) error {
	if !x.within(r.Ended) {
		return fmt.Errorf("the transfer %s ended at %s, outside of the period", r.Transfer, r.Ended.Format(time.RFC3339))
	}
	parts := r.Parts
	if len(parts) == 0 {
		parts = []northbound.UsagePart{{At: r.Ended, Bytes: r.Bytes}}
	}
	terms := x.terms(r.Class, r.Priority, r.Data, r.Hops, r.Latency)
	sums := newTotals()
	left := r.Bytes
	for _, p := range parts {
		if p.Bytes > left {
			return fmt.Errorf("the parts of the transfer %s are more than its %d bytes", r.Transfer, r.Bytes)
		}
		left -= p.Bytes
		terms.Band = x.cal.band(p.At)
		sums.add(terms, "", new(big.Int).SetUint64(p.Bytes))
	}
	if left != 0 {
		return fmt.Errorf("the parts of the transfer %s are %d bytes less than the whole", r.Transfer, left)
	}
	sums.each(func(k totalKey, v *big.Int) { x.add(DimensionVerified, r.Transfer, RecordHash(r), "", k.terms, v, -9) })
	return nil
}

// checkContract refuses a record that no controller writes, so that a bill from
// elsewhere cannot make rating long or ambiguous.
func checkContract(r *northbound.ContractRecord) error {
	for i, s := range r.Segments {
		if s.To.Before(s.From) || i > 0 && s.From.Before(r.Segments[i-1].To) {
			return fmt.Errorf("segment %d of the contract %s does not follow the one before it", i+1, r.Reservation)
		}
	}
	for i, v := range r.Intervals {
		if !v.From.Before(v.To) || i > 0 && v.From.Before(r.Intervals[i-1].To) {
			return fmt.Errorf("interval %d of the contract %s does not follow the one before it", i+1, r.Reservation)
		}
	}
	return nil
}

// contract adds what a contract costs in the period.
func (x *rater) contract(r *northbound.ContractRecord) {
	record, subject := ContractHash(r), r.Reservation.String()
	terms := func(s *northbound.ContractSegment) northbound.BillTerms {
		return x.terms(r.Class.String(), r.Priority, r.Data, s.Hops, s.Latency)
	}
	var last northbound.BillTerms
	if n := len(r.Segments); n > 0 {
		last = terms(&r.Segments[n-1])
	} else {
		last = terms(&northbound.ContractSegment{})
	}
	if x.within(r.Activated) {
		x.add(DimensionSetUp, subject, record, "", last, big.NewInt(1), 0)
	}
	reserved, boost, burst := newTotals(), newTotals(), newTotals()
	x.cells(r, func(c cell) {
		if c.segment == nil {
			return // what was still on its way when the contract ended is free
		}
		k := terms(c.segment)
		k.Band = c.band
		base, extra := bitTime(c.segment.Committed, c.to.Sub(c.from)), bitTime(c.segment.Boost, c.to.Sub(c.from))
		if c.inside {
			used := new(big.Int).Mul(c.bytes, bitNanoseconds)
			if used.Cmp(base) > 0 {
				used.Set(base)
			}
			reserved.add(k, statusUsed, used)
			reserved.add(k, statusUnused, new(big.Int).Sub(base, used))
			boost.add(k, "", extra)
		}
		covered := BitTime{}
		covered.v.Add(base, extra)
		if over := new(big.Int).Sub(c.bytes, new(big.Int).SetUint64(covered.Bytes())); over.Sign() > 0 {
			burst.add(k, "", over)
		}
	})
	reserved.each(func(k totalKey, v *big.Int) { x.add(DimensionReserved, subject, record, k.status, k.terms, v, -18) })
	if r.Volume > 0 {
		burst = newTotals() // a volume was bought, not the rates at which it was to be moved
	}
	burst.each(func(k totalKey, v *big.Int) { x.add(DimensionBurst, subject, record, "", k.terms, v, -9) })
	if x.priced(DimensionBoost) {
		boost.each(func(k totalKey, v *big.Int) { x.add(DimensionBoost, subject, record, "", k.terms, v, -18) })
	}
	if x.priced(DimensionHours) {
		x.hours(r, terms).each(func(k totalKey, v *big.Int) { x.add(DimensionHours, subject, record, "", k.terms, v, -9) })
	}
	if x.priced(DimensionPercentile) {
		x.add(DimensionPercentile, subject, record, "", last, x.percentile(r), -9)
	}
	if dim := map[bool]Dimension{true: DimensionKept, false: DimensionMissed}[r.Kept]; r.Volume > 0 && x.within(r.Judged) && x.priced(dim) {
		x.add(dim, subject, record, "", last, new(big.Int).SetUint64(uint64(r.Volume)), -9)
	}
}

// bitNanoseconds is a byte in the unit of BitTime.
var bitNanoseconds = big.NewInt(8e9)

func bitTime(rate dssn.Bandwidth, d time.Duration) *big.Int {
	var b BitTime
	b.Add(rate, d)
	return &b.v
}

// cell is a time within which nothing changes: one segment or none, one band,
// one interval or none, of which bytes is the share by time.
type cell struct {
	from, to time.Time
	inside   bool // of the period
	segment  *northbound.ContractSegment
	band     string
	bytes    *big.Int
}

// cells walks a contract's time: the period, and intervals of before it that the
// ends agreed on only within it.
func (x *rater) cells(r *northbound.ContractRecord, f func(cell)) {
	intervals := slices.DeleteFunc(slices.Clone(r.Intervals), func(v northbound.UsageInterval) bool { return !x.within(v.Agreed) })
	begin := x.from
	if len(intervals) > 0 && intervals[0].From.Before(begin) {
		begin = intervals[0].From
	}
	edges := []time.Time{x.from, x.to}
	for _, s := range r.Segments {
		edges = append(edges, s.From, s.To)
	}
	for _, v := range intervals {
		edges = append(edges, v.From, v.To)
	}
	slices.SortFunc(edges, time.Time.Compare)
	edges = slices.CompactFunc(edges, time.Time.Equal)
	si, vi := 0, 0
	for i := 1; i < len(edges); i++ {
		a, b := edges[i-1], edges[i]
		if a.Before(begin) || a.Before(r.Activated) {
			continue
		}
		for si < len(r.Segments) && !r.Segments[si].To.After(a) {
			si++
		}
		for vi < len(intervals) && !intervals[vi].To.After(a) {
			vi++
		}
		c := cell{inside: !a.Before(x.from) && a.Before(x.to)}
		if si < len(r.Segments) && !r.Segments[si].From.After(a) {
			c.segment = &r.Segments[si]
		}
		var v *northbound.UsageInterval
		if vi < len(intervals) && !intervals[vi].From.After(a) {
			v = &intervals[vi]
		}
		if c.segment == nil && v == nil {
			continue
		}
		for _, p := range x.cal.split(a, b) {
			c.from, c.to, c.band, c.bytes = p.from, p.to, p.band, new(big.Int)
			if v != nil {
				c.bytes = share(v, p.from, p.to)
			}
			f(c)
		}
	}
}

// share is what of an interval's received bytes falls into a part of it, spread
// evenly; the shares of parts that follow each other add up to the whole.
func share(v *northbound.UsageInterval, from, to time.Time) *big.Int {
	until := func(t time.Time) *big.Int {
		n := new(big.Int).SetUint64(v.Received)
		n.Mul(n, big.NewInt(int64(t.Sub(v.From))))
		return n.Div(n, big.NewInt(int64(v.To.Sub(v.From))))
	}
	return new(big.Int).Sub(until(to), until(from))
}

// hours adds the highest committed rate of each clock hour in which the contract
// was reserved. An hour belongs to the period in which its first reserved moment lies.
func (x *rater) hours(r *northbound.ContractRecord, terms func(*northbound.ContractSegment) northbound.BillTerms) *totals {
	sums := newTotals()
	if len(r.Segments) == 0 {
		return sums
	}
	t := r.Segments[0].From
	if before := x.from.Add(-2 * time.Hour); t.Before(before) {
		t = before // hours of earlier periods are none of this bill's
	}
	for t.Before(x.to) {
		local := x.cal.local(t)
		begin := t.Add(-local.Sub(local.Truncate(time.Hour)))
		end := begin.Add(time.Hour)
		var best *northbound.ContractSegment
		var first time.Time
		for i := range r.Segments {
			s := &r.Segments[i]
			if !s.From.Before(end) || !s.To.After(begin) {
				continue
			}
			if best == nil {
				first = begin
				if s.From.After(begin) {
					first = s.From
				}
			}
			if best == nil || s.Committed+s.Boost > best.Committed+best.Boost {
				best = s
			}
		}
		if best != nil && x.within(first) {
			k := terms(best)
			k.Band = x.cal.band(first)
			sums.add(k, "", new(big.Int).SetUint64(uint64(best.Committed+best.Boost)))
		}
		t = end
	}
	return sums
}

// sample is the time of one rate of a percentile.
const sample = 5 * time.Minute

// percentile is the nearest-rank percentile, in bits per second, of the rates
// that arrived in the five-minute samples from the contract's beginning, or the
// period's, to the end of either. Samples in which nothing arrived count as zero.
func (x *rater) percentile(r *northbound.ContractRecord) *big.Int {
	from, to := r.Activated, x.to
	if from.Before(x.from) {
		from = x.from
	}
	if !r.Ended.IsZero() && r.Ended.Before(to) {
		to = r.Ended
	}
	n := int64((to.Sub(from) + sample - 1) / sample)
	type run struct{ rate, samples int64 }
	var runs []run
	for _, v := range r.Intervals {
		if !x.within(v.Agreed) {
			continue
		}
		d := v.To.Sub(v.From)
		q := new(big.Int).SetUint64(v.Received)
		q.Div(q.Mul(q, bitNanoseconds), big.NewInt(int64(d)))
		rate := int64(1<<63 - 1)
		if q.IsInt64() {
			rate = q.Int64()
		}
		runs = append(runs, run{rate, max(int64((d+sample/2)/sample), 1)})
	}
	want := int64(x.t.Percentile)
	if want == 0 {
		want = 95
	}
	rank := (want*n + 99) / 100 // from the lowest, 1 to n
	slices.SortFunc(runs, func(a, b run) int { return int(min(max(b.rate-a.rate, -1), 1)) })
	above := n - rank // samples that are forgiven
	for _, s := range runs {
		if above < s.samples {
			return big.NewInt(s.rate)
		}
		above -= s.samples
	}
	return new(big.Int)
}

// flat adds one for each calendar month that began for the institution in the period.
func (x *rater) flat(p *northbound.PeriodRecord) {
	if !x.priced(DimensionFlat) {
		return
	}
	from := x.from
	var n int64
	if !p.Created.Before(from) {
		if from = p.Created; !p.Created.Before(x.to) {
			return
		}
		if at := x.cal.local(p.Created); at.Day() != 1 || at.Truncate(24*time.Hour) != at {
			n++ // the month in which it was registered
		}
	}
	n += x.cal.months(from, x.to)
	x.add(DimensionFlat, p.Institution, hashJSON(p), "", northbound.BillTerms{}, big.NewInt(n), 0)
}

// totals adds up by terms and status, in the order in which they first came.
type totals struct {
	order []totalKey
	sums  map[totalKey]*big.Int
}

type totalKey struct {
	terms  northbound.BillTerms
	status string
}

func newTotals() *totals { return &totals{sums: map[totalKey]*big.Int{}} }

func (t *totals) add(terms northbound.BillTerms, status string, v *big.Int) {
	k := totalKey{terms, status}
	if t.sums[k] == nil {
		t.sums[k] = new(big.Int)
		t.order = append(t.order, k)
	}
	t.sums[k].Add(t.sums[k], v)
}

func (t *totals) each(f func(totalKey, *big.Int)) {
	for _, k := range t.order {
		f(k, t.sums[k])
	}
}
