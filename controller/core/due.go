package core

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
	"time"

	"dssn"
	"dssn/controller/northbound"
)

// What ends by itself is kept in a heap by its time, so that a step looks at what
// is due and not at all there is. The heap follows from the state and is no part
// of it: whoever changes when something ends says so with wake, and an item whose
// time is no longer that of its thing is passed over.

// dueKind says what a dueItem is about.
type dueKind uint8

const (
	dueGrant dueKind = iota
	dueReservation
	dueTransfer
	dueLeave // a path is left
	dueInterval
	dueSession
	dueNotice
	dueWindow
	dueOnce
)

// dueItem is a thing and a time at which it may be over.
type dueItem struct {
	at   time.Time
	kind dueKind
	id   string             // of all else
	r    dssn.ReservationID // of reservations
}

// order makes what is due at one step happen in the same order in every replay:
// by kind, then by identifier.
func (d dueItem) order(o dueItem) int {
	return cmp.Or(cmp.Compare(d.kind, o.kind), cmp.Compare(d.id, o.id), cmp.Compare(d.r, o.r))
}

type dueHeap []dueItem

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push and Pop are container/heap's.
func (h *dueHeap) Push(v any) { *h = append(*h, v.(dueItem)) }

// Pop removes the last.
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	v := (*h)[last]
	*h = (*h)[:last]
	return v
}

// wake remembers that something may be over at its present time; nothing where
// it does not end by itself.
func (c *Core) wake(kind dueKind, id string, r dssn.ReservationID) {
	d := dueItem{kind: kind, id: id, r: r}
	at := c.endOf(d)
	if at == never {
		return
	}
	d.at = at
	if r != 0 {
		if c.waking[r].Equal(at) {
			return
		}
		c.waking[r] = at
	}
	heap.Push(&c.due, d)
}

// endOf returns when the thing of d is over; never if it does not end by itself.
func (c *Core) endOf(d dueItem) time.Time {
	switch d.kind {
	case dueGrant:
		if g := c.s.Grants[d.id]; g != nil && g.Ended.IsZero() {
			return g.Until
		}
	case dueReservation:
		if r := c.s.Reservations[d.r]; r != nil {
			return nextChange(r)
		}
	case dueWindow:
		if g := c.s.Grants[d.id]; g != nil && g.Ended.IsZero() && !g.Edge.IsZero() {
			return g.Edge
		}
	case dueLeave:
		if pair := c.s.Pairs[d.id]; pair != nil && pair.Leaving != nil {
			return pair.Leaving.Until
		}
	case dueTransfer:
		if t := c.s.Transfers[d.id]; t != nil && t.State == northbound.TransferRunning && t.HolderDone && !t.ReceiverDone && t.ReceiverBytes == 0 {
			return t.Updated.Add(oneSidedAfter)
		}
	case dueInterval:
		if !c.s.IntervalEnd.IsZero() {
			return c.s.IntervalEnd
		}
	case dueSession:
		if s := c.s.Sessions[d.id]; s != nil {
			return s.end()
		}
	case dueOnce:
		client, key, _ := strings.Cut(d.id, "\x00")
		if o := c.s.Once[client][key]; o != nil {
			return o.Until
		}
	case dueNotice:
		if n := c.s.Notices[d.id]; n != nil {
			return n.Until
		}
	}
	return never
}

// dropStale drops the first item while it is no longer true.
func (c *Core) dropStale() {
	for len(c.due) > 0 && !c.endOf(c.due[0]).Equal(c.due[0].at) {
		c.again(c.popDue())
	}
}

// again wakes a reservation whose change has come to lie later than its item said;
// whoever only moves it back need not say so (grew).
func (c *Core) again(stale dueItem) {
	if stale.kind == dueReservation {
		c.wake(dueReservation, "", stale.r)
	}
}

func (c *Core) popDue() dueItem {
	d := heap.Pop(&c.due).(dueItem)
	if d.r != 0 && c.waking[d.r].Equal(d.at) {
		delete(c.waking, d.r)
	}
	return d
}

// Due returns the time at which something ends by itself; a Tick is wanted
// then. ok is false where nothing will.
func (c *Core) Due() (at time.Time, ok bool) {
	c.dropStale()
	if len(c.due) == 0 {
		return never, false
	}
	return c.due[0].at, true
}

// expire ends what was due.
func (x *step) expire() {
	var over []dueItem
	for len(x.due) > 0 && !x.due[0].at.After(x.now) {
		if d := x.popDue(); x.endOf(d).Equal(d.at) {
			over = append(over, d)
		} else {
			x.again(d)
		}
	}
	slices.SortFunc(over, dueItem.order)
	for _, d := range slices.CompactFunc(over, func(a, b dueItem) bool { return a.order(b) == 0 }) {
		x.end(d)
	}
}

// end carries out that the time of d is over.
func (x *step) end(d dueItem) {
	switch d.kind {
	case dueGrant:
		x.endGrant(x.s.Grants[d.id], "its time ran out")
	case dueReservation:
		x.ripen(x.s.Reservations[d.r])
		x.wake(dueReservation, "", d.r)
	case dueWindow:
		if g := x.s.Grants[d.id]; g.Ended.IsZero() {
			x.turn(g)
		}
	case dueLeave:
		x.left(d.id)
	case dueTransfer:
		x.s.Transfers[d.id].State = northbound.TransferOneSided
		x.over(x.s.Transfers[d.id])
	case dueInterval:
		x.seal()
	case dueSession:
		x.sessionOver(d.id)
	case dueOnce:
		client, key, _ := strings.Cut(d.id, "\x00")
		if delete(x.s.Once[client], key); len(x.s.Once[client]) == 0 {
			delete(x.s.Once, client)
		}
	case dueNotice:
		delete(x.s.Notices, d.id)
	}
}

// wakeAll fills the heap from the state.
func (c *Core) wakeAll() {
	c.due, c.waking = nil, map[dssn.ReservationID]time.Time{}
	for id := range c.s.Grants {
		c.wake(dueGrant, id, 0)
		c.wake(dueWindow, id, 0)
	}
	for id := range c.s.Reservations {
		c.wake(dueReservation, "", id)
	}
	for id := range c.s.Transfers {
		c.wake(dueTransfer, id, 0)
	}
	for key := range c.s.Pairs {
		c.wake(dueLeave, key, 0)
	}
	c.wake(dueInterval, "", 0)
	for id := range c.s.Sessions {
		c.wake(dueSession, id, 0)
	}
	for client, keys := range c.s.Once {
		for key := range keys {
			c.wake(dueOnce, client+"\x00"+key, 0)
		}
	}
	for id := range c.s.Notices {
		c.wake(dueNotice, id, 0)
	}
}
