package liveness

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"dssn"
)

// HelloEvery is the interval of hellos, and missedHellos how many may fail to
// come. A link whose interface goes down is down at once; silence is the slower
// second opinion (a switch in between, a hung neighbour).
const (
	HelloEvery   = 200 * time.Millisecond
	missedHellos = 3
)

// Neighbour is what one link of ours leads to.
type Neighbour struct {
	Interface string
	Name      string // "" before the first hello
	SID       dssn.SID
	Address   netip.Addr // link-local, without a zone
	// Up is true while each end hears the other. A neighbour that was met and
	// is not up any more, on a link whose interface is up, keeps its name and
	// address: its program may have ended while its kernel goes on carrying.
	Up    bool
	Since time.Time // of Up's present value
	// Held is Up, or not longer than HoldFor after it: what should be told to
	// those who would reroute the network. A program that is started again
	// moves no traffic.
	Held bool
}

// HoldFor is how long a neighbour that fell silent, on a link that is up, still
// counts as there. If its host is dead too, edges have left the path long before.
const HoldFor = 3 * time.Second

// Neighbours is the machine of hellos on all links of one node. The zero value
// is not ready; see NewNeighbours.
type Neighbours struct {
	name  string
	sid   dssn.SID
	links map[string]*helloLink
	last  time.Time // of the latest Tick
}

// helloLink is one interface that is up.
//
//	unmet --hello--> heard --hello that names us--> up
//	                   ^                            |
//	                   +--- 3 missed, or unheard ---+
type helloLink struct {
	Neighbour
	sequence uint32
	next     time.Time // when our next hello is due
	until    time.Time // end of Held while not Up
	missed   int       // ticks of HelloEvery without a hello, own stalls not counted
	due      time.Time // when the next hello counts as missed
}

// HelloToSend is an effect: say this on that interface.
type HelloToSend struct {
	Interface string
	Hello     Hello
}

// NewNeighbours returns a machine for a node of this name and SID, without links.
func NewNeighbours(name string, sid dssn.SID) *Neighbours {
	return &Neighbours{name: name, sid: sid, links: map[string]*helloLink{}}
}

// LinkUp begins a link. The first hello is due at once. It reports whether
// anything changed.
func (n *Neighbours) LinkUp(now time.Time, iface string) bool {
	if n.links[iface] != nil {
		return false
	}
	n.links[iface] = &helloLink{Neighbour: Neighbour{Interface: iface, Since: now}, next: now, due: now.Add(HelloEvery)}
	return true
}

// LinkDown ends a link and all that is known of it.
func (n *Neighbours) LinkDown(iface string) bool {
	_, had := n.links[iface]
	delete(n.links, iface)
	return had
}

// Received takes a hello that arrived on an interface. It reports whether who
// is there, or whether the link is up, changed. News are answered at the next
// Tick without waiting for the interval, so that two ends that meet are up
// after one exchange.
func (n *Neighbours) Received(now time.Time, iface string, from netip.Addr, h Hello) bool {
	l := n.links[iface]
	if l == nil || h.Name == n.name {
		return false // unwatched, or our own
	}
	l.missed, l.due = 0, now.Add(HelloEvery)
	from = from.WithZone("")
	up := h.Heard == n.name
	met := l.Name != h.Name || l.Address != from || l.SID != h.SID
	if met || up != l.Up {
		l.next = now
	}
	if !met && up == l.Up {
		return false
	}
	if l.Name != h.Name {
		l.Held = false // somebody else
	}
	l.Name, l.SID, l.Address = h.Name, h.SID, from
	l.turn(now, up)
	return true
}

// turn sets Up and what follows from it.
func (l *helloLink) turn(now time.Time, up bool) {
	if l.Up != up {
		l.Since = now
	}
	if l.Up && !up {
		l.until = now.Add(HoldFor)
	}
	l.Up = up
	l.Held = l.Held || up
}

// Tick returns the hellos that are due and whether a neighbour fell silent. It
// should be called every few tens of milliseconds; when it comes late by more
// than an interval, the time in which this node slept is not held against its
// neighbours.
func (n *Neighbours) Tick(now time.Time) (send []HelloToSend, changed bool) {
	slept := !n.last.IsZero() && now.Sub(n.last) > HelloEvery
	n.last = now
	for _, name := range slices.Sorted(maps.Keys(n.links)) {
		l := n.links[name]
		switch {
		case slept:
			l.due = now.Add(HelloEvery)
		case !now.Before(l.due):
			l.due = l.due.Add(HelloEvery)
			if l.missed++; l.missed >= missedHellos && l.Up {
				l.turn(now, false)
				changed = true
			}
		}
		if l.Held && !l.Up && !now.Before(l.until) {
			l.Held, changed = false, true
		}
		if !now.Before(l.next) {
			l.next = now.Add(HelloEvery)
			l.sequence++
			send = append(send, HelloToSend{name, Hello{Name: n.name, SID: n.sid, Sequence: l.sequence, EveryMillis: uint16(HelloEvery / time.Millisecond), Heard: l.heard()}})
		}
	}
	return send, changed
}

// heard is the name of the neighbour whose hellos still come.
func (l *helloLink) heard() string {
	if l.missed >= missedHellos {
		return ""
	}
	return l.Name
}

// List returns all links, ordered by interface.
func (n *Neighbours) List() []Neighbour {
	out := make([]Neighbour, 0, len(n.links))
	for _, name := range slices.Sorted(maps.Keys(n.links)) {
		out = append(out, n.links[name].Neighbour)
	}
	return out
}
