package ledger

import (
	"fmt"
	"slices"
	"time"
	_ "time/tzdata" // for hosts without one of their own

	"dssn/controller/northbound"
)

// quarter is what bands and the parts of transfers are aligned to. All offsets
// from UTC in use today are multiples of it.
const quarter = 15 * time.Minute

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// clock is a band read: minutes of the local day, and the days.
type clock struct {
	name     string
	from, to int
	days     [7]bool
}

// read refuses a band that no moment would be in.
func (b *Band) read() (c clock, err error) {
	c.name = b.Name
	if c.from, err = minutes(b.From); err != nil {
		return c, fmt.Errorf("band %.40q: %w", b.Name, err)
	}
	if c.to, err = minutes(b.To); err != nil {
		return c, fmt.Errorf("band %.40q: %w", b.Name, err)
	}
	if b.Name == "" || c.from == 24*60 || c.from == c.to {
		return c, fmt.Errorf("band %.40q needs a name and two different times", b.Name)
	}
	for _, d := range b.Days {
		i := slices.Index(weekdays, d)
		if i < 0 {
			return c, fmt.Errorf("band %.40q: %.40q is not a day: use mon to sun", b.Name, d)
		}
		c.days[i] = true
	}
	if len(b.Days) == 0 {
		c.days = [7]bool{true, true, true, true, true, true, true}
	}
	return c, nil
}

func minutes(s string) (int, error) {
	if s == "24:00" {
		return 24 * 60, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil || t.Minute()%15 != 0 || len(s) != 5 {
		return 0, fmt.Errorf("%.40q is not a time of the day at a full quarter of an hour, such as 22:30", s)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// covers reports whether the local time is in the band.
func (c *clock) covers(local time.Time) bool {
	m, day := local.Hour()*60+local.Minute(), local.Weekday()
	if c.from < c.to {
		return m >= c.from && m < c.to && c.days[day]
	}
	return m >= c.from && c.days[day] || m < c.to && c.days[(day+6)%7]
}

// Offsets are a zone's offsets from UTC in a period, as this machine's time zone
// database says: the only thing that rating needs from outside. They are kept on
// the bill, so that another machine's database, or a later one, changes nothing.
func Offsets(zone string, from, to time.Time) ([]northbound.ZoneOffset, error) {
	if zone == "" {
		return nil, nil
	}
	l, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("the tariff's time zone %.60q: %w: correct the tariff", zone, err)
	}
	var out []northbound.ZoneOffset
	for t := from; t.Before(to); {
		local := t.In(l)
		_, seconds := local.Zone()
		if n := len(out); n == 0 || out[n-1].Seconds != seconds {
			out = append(out, northbound.ZoneOffset{From: t.UTC(), Seconds: seconds})
		}
		if _, t = local.ZoneBounds(); t.IsZero() {
			break
		}
	}
	return out, nil
}

// offset is the seconds in force at t, and when they change; zero if not again.
func offset(zone []northbound.ZoneOffset, t time.Time) (seconds int, until time.Time) {
	for i, z := range zone {
		if i > 0 && t.Before(z.From) {
			return seconds, z.From
		}
		seconds = z.Seconds
	}
	return seconds, time.Time{}
}

// calendar tells local time by a tariff and its offsets.
type calendar struct {
	bands []clock
	zone  []northbound.ZoneOffset
}

func newCalendar(t *Tariff, zone []northbound.ZoneOffset) (*calendar, error) {
	c := &calendar{zone: zone}
	for i, z := range zone {
		if z.Seconds%int(quarter/time.Second) != 0 || z.Seconds < -86400 || z.Seconds > 86400 || i > 0 && !z.From.After(zone[i-1].From) {
			return nil, fmt.Errorf("the offset of %d seconds from %s on is none of this age: correct the tariff's zone", z.Seconds, z.From.Format(time.RFC3339))
		}
	}
	for i := range t.Bands {
		b, err := t.Bands[i].read()
		if err != nil {
			return nil, err
		}
		c.bands = append(c.bands, b)
	}
	return c, nil
}

// local is t on the clock of the zone, in the fields of a UTC time.
func (c *calendar) local(t time.Time) time.Time {
	s, _ := offset(c.zone, t)
	return t.UTC().Add(time.Duration(s) * time.Second)
}

// band names the band of a moment; "" where none covers it.
func (c *calendar) band(t time.Time) string {
	if len(c.bands) == 0 {
		return ""
	}
	local := c.local(t)
	for i := range c.bands {
		if c.bands[i].covers(local) {
			return c.bands[i].name
		}
	}
	return ""
}

// nextEdge is the next moment after t at which the band may change: a band's
// beginning or end by the local clock, midnight, or a change of the offset.
func (c *calendar) nextEdge(t time.Time) time.Time {
	s, until := offset(c.zone, t)
	local := t.UTC().Add(time.Duration(s) * time.Second)
	day := local.Truncate(24 * time.Hour)
	best := day.Add(24 * time.Hour)
	for _, b := range c.bands {
		for _, m := range []int{b.from, b.to} {
			if e := day.Add(time.Duration(m) * time.Minute); e.After(local) && e.Before(best) {
				best = e
			}
		}
	}
	best = best.Add(-time.Duration(s) * time.Second)
	if !until.IsZero() && until.Before(best) {
		best = until
	}
	return best
}

// piece is a time in one band.
type piece struct {
	from, to time.Time
	band     string
}

// split cuts a time where the band changes. Without bands there is one piece.
func (c *calendar) split(from, to time.Time) (out []piece) {
	if !from.Before(to) {
		return nil
	}
	if len(c.bands) == 0 {
		return []piece{{from, to, ""}}
	}
	for from.Before(to) {
		end := c.nextEdge(from)
		if end.After(to) {
			end = to
		}
		band := c.band(from)
		if n := len(out); n > 0 && out[n-1].band == band {
			out[n-1].to = end
		} else {
			out = append(out, piece{from, end, band})
		}
		from = end
	}
	return out
}

// months are the moments in [from, to) at which a calendar month begins.
func (c *calendar) months(from, to time.Time) (n int64) {
	local := c.local(from)
	for y, m := local.Year(), int(local.Month()); ; m++ {
		begin := time.Date(y, time.Month(m), 1, 0, 0, 0, 0, time.UTC)
		at := c.utc(begin)
		if !at.Before(to) {
			return n
		}
		if !at.Before(from) {
			n++
		}
	}
}

// utc is the first moment whose local time is at least the given.
func (c *calendar) utc(local time.Time) time.Time {
	if len(c.zone) == 0 {
		return local
	}
	for i, z := range c.zone {
		at := local.Add(-time.Duration(z.Seconds) * time.Second)
		if i > 0 && at.Before(z.From) {
			return z.From // it was skipped when the clocks went forward
		}
		if i == len(c.zone)-1 || at.Before(c.zone[i+1].From) {
			return at
		}
	}
	return local
}
