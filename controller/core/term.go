package core

import (
	"slices"
	"time"

	"dssn"
	"dssn/controller/northbound"
)

// A contract has a window: capacity is held for it from the hold on, it runs from
// its start to its end, and what it is owed may change on the way (boosts, the plan
// of a bulk transfer). The instants at which something changes by itself are due
// (Core.Due); a step first does what was due by its time.

// maxAhead is how far in the future a window may begin.
const maxAhead = 10 * 365 * 24 * time.Hour

// committedAt is the rate that a contract or hold is owed at an instant.
func committedAt(r *Reservation, at time.Time) (rate dssn.Bandwidth) {
	if r.Volume > 0 {
		if i := planAt(r, at); i >= 0 {
			rate = r.Plan[i].Rate
		}
		return rate
	}
	if r.Start.After(at) {
		return 0
	}
	rate = r.Committed
	for _, b := range r.Boosts {
		if b.State == northbound.BoostRunning {
			rate += b.Extra
		}
	}
	return rate
}

// ceilingAt is what a contract may reach: a boost lifts its ceiling where it has to.
func ceilingAt(r *Reservation, at time.Time) dssn.Bandwidth {
	return max(r.Ceiling, committedAt(r, at))
}

// planAt is the index of the piece of a bulk transfer's plan in force at an instant, or -1.
func planAt(r *Reservation, at time.Time) int {
	for i, p := range r.Plan {
		if !at.Before(p.From) && at.Before(p.To) {
			return i
		}
	}
	return -1
}

// nextChange is when something about a reservation changes by itself.
func nextChange(r *Reservation) (at time.Time) {
	at = never
	switch {
	case r.State == northbound.StateHeld:
		return r.HeldUntil
	case r.State == northbound.StateReserved:
		return r.Start
	case !live(r):
		return at
	}
	at = nextStill(r)
	if !r.Until.IsZero() {
		at = r.Until
	}
	for _, b := range r.Boosts {
		switch b.State {
		case northbound.BoostWaiting:
			at = earlier(at, b.Start)
		case northbound.BoostRunning:
			at = earlier(at, b.Until)
		}
	}
	if r.Volume > 0 && r.PlanAt < len(r.Plan) {
		switch p := r.Plan[max(r.PlanAt, 0)]; {
		case r.PlanAt < 0:
			at = earlier(at, p.From)
		default:
			at = earlier(at, p.To)
		}
	}
	return at
}

// ripen does what a reservation's time has brought.
func (x *step) ripen(r *Reservation) {
	if r.State == northbound.StateHeld && !r.HeldUntil.After(x.now) {
		x.terminate(r, "the hold was not committed in time")
		return
	}
	if r.State == northbound.StateReserved && !r.Start.After(x.now) {
		x.begin(r, r.Start)
		x.regrant = true // its data comes from its holder from now on
		x.event("window-opened", r.Egress, r.ID, "the window of the reservation for %s has begun: %s committed", r.Data, committedAt(r, x.now))
	}
	if !live(r) {
		return
	}
	x.still(r)
	x.dueBoosts(r)
	x.duePlan(r)
	if live(r) && !r.Until.IsZero() && !r.Until.After(x.now) {
		if r.Volume > 0 {
			x.missed(r)
			return
		}
		x.terminate(r, "its time ran out")
	}
}

// begin makes a committed contract run from an instant on.
func (x *step) begin(r *Reservation, at time.Time) {
	r.State, r.Reason, r.PlanAt = northbound.StateActive, "", -1
	if r.Volume == 0 {
		x.nextSegment(r, at)
	}
	x.replan = true
	x.touch(r)
}

// nextSegment ends the open segment of a contract and opens the next at what it is
// owed from then on; none at rate 0.
func (x *step) nextSegment(r *Reservation, at time.Time) {
	r.Segments = slices.Clone(r.Segments)
	if n := len(r.Segments); n > 0 && r.Segments[n-1].To.IsZero() {
		r.Segments[n-1].To = at
	}
	s := x.segment(r)
	s.From = at
	if r.Volume > 0 {
		s.Committed = committedAt(r, x.now)
	} else {
		s.Boost = committedAt(r, x.now) - r.Committed
	}
	if s.Committed+s.Boost > 0 {
		r.Segments = append(r.Segments, s)
	}
}

func (x *step) dueBoosts(r *Reservation) {
	for i := range r.Boosts {
		b := &r.Boosts[i]
		if b.State == northbound.BoostWaiting && !b.Start.After(x.now) {
			b.State = northbound.BoostRunning
			x.nextSegment(r, later(b.Start, r.Activated))
			x.resizing(r, r.Committed, r.Committed+b.Extra)
			x.event("boost-began", r.Egress, r.ID, "the boost of %s by %s runs until %s", r.ID, b.Extra, b.Until.Format(time.RFC3339))
		}
		if b.State == northbound.BoostRunning && !b.Until.After(x.now) {
			b.State = northbound.BoostOver
			x.nextSegment(r, b.Until)
			r.Revision++
			x.resizing(r, r.Committed+b.Extra, r.Committed)
			x.event("boost-ended", r.Egress, r.ID, "the boost of %s by %s is over", r.ID, b.Extra)
		}
	}
}

// resizing notes that a contract's rate changes now.
func (x *step) resizing(r *Reservation, from, to dssn.Bandwidth) {
	x.replan = true
	x.touch(r)
	x.resized(r, from, to)
	x.newPath(r)
}
