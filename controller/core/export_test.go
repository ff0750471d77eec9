package core

import (
	"fmt"
	"time"

	"dssn"
	"dssn/controller/southbound"
)

// Derived returns all that is kept beside the state so as not to walk over it: a
// core restored from the same state has to have the same.
func (c *Core) Derived() string {
	var load any
	if c.graph != nil {
		p := c.syncPromises()
		var held []any
		for e := range c.graph.NumLinks() {
			for _, at := range append(p.cal.Changes([]int32{int32(e)}, c.s.Now, never), c.s.Now) {
				held = append(held, at.Unix(), p.cal.Promised(e, at, at.Add(time.Second)))
			}
		}
		load = held
	}
	at, _ := c.Due()
	heads := map[string]int{}
	for name, rel := range c.relOf {
		heads[name] = len(rel)
	}
	return fmt.Sprintln(c.tally.open, c.tally.counts, c.tally.members, c.tally.booked, c.tally.replaced, c.tally.at, c.tally.faulty, load, at, heads, len(c.ids), c.steers, c.tagging.hops, c.tagging.told, c.tagging.taken, c.tagging.without)
}

// Tags returns the contracts' tags.
func (c *Core) Tags() map[dssn.ReservationID]uint32 { return c.s.Tags }

// TakeTags makes all tags but one taken, by nobody, or gives them back.
func (c *Core) TakeTags(but uint32, take bool) {
	for tag := uint32(1); tag <= southbound.MaxTag; tag++ {
		if tag == but {
			continue
		}
		if c.tagging.taken[tag] = take; !take {
			delete(c.tagging.taken, tag)
		}
	}
}
