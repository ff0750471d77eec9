package core

import (
	"fmt"
	"slices"
	"time"

	"dssn"
	"dssn/topology/bound"
	"dssn/topology/paths"
)

// The delay of class assured is bounded before it is promised: topology/bound gives,
// for every assured contract at once, the longest that a bit inside its rate and
// burst can take over its path while all others send all that they may. It rests on
// links that serve assured traffic (DSCP EF) before any other. A contract is promised
// the bound that it asked for, or its propagation and twice the rest of the bound
// that it has when it is admitted; admission never lets a later contract, or a change
// of paths, lift somebody's bound above that. A failure can: then the contract says
// that it is degraded.

const (
	// largestPacket may stand on the wire before an assured packet, and is the largest
	// that a contract may send: what the transit meters take at most.
	largestPacket dssn.ByteCount = 9216
	assuredBurst                 = 5 * time.Millisecond
)

// bounded reports whether a contract takes part in the bounds.
func bounded(r *Reservation) bool { return booked(r) && r.Bounded }

// envelope is what an assured contract may send, at its highest.
func envelope(r *Reservation) bound.Envelope {
	rate := max(r.Ceiling, r.Committed)
	for _, b := range r.Boosts {
		rate = max(rate, r.Committed+b.Extra)
	}
	return bound.Envelope{Rate: rate, Burst: max(burst(r), largestPacket), Packet: largestPacket}
}

// assured lists the assured contracts that run at some time of a window, in the
// order of their identifiers.
func (c *Core) assured(start, end int64, but dssn.ReservationID) (out []*Reservation) {
	for _, id := range c.tally.open {
		r := c.s.Reservations[id]
		if bounded(r) && id != but && windowStart(r) < end && start < windowEnd(r) {
			out = append(out, r)
		}
	}
	return out
}

// checkBounds sees what becomes of the delay of assured contracts when next takes its
// place on path, and its pair with it. It returns the bound of next, 0 if it has none.
// The error is a refusal, which does not tell whose contract is in the way.
func (c *Core) checkBounds(next *Reservation, path paths.Path) (time.Duration, error) {
	key := pairKey(next.Ingress, next.Egress)
	pair := c.s.Pairs[key]
	moves := pair != nil && !slices.Equal(pair.Path, c.namesOf(path))
	if !next.Bounded && !moves {
		return 0, nil
	}
	// The window in which something is new: next's own, or all of the pair's time to
	// come where that moves.
	start, end := max(windowStart(next), c.s.Now.Unix()), windowEnd(next)
	if moves {
		start, end = c.s.Now.Unix(), far
	}
	others := c.assured(start, end, next.ID)
	if !next.Bounded && len(others) == 0 {
		return 0, nil
	}
	instants := []int64{start}
	for _, r := range others {
		if s := windowStart(r); s > start && s < end {
			instants = append(instants, s)
		}
	}
	var worst time.Duration
	for _, at := range slices.Compact(slices.Sorted(slices.Values(instants))) {
		rs := make([]*Reservation, 0, len(others)+1)
		for _, r := range others {
			if windowStart(r) <= at && at < windowEnd(r) {
				rs = append(rs, r)
			}
		}
		if next.Bounded && windowStart(next) <= at && at < windowEnd(next) {
			rs = append(rs, next)
		}
		bounds, err := c.bounds(rs, key, path)
		if err != nil {
			return 0, refuse(Capacity, "no delay can be promised from %s to %s: %v; use --class elastic, or wait until assured contracts on the way end", next.Ingress, next.Egress, err)
		}
		for i, r := range rs {
			if r == next {
				worst = max(worst, bounds[i].Delay)
			} else if r.DelayBound > 0 && bounds[i].Delay > r.DelayBound {
				return 0, refuse(Capacity, "this would lift the delay of an assured contract on the way from %s to %s above what it was promised: ask for a lesser rate or burst, or use --class elastic", next.Ingress, next.Egress)
			}
		}
	}
	return worst, nil
}

// bounds computes the delay bounds of contracts that run together, with the pair
// called key on path.
func (c *Core) bounds(rs []*Reservation, key string, path paths.Path) ([]bound.Bounds, error) {
	flows := make([]bound.Flow, len(rs))
	for i, r := range rs {
		k := pairKey(r.Ingress, r.Egress)
		flows[i] = bound.Flow{Envelope: envelope(r), Path: path}
		if k != key {
			flows[i].Path = nil
			if pair := c.s.Pairs[k]; pair != nil {
				flows[i].Path, _ = c.linksOf(pair.Path)
			}
		}
	}
	// A contract whose path is gone meets nobody.
	kept := flows[:0:0]
	var at []int
	for i, f := range flows {
		if len(f.Path) > 0 {
			kept, at = append(kept, f), append(at, i)
		}
	}
	got, err := bound.Network(c.graph, kept, largestPacket)
	if err != nil {
		return nil, err
	}
	out := make([]bound.Bounds, len(rs))
	for k, i := range at {
		out[i] = got[k]
	}
	return out, nil
}

// promiseDelay says which bound a contract is promised, or that the one it needs
// cannot be.
func promiseDelay(asked, bound, propagation time.Duration) (time.Duration, error) {
	switch {
	case asked == 0:
		return (2*bound - propagation).Round(time.Microsecond) + time.Microsecond, nil
	case bound > asked:
		best := bound.Round(time.Microsecond) + time.Microsecond
		return 0, &Refusal{Kind: Capacity, Delay: best, Detail: fmt.Sprintf("a delay of %s cannot be promised: the bound on the best path is %s, of which %s are propagation; ask for --delay %s or more, or for a lesser burst", asked, best, propagation, best)}
	}
	return asked, nil
}

// checkDelays compares the bounds of all assured contracts with what they were
// promised, after paths changed by themselves.
func (x *step) checkDelays() {
	rs := x.assured(x.now.Unix(), x.now.Unix()+1, 0)
	got, err := x.bounds(rs, "", nil)
	for i, r := range rs {
		fault := ""
		switch {
		case r.DelayBound == 0:
		case err != nil:
			fault = "its delay cannot be bounded at present: " + err.Error()
		case got[i].Delay > r.DelayBound:
			fault = fmt.Sprintf("its delay is bounded by %s at present, %s was promised", got[i].Delay.Round(time.Microsecond), r.DelayBound)
		}
		if fault != r.DelayFault {
			r.DelayFault = fault
			x.touch(r)
		}
	}
}

// hurry moves pairs whose assured contracts are late to a path that is better, if
// there is one again: a link that comes back is worth a move to them.
func (x *step) hurry() {
	if !x.rebuilt && !x.regrant {
		return
	}
	for _, id := range slices.Clone(x.tally.open) {
		r := x.s.Reservations[id]
		if r.DelayFault == "" || !live(r) {
			continue
		}
		pair := x.s.Pairs[pairKey(r.Ingress, r.Egress)]
		path, ok := x.route(x.syncPromises(), &claim{ingress: r.Ingress, egress: r.Egress, fresh: true}, 0)
		if !ok || pair == nil || slices.Equal(x.namesOf(path), pair.Path) {
			continue
		}
		if delay, err := x.checkBounds(r, path); err == nil && delay <= r.DelayBound {
			x.takePath(r.Ingress, r.Egress, path)
			x.moves = true
			p := x.syncPromises()
			x.ensurePair(p, r.Ingress, r.Egress, true)
			x.touch(r)
		}
	}
}
