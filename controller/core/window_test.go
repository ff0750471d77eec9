package core

import (
	"math/rand/v2"
	"testing"
	"time"

	"dssn/controller/northbound"
)

// openSlowly is the obvious twin of windowsAt: it looks at the clock on the wall.
func openSlowly(c *Core, list []northbound.Window, t time.Time) bool {
	for _, w := range list {
		loc, _ := c.zone(w.Zone)
		local := t.In(loc)
		now := local.Hour()*60 + local.Minute()
		from, _ := clock(w.From)
		to, _ := clock(w.To)
		on := func(day time.Time) bool {
			if len(w.Days) == 0 {
				return true
			}
			for _, d := range w.Days {
				if d == weekdays[day.Weekday()] {
					return true
				}
			}
			return false
		}
		y, m, d := local.Date()
		before := time.Date(y, m, d-1, 12, 0, 0, 0, loc)
		switch {
		case from < to && on(local) && from <= now && now < to,
			from >= to && on(local) && now >= from,
			from >= to && on(before) && now < to:
			return true
		}
	}
	return false
}

// In zones without summer time in the tested days the wall's clock decides.
func TestWindowsAreOpenByTheClockOfTheirZone(t *testing.T) {
	c := New()
	random := rand.New(rand.NewPCG(8, 8))
	pick := func(s ...string) string { return s[random.IntN(len(s))] }
	at := func() string {
		return time.Date(2026, 1, 1, random.IntN(24), 15*random.IntN(4), 0, 0, time.UTC).Format("15:04")
	}
	for range 300 {
		var list []northbound.Window
		for range 1 + random.IntN(3) {
			w := northbound.Window{From: at(), To: at(), Zone: pick("", "Asia/Shanghai", "Asia/Kathmandu", "America/Sao_Paulo", "Pacific/Kiritimati")}
			for range random.IntN(4) {
				w.Days = append(w.Days, pick(weekdays...))
			}
			if c.checkWindows([]northbound.Window{w}) == nil {
				list = append(list, w)
			}
		}
		if len(list) == 0 {
			continue
		}
		now := time.Date(2026, 11, 20+random.IntN(8), random.IntN(24), random.IntN(60), random.IntN(60), 0, time.UTC)
		open, edge := c.windowsAt(list, now)
		if want := openSlowly(c, list, now); open != want {
			t.Fatalf("%v at %v: open %v, want %v", list, now, open, want)
		}
		if !edge.After(now) {
			t.Fatalf("%v at %v: the next edge %v is past", list, now, edge)
		}
		for m := now; m.Before(edge); m = m.Add(15 * time.Minute) {
			if got := openSlowly(c, list, m); got != open {
				t.Fatalf("%v: it was open %v at %v and %v at %v, with no edge before %v", list, open, now, got, m, edge)
			}
		}
		if edge.Sub(now) < 7*24*time.Hour-2*time.Hour && openSlowly(c, list, edge) == open {
			t.Fatalf("%v: nothing changes at the edge %v", list, edge)
		}
	}
}

func TestAWindowMovesWithSummerTime(t *testing.T) {
	c := New()
	w := []northbound.Window{{From: "08:00", To: "09:00", Zone: "Europe/Berlin"}}
	for _, day := range []struct{ at, edge string }{
		{"2026-03-28T06:59:59Z", "2026-03-28T07:00:00Z"}, // winter: UTC+1
		{"2026-03-28T08:00:00Z", "2026-03-29T06:00:00Z"}, // the night between loses an hour
		{"2026-10-24T07:00:00Z", "2026-10-25T07:00:00Z"}, // and this one gains it
	} {
		at, _ := time.Parse(time.RFC3339, day.at)
		if _, edge := c.windowsAt(w, at); edge.Format(time.RFC3339) != day.edge {
			t.Errorf("after %s the next edge is %v, want %s", day.at, edge, day.edge)
		}
	}
}
