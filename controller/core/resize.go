package core

import (
	"slices"
	"time"

	"dssn"
	"dssn/controller/northbound"
)

// maxResizes bounds how many changes of rate a contract remembers.
const maxResizes = 16

// lostSoFar is what entered and did not leave, or has not yet, as both meters say.
func (c *Core) lostSoFar(r *Reservation) (sent, lost uint64) {
	in, out := c.count(r.Ingress, r.ID), c.count(r.Egress, r.ID)
	if in.SentPackets > out.ReceivedPackets {
		lost = in.SentPackets - out.ReceivedPackets
	}
	return in.SentPackets, lost
}

// resized begins the measurement of a change of rate. The ends' reports are not of
// one instant, so their difference is a loss only where the meters stand still: what
// was lost is measured from the last such time before the change to the next after it.
func (x *step) resized(r *Reservation, from, to dssn.Bandwidth) {
	if len(r.Resizes) >= maxResizes {
		r.Resizes = r.Resizes[1:]
	}
	z := northbound.Resize{At: x.now, From: from, To: to, Since: r.Quiet}
	if z.Since.IsZero() {
		z.Since = r.Activated
	}
	if pair := x.s.Pairs[pairKey(r.Ingress, r.Egress)]; pair != nil {
		z.OldPath = slices.Clone(pair.Path)
	}
	r.Resizes = append(slices.Clone(r.Resizes), z)
	r.Measuring = true
}

// measured writes what the meters say into the latest change of rate; the earlier
// ones that were not exact yet cover the same time.
func (x *step) measured(r *Reservation, exact bool) {
	sent, lost := x.lostSoFar(r)
	r.Resizes = slices.Clone(r.Resizes)
	for i := range r.Resizes {
		if z := &r.Resizes[i]; !z.Exact {
			z.Measured, z.Exact = x.now, exact
			z.Sent, z.Lost = sent-r.QuietSent, lost-min(r.QuietLost, lost)
		}
	}
	r.Measuring = !exact
}

// newPath notes the path that a change of rate led to.
func (x *step) newPath(r *Reservation) {
	n := len(r.Resizes)
	pair := x.s.Pairs[pairKey(r.Ingress, r.Egress)]
	if n == 0 || pair == nil {
		return
	}
	z := &r.Resizes[n-1]
	if slices.Equal(z.OldPath, pair.Path) {
		z.OldPath = nil
	} else {
		z.NewPath = slices.Clone(pair.Path)
	}
}

// Meters tell who sends. Nodes report every second while their counters grow.
const (
	stillAfter = 3 * time.Second // then nothing is on its way any more
	idleAfter  = 5 * time.Second // then background traffic gives its share to who sends
)

// grew notes that a meter of r has grown.
func (x *step) grew(r *Reservation) {
	r.Metered = x.now
	if at := x.waking[r.ID]; at.IsZero() || nextChange(r).Before(at) {
		x.wake(dueReservation, "", r.ID)
	}
	if r.Idle {
		r.Idle = false
		if r.Allocated < r.Ceiling {
			x.replan, x.grewAgain = true, true
			x.touch(r)
		}
	}
	if r.Measuring {
		x.measured(r, false)
	}
	if r.Volume > 0 && live(r) {
		x.progress(r)
	}
}

// nextStill is when a reservation's meters will have stood still long enough to
// change something, if they do.
func nextStill(r *Reservation) time.Time {
	switch {
	case r.Implicit && !r.Idle:
		return later(r.Metered, r.Created).Add(idleAfter)
	case r.Measuring:
		return later(r.Metered, r.Resizes[len(r.Resizes)-1].At).Add(stillAfter)
	case !r.Implicit && !r.Metered.IsZero() && r.Quiet.Before(r.Metered):
		return r.Metered.Add(stillAfter)
	}
	return never
}

// still does what follows from meters that stand still.
func (x *step) still(r *Reservation) {
	if nextStill(r).After(x.now) {
		return
	}
	if r.Implicit {
		r.Idle = true
		if x.wanting() {
			x.replan, x.grewAgain = true, true
			x.touch(r)
		}
		return
	}
	if r.Measuring {
		x.measured(r, true)
	}
	r.Quiet = x.now
	r.QuietSent, r.QuietLost = x.lostSoFar(r)
}

// wanting reports whether anybody who sends would have more if others had less.
func (c *Core) wanting() bool {
	for _, id := range c.tally.open {
		if r := c.s.Reservations[id]; live(r) && r.Limit != "" && !r.Idle {
			return true
		}
	}
	return false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
