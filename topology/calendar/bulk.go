// Bulk transfers: a volume between two instants.
//
// Between any two neighbouring instants at which promises change, what is free is
// constant, so the most that can be moved in that interval is a maximum flow times
// its length. Filling the intervals in order therefore finishes at the earliest
// instant at which any schedule can finish: an exchange of a later bit for a free
// earlier one never hurts, because no interval's capacity depends on another's.

package calendar

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"dssn"
	"dssn/topology/paths"
)

// Bulk asks for a volume to be moved.
type Bulk struct {
	ID        dssn.ReservationID
	Src, Dst  int
	Volume    dssn.ByteCount
	NotBefore time.Time
	Deadline  time.Time
	MaxRate   dssn.Bandwidth // of the sender or receiver; 0: no limit
	// Path, if it is given, is the only one that may be used. It leads from Src to Dst.
	Path paths.Path
}

// bulkHorizon is how far beyond the deadline an offer is sought, as a multiple of
// the window.
const bulkHorizon = 50

// AdmitBulk books the transfer so that it finishes as early as possible. If that
// is after the deadline nothing is booked and the *Refused names that finish.
func (c *Calendar) AdmitBulk(b Bulk) (*Booking, error) {
	start, deadline := secondsUp(b.NotBefore), seconds(b.Deadline)
	switch {
	case b.ID == 0:
		return nil, fmt.Errorf("admit a bulk transfer without an identifier: draw one first")
	case c.bookings[b.ID] != nil:
		return nil, fmt.Errorf("admit %s: it is booked already", b.ID)
	case b.Volume == 0 || b.Volume > 1<<60:
		return nil, fmt.Errorf("admit %s: its volume of %d bytes must be between 1 and %d", b.ID, b.Volume, 1<<60)
	case start >= deadline:
		return nil, fmt.Errorf("admit %s: no whole second lies between %s and %s", b.ID, b.NotBefore.UTC().Format(time.RFC3339), b.Deadline.UTC().Format(time.RFC3339))
	}
	n := c.g.NumNodes()
	if b.Src < 0 || b.Src >= n || b.Dst < 0 || b.Dst >= n || b.Src == b.Dst {
		return nil, fmt.Errorf("admit %s: from node %d to node %d makes no sense: there are nodes 0 to %d", b.ID, b.Src, b.Dst, n-1)
	}
	horizon := deadline + bulkHorizon*(deadline-start)
	pieces, finish, left := c.place(b, start, horizon)
	if left == 0 && finish <= deadline {
		booking := &Booking{ID: b.ID, Src: b.Src, Dst: b.Dst, Pieces: pieces}
		c.book(booking)
		return booking, nil
	}
	r := &Refused{Link: -1, Reason: fmt.Sprintf("%s cannot be moved before %s", b.Volume, b.Deadline.UTC().Format(time.RFC3339))}
	if left == 0 {
		r.BestFinish = time.Unix(finish, 0).UTC()
		r.Reason += "; a deadline of " + r.BestFinish.Format(time.RFC3339) + " would be accepted"
	} else {
		r.Reason += fmt.Sprintf(", nor before %s: free capacity between these places, or a smaller volume, is needed", time.Unix(horizon, 0).UTC().Format(time.RFC3339))
	}
	return nil, r
}

// place fills intervals from start on. left is what could not be placed before
// horizon, in bits.
func (c *Calendar) place(b Bulk, start, horizon int64) (pieces []Piece, finish int64, left uint64) {
	left = 8 * uint64(b.Volume)
	instants := c.instants(b.Path, start, horizon)
	for i := 0; i+1 < len(instants) && left > 0; i++ {
		from, to := instants[i], instants[i+1]
		flows := c.best(b, from, to)
		var rate dssn.Bandwidth
		for _, f := range flows {
			rate += f.Rate
		}
		if rate == 0 {
			continue
		}
		length := to - from
		if need := secondsFor(left, rate); need < length {
			length = need
		}
		for _, f := range flows {
			f.Start, f.End = from, from+length
			pieces = append(pieces, f)
		}
		finish = from + length
		left -= min(left, moved(rate, length))
	}
	if left == 0 {
		pieces = c.lower(pieces, b.Volume, finish)
	}
	return pieces, finish, left
}

// best finds the greatest rate during [from, to): over all paths, or over the one
// that was asked for.
func (c *Calendar) best(b Bulk, from, to int64) []Piece {
	if b.Path == nil {
		return c.maxFlow(b, c.free(from, to))
	}
	rate := b.MaxRate
	if rate == 0 {
		rate = 1<<64 - 1
	}
	for _, e := range b.Path {
		rate = min(rate, c.room(int(e), from, to))
	}
	if rate == 0 {
		return nil
	}
	return []Piece{{Path: b.Path, Rate: rate}}
}

// instants lists start, horizon and every change of a promise between them, on the
// links given or, where there are none, on all.
func (c *Calendar) instants(links paths.Path, start, horizon int64) []int64 {
	all := []int64{start, horizon}
	if links == nil {
		for e := range c.links {
			all = c.links[e].changes(all, start, horizon)
		}
	}
	for _, e := range links {
		all = c.links[e].changes(all, start, horizon)
	}
	return compact(all)
}

// compact sorts instants and leaves each in it once.
func compact(all []int64) []int64 {
	slices.Sort(all)
	return slices.Compact(all)
}

// moved returns the bits that rate moves in whole seconds, saturating.
func moved(rate dssn.Bandwidth, seconds int64) uint64 {
	hi, lo := bits.Mul64(uint64(rate), uint64(seconds))
	if hi > 0 {
		return 1<<64 - 1
	}
	return lo
}

// secondsFor returns the whole seconds, rounded up, that rate needs for so many bits.
func secondsFor(bits uint64, rate dssn.Bandwidth) int64 {
	n := bits / uint64(rate)
	if bits%uint64(rate) > 0 {
		n++
	}
	return int64(min(n, 1<<62))
}

// lower takes from the last interval's rates what its whole seconds move beyond
// the volume, so that no more is promised than needed.
func (c *Calendar) lower(pieces []Piece, volume dssn.ByteCount, finish int64) []Piece {
	var before uint64
	last := len(pieces)
	for last > 0 && pieces[last-1].End == finish {
		last--
	}
	rates := map[int64]dssn.Bandwidth{}
	for _, p := range pieces[:last] {
		rates[p.Start] += p.Rate
	}
	for _, p := range pieces[:last] {
		if r := rates[p.Start]; r > 0 {
			before += moved(r, p.End-p.Start)
			rates[p.Start] = 0
		}
	}
	length := finish - pieces[last].Start
	rest := 8*uint64(volume) - before
	need := dssn.Bandwidth((rest + uint64(length) - 1) / uint64(length))
	for i := last; i < len(pieces); i++ {
		r := min(pieces[i].Rate, need)
		pieces[i].Rate = r
		need -= r
	}
	return slices.DeleteFunc(pieces, func(p Piece) bool { return p.Rate == 0 })
}

// maxFlow finds the greatest rate from Src to Dst within free, up to MaxRate, by
// augmenting along the fewest links (J. Edmonds, R. M. Karp, JACM 19(2), 1972), and
// takes it apart into paths.
func (c *Calendar) maxFlow(b Bulk, free []dssn.Bandwidth) []Piece {
	limit := b.MaxRate
	if limit == 0 {
		limit = 1<<64 - 1
	}
	flow := make([]dssn.Bandwidth, len(free))
	via := make([]int32, c.g.NumNodes()) // 1+link forwards, -1-link backwards, 0 unseen
	queue := make([]int32, 0, c.g.NumNodes())
	for limit > 0 {
		clear(via)
		queue = append(queue[:0], int32(b.Src))
		for head := 0; head < len(queue) && via[b.Dst] == 0; head++ {
			u := int(queue[head])
			for _, e := range c.g.Out(u) {
				if v := c.g.Link(int(e)).Dst; via[v] == 0 && v != b.Src && flow[e] < free[e] {
					via[v] = 1 + e
					queue = append(queue, int32(v))
				}
			}
			for _, e := range c.g.In(u) {
				if v := c.g.Link(int(e)).Src; via[v] == 0 && v != b.Src && flow[e] > 0 {
					via[v] = -1 - e
					queue = append(queue, int32(v))
				}
			}
		}
		if via[b.Dst] == 0 {
			break
		}
		amount := limit
		c.trace(b, via, func(e int32, forward bool) {
			if forward {
				amount = min(amount, free[e]-flow[e])
			} else {
				amount = min(amount, flow[e])
			}
		})
		c.trace(b, via, func(e int32, forward bool) {
			if forward {
				flow[e] += amount
			} else {
				flow[e] -= amount
			}
		})
		limit -= amount
	}
	return c.takeApart(b, flow)
}

func (c *Calendar) trace(b Bulk, via []int32, f func(e int32, forward bool)) {
	for u := b.Dst; u != b.Src; {
		if e := via[u] - 1; e >= 0 {
			f(e, true)
			u = c.g.Link(int(e)).Src
		} else {
			e = -via[u] - 1
			f(e, false)
			u = c.g.Link(int(e)).Dst
		}
	}
}

// takeApart splits a flow into loop-free paths; circulations are left behind.
func (c *Calendar) takeApart(b Bulk, flow []dssn.Bandwidth) (pieces []Piece) {
	for {
		// Links without flow are avoided, so a shortest path is a path of the flow.
		p, err := paths.Shortest(c.g, b.Src, b.Dst, paths.Constraint{Free: flow, MinFree: 1})
		if err != nil {
			slices.SortFunc(pieces, func(x, y Piece) int { return cmp.Compare(y.Rate, x.Rate) })
			return pieces
		}
		rate := flow[p[0]]
		for _, e := range p {
			rate = min(rate, flow[e])
		}
		for _, e := range p {
			flow[e] -= rate
		}
		pieces = append(pieces, Piece{Path: p, Rate: rate})
	}
}
