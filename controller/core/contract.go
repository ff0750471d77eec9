package core

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/topology"
	"dssn/topology/paths"
)

// Limits and defaults of contracts.
const (
	defaultHold     = 30 * time.Second
	maxHold         = time.Hour
	defaultPriority = 10
	minBurst        = 256 * dssn.KiB
	burstTime       = 50 * time.Millisecond // of depth at the allocated rate
)

// wish is a checked reservation request.
type wish struct {
	consumer, holder *Node
	dataset          *northbound.Dataset
	grant            *northbound.Grant
	q                northbound.ReservationRequest
	hold             time.Duration
}

// consider checks a request as far as it does not depend on capacity.
func (c *Core) consider(now time.Time, by Principal, q northbound.ReservationRequest) (*wish, error) {
	name := q.Consumer
	switch {
	case by.Operator:
	case by.Person != "":
		if n := c.s.Nodes[name]; n != nil && n.Institution != by.Institution {
			return nil, refuse(Denied, "%s cannot reserve for %s, which belongs to %s: ask them", by.Person, name, n.Institution)
		}
	default:
		if name != "" && name != by.Node {
			return nil, refuse(Denied, "%s cannot reserve for %s: reserve on the terminal that receives", who(by), name)
		}
		name = by.Node
	}
	w := &wish{q: q, consumer: c.s.Nodes[name]}
	if w.consumer == nil {
		return nil, refuse(Unknown, "no terminal is named %q: say which one receives with --consumer", name)
	}
	if w.dataset = c.s.Datasets[q.Data]; w.dataset == nil {
		return nil, c.unknownData(q.Data)
	}
	if w.grant = c.grantFor(w.consumer, q.Data); w.grant == nil {
		return nil, c.noReach(w.consumer, w.dataset)
	}
	if w.holder = c.source(w.dataset, w.consumer); w.holder == nil {
		return nil, refuse(Conflict, "no terminal but %s itself holds %s: there is nothing to carry", w.consumer.Name, q.Data)
	}
	if w.q.Ceiling == 0 {
		w.q.Ceiling = w.q.Committed
		if q.Volume > 0 {
			w.q.Ceiling = min(w.holder.Access, w.consumer.Access)
		}
	}
	if w.q.Priority == 0 {
		w.q.Priority = defaultPriority
	}
	w.hold = time.Duration(q.HoldSeconds) * time.Second
	if q.HoldSeconds == 0 {
		w.hold = defaultHold
	}
	switch {
	case w.q.Ceiling == 0:
		return nil, refuse(Invalid, "a reservation of nothing is not one: give --committed or --ceiling")
	case w.q.Ceiling < w.q.Committed:
		return nil, refuse(Invalid, "the ceiling %s is below the committed rate %s: raise --ceiling", w.q.Ceiling, w.q.Committed)
	case w.q.Ceiling > topology.MaxCapacity:
		return nil, refuse(Invalid, "the rate %s is more than any link: lower it", w.q.Ceiling)
	case w.q.Class == dssn.ClassBackground:
		return nil, refuse(Invalid, "background traffic needs no reservation: use --class elastic, bulk or assured")
	case w.q.Class > dssn.ClassAssured:
		return nil, refuse(Invalid, "%s is not a class: use elastic, bulk or assured", w.q.Class)
	case w.q.Priority < 1 || w.q.Priority > 100:
		return nil, refuse(Invalid, "the priority %d is not between 1 and 100: change --priority", w.q.Priority)
	case q.HoldSeconds < 0 || q.HoldSeconds > int64(maxHold/time.Second):
		return nil, refuse(Invalid, "a hold can wait from 1 second to an hour: change --hold")
	case w.q.Burst > dssn.ByteCount(1<<40):
		return nil, refuse(Invalid, "a burst of %s is more than a policer can hold: lower --burst", w.q.Burst)
	case !q.Until.IsZero() && !q.Until.After(now):
		return nil, refuse(Invalid, "the reservation would end at %s, which is past: give a later --until", q.Until.UTC().Format(time.RFC3339))
	}
	if err := c.considerWindow(now, w); err != nil {
		return nil, err
	}
	for _, id := range c.tally.booked[reach{q.Data, w.consumer.Name}] {
		if r := c.s.Reservations[id]; overlap(r, q.Start, q.Until) {
			return nil, refuse(Conflict, "%s already has the reservation %s for %s: modify or release that one", w.consumer.Name, id, q.Data)
		}
	}
	return w, nil
}

func (c *Core) unknownData(id dssn.DataID) error {
	return refuse(Unknown, "%s is not in the catalogue: check the identifier, or see `dssn datasets`", id)
}

// noReach says why a node cannot reach a dataset.
func (c *Core) noReach(n *Node, d *northbound.Dataset) error {
	if f := c.frozen(n, d.Record.ID); f != nil {
		return refuse(Denied, "%s is frozen for %s since %s (%s, freeze %s): ask %s", d.Record.ID, n.Name, f.At.Format(time.RFC3339), f.Reason, f.ID, f.By)
	}
	for _, key := range sortedKeys(c.s.Grants) {
		g := c.s.Grants[key]
		if !g.Data.Contains(d.Record.ID.Addr()) || !c.reaches(g, n) || !g.Ended.IsZero() {
			continue
		}
		if g.Waits {
			return refuse(Denied, "the grant %s for %s waits for a second approval: ask somebody else of %s than %s", g.ID, d.Record.ID, g.Owner, g.By)
		}
		if why := c.hindrance(g, n, d.Record.ID); why != "" {
			return refuse(Denied, "the grant %s does not let %s reach %s now: %s; ask its owner %s", g.ID, n.Name, d.Record.ID, why, g.Owner)
		}
	}
	return c.noGrant(n.Name, n.Institution, d)
}

func (c *Core) noGrant(node, inst string, d *northbound.Dataset) error {
	return refuse(Denied, "no grant covers %s for %s: ask its owner %s to run `dssn grant %s --to %s --until TIME`", d.Record.ID, node, d.Institution, d.Record.ID, inst)
}

func (x *step) reserve(in *Reserve) (*northbound.Reservation, error) {
	if in.ID == 0 || x.s.Reservations[in.ID] != nil {
		return nil, refuse(Invalid, "the reservation has no proper identifier: ask again")
	}
	w, err := x.consider(x.now, in.By, in.Request)
	if err != nil {
		return nil, err
	}
	r := w.contract(x.now, in.ID)
	p, err := x.fit(w, r, in.Bounds)
	if err != nil {
		return nil, err
	}
	x.s.Reservations[r.ID] = r
	x.s.Promises++
	x.takePath(w.holder.Name, w.consumer.Name, p)
	x.replan = true
	x.touch(r)
	if r.Volume > 0 {
		x.event("held", r.Egress, r.ID, "%s of %s are placed to be moved by %s (deadline %s), held until %s", r.Volume, r.Data, r.Finish.Format(time.RFC3339), r.Until.Format(time.RFC3339), r.HeldUntil.Format(time.RFC3339))
	} else {
		x.event("held", r.Egress, r.ID, "%s committed, %s ceiling for %s are held until %s", r.Committed, r.Ceiling, r.Data, r.HeldUntil.Format(time.RFC3339))
	}
	x.reconcileNow()
	return x.view(r), nil
}

// takePath gives a pair the path on which something was just admitted.
func (x *step) takePath(ingress, egress string, p paths.Path) {
	key := pairKey(ingress, egress)
	if x.s.Pairs[key] == nil {
		x.s.Pairs[key] = &Pair{Ingress: ingress, Egress: egress}
	}
	pair := x.s.Pairs[key]
	if names := x.namesOf(p); !slices.Equal(names, pair.Path) {
		if pair.Path != nil {
			x.event("path-changed", ingress, 0, "from %s to %s by %v instead of %v, to carry what was reserved", ingress, egress, names, pair.Path)
		}
		x.leave(key, pair, p)
		pair.Path = names
		if x.promised != nil {
			x.bookLeaving(x.promised, key)
		}
		x.rerouted(pair)
		x.unbook(key)
		x.move(key)
	}
}

// mine finds a reservation that the asker may act on.
func (x *step) mine(by Principal, id dssn.ReservationID) (*Reservation, error) {
	r := x.s.Reservations[id]
	if r == nil {
		return nil, refuse(Unknown, "no reservation is called %s: see `dssn reservations`", id)
	}
	if !by.Operator && by.Institution != r.Institution {
		return nil, refuse(Denied, "the reservation %s belongs to %s: ask them", id, r.Institution)
	}
	if r.Implicit {
		return nil, refuse(Invalid, "%s comes with a grant and cannot be changed: reserve bandwidth instead", id)
	}
	if ended(r) {
		return nil, refuse(Expired, "the reservation %s has ended (%s): reserve again", id, r.Reason)
	}
	return r, nil
}

func (x *step) commit(in *Commit) (*northbound.Reservation, error) {
	r, err := x.mine(in.By, in.ID)
	if err != nil {
		return nil, err
	}
	if r.State != northbound.StateHeld {
		return x.view(r), nil // committed already: saying it twice changes nothing
	}
	if r.Volume > 0 {
		if err := x.placeAgain(r); err != nil {
			return nil, err
		}
	}
	r.HeldUntil, r.Activated = time.Time{}, x.now
	if r.Start.After(x.now) {
		r.State, r.Reason = northbound.StateReserved, "its window begins at "+r.Start.Format(time.RFC3339)
	} else {
		x.begin(r, x.now)
		x.duePlan(r)
	}
	x.touch(r)
	x.replan = true
	x.reconcileNow()
	x.decided("contract", who(in.By), x.view(r))
	switch {
	case r.State == northbound.StateReserved:
		x.event("committed", r.Egress, r.ID, "%s committed, %s ceiling for %s from %s on", r.Committed, r.Ceiling, r.Data, r.Start.Format(time.RFC3339))
	case r.Volume > 0:
		x.event("committed", r.Egress, r.ID, "%s of %s by %s: now allocated %s", r.Volume, r.Data, r.Finish.Format(time.RFC3339), r.Allocated)
	default:
		x.event("committed", r.Egress, r.ID, "%s committed, %s ceiling for %s: now allocated %s", r.Committed, r.Ceiling, r.Data, r.Allocated)
	}
	return x.view(r), nil
}

func (x *step) modify(in *Modify) (*northbound.Reservation, error) {
	r, err := x.mine(in.By, in.ID)
	if err != nil {
		return nil, err
	}
	n, q := *r, in.Request
	if q.Committed != nil {
		n.Committed = *q.Committed
	}
	if q.Ceiling != nil {
		n.Ceiling = *q.Ceiling
	} else {
		n.Ceiling = max(n.Ceiling, n.Committed)
	}
	if q.Burst != nil {
		n.Burst = *q.Burst
	}
	if q.Priority != 0 {
		n.Priority = q.Priority
	}
	if !q.Until.IsZero() {
		n.Until = q.Until.UTC()
	}
	switch {
	case n.Ceiling < n.Committed || n.Ceiling == 0:
		return nil, refuse(Invalid, "the ceiling %s does not fit the committed rate %s: raise --ceiling", n.Ceiling, n.Committed)
	case n.Ceiling > topology.MaxCapacity:
		return nil, refuse(Invalid, "the rate %s is more than any link: lower it", n.Ceiling)
	case n.Priority < 1 || n.Priority > 100:
		return nil, refuse(Invalid, "the priority %d is not between 1 and 100: change --priority", n.Priority)
	case n.Burst > dssn.ByteCount(1<<40):
		return nil, refuse(Invalid, "a burst of %s is more than a policer can hold: lower --burst", n.Burst)
	case !n.Until.IsZero() && !n.Until.After(x.now):
		return nil, refuse(Invalid, "the reservation would end at %s, which is past: give a later --until", n.Until.Format(time.RFC3339))
	}
	if err := x.modifiable(r, &n); err != nil {
		return nil, err
	}
	p, err := x.refit(r, &n)
	if err != nil {
		return nil, err
	}
	old, oldPath := *r, []string(nil)
	if pair := x.s.Pairs[pairKey(r.Ingress, r.Egress)]; pair != nil {
		oldPath = slices.Clone(pair.Path)
	}
	n.Revision++
	x.s.Promises++
	n.Segments = slices.Clone(r.Segments)
	if p != nil {
		x.takePath(r.Ingress, r.Egress, p)
	}
	*r = n
	if n.Committed != old.Committed && live(r) && r.Volume == 0 {
		x.nextSegment(r, x.now)
		x.resized(r, old.Committed, r.Committed)
		r.Resizes[len(r.Resizes)-1].OldPath = oldPath
		x.newPath(r)
	}
	x.touch(r)
	x.replan = true
	x.reconcileNow()
	x.decided("modify", who(in.By), x.view(r))
	if old.Committed == r.Committed && old.Ceiling == r.Ceiling && !old.Until.Equal(r.Until) {
		x.event("extended", r.Egress, r.ID, "the end of %s is moved from %s to %s", r.ID, old.Until.Format(time.RFC3339), r.Until.Format(time.RFC3339))
	} else {
		x.event("modified", r.Egress, r.ID, "committed %s → %s, ceiling %s → %s: now allocated %s", old.Committed, r.Committed, old.Ceiling, r.Ceiling, r.Allocated)
	}
	return x.view(r), nil
}

func (x *step) release(in *Release) (*northbound.Reservation, error) {
	r, err := x.mine(in.By, in.ID)
	if err != nil {
		return nil, err
	}
	x.terminate(r, releasedBy+who(in.By))
	x.decided("release", who(in.By), x.view(r))
	return x.view(r), nil
}

// releasedBy begins the reason of a contract that its holder ended.
const releasedBy = "released by "

func (x *step) terminate(r *Reservation, reason string) {
	r.State, r.Reason, r.Ended, r.Allocated, r.Parts, r.Limit = northbound.StateTerminated, reason, x.now, 0, nil, ""
	r.HeldUntil = time.Time{}
	if n := len(r.Segments); n > 0 && r.Segments[n-1].To.IsZero() {
		r.Segments[n-1].To = x.now
	}
	x.replan = true
	x.finished = append(x.finished, r.ID)
	if !r.Implicit {
		x.s.Promises++
	}
	x.touch(r)
	if r.Session != "" {
		x.sessionOf(r)
	}
	if !r.Implicit {
		x.regrant = true // the data may now come from a nearer holder
		x.event("terminated", r.Egress, r.ID, "the reservation for %s ended: %s", r.Data, reason)
		if !r.Activated.IsZero() && !strings.HasPrefix(reason, releasedBy) { // a release is a leaf of its own
			x.decided("contract-ended", northbound.OperatorInstitution, x.view(r))
		}
	}
}

// Quote says what a reservation would get now.
func (c *Core) Quote(now time.Time, by Principal, q northbound.ReservationRequest) (northbound.Quote, error) {
	w, err := c.consider(now, by, q)
	if err != nil {
		return northbound.Quote{}, err
	}
	r := w.contract(now, ^dssn.ReservationID(0))
	p, err := c.fit(w, r, true)
	if f, full := err.(*Refusal); full {
		return northbound.Quote{Detail: f.Detail, Bottleneck: f.Bottleneck, BestOffer: f.Offer, BestStart: f.Start, BestDelay: f.Delay, BestFinish: f.Finish}, nil
	}
	out := northbound.Quote{Admitted: true, Path: c.namesOf(p), Repairs: c.repairs(w.holder.Name, w.consumer.Name, p), Latency: p.Latency(c.graph),
		DelayBound: r.DelayBound, Plan: r.Plan, Finish: r.Finish}
	switch {
	case r.Volume > 0:
		out.Detail = fmt.Sprintf("%s can be moved by %s, before %s", r.Volume, r.Finish.Format(time.RFC3339), r.Until.Format(time.RFC3339))
	case r.Start.After(now):
		out.Detail = fmt.Sprintf("%s committed can be carried from %s on", w.q.Committed, r.Start.Format(time.RFC3339))
	default:
		out.Rate = c.expected(w, p)
		out.Detail = fmt.Sprintf("%s committed can be carried; with a ceiling of %s it would be allocated %s now", w.q.Committed, w.q.Ceiling, out.Rate)
	}
	if r.DelayBound > 0 {
		out.Detail += fmt.Sprintf(", with a delay of at most %s", r.DelayBound)
	}
	return out, nil
}
