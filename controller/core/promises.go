package core

import (
	"cmp"
	"slices"
	"time"

	"dssn"
	"dssn/topology"
	"dssn/topology/calendar"
	"dssn/topology/paths"
)

// What is held, from now to the end of time, is kept in a topology/calendar: every
// contract and hold with its window, its boosts or its plan, on the path of its pair.
// The calendar follows from the state; it is brought up to date when it is asked, by
// comparing what was booked with what should be.

// maxRate is more than any link.
const maxRate = dssn.Bandwidth(1 << 62)

// promises is the calendar and what was booked in it.
type promises struct {
	cal   *calendar.Calendar
	graph *topology.Graph
	as    map[dssn.ReservationID]promised
	of    map[string]map[dssn.ReservationID]bool // by pair
	// leaving are the old paths of pairs that are booked too.
	leaving map[string]*Leaving
}

// promised is what a reservation's booking was made from.
type promised struct {
	key      string
	revision int
	path     []string
}

// newPromises is a calendar of nothing but the paths that are being left.
func (c *Core) newPromises() *promises {
	p := &promises{calendar.New(c.graph), c.graph, map[dssn.ReservationID]promised{}, map[string]map[dssn.ReservationID]bool{}, map[string]*Leaving{}}
	for key, pair := range c.s.Pairs {
		if pair.Leaving != nil {
			c.bookLeaving(p, key)
		}
	}
	return p
}

// far is the end of what has none, in Unix seconds.
var far = never.Unix()

// profileOf is what a contract or hold is promised over time; the pieces have no
// path and may lie over each other.
func profileOf(r *Reservation) (out []calendar.Piece) {
	if r.Volume > 0 {
		for _, p := range r.Plan {
			out = append(out, calendar.Piece{Rate: p.Rate, Start: p.From.Unix(), End: secondUp(p.To)})
		}
		return out
	}
	whole := calendar.Piece{Rate: r.Committed, Start: windowStart(r), End: windowEnd(r)}
	if whole.Rate > 0 && whole.Start < whole.End {
		out = append(out, whole)
	}
	for _, b := range r.Boosts {
		if p := (calendar.Piece{Rate: b.Extra, Start: b.Start.Unix(), End: secondUp(b.Until)}); p.Start < p.End && p.Rate > 0 {
			out = append(out, p)
		}
	}
	return out
}

func windowStart(r *Reservation) int64 {
	if r.Start.IsZero() {
		return 0 // it has begun: since when is of no interest
	}
	return r.Start.Unix()
}

func windowEnd(r *Reservation) int64 {
	if r.Until.IsZero() {
		return far
	}
	return min(secondUp(r.Until), far)
}

func secondUp(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// syncPromises brings the calendar up to date with the state.
func (c *Core) syncPromises() *promises {
	p := c.promised
	switch {
	case p == nil || !sameLinks(p.graph, c.graph):
		p = c.newPromises()
		c.promised = p
		for _, id := range c.tally.open {
			c.book(p, c.s.Reservations[id])
		}
		clear(c.unbooked)
	case p.graph != c.graph:
		if err := p.cal.SetGraph(c.graph); err != nil {
			panic("the same links are not the same: " + err.Error()) // just compared
		}
		p.graph = c.graph
	}
	for key, l := range p.leaving {
		if pair := c.s.Pairs[key]; pair == nil || pair.Leaving != l {
			c.bookLeaving(p, key)
		}
	}
	for id := range c.unbooked {
		r := c.s.Reservations[id]
		if was, had := p.as[id]; had && r != nil && booked(r) && !c.promise(r).differs(was) {
			continue
		} else if had {
			p.cancel(id)
		}
		if r != nil {
			c.book(p, r)
		}
	}
	clear(c.unbooked)
	return p
}

// unbook marks the promises of a pair whose path changed.
func (c *Core) unbook(key string) {
	c.s.Promises++
	if c.promised != nil {
		for id := range c.promised.of[key] {
			c.unbooked[id] = true
		}
	}
}

// sameLinks reports whether links have the same places in both graphs.
func sameLinks(a, b *topology.Graph) bool {
	if a == b {
		return true
	}
	if a.NumLinks() != b.NumLinks() || a.NumNodes() != b.NumNodes() {
		return false
	}
	for i := range a.NumNodes() {
		if a.Node(i).Name != b.Node(i).Name {
			return false
		}
	}
	for i := range a.NumLinks() {
		if p, q := a.Link(i), b.Link(i); p.Src != q.Src || p.Dst != q.Dst {
			return false
		}
	}
	return true
}

// promise says from what r's booking would be made now.
func (c *Core) promise(r *Reservation) promised {
	out := promised{key: pairKey(r.Ingress, r.Egress), revision: r.Revision}
	if pair := c.s.Pairs[out.key]; pair != nil {
		out.path = pair.Path
	}
	return out
}

func (a promised) differs(b promised) bool {
	return a.key != b.key || a.revision != b.revision || !slices.Equal(a.path, b.path)
}

// book books what r is promised, if that is anything.
func (c *Core) book(p *promises, r *Reservation) {
	if !booked(r) {
		return
	}
	as := c.promise(r)
	links, _ := c.linksOf(as.path)
	b := &calendar.Booking{ID: r.ID}
	for _, piece := range profileOf(r) {
		piece.Path = links
		b.Pieces = append(b.Pieces, piece)
	}
	if err := p.cal.Book(b); err != nil {
		panic("a promise cannot be kept on record: " + err.Error()) // its parts were checked as they came in
	}
	as.path = slices.Clone(as.path)
	p.as[r.ID] = as
	if p.of[as.key] == nil {
		p.of[as.key] = map[dssn.ReservationID]bool{}
	}
	p.of[as.key][r.ID] = true
}

func (p *promises) cancel(id dssn.ReservationID) {
	p.cal.Remove(id)
	key := p.as[id].key
	delete(p.as, id)
	if delete(p.of[key], id); len(p.of[key]) == 0 {
		delete(p.of, key)
	}
}

// without runs f while a pair's promises are out of the calendar, and books them
// again, on the path that the pair has then.
func (c *Core) without(p *promises, key string, f func()) {
	var lifted []dssn.ReservationID
	for id := range p.of[key] {
		lifted = append(lifted, id)
	}
	for _, id := range lifted {
		p.cancel(id)
	}
	p.cal.Remove(leavingID(key)) // its own old path stands in nobody's way but others'
	f()
	c.bookLeaving(p, key)
	for _, id := range lifted {
		c.book(p, c.s.Reservations[id])
	}
}

// claim is what a pair is to carry: its promises, with those of skip replaced by
// fixed, and some rate throughout [start, end) besides; no window where they are equal.
type claim struct {
	ingress, egress string
	skip            dssn.ReservationID
	fixed           []calendar.Piece
	start, end      int64
	fresh           bool // the pair's present path is not preferred
}

func (cl *claim) key() string { return pairKey(cl.ingress, cl.egress) }

// span is a time in which a pair's claim is constant.
type span struct {
	start, end int64
	need       dssn.Bandwidth
	inside     bool // of the claim's window
}

// spans cuts the time from now on where a claim changes; times in which nothing is
// claimed are left out.
func (c *Core) spans(p *promises, cl *claim) (out []span) {
	pieces := slices.Clone(cl.fixed)
	for id := range p.of[cl.key()] {
		if id != cl.skip {
			pieces = append(pieces, profileOf(c.s.Reservations[id])...)
		}
	}
	type edge struct {
		at      int64
		rate    dssn.Bandwidth
		back    bool
		windows int
	}
	now := c.s.Now.Unix()
	var edges []edge
	add := func(start, end int64, rate dssn.Bandwidth, windows int) {
		if start = max(start, now); start < end {
			edges = append(edges, edge{start, rate, false, windows}, edge{end, rate, true, -windows})
		}
	}
	for _, q := range pieces {
		add(q.Start, q.End, q.Rate, 0)
	}
	add(cl.start, cl.end, 0, 1)
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	var need dssn.Bandwidth
	windows := 0
	for i, e := range edges {
		if e.back {
			need -= e.rate
		} else {
			need += e.rate
		}
		windows += e.windows
		if i+1 < len(edges) && edges[i+1].at > e.at && (need > 0 || windows > 0) {
			out = append(out, span{e.at, edges[i+1].at, need, windows > 0})
		}
	}
	return out
}

// room is what link e has left for a claim in its window, while the claim's pair is
// out of the calendar; ok is false where the claim does not fit even without more.
func (p *promises) room(spans []span, e int32) (rate dssn.Bandwidth, ok bool) {
	l := p.graph.Link(int(e))
	if !l.Usable() {
		return 0, false
	}
	rate = maxRate
	for _, s := range spans {
		used := p.held(e, s) + s.need
		if used > l.Capacity {
			return 0, false
		}
		if s.inside {
			rate = min(rate, l.Capacity-used)
		}
	}
	return rate, true
}

// held is the most that is promised on link e in a span.
func (p *promises) held(e int32, s span) dssn.Bandwidth {
	return p.cal.Promised(int(e), time.Unix(s.start, 0), time.Unix(s.end, 0))
}

// rooms is room of every link, plus one, so that zero says that it does not fit.
func (p *promises) rooms(spans []span) []dssn.Bandwidth {
	out := make([]dssn.Bandwidth, p.graph.NumLinks())
	for e := range out {
		if rate, ok := p.room(spans, int32(e)); ok {
			out[e] = rate + 1
		}
	}
	return out
}

// carries reports whether a path can take a claim and rate in its window.
func (p *promises) carries(path paths.Path, spans []span, rate dssn.Bandwidth) bool {
	for _, e := range path {
		if room, ok := p.room(spans, e); !ok || room < rate {
			return false
		}
	}
	return true
}

// route finds a path that can take a claim and rate in its window besides what
// others are promised at any time: the pair's present one if it can, else the shortest.
func (c *Core) route(p *promises, cl *claim, rate dssn.Bandwidth) (found paths.Path, ok bool) {
	spans := c.spans(p, cl)
	c.without(p, cl.key(), func() {
		if pair := c.s.Pairs[cl.key()]; pair != nil && !cl.fresh {
			if links, works := c.linksOf(pair.Path); works && c.pinnable(links) && p.carries(links, spans, rate) {
				found, ok = links, true
				return
			}
		}
		found, ok = c.choose(cl.ingress, cl.egress, paths.Constraint{MinFree: rate + 1, Free: p.rooms(spans)})
	})
	return found, ok
}

// widest returns the path that has the most for a claim in its window, that rate,
// and the link that bounds it; where none can take the claim at all, the link that
// is fullest on the shortest path.
func (c *Core) widest(p *promises, cl *claim) (best paths.Path, rate dssn.Bandwidth, bottleneck string) {
	spans := c.spans(p, cl)
	c.without(p, cl.key(), func() {
		free := p.rooms(spans)
		steps := slices.Clone(free)
		slices.Sort(steps)
		steps = slices.Compact(steps)
		lo, hi := 0, len(steps)-1
		for lo <= hi { // the largest step that some path can carry
			mid := (lo + hi) / 2
			if q, ok := c.choose(cl.ingress, cl.egress, paths.Constraint{MinFree: steps[mid], Free: free}); ok {
				best, lo = q, mid+1
			} else {
				hi = mid - 1
			}
		}
		if best == nil {
			return
		}
		worst := best[0]
		for _, e := range best {
			if free[e] < free[worst] {
				worst = e
			}
		}
		rate, bottleneck = max(free[worst], 1)-1, c.graph.LinkName(int(worst))
	})
	return best, rate, bottleneck
}

// laterStart is the first instant after a claim's start at which its window, as long
// as it is, would have the rate; zero where none is found near. Only ends of promises
// on the widest path are tried.
func (c *Core) laterStart(p *promises, cl *claim, rate dssn.Bandwidth, path paths.Path) time.Time {
	const tries = 32
	if cl.end >= far || cl.start >= cl.end {
		return time.Time{}
	}
	at := p.cal.Changes(path, time.Unix(cl.start, 0), never)
	if len(at) > tries {
		at = append(at[:tries-1:tries-1], at[len(at)-1])
	}
	for _, t := range at {
		later := *cl
		later.start, later.end = t.Unix(), t.Unix()+cl.end-cl.start
		if _, ok := c.route(p, &later, rate); ok && later.end < far {
			return t
		}
	}
	return time.Time{}
}
