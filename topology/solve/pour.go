// Pouring: max-min shares over one path each, for all demands at once.
//
// This is how what is left is shared where time is up before the last level. All demands
// rise together; a link that fills stops everybody who crosses it, a demand at its
// wish stops by itself. Links wait in a heap by the level at which they will fill,
// which only ever gets later, so that an entry is looked at again when it comes up.

package solve

import (
	"math"
	"slices"
)

// pourer is the state of one pouring.
type pourer struct {
	c      *climb
	base   []dealt   // what is there already
	path   []int32   // by demand: the path it takes, -1: none
	most   []float64 // by demand: what it still wants
	full   []float64 // by link: the level at which it is full, +Inf: never
	at     []float64 // by demand: the level at which it stopped
	left   []float64 // by link: capacity that nobody who has stopped has taken
	speed  []float64 // by link: of those who still rise
	heap   []nodeKey // links by the level at which they fill, perhaps out of date
	byMost []int32   // demands by the level at which they have all they want
	on     []int32   // demands by link: on[onAt[l]:onAt[l+1]]
	onAt   []int32
}

// newPourer prepares to pour over what base has left, over everybody's newest path.
func newPourer(c *climb, base []dealt) *pourer {
	n, links := len(c.speed), c.n.links
	p := &pourer{c: c, base: base, path: slices.Clone(c.store.head), most: slices.Clone(c.most), at: make([]float64, n), full: make([]float64, links),
		left: make([]float64, links), speed: make([]float64, links), onAt: make([]int32, links+1)}
	for _, f := range base {
		p.most[f.demand] -= f.rate
	}
	for d, s := range c.speed {
		if s > 0 && p.path[d] >= 0 && p.most[d] > 0 {
			p.byMost = append(p.byMost, int32(d))
		}
	}
	level := func(d int32) float64 { return p.most[d] / c.speed[d] }
	slices.SortFunc(p.byMost, func(a, b int32) int { return compareFloat(level(a), level(b)) })
	return p
}

// pour fills the network anew.
func (p *pourer) pour() {
	c := p.c
	c.loadOf(p.base)
	clear(p.speed)
	clear(p.onAt)
	for l := range p.left {
		p.left[l], p.full[l] = math.Max(0, c.n.capacity[l]-c.load[l]), math.Inf(1)
	}
	for _, d := range p.byMost {
		p.at[d] = math.Inf(1)
		for _, l := range c.store.path(p.path[d]) {
			p.speed[l] += c.speed[d]
			p.onAt[l+1]++
		}
	}
	for l := range p.speed {
		p.onAt[l+1] += p.onAt[l]
	}
	p.on = slices.Grow(p.on[:0], int(p.onAt[len(p.speed)]))[:p.onAt[len(p.speed)]]
	next := slices.Clone(p.onAt[:len(p.speed)])
	for _, d := range p.byMost {
		for _, l := range c.store.path(p.path[d]) {
			p.on[next[l]] = d
			next[l]++
		}
	}
	p.heap = p.heap[:0]
	for l, s := range p.speed {
		if s > 0 {
			p.heap = append(p.heap, nodeKey{p.left[l] / s, int32(l)})
			siftUp(p.heap)
		}
	}
	content := 0
	for {
		for content < len(p.byMost) && !math.IsInf(p.at[p.byMost[content]], 1) {
			content++
		}
		want := math.Inf(1)
		if content < len(p.byMost) {
			d := p.byMost[content]
			want = p.most[d] / c.speed[d]
		}
		link, level := p.nextFull()
		switch {
		case link < 0 && math.IsInf(want, 1):
			return
		case want <= level:
			p.stop(p.byMost[content], want)
		default:
			p.pop()
			p.full[link] = level
			for _, d := range p.on[p.onAt[link]:p.onAt[link+1]] {
				if math.IsInf(p.at[d], 1) {
					p.stop(d, level)
				}
			}
		}
	}
}

// nextFull returns the link that fills next, -1: none does.
func (p *pourer) nextFull() (link int32, level float64) {
	for len(p.heap) > 0 {
		top := p.heap[0]
		l := top.node
		s := p.speed[l]
		if !math.IsInf(p.full[l], 1) || s <= 1e-9 {
			p.pop()
			continue
		}
		if at := math.Max(0, p.left[l]) / s; at > top.key*(1+1e-12) {
			siftDown(p.heap, nodeKey{at, l})
			continue
		}
		return l, top.key
	}
	return -1, math.Inf(1)
}

func (p *pourer) pop() {
	last := p.heap[len(p.heap)-1]
	if p.heap = p.heap[:len(p.heap)-1]; len(p.heap) > 0 {
		siftDown(p.heap, last)
	}
}

// stop ends a demand's rise at the level: what it has is taken off its links, and
// they fill later for the others.
func (p *pourer) stop(d int32, level float64) {
	c := p.c
	p.at[d] = level
	s := c.speed[d]
	for _, l := range c.store.path(p.path[d]) {
		p.left[l] -= s * level
		p.speed[l] -= s
	}
}

// flows returns the base and what was poured beside it.
func (p *pourer) flows() []dealt {
	out := slices.Clone(p.base)
	place := make(map[[2]int32]int, len(p.base))
	for i, f := range p.base {
		place[[2]int32{f.demand, f.path}] = i
	}
	for _, d := range p.byMost {
		rate := p.c.speed[d] * p.at[d]
		if at, ok := place[[2]int32{d, p.path[d]}]; ok {
			out[at].rate += rate
		} else if rate > 0 {
			out = append(out, dealt{d, p.path[d], rate})
		}
	}
	return out
}
