package core

import (
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/topology"
	"dssn/topology/calendar"
)

// maxBoosts bounds how many boosts a contract can have that are not over.
const maxBoosts = 16

// Boost raises a contract for a window of its own.
type Boost struct {
	By      Principal               `json:"by"`
	ID      dssn.ReservationID      `json:"id"`
	Request northbound.BoostRequest `json:"request"`
}

// Extend moves the end of a contract or hold.
type Extend struct {
	By      Principal                `json:"by"`
	ID      dssn.ReservationID       `json:"id"`
	Request northbound.ExtendRequest `json:"request"`
}

// boost books the raise, make before break: the higher rate is promised, on the path
// that the contract has or on another that has room for all of it, before anything
// of the present promise is given up. After a refusal nothing has changed.
func (x *step) boost(in *Boost) (*northbound.Reservation, error) {
	r, err := x.mine(in.By, in.ID)
	if err != nil {
		return nil, err
	}
	q := in.Request
	b := northbound.Boost{Start: q.Start.UTC(), Until: q.Until.UTC(), State: northbound.BoostWaiting}
	now := q.Start.IsZero()
	if now {
		b.Start = x.now
	}
	if err := x.boostable(r, q, b); err != nil {
		return nil, err
	}
	b.Extra = q.Committed - r.Committed
	cl := &claim{ingress: r.Ingress, egress: r.Egress, start: b.Start.Unix(), end: secondUp(b.Until)}
	next := *r
	next.Boosts = append(append([]northbound.Boost(nil), r.Boosts...), b)
	next.Revision++
	path, _, err := x.admit(cl, b.Extra, &next, wording{what: q.Committed.String() + " committed", had: r.Committed, from: q.Start, until: b.Until})
	if err != nil {
		return nil, err
	}
	*r = next
	x.s.Promises++
	x.takePath(r.Ingress, r.Egress, path)
	x.decided("boost", who(in.By), x.view(r))
	x.event("boosted", r.Egress, r.ID, "%s is raised from %s to %s committed from %s until %s", r.ID, r.Committed, q.Committed, b.Start.Format(time.RFC3339), b.Until.Format(time.RFC3339))
	if live(r) {
		x.dueBoosts(r)
	}
	x.replan = true
	x.touch(r)
	x.reconcileNow()
	return x.view(r), nil
}

// boostable checks a boost as far as it does not depend on capacity.
func (x *step) boostable(r *Reservation, q northbound.BoostRequest, b northbound.Boost) error {
	open := 0
	for _, o := range r.Boosts {
		if o.State == northbound.BoostOver {
			continue
		}
		open++
		if o.Start.Before(b.Until) && b.Start.Before(o.Until) {
			return refuse(Conflict, "%s is boosted already from %s until %s: choose another time", r.ID, o.Start.Format(time.RFC3339), o.Until.Format(time.RFC3339))
		}
	}
	end := never
	if !r.Until.IsZero() {
		end = r.Until
	}
	switch {
	case r.Volume > 0:
		return refuse(Invalid, "%s is a bulk transfer, whose rates are planned: release it and reserve again with an earlier deadline", r.ID)
	case r.State == northbound.StateHeld:
		return refuse(Conflict, "%s is a hold: commit it first", r.ID)
	case q.Committed <= r.Committed:
		return refuse(Invalid, "a boost to %s is none: %s has %s committed; ask for more", q.Committed, r.ID, r.Committed)
	case q.Committed > topology.MaxCapacity:
		return refuse(Invalid, "the rate %s is more than any link: lower it", q.Committed)
	case q.Until.IsZero():
		return refuse(Invalid, "a boost without an end is a modification: say --for or --until, or use `dssn modify`")
	case !q.Start.IsZero() && q.Start.Before(x.now):
		return refuse(Invalid, "the boost would begin at %s, which is past: leave its start out to begin now", b.Start.Format(time.RFC3339))
	case !b.Start.Before(b.Until):
		return refuse(Invalid, "the boost would end at %s, which is not after its start at %s: give a later end", b.Until.Format(time.RFC3339), b.Start.Format(time.RFC3339))
	case b.Start.Before(r.Start) || b.Until.After(end):
		return refuse(Invalid, "the boost from %s until %s does not lie in the window of %s: extend that first", b.Start.Format(time.RFC3339), b.Until.Format(time.RFC3339), r.ID)
	case open >= maxBoosts:
		return refuse(Conflict, "%s has %d boosts to come: wait until one is over", r.ID, open)
	}
	return nil
}

// extend moves the end. Later needs room in the time added; sooner always fits.
func (x *step) extend(in *Extend) (*northbound.Reservation, error) {
	r, err := x.mine(in.By, in.ID)
	if err != nil {
		return nil, err
	}
	until := in.Request.Until.UTC()
	switch {
	case in.Request.Until.IsZero():
		return nil, refuse(Invalid, "an extension needs its new end: give --until or --for")
	case r.Until.IsZero():
		return nil, refuse(Conflict, "%s has no end: there is nothing to extend", r.ID)
	}
	return x.modify(&Modify{By: in.By, ID: in.ID, Request: northbound.ModifyRequest{Until: until}})
}

// extension is the claim of a contract whose end moves from old to next: nothing
// where it comes sooner.
func extension(r *Reservation, next time.Time) *claim {
	cl := &claim{ingress: r.Ingress, egress: r.Egress}
	if end := windowEnd(r); !r.Until.IsZero() && (next.IsZero() || secondUp(next) > end) {
		cl.start, cl.end = end, far
		if !next.IsZero() {
			cl.end = min(secondUp(next), far)
		}
	}
	return cl
}

// prolong moves the end of a running contract, if what it is promised fits in the
// time that is added.
func (x *step) prolong(r *Reservation, until time.Time) error {
	n := *r
	n.Until = until
	if err := x.modifiable(r, &n); err != nil {
		return err
	}
	p, err := x.refit(r, &n)
	if err != nil {
		return err
	}
	r.Until = until
	r.Revision++
	x.s.Promises++
	if p != nil {
		x.takePath(r.Ingress, r.Egress, p)
	}
	x.replan = true
	x.touch(r)
	return nil
}

// boostPieces is what a contract is promised above its committed rate.
func boostPieces(r *Reservation) []calendar.Piece {
	base := *r
	base.Committed = 0
	return profileOf(&base)
}
