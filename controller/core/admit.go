package core

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/topology/paths"
)

// considerWindow checks the parts of a request that say when, and how much by when.
func (c *Core) considerWindow(now time.Time, w *wish) error {
	q := w.q
	switch {
	case q.Start.IsZero():
	case q.Start.Before(now):
		return refuse(Invalid, "the reservation would begin at %s, which is past: leave --start out to begin now", q.Start.UTC().Format(time.RFC3339))
	case q.Start.After(now.Add(maxAhead)):
		return refuse(Invalid, "%s is more than ten years away: give an earlier --start", q.Start.UTC().Format(time.RFC3339))
	case !q.Until.IsZero() && !q.Until.After(q.Start):
		return refuse(Invalid, "the window from %s to %s is empty: give a later --until", q.Start.UTC().Format(time.RFC3339), q.Until.UTC().Format(time.RFC3339))
	case !w.grant.Until.After(q.Start):
		return refuse(Denied, "the grant %s ends at %s, before the window begins: ask its owner %s to grant longer", w.grant.ID, w.grant.Until.Format(time.RFC3339), w.dataset.Institution)
	}
	switch {
	case q.MaxDelay < 0:
		return refuse(Invalid, "a delay of %s is none: give a positive --delay", q.MaxDelay)
	case q.MaxDelay > 0 && q.Class != dssn.ClassAssured:
		return refuse(Invalid, "only class assured promises a delay: use --class assured, or leave --delay out")
	case q.Class == dssn.ClassAssured && q.Committed == 0 && q.MaxDelay > 0:
		return refuse(Invalid, "a delay is promised to a committed rate: give --committed")
	case q.Volume > 0 && q.Class != dssn.ClassBulk:
		return refuse(Invalid, "a volume is moved by class bulk: use --class bulk, or leave --volume out")
	case q.Volume > 1<<56:
		return refuse(Invalid, "a volume of %s is more than can be placed: lower --volume", q.Volume)
	case q.Volume > 0 && q.Committed > 0:
		return refuse(Invalid, "the rates of a volume are chosen by its plan: leave --committed out; --ceiling bounds them")
	case q.Volume > 0 && q.Until.IsZero():
		return refuse(Invalid, "a volume needs its deadline: give --until")
	}
	return nil
}

// overlap reports whether a reservation runs at some time of a window.
func overlap(r *Reservation, start, until time.Time) bool {
	return (until.IsZero() || r.Start.Before(until)) && (r.Until.IsZero() || start.Before(r.Until))
}

// contract is the hold that a wish would become.
func (w *wish) contract(now time.Time, id dssn.ReservationID) *Reservation {
	r := &Reservation{PlanAt: -1, MaxDelay: w.q.MaxDelay, Reservation: northbound.Reservation{
		ID: id, State: northbound.StateHeld, Reason: "waits for its commit",
		Data: w.q.Data, Institution: w.consumer.Institution,
		Ingress: w.holder.Name, Egress: w.consumer.Name,
		From: w.q.Data.Prefix(), To: netip.PrefixFrom(w.consumer.Node.Addr(), 128),
		Class: w.q.Class, Committed: w.q.Committed, Ceiling: w.q.Ceiling, Burst: w.q.Burst, Priority: w.q.Priority,
		Volume: w.q.Volume, Created: now, HeldUntil: now.Add(w.hold),
	}}
	if !w.q.Start.IsZero() {
		r.Start = w.q.Start.UTC()
	}
	if !w.q.Until.IsZero() {
		r.Until = w.q.Until.UTC()
	}
	return r
}

// fit finds the path of a contract to be, and fills in what is promised with it: a
// plan for a volume, a delay bound for class assured where withBounds.
func (c *Core) fit(w *wish, r *Reservation, withBounds bool) (paths.Path, error) {
	if r.Volume > 0 {
		return c.placeBulk(r, r.Volume)
	}
	cl := &claim{ingress: r.Ingress, egress: r.Egress, start: max(windowStart(r), c.s.Now.Unix()), end: windowEnd(r)}
	r.Bounded = r.Class == dssn.ClassAssured && withBounds
	p, delay, err := c.admit(cl, r.Committed, r, wording{what: r.Committed.String() + " committed", from: r.Start, until: r.Until})
	if err != nil || !r.Bounded {
		return p, err
	}
	r.DelayBound, err = promiseDelay(r.MaxDelay, delay, p.Latency(c.graph))
	return p, err
}

// modifiable checks a change as far as it does not depend on capacity.
func (x *step) modifiable(r, n *Reservation) error {
	switch {
	case r.Volume > 0 && n.Committed != r.Committed:
		return refuse(Invalid, "the rates of a volume are chosen by its plan: leave --committed out")
	case r.Volume > 0 && n.Until.Before(n.Finish):
		return refuse(Capacity, "%s is placed to be done by %s: give a deadline no sooner, or release it and reserve again", r.ID, n.Finish.Format(time.RFC3339))
	case !n.Until.IsZero() && !n.Until.After(n.Start):
		return refuse(Invalid, "the window from %s to %s is empty: give a later --until", n.Start.Format(time.RFC3339), n.Until.Format(time.RFC3339))
	}
	for _, b := range r.Boosts {
		if b.State != northbound.BoostOver && !n.Until.IsZero() && b.Until.After(n.Until) {
			return refuse(Conflict, "%s is boosted until %s: end it no sooner", r.ID, b.Until.Format(time.RFC3339))
		}
	}
	for _, id := range x.tally.booked[reach{r.Data, r.Egress}] {
		if o := x.s.Reservations[id]; o != r && !overlap(o, r.Start, r.Until) && overlap(o, n.Start, n.Until) {
			return refuse(Conflict, "%s begins at %s for the same data: end this one no later", o.ID, o.Start.Format(time.RFC3339))
		}
	}
	return nil
}

// refit finds the path of a contract that is to become n; nil where it needs no more
// than it has. The present promise stays until the new one is made.
func (x *step) refit(r, n *Reservation) (p paths.Path, err error) {
	var delay time.Duration
	words := wording{what: n.Committed.String() + " committed", from: n.Start, until: n.Until}
	switch cl := extension(r, n.Until); {
	case r.Volume > 0:
		return nil, nil
	case n.Committed > r.Committed:
		cl = &claim{ingress: r.Ingress, egress: r.Egress, skip: r.ID, fixed: boostPieces(n), start: max(windowStart(n), x.now.Unix()), end: windowEnd(n)}
		p, delay, err = x.admit(cl, n.Committed, n, words)
	case cl.start < cl.end:
		words.more = true
		p, delay, err = x.admit(cl, n.Committed, n, words)
	case envelope(n) != envelope(r) && n.DelayBound > 0:
		links, ok := x.linksOf(x.s.Pairs[pairKey(r.Ingress, r.Egress)].Path)
		if !ok {
			return nil, nil
		}
		delay, err = x.checkBounds(n, links)
	}
	if err == nil && n.DelayBound > 0 && delay > n.DelayBound {
		err = refuse(Capacity, "the delay of %s would be bounded by %s, and %s is promised: ask for a lesser rate or burst", r.ID, delay.Round(time.Microsecond), n.DelayBound)
	}
	return p, err
}

// wording is how a refusal names what was asked for.
type wording struct {
	what        string
	had         dssn.Bandwidth // committed besides, which an offer includes
	from, until time.Time
	more        bool // it is only about a later end
}

func (w wording) window() (text string) {
	if !w.from.IsZero() {
		text = " from " + w.from.UTC().Format(time.RFC3339)
	}
	if !w.until.IsZero() && text != "" {
		text += " until " + w.until.UTC().Format(time.RFC3339)
	}
	return text
}

// delayNeeded is the bound that a contract asks for or was promised, 0 for none.
func delayNeeded(r *Reservation) time.Duration {
	if r.DelayBound > 0 {
		return r.DelayBound
	}
	return r.MaxDelay
}

// admit finds the path on which a pair can carry a claim and a rate in its window,
// for next, besides all that is promised to others at any time; or refuses with the
// link that bounds it and what it would admit. It returns the delay bound that next
// would have, if that is bounded.
func (c *Core) admit(cl *claim, want dssn.Bandwidth, next *Reservation, w wording) (paths.Path, time.Duration, error) {
	p := c.syncPromises()
	if path, ok := c.route(p, cl, want); ok {
		delay, err := c.checkBounds(next, path)
		if needs := delayNeeded(next); err != nil || needs > 0 && delay > needs {
			// The path that the pair has is too slow or too busy; there may be another.
			cl.fresh = true
			if other, ok := c.route(p, cl, want); ok && !slices.Equal(other, path) {
				if d, e := c.checkBounds(next, other); e == nil && (err != nil || d < delay) {
					return other, d, nil
				}
			}
		}
		return path, delay, err
	}
	path, room, bottleneck := c.widest(p, cl)
	if bottleneck == "" {
		return nil, 0, refuse(Conflict, "no path leads from %s to %s at present: see `dssn status` for the links that are down", cl.ingress, cl.egress)
	}
	if w.more {
		return nil, 0, c.noMore(p, cl, want, path, bottleneck, w)
	}
	r := &Refusal{Kind: Capacity, Bottleneck: bottleneck, Start: c.laterStart(p, cl, want, path)}
	r.Detail = fmt.Sprintf("%s from %s to %s cannot be carried%s: the bottleneck ", w.what, cl.ingress, cl.egress, w.window())
	if room == 0 {
		r.Detail += fmt.Sprintf("%s is fully committed; ask for --committed %s with a ceiling, or wait until another reservation ends", bottleneck, w.had)
	} else {
		r.Offer = room + w.had
		r.Detail += fmt.Sprintf("is %s; the best offer is %s, so ask for --committed %s or less", bottleneck, r.Offer, r.Offer)
	}
	if !r.Start.IsZero() {
		r.Detail += fmt.Sprintf("; all of it would be admitted with --start %s", r.Start.Format(time.RFC3339))
	}
	return nil, 0, r
}

// noMore refuses a later end, and says up to when there is room.
func (c *Core) noMore(p *promises, cl *claim, want dssn.Bandwidth, path paths.Path, bottleneck string, w wording) error {
	end := time.Unix(cl.start, 0).UTC()
	for _, at := range p.cal.Changes(path, end, time.Unix(cl.end, 0)) {
		until := *cl
		if until.end = at.Unix(); until.end <= cl.start {
			continue
		}
		if _, ok := c.route(p, &until, want); !ok {
			break
		}
		end = at
	}
	r := &Refusal{Kind: Capacity, Bottleneck: bottleneck, Finish: end,
		Detail: fmt.Sprintf("%s from %s to %s cannot be carried after %s: %s is promised to others then", w.what, cl.ingress, cl.egress, end.Format(time.RFC3339), bottleneck)}
	if end.Unix() > cl.start {
		r.Detail += fmt.Sprintf("; ask for --until %s at most", end.Format(time.RFC3339))
	} else {
		r.Detail += "; it keeps the end that it has: ask for a lesser rate, or reserve again for later"
	}
	return r
}
