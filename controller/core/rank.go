package core

import (
	"cmp"
	"slices"
	"strings"

	"dssn"
)

// Where links failed and what is left cannot carry everything that was promised,
// somebody has to give way. Who, is chosen: of two contracts the one of less priority;
// of equal priority the one of the lesser class (bulk before elastic before assured);
// of equal class the younger. It is never decided by the order in which things happen
// to be looked at.
//
// Contracts of a pair of edges share a path, so a pair has the rank of its highest
// contract when paths are chosen (pack); rates are then given contract by contract
// (grants).

// outranks orders contracts, the one that keeps its rate longest first.
func outranks(a, b *Reservation) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(b.Class, a.Class), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
}

// pack chooses the paths of all pairs anew, in the order of their ranks: each keeps
// its path if what ranks above leaves room there, else it has the best that is left.
func (x *step) pack() {
	best := map[string]*Reservation{}
	for _, id := range x.tally.open {
		r := x.s.Reservations[id]
		key := pairKey(r.Ingress, r.Egress)
		if o := best[key]; booked(r) && (o == nil || outranks(r, o) < 0) {
			best[key] = r
		}
	}
	keys := sortedKeys(x.tally.members)
	slices.SortStableFunc(keys, func(a, b string) int {
		p, q := best[a], best[b]
		switch {
		case p != nil && q != nil:
			return outranks(p, q)
		case p != nil:
			return -1
		case q != nil:
			return 1
		}
		return 0 // neither has a contract
	})
	was := x.syncPromises()
	p := x.newPromises()
	x.promised = p
	for _, key := range keys {
		for id := range was.of[key] {
			x.book(p, x.s.Reservations[id])
		}
		ingress, egress, _ := strings.Cut(key, ">")
		x.ensurePair(p, ingress, egress, true)
	}
}

// grants gives out committed rates where not all fit, highest rank first: each has
// all of its own as far as its links still have it. links[i] is the path of rs[i].
func grants(capacity []dssn.Bandwidth, rs []*Reservation, links [][]int32, want []dssn.Bandwidth) (got []dssn.Bandwidth, bottleneck []int32) {
	order := make([]int, 0, len(rs))
	for i := range rs {
		order = append(order, i)
	}
	slices.SortFunc(order, func(a, b int) int {
		if rs[a].Implicit != rs[b].Implicit { // the floors of background traffic come last
			return map[bool]int{true: 1, false: -1}[rs[a].Implicit]
		}
		return outranks(rs[a], rs[b])
	})
	left := slices.Clone(capacity)
	got, bottleneck = make([]dssn.Bandwidth, len(rs)), make([]int32, len(rs))
	for _, i := range order {
		rate, full := want[i], int32(-1)
		for _, e := range links[i] {
			if left[e] < rate {
				rate, full = left[e], e
			}
		}
		for _, e := range links[i] {
			left[e] -= rate
		}
		got[i], bottleneck[i] = rate, full
	}
	return got, bottleneck
}
