// What a keeper of contracts needs beside Admit: it has promises on record that no
// search made here, and paths that it chose by rules of its own.

package calendar

import (
	"fmt"
	"time"

	"dssn"
)

// Book records a booking as it was promised elsewhere, for a calendar that is
// filled again from a record. Nothing is searched and no capacity is checked:
// Overbooked tells where the record holds more than the network can carry. The
// error says what makes no sense; then nothing has changed.
func (c *Calendar) Book(b *Booking) error {
	if b.ID == 0 || c.bookings[b.ID] != nil {
		return fmt.Errorf("book %s: it has no identifier, or is booked already", b.ID)
	}
	for _, p := range b.Pieces {
		if p.Start >= p.End {
			return fmt.Errorf("book %s: a piece from %d to %d is empty", b.ID, p.Start, p.End)
		}
		for _, e := range p.Path {
			if e < 0 || int(e) >= len(c.links) {
				return fmt.Errorf("book %s: there is no link %d, only 0 to %d", b.ID, e, len(c.links)-1)
			}
		}
	}
	c.book(b)
	return nil
}

// Remove takes a booking back whole, its past included, and returns it; nil if
// there is none.
func (c *Calendar) Remove(id dssn.ReservationID) *Booking {
	b := c.bookings[id]
	if b == nil {
		return nil
	}
	for _, p := range b.Pieces {
		c.promise(p, true)
	}
	delete(c.bookings, id)
	return b
}

// Changes lists the instants after start and before end at which what is promised
// on any of the links given changes, ascending.
func (c *Calendar) Changes(links []int32, start, end time.Time) (out []time.Time) {
	from, to := seconds(start), seconds(end)
	var all []int64
	for _, e := range links {
		all = c.links[e].changes(all, from, to)
	}
	for _, at := range compact(all) {
		out = append(out, time.Unix(at, 0).UTC())
	}
	return out
}
