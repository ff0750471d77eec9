package core

import (
	"slices"

	"dssn"
	"dssn/controller/southbound"
)

// Tags. A contract that runs has a number which its packets carry as the flow label of
// their outer header, so that nodes on the way, who see nothing else of it, count and
// police it. The reservation's own number is too long for that field.
//
// A tag is one contract's for as long as that runs, and nobody else's in the whole
// network: paths change, and no two contracts that come to meet on a node share one.
// They are given in turn, so that one that was given back is the last to be used again,
// when no packet of its former owner is on the way any more. Background flows have
// none: there are too many of them, and what they may send is what is left.
//
// Tags are remembered (State.Tags), because which one a contract has depends on what
// came before it. Journals and snapshots of before there were tags give them as they
// are replayed, or with the first step that follows.

// tagging is what follows from tags, paths and nodes: who is told of which contract. It
// is kept up to date as they change; Restore makes it anew.
type tagging struct {
	hops map[string]map[dssn.ReservationID]southbound.TransitMeter // by backbone node
	told map[dssn.ReservationID][]string                           // the same by contract
	// changed are contracts to be looked at again: they, their pair's paths, or what
	// they are known by.
	changed map[dssn.ReservationID]bool
	taken   map[uint32]bool
	without map[dssn.ReservationID]bool // that found no tag
}

func newTagging() tagging {
	return tagging{hops: map[string]map[dssn.ReservationID]southbound.TransitMeter{}, told: map[dssn.ReservationID][]string{},
		changed: map[dssn.ReservationID]bool{}, taken: map[uint32]bool{}, without: map[dssn.ReservationID]bool{}}
}

// tagAll makes the tagging from the state. Contracts without a tag are given one with
// the next step, not here: what was issued is what this state says.
func (x *step) tagAll() {
	x.tagging = newTagging()
	for id, tag := range x.s.Tags {
		if tag != 0 {
			x.tagging.taken[tag] = true
		} else {
			x.tagging.without[id] = true
		}
		x.tellHops(id)
	}
	for _, id := range x.tally.open {
		if r := x.s.Reservations[id]; live(r) && !r.Implicit && x.s.Tags[id] == 0 {
			x.tagging.changed[id] = true
		}
	}
}

// rerouted takes note that a pair has other paths than before.
func (x *step) rerouted(p *Pair) {
	for id := range x.tally.at[p.Ingress] {
		if r := x.s.Reservations[id]; !r.Implicit && r.Egress == p.Egress && r.Ingress == p.Ingress {
			x.tagging.changed[id] = true
		}
	}
}

// retag takes back the tags of contracts that ended, gives those that began one, and
// touches the nodes that are to be told. A contract that finds no tag free has zero, and
// the next that is.
func (x *step) retag() {
	if x.rebuilt || x.regrant { // names may mean other nodes now
		for id := range x.s.Tags {
			x.tagging.changed[id] = true
		}
	}
	if len(x.tagging.changed) == 0 {
		return
	}
	changed := sortedKeys(x.tagging.changed)
	clear(x.tagging.changed)
	wanted := map[dssn.ReservationID]bool{}
	for _, id := range changed {
		r := x.s.Reservations[id]
		switch {
		case r == nil || !live(r) || r.Implicit:
			x.untag(id)
		case x.s.Tags[id] == 0:
			wanted[id] = true
		}
	}
	for id := range x.tagging.without {
		wanted[id] = true
	}
	for _, id := range sortedKeys(wanted) {
		if x.tag(id) {
			changed = append(changed, id)
		}
	}
	for _, id := range changed {
		x.tellHops(id)
	}
}

func (x *step) untag(id dssn.ReservationID) {
	if tag, had := x.s.Tags[id]; had {
		delete(x.s.Tags, id)
		delete(x.tagging.taken, tag)
		delete(x.tagging.without, id)
	}
}

// tag gives a contract a tag, and reports whether there was one.
func (x *step) tag(id dssn.ReservationID) bool {
	if x.s.Tags == nil {
		x.s.Tags = map[dssn.ReservationID]uint32{}
	}
	r, tag := x.s.Reservations[id], x.nextTag()
	if tag == 0 {
		if !x.tagging.without[id] {
			x.event("untagged", r.Egress, id, "all %d tags are taken: the reservation is policed where it enters and not on its way", southbound.MaxTag)
		}
		x.s.Tags[id], x.tagging.without[id] = 0, true
		return false
	}
	x.s.Tags[id], x.s.LastTag, x.tagging.taken[tag] = tag, tag, true
	delete(x.tagging.without, id)
	x.touchNode(r.Ingress)
	return true
}

// nextTag is the first tag after the last one given that nobody has, beginning again
// at 1; 0 if there is none.
func (c *Core) nextTag() uint32 {
	if len(c.tagging.taken) >= southbound.MaxTag {
		return 0
	}
	for i := range uint32(southbound.MaxTag) {
		if tag := (c.s.LastTag+i)%southbound.MaxTag + 1; !c.tagging.taken[tag] {
			return tag
		}
	}
	return 0
}

// tellHops brings up to date who is told of a contract: the backbone nodes of its pair's
// path and repairs, so that an edge that repairs by itself is met by nodes that know its
// tags. Nodes that are told something new are touched.
func (x *step) tellHops(id dssn.ReservationID) {
	m, now := x.transitMeter(id), []string{}
	if m.Tag != 0 {
		r := x.s.Reservations[id]
		if pair := x.s.Pairs[pairKey(r.Ingress, r.Egress)]; pair != nil {
			for _, path := range append([][]string{pair.Path}, pair.Repairs...) {
				for _, name := range path {
					if n := x.s.Nodes[name]; n != nil && n.Role == southbound.RoleBackbone && !slices.Contains(now, name) {
						now = append(now, name)
					}
				}
			}
		}
	}
	for _, name := range x.tagging.told[id] {
		if !slices.Contains(now, name) {
			x.touchNode(name)
			if delete(x.tagging.hops[name], id); len(x.tagging.hops[name]) == 0 {
				delete(x.tagging.hops, name)
			}
		}
	}
	for _, name := range now {
		if x.tagging.hops[name] == nil {
			x.tagging.hops[name] = map[dssn.ReservationID]southbound.TransitMeter{}
		}
		if x.tagging.hops[name][id] != m {
			x.touchNode(name)
			x.tagging.hops[name][id] = m
		}
	}
	if x.tagging.told[id] = now; len(now) == 0 {
		delete(x.tagging.told, id)
	}
}

// transitMeter is what nodes on the way are told of a contract; without a tag they are
// told nothing. They police its ceiling, which is the contract's own, and not its share,
// which follows what others do: to that the edge keeps it.
func (x *step) transitMeter(id dssn.ReservationID) (m southbound.TransitMeter) {
	r, tag := x.s.Reservations[id], x.s.Tags[id]
	if r == nil || !live(r) || tag == 0 || x.s.Nodes[r.Ingress] == nil {
		return m
	}
	depth := r.Burst
	if depth == 0 {
		depth = max(minBurst, ceilingAt(r, x.s.Now).BytesIn(burstTime))
	}
	return southbound.TransitMeter{
		Reservation: id, Tag: tag, Class: r.Class, Source: x.s.Nodes[r.Ingress].SID,
		Committed: committedAt(r, x.s.Now), Ceiling: ceilingAt(r, x.s.Now), Burst: depth,
	}
}

// transitOf lists what a backbone node is told of contracts, by number.
func (c *Core) transitOf(name string) (out []southbound.TransitMeter) {
	for _, id := range sortedKeys(c.tagging.hops[name]) {
		out = append(out, c.tagging.hops[name][id])
	}
	return out
}
