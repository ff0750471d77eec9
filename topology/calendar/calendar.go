package calendar

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"dssn"
	"dssn/topology"
	"dssn/topology/paths"
)

// Calendar is the promises on one network.
type Calendar struct {
	g        *topology.Graph
	links    []profile
	bookings map[dssn.ReservationID]*Booking
}

// New returns an empty calendar over g, whose capacities it reads at every call:
// change them through SetGraph.
func New(g *topology.Graph) *Calendar {
	return &Calendar{g: g, links: make([]profile, g.NumLinks()), bookings: map[dssn.ReservationID]*Booking{}}
}

// Request asks for a rate during a window.
type Request struct {
	ID         dssn.ReservationID
	Src, Dst   int
	Rate       dssn.Bandwidth
	Start, End time.Time
	// Constraint narrows the path; its MinFree and Free are the calendar's own.
	Constraint paths.Constraint
}

// Piece is a rate over a path during part of a booking, in Unix seconds.
type Piece struct {
	Path       paths.Path
	Rate       dssn.Bandwidth
	Start, End int64
}

// Booking is what was promised.
type Booking struct {
	ID       dssn.ReservationID
	Src, Dst int
	Pieces   []Piece // by start, then path; a reservation has one per change of rate
}

// Finish returns when the last piece ends.
func (b *Booking) Finish() time.Time {
	var end int64
	for _, p := range b.Pieces {
		end = max(end, p.End)
	}
	return time.Unix(end, 0).UTC()
}

// Refused is why a request was not admitted, and what would be.
type Refused struct {
	Reason string
	// Link is the fullest link of the path that came nearest, -1 where no path
	// exists at any rate.
	Link int
	// BestRate is the rate that would be admitted for the same window, 0 for none.
	BestRate dssn.Bandwidth
	// BestStart is when the same rate for the same length would be admitted
	// instead; zero where never.
	BestStart time.Time
	// BestFinish is the earliest finish of a bulk transfer that would be accepted.
	BestFinish time.Time
}

func (r *Refused) Error() string { return r.Reason }

func seconds(t time.Time) int64 { return t.Unix() }

func secondsUp(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// SetGraph replaces the network by one of the same shape. Promises stay, also
// where they now exceed a capacity: Overbooked tells.
func (c *Calendar) SetGraph(g *topology.Graph) error {
	if g.NumLinks() != len(c.links) {
		return fmt.Errorf("the new topology has %d links, the calendar %d: begin a new calendar", g.NumLinks(), len(c.links))
	}
	c.g = g
	return nil
}

// Booking returns what was promised under id.
func (c *Calendar) Booking(id dssn.ReservationID) (*Booking, bool) {
	b, ok := c.bookings[id]
	return b, ok
}

// Len returns how many bookings there are.
func (c *Calendar) Len() int { return len(c.bookings) }

// Promised returns the most promised on link e at any instant of the window.
func (c *Calendar) Promised(e int, start, end time.Time) dssn.Bandwidth {
	return c.links[e].peak(seconds(start), secondsUp(end))
}

// Overbooked lists the links on which more is promised at some instant from now on
// than they can carry, ascending.
func (c *Calendar) Overbooked(now time.Time) (links []int) {
	for e := range c.links {
		if c.links[e].peak(seconds(now), math.MaxInt64) > c.capacity(e) {
			links = append(links, e)
		}
	}
	return links
}

func (c *Calendar) capacity(e int) dssn.Bandwidth {
	l := c.g.Link(e)
	if !l.Usable() {
		return 0
	}
	return l.Capacity
}

// free returns what is left of every link throughout [start, end).
func (c *Calendar) free(start, end int64) []dssn.Bandwidth {
	free := make([]dssn.Bandwidth, len(c.links))
	for e := range free {
		free[e] = c.room(e, start, end)
	}
	return free
}

// room is what is left of link e throughout [start, end).
func (c *Calendar) room(e int, start, end int64) dssn.Bandwidth {
	if room, used := c.capacity(e), c.links[e].peak(start, end); room > used {
		return room - used
	}
	return 0
}

// Admit books req on the least-latency path that has the rate free throughout the
// window. A *Refused error says which link is in the way and what would be
// admitted; any other error is a request that makes no sense. Nothing has changed
// after an error.
func (c *Calendar) Admit(req Request) (*Booking, error) {
	start, end := seconds(req.Start), secondsUp(req.End)
	switch {
	case req.ID == 0:
		return nil, fmt.Errorf("admit a reservation without an identifier: draw one first")
	case c.bookings[req.ID] != nil:
		return nil, fmt.Errorf("admit %s: it is booked already; resize, extend or release it", req.ID)
	case req.Rate == 0:
		return nil, fmt.Errorf("admit %s: its rate is zero; ask for at least 1 bps", req.ID)
	case start >= end:
		return nil, fmt.Errorf("admit %s: its window from %s to %s is empty", req.ID, req.Start.UTC().Format(time.RFC3339), req.End.UTC().Format(time.RFC3339))
	}
	q := req.Constraint
	q.Free, q.MinFree = c.free(start, end), req.Rate
	path, err := paths.Shortest(c.g, req.Src, req.Dst, q)
	var none *paths.NoPathError
	if errors.As(err, &none) {
		return nil, c.refuse(req, start, end, q.Free)
	}
	if err != nil {
		return nil, fmt.Errorf("admit %s: %w", req.ID, err)
	}
	b := &Booking{ID: req.ID, Src: req.Src, Dst: req.Dst, Pieces: []Piece{{path, req.Rate, start, end}}}
	c.book(b)
	return b, nil
}

func (c *Calendar) book(b *Booking) {
	for _, p := range b.Pieces {
		c.promise(p, false)
	}
	c.bookings[b.ID] = b
}

func (c *Calendar) promise(p Piece, back bool) {
	for _, e := range p.Path {
		c.links[e].add(p.Start, p.End, p.Rate, back)
	}
}

// refuse finds the best offers for a request that does not fit.
func (c *Calendar) refuse(req Request, start, end int64, free []dssn.Bandwidth) *Refused {
	q := req.Constraint
	q.Free, q.MinFree = nil, 0
	any, err := paths.Shortest(c.g, req.Src, req.Dst, q)
	if err != nil {
		return &Refused{Reason: err.Error(), Link: -1}
	}
	r := &Refused{Link: int(any[0])}
	// The widest path: the greatest rate that still has a path is one of the links'
	// free amounts.
	rates := slices.Clone(free)
	slices.Sort(rates)
	rates = slices.Compact(rates)
	lo, hi := 0, len(rates)
	for lo < hi {
		mid := (lo + hi) / 2
		q.Free, q.MinFree = free, max(rates[mid], 1)
		if p, err := paths.Shortest(c.g, req.Src, req.Dst, q); err == nil {
			any, r.BestRate = p, rates[mid]
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for _, e := range any {
		if free[e] < free[r.Link] {
			r.Link = int(e)
		}
	}
	if at, ok := c.laterStart(req, start, end); ok {
		r.BestStart = time.Unix(at, 0).UTC()
	}
	r.Reason = fmt.Sprintf("link %s has only %s left in this window, %s is asked for", c.g.LinkName(r.Link), free[r.Link], req.Rate)
	if r.BestRate > 0 {
		r.Reason += fmt.Sprintf("; %s would be admitted now", r.BestRate)
	}
	if !r.BestStart.IsZero() {
		r.Reason += "; the full rate would be from " + r.BestStart.Format(time.RFC3339)
	}
	return r
}

// laterStart returns the earliest start after the asked one at which the rate is
// free for the window's length. Only instants at which a promise on some link
// ends can be the first.
func (c *Calendar) laterStart(req Request, start, end int64) (int64, bool) {
	var ends []int64
	for e := range c.links {
		for i, s := range c.links[e] {
			if s.at > start && i > 0 && s.used < c.links[e][i-1].used {
				ends = append(ends, s.at)
			}
		}
	}
	slices.Sort(ends)
	ends = slices.Compact(ends)
	// A calendar of ten thousand has tens of thousands of ends; the first few tell a
	// person enough, and the last one is always tried.
	const tries = 64
	if len(ends) > tries {
		ends = append(ends[:tries-1:tries-1], ends[len(ends)-1])
	}
	q := req.Constraint
	q.MinFree = req.Rate
	for _, at := range ends {
		q.Free = c.free(at, at+end-start)
		if _, err := paths.Shortest(c.g, req.Src, req.Dst, q); err == nil {
			return at, true
		}
	}
	return 0, false
}

// Release ends the booking at now: what lies later is free again. A booking that
// has not begun is forgotten; of one that has, the past stays on record.
func (c *Calendar) Release(id dssn.ReservationID, now time.Time) error {
	b := c.bookings[id]
	if b == nil {
		return fmt.Errorf("release %s: it is not booked", id)
	}
	at := secondsUp(now)
	var kept []Piece
	for _, p := range b.Pieces {
		if p.End <= at {
			kept = append(kept, p)
			continue
		}
		c.promise(p, true)
		if p.Start < at {
			p.End = at
			c.promise(p, false)
			kept = append(kept, p)
		}
	}
	b.Pieces = kept
	if len(kept) == 0 {
		delete(c.bookings, id)
	}
	return nil
}

// Forget drops everything that ended before now, so that a calendar does not grow
// with its past.
func (c *Calendar) Forget(now time.Time) {
	at := seconds(now)
	for id, b := range c.bookings {
		b.Pieces = slices.DeleteFunc(b.Pieces, func(p Piece) bool {
			if p.End > at {
				return false
			}
			c.promise(p, true)
			return true
		})
		if len(b.Pieces) == 0 {
			delete(c.bookings, id)
		}
	}
}

// Resize changes the rate of a reservation from an instant on, on the path it
// has, or on another one if only that has room. The error is a *Refused where
// neither has; then nothing has changed.
func (c *Calendar) Resize(id dssn.ReservationID, rate dssn.Bandwidth, from time.Time) (*Booking, error) {
	b, last, err := c.reservation(id, "resize")
	if err != nil {
		return nil, err
	}
	at := max(secondsUp(from), last.Start)
	if rate == 0 || at >= last.End {
		return nil, fmt.Errorf("resize %s to %s from %s: use a positive rate and an instant before its end at %s", id, rate, from.UTC().Format(time.RFC3339), b.Finish().Format(time.RFC3339))
	}
	return c.change(b, last, Piece{last.Path, rate, at, last.End}, at)
}

// Extend moves the end of a reservation, later or earlier, at the same rate. The
// error is a *Refused where there is no room; then nothing has changed.
func (c *Calendar) Extend(id dssn.ReservationID, end time.Time) (*Booking, error) {
	b, last, err := c.reservation(id, "extend")
	if err != nil {
		return nil, err
	}
	to := secondsUp(end)
	if to <= last.Start {
		return nil, fmt.Errorf("extend %s to %s: that is before its start; release it instead", id, end.UTC().Format(time.RFC3339))
	}
	if to <= last.End {
		return c.change(b, last, Piece{last.Path, last.Rate, to, to}, to)
	}
	return c.change(b, last, Piece{last.Path, last.Rate, last.End, to}, last.End)
}

func (c *Calendar) reservation(id dssn.ReservationID, verb string) (*Booking, Piece, error) {
	b := c.bookings[id]
	if b == nil {
		return nil, Piece{}, fmt.Errorf("%s %s: it is not booked", verb, id)
	}
	return b, b.Pieces[len(b.Pieces)-1], nil
}

// change replaces what lies behind at in the last piece by next, searching
// another path if the present one is full.
func (c *Calendar) change(b *Booking, last, next Piece, at int64) (*Booking, error) {
	head := last
	head.End = at
	// The old promise is lifted while the new one is sought, and put back on refusal.
	c.promise(last, true)
	if next.Start < next.End {
		free := c.free(next.Start, next.End)
		if slices.ContainsFunc(next.Path, func(e int32) bool { return free[e] < next.Rate }) {
			path, err := paths.Shortest(c.g, b.Src, b.Dst, paths.Constraint{Free: free, MinFree: next.Rate})
			if err != nil {
				full := next.Path[0]
				for _, e := range next.Path {
					if free[e] < free[full] {
						full = e
					}
				}
				c.promise(last, false)
				return nil, &Refused{Link: int(full), BestRate: free[full],
					Reason: fmt.Sprintf("link %s has only %s left for %s, %s is asked for", c.g.LinkName(int(full)), free[full], b.ID, next.Rate)}
			}
			next.Path = path
		}
	}
	pieces := slices.Clone(b.Pieces[:len(b.Pieces)-1])
	for _, p := range []Piece{head, next} {
		if p.Start < p.End {
			c.promise(p, false)
			pieces = append(pieces, p)
		}
	}
	b.Pieces = pieces
	return b, nil
}
