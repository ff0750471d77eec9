package core

import (
	"slices"

	"dssn"
)

// tally is what the core looks up instead of walking over everything that it
// remembers: which reservations are open, what they book, and where. It follows
// from the state (Restore makes it anew) and is kept up to date by touch, which
// whoever changes a reservation calls.
type tally struct {
	open   []dssn.ReservationID // that have not ended, ascending
	counts map[dssn.ReservationID]counted
	// members counts the open reservations of each pair.
	members map[string]int
	booked  map[reach][]dssn.ReservationID // ascending; their windows do not overlap
	// replaced counts the explicit reservations that run, by flow.
	replaced map[flowID]int
	at       map[string]map[dssn.ReservationID]bool // those that run, by both ends
	faulty   map[string]bool                        // pairs with a fault
}

// counted is what one open reservation counts for.
type counted struct {
	pair         string
	ends         [2]string
	booked, live bool
	implicit     bool
	reach        reach
	flow         flowID
}

func newTally() tally {
	return tally{counts: map[dssn.ReservationID]counted{}, members: map[string]int{},
		booked: map[reach][]dssn.ReservationID{}, replaced: map[flowID]int{}, at: map[string]map[dssn.ReservationID]bool{}, faulty: map[string]bool{}}
}

func countOf(r *Reservation) counted {
	k := counted{pair: pairKey(r.Ingress, r.Egress), ends: [2]string{r.Ingress, r.Egress}, booked: booked(r), live: live(r), implicit: r.Implicit,
		reach: reach{r.Data, r.Egress}, flow: flowKey(r)}
	return k
}

// retally takes what a reservation counts for now instead of what it counted
// for before, and returns the pairs that gained their first or lost their last.
func (c *Core) retally(r *Reservation) (pairs []string) {
	t := &c.tally
	old, had := t.counts[r.ID]
	if had {
		if !ended(r) && old == countOf(r) {
			return nil
		}
		pairs = append(pairs, c.uncount(r.ID, old)...)
	}
	if ended(r) {
		return pairs
	}
	k := countOf(r)
	t.counts[r.ID] = k
	if i, found := slices.BinarySearch(t.open, r.ID); !found {
		t.open = slices.Insert(t.open, i, r.ID)
	}
	if t.members[k.pair]++; t.members[k.pair] == 1 {
		pairs = append(pairs, k.pair)
	}
	if k.booked {
		of := t.booked[k.reach]
		i, _ := slices.BinarySearch(of, r.ID)
		t.booked[k.reach] = slices.Insert(of, i, r.ID)
	}
	if k.live {
		if !k.implicit {
			t.replaced[k.flow]++
		}
		for _, end := range k.ends {
			if t.at[end] == nil {
				t.at[end] = map[dssn.ReservationID]bool{}
			}
			t.at[end][r.ID] = true
		}
	}
	return pairs
}

func (c *Core) uncount(id dssn.ReservationID, k counted) (pairs []string) {
	t := &c.tally
	delete(t.counts, id)
	if i, found := slices.BinarySearch(t.open, id); found {
		t.open = slices.Delete(t.open, i, i+1)
	}
	if t.members[k.pair]--; t.members[k.pair] == 0 {
		delete(t.members, k.pair)
		pairs = append(pairs, k.pair)
	}
	if k.booked {
		of := slices.DeleteFunc(t.booked[k.reach], func(o dssn.ReservationID) bool { return o == id })
		if t.booked[k.reach] = of; len(of) == 0 {
			delete(t.booked, k.reach)
		}
	}
	if k.live {
		if !k.implicit {
			if t.replaced[k.flow]--; t.replaced[k.flow] == 0 {
				delete(t.replaced, k.flow)
			}
		}
		for _, end := range k.ends {
			if delete(t.at[end], id); len(t.at[end]) == 0 {
				delete(t.at, end)
			}
		}
	}
	return pairs
}

// tallyAll makes the tally from the state.
func (c *Core) tallyAll() {
	c.tally = newTally()
	ids := make([]dssn.ReservationID, 0, len(c.s.Reservations))
	for id, r := range c.s.Reservations {
		if !ended(r) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		c.retally(c.s.Reservations[id])
	}
	for key, p := range c.s.Pairs {
		if p.Fault != "" {
			c.tally.faulty[key] = true
		}
	}
	c.ids = map[dssn.NodeID]*Node{}
	for _, n := range c.s.Nodes {
		c.ids[n.Node] = n
	}
}

// meters lists the reservations that run and concern a terminal, by number,
// without implicit ones that gave way to an explicit one of their flow.
func (c *Core) meters(name string) (out []*Reservation) {
	for _, id := range sortedKeys(c.tally.at[name]) {
		r := c.s.Reservations[id]
		if r.Implicit && c.tally.replaced[flowKey(r)] > 0 {
			continue
		}
		out = append(out, r)
	}
	return out
}
