package core

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/topology/calendar"
	"dssn/topology/paths"
)

// A bulk transfer is a volume of content with a deadline. topology/calendar places it
// in time, into what nobody else was promised, so that it finishes as early as it
// can, on one path (that of its pair, or another one that is better and has room for
// all that the pair is promised). It is accepted with its finishing time, or refused
// with the earliest there is. Its plan is a promise like any other; when nobody else
// uses it, it may also have more than its plan, up to its ceiling.

// planned is what has to be placed for a volume of content: a sixteenth more, for
// what TCP and IPv6 put around it.
func planned(volume dssn.ByteCount) dssn.ByteCount { return volume + volume/16 + 1 }

// placeBulk places left of a bulk transfer's volume from now (or its start) on and fills in
// Plan and Finish. The refusal has the earliest finish.
func (c *Core) placeBulk(r *Reservation, left dssn.ByteCount) (paths.Path, error) {
	p := c.syncPromises()
	key := pairKey(r.Ingress, r.Egress)
	cl := &claim{ingress: r.Ingress, egress: r.Egress, skip: r.ID, start: max(r.Start.Unix(), c.s.Now.Unix()), end: secondUp(r.Until)}
	var tries []paths.Path
	if pair := c.s.Pairs[key]; pair != nil {
		if links, ok := c.linksOf(pair.Path); ok && c.pinnable(links) {
			tries = append(tries, links)
		}
	}
	if links, ok := c.choose(r.Ingress, r.Egress, paths.Constraint{}); ok {
		tries = append(tries, links)
	}
	if links, _, bottleneck := c.widest(p, cl); bottleneck != "" {
		tries = append(tries, links)
	}
	var best *calendar.Booking
	var path paths.Path
	var why *calendar.Refused
	for i, links := range tries {
		if slices.ContainsFunc(tries[:i], func(o paths.Path) bool { return slices.Equal(o, links) }) {
			continue
		}
		b, refused, err := c.placeOn(p, cl, r, left, links)
		switch {
		case err != nil:
			return nil, refuse(Invalid, "%v", err)
		case b != nil && (best == nil || b.Finish().Before(best.Finish())):
			if _, err := c.checkBounds(r, links); err == nil {
				best, path = b, links
			}
		case refused != nil && (why == nil || !refused.BestFinish.IsZero() && (why.BestFinish.IsZero() || refused.BestFinish.Before(why.BestFinish))):
			why = refused
		}
	}
	if best == nil {
		return nil, c.bulkRefusal(r, left, why)
	}
	r.Plan, r.Finish, r.PlanAt = nil, best.Finish(), -1
	for _, piece := range best.Pieces {
		r.Plan = append(r.Plan, northbound.RatePiece{Rate: piece.Rate, From: time.Unix(piece.Start, 0).UTC(), To: time.Unix(piece.End, 0).UTC()})
	}
	r.Revision++
	return path, nil
}

// placeOn tries one path, to which the pair's other promises would move with it; both
// results are nil where those do not fit there.
func (c *Core) placeOn(p *promises, cl *claim, r *Reservation, left dssn.ByteCount, links paths.Path) (b *calendar.Booking, why *calendar.Refused, err error) {
	rest := *cl
	rest.start, rest.end = 0, 0
	spans := c.spans(p, &rest)
	present := false
	if pair := c.s.Pairs[cl.key()]; pair != nil {
		present = slices.Equal(pair.Path, c.namesOf(links))
	}
	c.without(p, cl.key(), func() {
		if !present && !p.carries(links, spans, 0) {
			return
		}
		// The pair's others, where they would be, under a number that nobody has.
		others := &calendar.Booking{ID: ^dssn.ReservationID(0) - 1}
		for _, s := range spans {
			if s.need > 0 {
				others.Pieces = append(others.Pieces, calendar.Piece{Path: links, Rate: s.need, Start: s.start, End: s.end})
			}
		}
		if err = p.cal.Book(others); err != nil {
			return
		}
		defer p.cal.Remove(others.ID)
		first := p.graph.Link(int(links[0]))
		last := p.graph.Link(int(links[len(links)-1]))
		b, err = p.cal.AdmitBulk(calendar.Bulk{ID: r.ID, Src: first.Src, Dst: last.Dst, Volume: planned(left),
			NotBefore: time.Unix(cl.start, 0), Deadline: r.Until, MaxRate: r.Ceiling, Path: links})
		if errors.As(err, &why) {
			b, err = nil, nil
		}
		if b != nil {
			p.cal.Remove(r.ID)
		}
	})
	return b, why, err
}

func (c *Core) bulkRefusal(r *Reservation, left dssn.ByteCount, why *calendar.Refused) error {
	deadline := r.Until.Format(time.RFC3339)
	switch {
	case why == nil:
		return refuse(Conflict, "no path leads from %s to %s at present: see `dssn status` for the links that are down", r.Ingress, r.Egress)
	case why.BestFinish.IsZero():
		return refuse(Capacity, "%s cannot be moved from %s to %s by %s, nor in fifty times the time until then; ask for a lesser --volume, a higher --ceiling or a much later --until", left, r.Ingress, r.Egress, deadline)
	}
	finish := why.BestFinish.Format(time.RFC3339)
	return &Refusal{Kind: Capacity, Finish: why.BestFinish, Detail: fmt.Sprintf("%s cannot be moved from %s to %s by %s: the earliest that it can be done is %s, so ask for --until %s or later, or for a lesser --volume", left, r.Ingress, r.Egress, deadline, finish, finish)}
}

// placeAgain places a held bulk transfer anew as it is committed: time has passed
// since the hold. Its own place is free for it, so this fails only where the time lost
// cannot be made good.
func (x *step) placeAgain(r *Reservation) error {
	if planFirst(r).After(x.now) || len(r.Plan) == 0 {
		return nil
	}
	path, err := x.placeBulk(r, r.Volume)
	if err == nil {
		x.takePath(r.Ingress, r.Egress, path)
	}
	return err
}

func planFirst(r *Reservation) time.Time {
	if len(r.Plan) == 0 {
		return time.Time{}
	}
	return r.Plan[0].From
}

// duePlan moves on in a bulk transfer's plan.
func (x *step) duePlan(r *Reservation) {
	if r.Volume == 0 {
		return
	}
	i := planAt(r, x.now)
	if i == r.PlanAt {
		return
	}
	// Past its last piece the transfer goes on with what is left, up to its deadline.
	from := x.now
	if i >= 0 && r.Plan[i].From.After(r.Activated) {
		from = r.Plan[i].From
	} else if i < 0 && r.PlanAt >= 0 && r.PlanAt < len(r.Plan) {
		from = r.Plan[r.PlanAt].To
	}
	if r.PlanAt = i; i < 0 && len(r.Plan) > 0 && !x.now.Before(r.Plan[len(r.Plan)-1].To) {
		r.PlanAt = len(r.Plan) // nothing of it is to come
	}
	x.nextSegment(r, from)
	x.replan = true
	x.touch(r)
}

// offered adds to what a bulk transfer could have sent; called before its rate changes.
func (x *step) offered(r *Reservation) {
	if r.Volume > 0 && live(r) && x.now.After(r.OfferedAt) {
		if !r.OfferedAt.IsZero() {
			r.OfferedBits += 8 * uint64(r.Allocated.BytesIn(x.now.Sub(r.OfferedAt)))
		}
		r.OfferedAt = x.now
	}
}

// progress notes what has arrived of a bulk transfer, as both ends' reports say, and
// ends it when all has.
func (x *step) progress(r *Reservation) {
	var content uint64
	for _, t := range x.s.Transfers {
		if t.Reservation == r.ID {
			content += max(t.ReceiverBytes, map[bool]uint64{true: t.HolderBytes}[t.ReceiverBytes == 0])
		}
	}
	// What no report of content covers (a stock client) is known by the meter of the
	// egress, less what surrounds content.
	metered := x.count(r.Egress, r.ID).ReceivedBytes
	moved := dssn.ByteCount(max(content, metered-metered/16))
	if moved <= r.Moved {
		return
	}
	if r.Moved = moved; moved >= r.Volume {
		x.offered(r)
		r.Judged = x.now
		x.event("bulk-done", r.Egress, r.ID, "all %s of %s have arrived, before the deadline %s", r.Volume, r.Data, r.Until.Format(time.RFC3339))
		x.terminate(r, "all of its volume has arrived")
	}
}

// missed ends a bulk transfer at its deadline. Where the network did not give it the
// rates to move its volume, its bill has a credit; where it gave them and they were
// not used, it has none.
func (x *step) missed(r *Reservation) {
	x.offered(r)
	r.Judged = x.now
	if r.OfferedBits < 8*uint64(r.Volume) {
		r.Missed = true
		x.terminate(r, fmt.Sprintf("the deadline was missed: %s of %s had arrived, and the network had room for %s only; the bill has a credit", r.Moved, r.Volume, dssn.ByteCount(r.OfferedBits/8)))
		x.decided("deadline-missed", northbound.OperatorInstitution, x.view(r))
		return
	}
	x.terminate(r, fmt.Sprintf("the deadline came with %s of %s arrived; the network had room for all of it", r.Moved, r.Volume))
}

// placeRest places what is left of a pair's bulk transfers anew, where their plans
// cannot be kept since links failed, and then looks for the pair's path again. It
// returns false where that did not help.
func (x *step) placeRest(p *promises, key string) bool {
	again := false
	for _, id := range sortedKeys(p.of[key]) {
		r := x.s.Reservations[id]
		if r.Volume == 0 || !live(r) || r.Moved >= r.Volume {
			continue
		}
		was := r.Reservation
		path, err := x.placeBulk(r, r.Volume-r.Moved)
		if err != nil {
			continue // its deadline cannot be kept at present: the plan stays as a claim
		}
		x.takePath(r.Ingress, r.Egress, path)
		x.syncPromises()
		x.event("bulk-placed", r.Egress, r.ID, "what is left of %s, %s, is placed anew: done by %s instead of %s", r.ID, r.Volume-r.Moved, r.Finish.Format(time.RFC3339), was.Finish.Format(time.RFC3339))
		again = true
		x.duePlan(r)
	}
	if !again {
		return false
	}
	ingress, egress := x.s.Pairs[key].Ingress, x.s.Pairs[key].Egress
	return x.ensurePair(p, ingress, egress, false)
}
