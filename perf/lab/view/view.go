// Package view draws a lab as text: its links with their rates, the paths in
// use, and what happened last. It is a core: a Picture goes in, lines come out;
// who takes pictures and where the lines go is perf/lab's and the command's.
package view

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Picture is a lab at one moment.
type Picture struct {
	At       time.Time `json:"at"`
	Lab      string    `json:"lab"`
	Topology string    `json:"topology"`
	Links    []Link    `json:"links"`
	Nodes    []Node    `json:"nodes"`
	Paths    []Path    `json:"paths"`
	Events   []Event   `json:"events"`            // oldest first
	Problem  string    `json:"problem,omitempty"` // why something could not be seen
}

// Link is a fibre or an access link. Rates are those since the picture before,
// by what has arrived at the far end.
type Link struct {
	Number int    `json:"number,omitempty"` // fibres count from 1
	Name   string `json:"name"`             // "a-b"
	Up     bool   `json:"up"`
	There  Way    `json:"there"` // a to b
	Back   Way    `json:"back"`
	Wire   bool   `json:"wire"` // emulated
}

// Way is one direction of a link.
type Way struct {
	BitsPerSecond float64 `json:"bps"`
	Settings      string  `json:"settings,omitempty"` // of an emulated wire
	// Lost frames per second, of an emulated wire: all reasons together.
	LostPerSecond float64 `json:"lost_per_second"`
	Held          int     `json:"held"` // frames on their way
}

// Node is a node's or the controller's program.
type Node struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	Alive bool   `json:"alive"`
}

// Path is a way in use between two edges.
type Path struct {
	From string        `json:"from"`
	To   string        `json:"to"`
	Hops []string      `json:"hops"` // both edges included
	RTT  time.Duration `json:"rtt_ns"`
}

// Event is something that happened.
type Event struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// Lines draws a picture within so many columns (at least 40) and rows; no rows
// means as many as it takes. Where rows are short, the quietest links and the
// oldest events are left out and counted.
func Lines(p Picture, columns, rows int) []string {
	columns = max(columns, 40)
	alive := 0
	for _, n := range p.Nodes {
		if n.Alive {
			alive++
		}
	}
	head := fmt.Sprintf("lab %s · %s · %d links", p.Lab, p.Topology, len(p.Links))
	if len(p.Nodes) > 0 {
		head += fmt.Sprintf(" · %d of %d programs run", alive, len(p.Nodes))
	}
	out := []string{spread(head, p.At.Format("15:04:05"), columns)}
	if p.Problem != "" {
		out = append(out, cut("! "+p.Problem, columns))
	}
	for _, n := range p.Nodes {
		if !n.Alive {
			out = append(out, cut("! the program of "+n.Name+" does not run", columns))
		}
	}
	paths := pathLines(p.Paths, columns)
	events := p.Events
	links := p.Links
	if rows > 0 {
		room := rows - len(out) - 1 // the table's head
		pathRoom := min(len(paths), max(0, room/4))
		if len(paths) > pathRoom {
			paths = append(paths[:max(0, pathRoom-1)], fmt.Sprintf("  and %d more paths", len(paths)-max(0, pathRoom-1)))
		}
		room -= titled(len(paths))
		eventRoom := min(len(events), max(3, room/4))
		events = events[len(events)-eventRoom:]
		room -= titled(len(events))
		links = busiest(links, max(1, room))
	}
	out = append(out, linkLines(links, len(p.Links)-len(links), columns)...)
	if len(paths) > 0 {
		out = append(append(out, "PATHS"), paths...)
	}
	if len(events) > 0 {
		out = append(out, "EVENTS")
		for _, e := range events {
			out = append(out, cut("  "+e.At.Format("15:04:05")+" "+e.Text, columns))
		}
	}
	return out
}

// titled is how many lines n entries take with their title.
func titled(n int) int {
	if n == 0 {
		return 0
	}
	return n + 1
}

// busiest keeps n links, those that are down or carry most, in their order; one
// line of them says how many were left out.
func busiest(links []Link, n int) []Link {
	if len(links) <= n {
		return links
	}
	keep := map[int]bool{}
	for len(keep) < n-1 {
		best := -1
		for i, l := range links {
			if !keep[i] && (best < 0 || l.weight() > links[best].weight()) {
				best = i
			}
		}
		keep[best] = true
	}
	var out []Link
	for i, l := range links {
		if keep[i] {
			out = append(out, l)
		}
	}
	return out
}

func (l Link) weight() float64 {
	w := l.There.BitsPerSecond + l.Back.BitsPerSecond + l.There.LostPerSecond + l.Back.LostPerSecond
	if !l.Up {
		w += 1e18
	}
	return w
}

func linkLines(links []Link, more, columns int) []string {
	wires := false
	for _, l := range links {
		wires = wires || l.Wire
	}
	name := min(30, max(14, columns-58))
	if !wires {
		name = min(40, columns-30)
	}
	out := []string{strings.TrimRight(cut(fmt.Sprintf("  # %s %11s %11s  %s", pad("LINK", name), "THERE", "BACK", word(wires, "LOST/S HELD  WIRE", "")), columns), " ")}
	for _, l := range links {
		number := "  "
		if l.Number > 0 {
			number = fmt.Sprintf("%2d", l.Number)
		}
		there, back := Rate(l.There.BitsPerSecond), Rate(l.Back.BitsPerSecond)
		if !l.Up {
			there, back = "down", "down"
		}
		line := fmt.Sprintf(" %s %s %11s %11s", number, pad(elide(l.Name, name), name), there, back)
		if l.Wire {
			line += fmt.Sprintf("  %6s %4d  %s", count(l.There.LostPerSecond+l.Back.LostPerSecond), l.There.Held+l.Back.Held, settings(l))
		}
		out = append(out, strings.TrimRight(cut(line, columns), " "))
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("    and %d quieter links", more))
	}
	return out
}

// settings shows what both directions do, once if it is the same; seeds and
// units that say nothing are left out.
func settings(l Link) string {
	a, b := brief(l.There.Settings), brief(l.Back.Settings)
	if a == b {
		return a
	}
	return a + " | " + b
}

func brief(text string) string {
	var keep []string
	for _, f := range strings.Fields(text) {
		if !strings.HasPrefix(f, "seed=") {
			keep = append(keep, f)
		}
	}
	return strings.Join(keep, " ")
}

func pathLines(paths []Path, columns int) (out []string) {
	for _, p := range paths {
		rtt := ""
		if p.RTT > 0 {
			rtt = fmt.Sprintf("  %.1f ms", p.RTT.Seconds()*1000)
		}
		out = append(out, cut("  "+strings.Join(p.Hops, " → ")+rtt, columns))
	}
	return out
}

// Rate writes bits per second in at most eleven columns.
func Rate(bps float64) string {
	for _, u := range []struct {
		name string
		of   float64
	}{{"Gbit/s", 1e9}, {"Mbit/s", 1e6}, {"kbit/s", 1e3}} {
		if bps >= u.of {
			return fmt.Sprintf("%.2f %s", bps/u.of, u.name)
		}
	}
	if bps < 1 {
		return "–"
	}
	return fmt.Sprintf("%.0f bit/s", bps)
}

func count(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.1fM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.1fk", v/1e3)
	}
	return fmt.Sprintf("%.0f", v)
}

func word(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// pad fills with spaces to so many columns; each rune counts as one.
func pad(s string, columns int) string {
	return s + strings.Repeat(" ", max(0, columns-utf8.RuneCountInString(s)))
}

// cut ends a line that is too long with an ellipsis.
func cut(s string, columns int) string {
	if utf8.RuneCountInString(s) <= columns {
		return s
	}
	return string([]rune(s)[:columns-1]) + "…"
}

// elide shortens "long-name-other-name" in the middle, where it tells least.
func elide(s string, columns int) string {
	r := []rune(s)
	if len(r) <= columns {
		return s
	}
	left := (columns - 1) / 2
	return string(r[:left]) + "…" + string(r[len(r)-(columns-1-left):])
}

// spread puts b at the right end of a line that begins with a.
func spread(a, b string, columns int) string {
	a = cut(a, columns-utf8.RuneCountInString(b)-1)
	return pad(a, columns-utf8.RuneCountInString(b)) + b
}
