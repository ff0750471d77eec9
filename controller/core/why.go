package core

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"dssn"
	"dssn/controller/northbound"
)

// Every change of a contract's rate, path or state is kept with its cause, so that
// "why did my rate or path change at T" is a question that has an answer. What others
// did is told without saying who they are.

// Bounds on what is kept: of a reservation that is open, and of one that has ended.
const (
	maxChanges      = 128
	maxChangesEnded = 32
)

// remember notes what this step changed of contracts.
func (x *step) remember() {
	if !x.shared && len(x.finished) == 0 {
		return
	}
	for _, id := range x.finished {
		x.note(x.s.Reservations[id])
	}
	for _, id := range x.tally.open {
		x.note(x.s.Reservations[id])
	}
	x.shared, x.finished = false, nil
}

func (x *step) note(r *Reservation) {
	if r == nil || r.Implicit {
		return
	}
	now := northbound.Change{At: x.now, State: r.State, Rate: r.Allocated, Limit: r.Limit, Note: r.Reason}
	if pair := x.s.Pairs[pairKey(r.Ingress, r.Egress)]; pair != nil && !ended(r) {
		now.Path = pair.Path
	}
	if n := len(r.History); n > 0 {
		was := &r.History[n-1]
		if was.Rate == now.Rate && was.State == now.State && was.Limit == now.Limit && slices.Equal(was.Path, now.Path) && was.Note == now.Note {
			return
		}
		if now.Was = was.Rate; !slices.Equal(was.Path, now.Path) && !ended(r) {
			now.Old = was.Path
		}
	}
	now.Cause, now.Path = x.causeFor(r), slices.Clone(now.Path)
	most := maxChanges
	if ended(r) {
		most = maxChangesEnded
	}
	r.History = append(r.History, now)
	if over := len(r.History) - most; over > 0 {
		r.History = slices.Clone(r.History[over:])
	}
}

// follows are kinds of events that are consequences and explain nothing.
var follows = map[string]bool{"path-chosen": true, "path-changed": true, "pair-degraded": true, "pair-restored": true, "state": true, "pair-spread": true, "pair-joined": true}

// causeFor says what in this step changed r: something about itself, else about the
// network, else about others.
func (x *step) causeFor(r *Reservation) string {
	var own, network, others []string
	for _, e := range x.happened {
		o := x.s.Reservations[e.Reservation]
		switch {
		case follows[e.Kind]:
		case o == r:
			own = append(own, e.Detail)
		case o == nil && (strings.HasPrefix(e.Kind, "link-") || e.Kind == "features-changed" || e.Kind == "repacked"):
			network = append(network, e.Detail)
		case o == nil:
		case o.Institution == r.Institution:
			others = append(others, fmt.Sprintf("%s changed (%s)", o.ID, e.Kind))
		default:
			others = append(others, "another reservation on the way changed ("+e.Kind+")")
		}
	}
	for _, list := range [][]string{own, network, others} {
		if len(list) > 0 {
			return strings.Join(slices.Compact(list), "; ")
		}
	}
	if x.grewAgain {
		return "background traffic on the way began or ceased"
	}
	return "what is permitted on the way changed"
}

// Why explains the rate, path and state of a reservation at a moment.
func (c *Core) Why(by Principal, id dssn.ReservationID, at, now time.Time) (northbound.Why, error) {
	r := c.s.Reservations[id]
	switch {
	case r == nil || !mayRead(by, r.Institution):
		return northbound.Why{}, refuse(Unknown, "no reservation of yours is called %s: see `dssn reservations`", id)
	case r.Implicit:
		return northbound.Why{}, refuse(Invalid, "%s comes with a grant and has what others leave; of background traffic no changes are kept: reserve bandwidth to have a rate", id)
	case at.After(now):
		return northbound.Why{}, refuse(Invalid, "%s has not come yet: ask for a moment that is past", at.UTC().Format(time.RFC3339))
	case at.Before(r.Created):
		return northbound.Why{}, refuse(Invalid, "%s did not exist at %s: it was made at %s", id, at.UTC().Format(time.RFC3339), r.Created.Format(time.RFC3339))
	}
	w := northbound.Why{Reservation: id, At: at.UTC()}
	i := 0
	for i < len(r.History) && !r.History[i].At.After(at) {
		i++
	}
	w.Before, w.After = slices.Clone(r.History[:max(i-1, 0)]), slices.Clone(r.History[i:])
	if i == 0 {
		w.Answer = fmt.Sprintf("what %s had at %s is not kept any more: only its latest %d changes are", id, w.At.Format(time.RFC3339), maxChanges)
		return w, nil
	}
	h := r.History[i-1]
	w.Change = &h
	w.Answer = explain(r, h, w.At)
	return w, nil
}

func explain(r *Reservation, h northbound.Change, at time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "at %s it was %s with %s", at.Format(time.RFC3339), h.State, h.Rate)
	if len(h.Path) > 0 {
		fmt.Fprintf(&b, " by %s", strings.Join(h.Path, " → "))
	}
	fmt.Fprintf(&b, ", since %s, because %s", h.At.Format(time.RFC3339), h.Cause)
	if h.Was != h.Rate {
		fmt.Fprintf(&b, "; before that it had %s", h.Was)
	}
	if len(h.Old) > 0 {
		fmt.Fprintf(&b, " by %s", strings.Join(h.Old, " → "))
	}
	if h.Limit != "" {
		fmt.Fprintf(&b, "; %s kept it under its ceiling of %s", h.Limit, r.Ceiling)
	}
	return b.String()
}
