package core

import (
	"slices"
	"strings"
	"time"

	"dssn"
	"dssn/controller/southbound"
	"dssn/topology/paths"
	"dssn/topology/solve"
)

// A pair of edges whose path has less than its reservations may reach can use a
// second path beside it, the first repair, which shares no inner link: each lane
// of the tunnel takes one of the two, and is policed to what that path has for it
// (Reservation.Parts). What is committed stays on the first path; the second adds
// only what nobody else was allocated, so no link is sold twice.
//
// Flows fall to lanes by their addresses and ports, so a flow gets one path's part.
// A pair is therefore spread only where the second path's part is good enough for
// any of its flows: at least half of the first's, at least what is committed, and
// together a quarter more than the first alone.

// spreadable is a pair that could use its second path.
type spreadable struct {
	key    string
	second paths.Path
	parts  map[*Reservation]dssn.Bandwidth // what the second path has for each
}

// spread divides among reservations what their pairs' second paths have to add to
// the shares s of the first.
func (x *step) spread(rs []*Reservation, ds []solve.PathDemand, s []solve.Share) {
	byPair := map[string][]int{}
	for i, r := range rs {
		r.Parts = nil
		byPair[pairKey(r.Ingress, r.Egress)] = append(byPair[pairKey(r.Ingress, r.Egress)], i)
	}
	var pairs []*spreadable
	var extra []solve.PathDemand
	var whose []int // index into rs of each of extra
	var of []int    // index into pairs
	for _, key := range sortedKeys(byPair) {
		second := x.secondPath(key, rs, byPair[key], s)
		if second == nil {
			continue
		}
		pairs = append(pairs, &spreadable{key, second, map[*Reservation]dssn.Bandwidth{}})
		for _, i := range byPair[key] {
			d := ds[i]
			d.Links, d.Ceiling = second, max(d.Ceiling-s[i].Rate, d.Ceiling/2)
			if d.Committed = 0; rs[i].Implicit {
				d.Committed = min(backgroundFloor, d.Ceiling)
			}
			extra, whose, of = append(extra, d), append(whose, i), append(of, len(pairs)-1)
		}
	}
	if len(extra) > 0 {
		free := x.capacities()
		for i, d := range ds {
			for _, li := range d.Links {
				free[li] -= min(s[i].Rate, free[li])
			}
		}
		x.spare(free)
		more, err := solve.MaxMin(free, extra)
		if err != nil {
			panic("the demands for second paths make no sense: " + err.Error()) // made from ones that do
		}
		for k, m := range more {
			pairs[of[k]].parts[rs[whose[k]]] = m.Rate
		}
	}
	spread := map[string]bool{}
	for _, p := range pairs {
		if p.worthIt(x.now) {
			spread[p.key] = true
			for r, second := range p.parts {
				first := min(r.Allocated, ceilingAt(r, x.now)-second)
				r.Parts, r.Allocated = []dssn.Bandwidth{first, second}, first+second
				if r.Allocated == ceilingAt(r, x.now) {
					r.Limit = ""
				}
			}
		}
	}
	for _, key := range sortedKeys(x.s.Pairs) {
		p := x.s.Pairs[key]
		if p.Spread == spread[key] {
			continue
		}
		p.Spread = spread[key]
		x.touchNode(p.Ingress)
		if p.Spread {
			x.event("pair-spread", p.Ingress, 0, "from %s to %s a second path is used beside the first: %s", p.Ingress, p.Egress, strings.Join(p.Repairs[0], " → "))
		} else {
			x.event("pair-joined", p.Ingress, 0, "from %s to %s one path is used again", p.Ingress, p.Egress)
		}
	}
}

// worthIt reports whether no flow is worse off than the package's rule allows, and
// the pair is better off.
func (p *spreadable) worthIt(now time.Time) bool {
	var before, after dssn.Bandwidth
	for r, second := range p.parts {
		if second < r.Allocated/2 || !r.Implicit && second < committedAt(r, now) {
			return false
		}
		if !r.Implicit {
			before += r.Allocated
			after += min(r.Allocated, ceilingAt(r, now)-second) + second
		}
	}
	return after > before+before/4
}

// secondPath returns the links of the path that a pair could use beside its first;
// nil if it has none, needs none, or may not.
func (x *step) secondPath(key string, rs []*Reservation, members []int, s []solve.Share) paths.Path {
	pair := x.s.Pairs[key]
	if pair == nil || len(pair.Repairs) == 0 || pair.Fault != "" || !x.steering() {
		return nil
	}
	wants := false
	for _, i := range members {
		if rs[i].Class == dssn.ClassAssured {
			return nil // its delay was promised for one path
		}
		wants = wants || !rs[i].Implicit && s[i].Rate < ceilingAt(rs[i], x.now)
	}
	n, m := x.s.Nodes[pair.Ingress], x.s.Nodes[pair.Egress]
	if !wants || n == nil || m == nil || len(lanes(n, m)) == 0 || n.Features.Workers < 2 {
		return nil
	}
	first, ok1 := x.linksOf(pair.Path)
	second, ok2 := x.linksOf(pair.Repairs[0])
	if !ok1 || !ok2 {
		return nil
	}
	for _, li := range second[1 : len(second)-1] {
		if slices.Contains(first, li) {
			return nil
		}
	}
	// The edge knows paths by their place in its list, where equal carriers are one.
	if ways := x.pathsTo(pair.Ingress, pair.Egress); len(ways) < 2 || !slices.Equal(ways[1].Hops, pair.Repairs[0]) {
		return nil
	}
	return second
}

// spreadLanes gives every second worker's lanes the second path.
func spreadLanes(list []southbound.Lane) []southbound.Lane {
	for i := range list {
		list[i].Path = list[i].Here % 2
	}
	return list
}
