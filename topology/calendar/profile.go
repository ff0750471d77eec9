package calendar

import (
	"slices"
	"sort"

	"dssn"
)

// step says that from at on, until the next step, used is promised.
type step struct {
	at   int64
	used dssn.Bandwidth
}

// profile is a link's promises over time: steps in ascending order; before the
// first and after the last nothing is promised (the last step's used is zero).
type profile []step

// from returns the index of the step in force at t, -1 before the first.
func (p profile) from(t int64) int {
	return sort.Search(len(p), func(i int) bool { return p[i].at > t }) - 1
}

// peak returns the most that is promised at any instant of [start, end).
func (p profile) peak(start, end int64) (most dssn.Bandwidth) {
	for i := max(p.from(start), 0); i < len(p) && p[i].at < end; i++ {
		if p[i].used > most && (i+1 == len(p) || p[i+1].at > start) {
			most = p[i].used
		}
	}
	return most
}

// changes appends to out the instants after start and before end at which p steps.
func (p profile) changes(out []int64, start, end int64) []int64 {
	for _, s := range p[max(p.from(start), 0):] {
		if s.at > start && s.at < end {
			out = append(out, s.at)
		}
	}
	return out
}

// cut makes sure that a step begins at t and returns its index.
func (p *profile) cut(t int64) int {
	i := p.from(t)
	if i >= 0 && (*p)[i].at == t {
		return i
	}
	var used dssn.Bandwidth
	if i >= 0 {
		used = (*p)[i].used
	}
	*p = slices.Insert(*p, i+1, step{t, used})
	return i + 1
}

// add promises rate during [start, end), or takes the promise back.
func (p *profile) add(start, end int64, rate dssn.Bandwidth, back bool) {
	a := p.cut(start)
	b := p.cut(end)
	for i := a; i < b; i++ {
		if back {
			(*p)[i].used -= rate
		} else {
			(*p)[i].used += rate
		}
	}
	// Steps that no longer step are dropped; only those next to the change can be.
	lo, hi := max(a-1, 0), min(b+1, len(*p))
	kept := (*p)[:lo]
	for _, s := range (*p)[lo:hi] {
		if len(kept) == 0 && s.used == 0 || len(kept) > 0 && kept[len(kept)-1].used == s.used {
			continue
		}
		kept = append(kept, s)
	}
	*p = append(kept, (*p)[hi:]...)
}
