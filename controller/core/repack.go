package core

import (
	"slices"
	"strings"

	"dssn/topology/calendar"
	"dssn/topology/paths"
)

// After a cut the core itself finds paths pair by pair, in the order of their ranks
// (pack), which is quick and sometimes leaves promises unkept that another arrangement
// would keep. Looking for that is heavy, so it is done outside, on a snapshot, and comes
// back as an input that says on which version of the promises it is based. The core takes
// it only if nothing was promised or broken since, and only after it has seen for itself
// that more promises are kept with it than without.

// Repack gives pairs other paths, so that more of what is promised can be kept.
type Repack struct {
	Based int64               `json:"based"` // State.Promises that it was found for
	Paths map[string][]string `json:"paths"` // by pair: the new path, in node names
}

// Short reports whether something that is promised has no path that carries it, and
// the version of the promises.
func (c *Core) Short() (version int64, short bool) {
	if c.graph == nil || len(c.tally.faulty) == 0 {
		return c.s.Promises, false
	}
	p := c.syncPromises()
	for key := range c.tally.faulty {
		short = short || len(p.of[key]) > 0
	}
	return c.s.Promises, short
}

// solveTries is how many arrangements are tried.
const solveTries = 64

// Solve looks for paths that keep more of the promises than the state in a snapshot
// does; nil if it finds none. It works on a core of its own and can run beside
// another. shuffle, which swaps n things at random, is the caller's: the core draws
// nothing. The same snapshot and shuffle give the same answer.
func Solve(snapshot []byte, shuffle func(n int, swap func(i, j int))) (*Repack, error) {
	c, err := Restore(snapshot)
	if err != nil || c.graph == nil {
		return nil, err
	}
	present := map[string]paths.Path{}
	all := c.syncPromises()
	keys := sortedKeys(all.of)
	for _, key := range keys {
		links, ok := c.linksOf(c.s.Pairs[key].Path)
		if ok && c.pinnable(links) {
			present[key] = links
		}
	}
	fewest, moved := c.unkept(all, nil), len(keys)+1
	var best map[string][]string
	for try := range solveTries {
		switch try {
		case 0: // who needs most first
			slices.SortStableFunc(keys, func(a, b string) int { return -comparePeaks(c, all, a, b) })
		case 1:
			slices.SortStableFunc(keys, func(a, b string) int { return comparePeaks(c, all, a, b) })
		default:
			shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		}
		found := c.arrange(all, keys, present)
		failed := c.unkept(all, found)
		if failed < fewest || failed == fewest && best != nil && len(found) < moved {
			fewest, moved, best = failed, len(found), found
		}
		if fewest == 0 {
			break
		}
	}
	if best == nil {
		return nil, nil
	}
	return &Repack{Based: c.s.Promises, Paths: best}, nil
}

func comparePeaks(c *Core, p *promises, a, b string) int {
	peak := func(key string) (most uint64) {
		for _, s := range c.spans(p, claimOf(key)) {
			most = max(most, uint64(s.need))
		}
		return most
	}
	x, y := peak(a), peak(b)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func claimOf(key string) *claim {
	ingress, egress, _ := strings.Cut(key, ">")
	return &claim{ingress: ingress, egress: egress}
}

// arrange gives pairs paths in an order, each beside those before it; it returns the
// paths of those that have to move. Pairs for which there is no room stay.
func (c *Core) arrange(all *promises, keys []string, present map[string]paths.Path) map[string][]string {
	p := c.newPromises()
	found := map[string][]string{}
	for _, key := range keys {
		cl := claimOf(key)
		spans := c.spans(all, cl)
		links := present[key]
		if links == nil || !p.carries(links, spans, 0) {
			if q, ok := c.choose(cl.ingress, cl.egress, paths.Constraint{MinFree: 1, Free: p.rooms(spans)}); ok {
				links = q
				found[key] = c.namesOf(q)
			}
		}
		c.bookOn(p, all, key, links)
	}
	return found
}

// bookOn books what a pair is promised on a path.
func (c *Core) bookOn(p, all *promises, key string, links paths.Path) {
	for id := range all.of[key] {
		b := &calendar.Booking{ID: id, Pieces: profileOf(c.s.Reservations[id])}
		for i := range b.Pieces {
			b.Pieces[i].Path = links
		}
		if err := p.cal.Book(b); err != nil {
			panic("a promise cannot be kept on record: " + err.Error()) // it was on record
		}
	}
}

// unkept counts the pairs whose promises are not kept on their present paths, but for
// those in moved, which are on others.
func (c *Core) unkept(all *promises, moved map[string][]string) (n int) {
	p := c.newPromises()
	on := map[string]paths.Path{}
	for _, key := range sortedKeys(all.of) {
		names := c.s.Pairs[key].Path
		if m := moved[key]; m != nil {
			names = m
		}
		links, ok := c.linksOf(names)
		c.bookOn(p, all, key, links)
		if ok && c.pinnable(links) {
			on[key] = links
		}
	}
	for key := range all.of {
		links := on[key]
		ok := links != nil
		for _, s := range c.spans(all, claimOf(key)) {
			for _, e := range links {
				l := p.graph.Link(int(e))
				ok = ok && l.Usable() && p.held(e, s) <= l.Capacity
			}
		}
		if !ok {
			n++
		}
	}
	return n
}

// repack takes an arrangement that was found outside.
func (x *step) repack(in *Repack) error {
	if in.Based != x.s.Promises {
		return refuse(Conflict, "the paths were found for version %d of the promises, which is %d by now: look again", in.Based, x.s.Promises)
	}
	all := x.syncPromises()
	for key, names := range in.Paths {
		cl := claimOf(key)
		links, ok := x.linksOf(names)
		if all.of[key] == nil || !ok || !x.pinnable(links) || names[0] != cl.ingress || names[len(names)-1] != cl.egress {
			return refuse(Invalid, "%s cannot go by %s: look again", key, strings.Join(names, " → "))
		}
	}
	before, after := x.unkept(all, nil), x.unkept(all, in.Paths)
	if after >= before {
		return refuse(Conflict, "%d pairs would be without what they are promised, as many as now (%d): nothing is gained", after, before)
	}
	if r := x.later(in.Paths); r != nil {
		return refuse(Conflict, "the delay of a contract from %s to %s would be above what it was promised: look again", r.Ingress, r.Egress)
	}
	x.event("repacked", "", 0, "an arrangement of paths was found that keeps more of what is promised: %d pairs moved, %d instead of %d are without", len(in.Paths), after, before)
	for _, key := range sortedKeys(in.Paths) {
		pair := x.s.Pairs[key]
		x.event("path-changed", pair.Ingress, 0, "from %s to %s by %s instead of %s, so that more of what is promised fits", pair.Ingress, pair.Egress, strings.Join(in.Paths[key], " → "), strings.Join(pair.Path, " → "))
		x.without(all, key, func() { pair.Path, pair.Leaving = slices.Clone(in.Paths[key]), nil })
		x.rerouted(pair)
		if x.moved == nil {
			x.moved = map[string]bool{}
		}
		x.moved[key] = true
		x.touchNode(pair.Ingress)
	}
	x.s.Promises++
	x.moves, x.replan = true, true
	return nil
}

// later returns a contract whose delay is in time now and would not be with other
// paths, or nil.
func (x *step) later(moved map[string][]string) *Reservation {
	old := map[string][]string{}
	for key, names := range moved {
		old[key], x.s.Pairs[key].Path = x.s.Pairs[key].Path, names
	}
	defer func() {
		for key, names := range old {
			x.s.Pairs[key].Path = names
		}
	}()
	rs := x.assured(x.now.Unix(), far, 0)
	got, err := x.bounds(rs, "", nil)
	for i, r := range rs {
		if r.DelayBound > 0 && r.DelayFault == "" && (err != nil || got[i].Delay > r.DelayBound) {
			return r
		}
	}
	return nil
}
