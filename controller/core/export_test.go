package core

import "fmt"

// Derived returns all that is kept beside the state so as not to walk over it: a
// core restored from the same state has to have the same.
func (c *Core) Derived() string {
	var load any
	if c.graph != nil {
		load = c.loads().link
	}
	at, _ := c.Due()
	heads := map[string]int{}
	for name, rel := range c.relOf {
		heads[name] = len(rel)
	}
	return fmt.Sprintln(c.tally.open, c.tally.counts, c.tally.need, c.tally.members, c.tally.booked, c.tally.replaced, c.tally.at, c.tally.faulty, load, at, heads, len(c.ids), c.steers)
}
