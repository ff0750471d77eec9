package core

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"dssn"
	"dssn/topology/calendar"
	"dssn/topology/paths"
)

// Make before break: when a pair is moved to another path for something that was
// admitted, its edge goes on with the old one until it has its new assignment. What the
// old path carried of it stays its own meanwhile: nobody is admitted there, and nobody is
// given its share.

// leaveFor is how long an edge may take to leave a path.
const leaveFor = 2 * time.Second

// Leaving is a path that a pair has just left.
type Leaving struct {
	Path      []string       `json:"path"`
	Owed      dssn.Bandwidth `json:"owed_bps"`
	Allocated dssn.Bandwidth `json:"allocated_bps"`
	Until     time.Time      `json:"until"`
}

// leave keeps what a pair has on its present path, before it is given another.
func (x *step) leave(key string, pair *Pair, to paths.Path) {
	from, works := x.linksOf(pair.Path)
	if !works {
		return // nothing can be on its way there
	}
	l := &Leaving{Path: slices.Clone(pair.Path), Until: x.now.Add(leaveFor)}
	for id := range x.tally.at[pair.Ingress] {
		if r := x.s.Reservations[id]; r.Ingress == pair.Ingress && r.Egress == pair.Egress {
			l.Owed += committedAt(r, x.now)
			l.Allocated += r.Allocated
		}
	}
	if l.Allocated == 0 || slices.Equal(from, to) {
		return
	}
	pair.Leaving = l
	x.wake(dueLeave, key, 0)
}

// left ends the grace of a pair's old path.
func (x *step) left(key string) {
	x.s.Pairs[key].Leaving = nil
	x.replan = true
}

// leavingOn calls f for every link of the old path that the new one has not.
func (c *Core) leavingOn(pair *Pair, f func(e int32)) {
	old, _ := c.linksOf(pair.Leaving.Path)
	now, _ := c.linksOf(pair.Path)
	for _, e := range old {
		if !slices.Contains(now, e) {
			f(e)
		}
	}
}

// leavingID is the number under which a pair's old path is in the calendar; it is no
// reservation's but by a chance of 2⁻⁶⁴.
func leavingID(key string) dssn.ReservationID {
	sum := sha256.Sum256([]byte("dssn leaving " + key))
	return dssn.ReservationID(binary.BigEndian.Uint64(sum[:8]) | 1)
}

// bookLeaving brings a pair's old path in the calendar up to date.
func (c *Core) bookLeaving(p *promises, key string) {
	id := leavingID(key)
	p.cal.Remove(id)
	delete(p.leaving, key)
	pair := c.s.Pairs[key]
	if pair == nil || pair.Leaving == nil {
		return
	}
	b := &calendar.Booking{ID: id}
	piece := calendar.Piece{Rate: pair.Leaving.Owed, Start: pair.Leaving.Until.Add(-leaveFor).Unix(), End: secondUp(pair.Leaving.Until)}
	c.leavingOn(pair, func(e int32) { piece.Path = append(piece.Path, e) })
	if len(piece.Path) > 0 && piece.Rate > 0 {
		b.Pieces = append(b.Pieces, piece)
	}
	if p.cal.Book(b) == nil {
		p.leaving[key] = pair.Leaving
	}
}

// spare takes from free what edges may still use of paths that they leave.
func (c *Core) spare(free []dssn.Bandwidth) {
	for _, pair := range c.s.Pairs {
		if pair.Leaving != nil {
			c.leavingOn(pair, func(e int32) { free[e] -= min(free[e], pair.Leaving.Allocated) })
		}
	}
}
