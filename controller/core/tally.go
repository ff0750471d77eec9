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
	need   map[string]dssn.Bandwidth // committed rates by pair
	// members counts the open reservations of each pair.
	members map[string]int
	booked  map[reach]dssn.ReservationID
	// replaced counts the explicit reservations that run, by flow.
	replaced map[flowID]int
	at       map[string]map[dssn.ReservationID]bool // those that run, by both ends
	faulty   map[string]bool                        // pairs with a fault
}

// counted is what one open reservation counts for.
type counted struct {
	pair         string
	ends         [2]string
	need         dssn.Bandwidth
	booked, live bool
	implicit     bool
	reach        reach
	flow         flowID
}

func newTally() tally {
	return tally{counts: map[dssn.ReservationID]counted{}, need: map[string]dssn.Bandwidth{}, members: map[string]int{},
		booked: map[reach]dssn.ReservationID{}, replaced: map[flowID]int{}, at: map[string]map[dssn.ReservationID]bool{}, faulty: map[string]bool{}}
}

func countOf(r *Reservation) counted {
	k := counted{pair: pairKey(r.Ingress, r.Egress), ends: [2]string{r.Ingress, r.Egress}, booked: booked(r), live: live(r), implicit: r.Implicit,
		reach: reach{r.Data, r.Egress}, flow: flowKey(r)}
	if k.booked {
		k.need = r.Committed
	}
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
	c.addNeed(k.pair, k.need)
	if k.booked {
		t.booked[k.reach] = r.ID
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
	c.subNeed(k.pair, k.need)
	if k.booked && t.booked[k.reach] == id {
		delete(t.booked, k.reach)
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

// addNeed books more on a pair and on the links of its path.
func (c *Core) addNeed(pair string, rate dssn.Bandwidth) {
	if rate == 0 {
		return
	}
	c.tally.need[pair] += rate
	if p := c.s.Pairs[pair]; p != nil && c.linkLoad != nil {
		links, _ := c.linksOf(p.Path)
		for _, li := range links {
			c.linkLoad[li] += rate
		}
	}
}

func (c *Core) subNeed(pair string, rate dssn.Bandwidth) {
	if rate == 0 {
		return
	}
	if c.tally.need[pair] -= rate; c.tally.need[pair] == 0 {
		delete(c.tally.need, pair)
	}
	if p := c.s.Pairs[pair]; p != nil && c.linkLoad != nil {
		links, _ := c.linksOf(p.Path)
		for _, li := range links {
			c.linkLoad[li] -= rate
		}
	}
}

// loads returns the committed rates of pairs and links: the core's own, which
// whoever moves a pair changes with it.
func (c *Core) loads() *loads {
	if c.linkLoad == nil {
		c.linkLoad = make([]dssn.Bandwidth, c.graph.NumLinks())
		for key, need := range c.tally.need {
			if p := c.s.Pairs[key]; p != nil {
				links, _ := c.linksOf(p.Path)
				for _, li := range links {
					c.linkLoad[li] += need
				}
			}
		}
	}
	return &loads{need: c.tally.need, link: c.linkLoad}
}

// tallyAll makes the tally from the state.
func (c *Core) tallyAll() {
	c.tally, c.linkLoad = newTally(), nil
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
