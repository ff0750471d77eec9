// Who rises when: committed before ceiling, class before class.

package solve

import (
	"cmp"
	"fmt"
	"slices"
)

// Stage says which demands rise at a level. The zero value is the only stage there is
// without committed rates and classes: all demands, each at the speed of its weight.
type Stage struct {
	Kind  StageKind
	Class int32 // of those who rise, AllClasses: everybody
}

// StageKind says towards what demands rise.
type StageKind uint8

// Demands rise Together without any order; towards their Committed rates, each at a speed
// in proportion to it; then to their Ceiling, each at the speed of its weight.
const (
	Together StageKind = iota
	Committed
	Ceiling
)

// AllClasses stands in Stage.Class where classes do not count.
const AllClasses = -1

// String returns the stage as te-allocation/1 has it.
func (s Stage) String() string {
	name := [...]string{"together", "committed", "ceiling"}[min(s.Kind, Ceiling)]
	if s.Kind == Together || s.Class == AllClasses {
		return name
	}
	return fmt.Sprintf("%s %d", name, s.Class)
}

func parseStage(text string) (s Stage, err error) {
	for _, s = range []Stage{{Kind: Committed, Class: AllClasses}, {Kind: Ceiling, Class: AllClasses}} {
		if text == s.String() {
			return s, nil
		}
		if n, _ := fmt.Sscanf(text, s.String()+" %d", &s.Class); n == 1 && s.Class >= 0 && text == s.String() {
			return s, nil
		}
	}
	return s, fmt.Errorf("%q is not a stage: it is committed or ceiling, with a class behind it where classes count", text)
}

// stages lists what solving goes through, in order.
func stages(d *Demands, byClass bool) (all []Stage) {
	if d.Committed == nil && !byClass {
		return []Stage{{}}
	}
	classes := []int32{AllClasses}
	if byClass {
		classes = slices.Clone(d.Class)
		slices.Sort(classes)
		classes = slices.Compact(classes)
	}
	for _, k := range classes {
		if d.Committed != nil {
			all = append(all, Stage{Committed, k})
		}
	}
	for _, k := range classes {
		all = append(all, Stage{Ceiling, k})
	}
	return all
}

// enter prepares the climb for a stage: its demands rise from what they have, unless
// prices of an earlier one stand on all their paths.
func (c *climb) enter(s Stage) {
	d := &c.in.Demands
	has := make([]float64, len(c.speed))
	for _, f := range c.best {
		has[f.demand] += f.rate
	}
	for k, i := range c.w.of {
		c.least[k], c.speed[k] = has[k], 0
		if s.Kind != Together && s.Class != AllClasses && d.Class[i] != s.Class {
			continue
		}
		speed, most := d.Weight[i], float64(d.Rate[i])
		if s.Kind == Committed {
			most = float64(d.Committed[i])
			speed = most
		}
		if c.store.head[k] >= 0 && most > has[k] {
			c.speed[k], c.most[k] = speed, most
		}
	}
	if c.best == nil {
		return
	}
	c.cheapest(c.past, true, func(_ int, k int32, price float64, walk func() []int32) {
		if c.speed[k] == 0 || walk == nil {
			return
		}
		if price > faceHair {
			c.speed[k] = 0
			return
		}
		c.wanted[k] = slices.Clone(walk())
	})
	for k, path := range c.wanted {
		if path == nil {
			continue
		}
		if c.store.find(int32(k), path) < 0 {
			c.store.add(int32(k), path)
		}
		c.wanted[k] = nil
	}
	c.firstLevel()
}

// shortfalls lists the committed rates that were not reached.
func (c *climb) shortfalls(a *Allocation) {
	d := &c.in.Demands
	if d.Committed == nil {
		return
	}
	rate := a.Rates(d.Len())
	for k, i := range c.w.of {
		m := float64(d.Committed[i])
		if rate[i] >= m*(1-Tolerance) {
			continue
		}
		s := Shortfall{Demand: i, Committed: m, Got: rate[i], Level: -1}
		if c.store.head[k] >= 0 {
			s.Level = int(c.provedBy[k])
			if s.Level >= 0 {
				s.Cut = c.cutOf(i, a.Levels[s.Level].Prices)
			}
		}
		a.Short = append(a.Short, s)
	}
	slices.SortStableFunc(a.Short, func(x, y Shortfall) int { return cmp.Compare(y.Committed-y.Got, x.Committed-x.Got) })
}

// cutOf lists the priced links that lead out of what demand i can reach without any.
func (c *climb) cutOf(i int32, price []float64) (links []int32) {
	seen := make([]bool, c.n.nodes)
	queue := []int32{c.in.Demands.Src[i]}
	seen[queue[0]] = true
	for len(queue) > 0 {
		u := queue[0]
		queue = queue[1:]
		for _, a := range c.n.arcs[c.n.outAt[u]:c.n.outAt[u+1]] {
			if price[a.link] == 0 && !seen[a.dst] {
				seen[a.dst] = true
				queue = append(queue, a.dst)
			}
		}
	}
	for l := range price {
		if c.n.capacity[l] > 0 && seen[c.n.src[l]] && !seen[c.n.dst[l]] {
			links = append(links, int32(l))
		}
	}
	return links
}
