package core

import (
	"slices"
	"time"
	_ "time/tzdata" // every host knows every zone

	"dssn/controller/northbound"
)

// Windows recur every week by a zone's own clock, so that their edges move with
// summer time. A day's window is from From to To of that day's clock, or of the
// next day's where To is not later; a time that the clock skips is taken as Go's
// time.Date does, an hour later.

// maxWindows bounds the windows of a grant.
const maxWindows = 32

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// clock is a time of day in minutes; 24:00 is 1440.
func clock(s string) (minutes int, ok bool) {
	if s == "24:00" {
		return 24 * 60, true
	}
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err == nil && len(s) == len("15:04")
}

func (c *Core) zone(name string) (*time.Location, error) {
	if l := c.zones[name]; l != nil {
		return l, nil
	}
	if name == "Local" {
		return nil, refuse(Invalid, "a window needs a zone of its own: write for example Asia/Shanghai")
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		return nil, refuse(Invalid, "%q is not a time zone: write one as in the IANA's database, such as Asia/Shanghai", name)
	}
	if c.zones == nil {
		c.zones = map[string]*time.Location{}
	}
	c.zones[name] = l
	return l, nil
}

func (c *Core) checkWindows(list []northbound.Window) error {
	if len(list) > maxWindows {
		return refuse(Invalid, "%d windows are more than the %d that a grant can have: leave some away", len(list), maxWindows)
	}
	for _, w := range list {
		if _, err := c.zone(w.Zone); err != nil {
			return err
		}
		_, ok1 := clock(w.From)
		_, ok2 := clock(w.To)
		if !ok1 || !ok2 || w.From == w.To || w.From == "24:00" {
			return refuse(Invalid, "the window from %q to %q is none: write times as 08:00 and 18:30", w.From, w.To)
		}
		for _, d := range w.Days {
			if !slices.Contains(weekdays, d) {
				return refuse(Invalid, "%q is not a day of the week: use mon, tue, wed, thu, fri, sat, sun", d)
			}
		}
	}
	return nil
}

// windowsAt reports whether one of the windows is open at t, and when that
// changes next. No windows at all are always open, and change never.
func (c *Core) windowsAt(list []northbound.Window, t time.Time) (open bool, edge time.Time) {
	if len(list) == 0 {
		return true, never
	}
	type span struct{ from, to time.Time }
	var spans []span
	for _, w := range list {
		loc, err := c.zone(w.Zone)
		if err != nil {
			continue // it was known when the grant was made: shut is the safe side
		}
		from, _ := clock(w.From)
		to, _ := clock(w.To)
		if to <= from {
			to += 24 * 60
		}
		y, m, d := t.In(loc).Date()
		for i := -2; i <= 9; i++ { // more than a week ahead: some day's edge is among them
			day := time.Date(y, m, d+i, 12, 0, 0, 0, loc)
			if len(w.Days) > 0 && !slices.Contains(w.Days, weekdays[day.Weekday()]) {
				continue
			}
			s := span{time.Date(y, m, d+i, 0, from, 0, 0, loc), time.Date(y, m, d+i, 0, to, 0, 0, loc)}
			if s.to.After(s.from) {
				spans = append(spans, s)
			}
		}
	}
	at := func(t time.Time) bool {
		return slices.ContainsFunc(spans, func(s span) bool { return !t.Before(s.from) && t.Before(s.to) })
	}
	open = at(t)
	edge = t.AddDate(0, 0, 7) // at the latest: look again
	for _, s := range spans {
		for _, e := range []time.Time{s.from, s.to} {
			if e.After(t) && e.Before(edge) && at(e) != open {
				edge = e
			}
		}
	}
	return open, edge.UTC()
}

// turn brings a grant's Shut and Edge to the present.
func (x *step) turn(g *northbound.Grant) {
	if len(g.Windows) == 0 {
		return
	}
	open, edge := x.windowsAt(g.Windows, x.now)
	if shut := !open; shut != g.Shut {
		g.Shut = shut
		what := "opens"
		if shut {
			what = "is shut"
		}
		x.event("grant-window", "", 0, "the window of the grant %s %s until %s", g.ID, what, edge.Format(time.RFC3339))
	}
	g.Edge = edge
	x.regrant = true
	x.wake(dueWindow, g.ID, 0)
}
