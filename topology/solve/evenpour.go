// From even sweeps to rates that fit: everybody's paths and how it splits over them
// are kept, and all rise together until links fill, as water would (see pour.go).
//
// Only links that could fill at all, were everybody to have its wish, are looked at, and of
// the demands those that cross one.

package solve

import (
	"math"
	"slices"
)

// evenPour is one pouring over the holdings of a sweep.
type evenPour struct {
	s     *sweep
	has   []float64 // by demand: the sum of its holdings, before
	wish  []float64 // by demand: what it may get at most
	rate  []float64 // by demand: what it gets
	full  []float64 // by link: the level at which it is full, +Inf: never
	score float64   // Σ ln of the part of its wish that each demand gets

	row   []int32 // by link, -1: it cannot fill
	links []int32 // by row
	users []int32 // demands that cross a row, by their wished level
	at    []int32 // by user: parts[at[i]:at[i+1]]
	parts []rowPart
	left  []float64
	speed []float64
	heap  []nodeKey
}

// rowPart is what part of its rate a demand sends over a row.
type rowPart struct {
	row  int32
	part float64
}

// pourEven pours over the present holdings.
func (s *sweep) pourEven() *evenPour {
	p := &evenPour{s: s, has: make([]float64, len(s.head)), wish: make([]float64, len(s.head)), full: make([]float64, s.n.links),
		row: make([]int32, s.n.links)}
	for e := range p.full {
		p.full[e], p.row[e] = math.Inf(1), -1
	}
	for e, x := range p.wishes() {
		if c := s.n.capacity[e]; x > c*(1-1e-12) {
			p.row[e] = int32(len(p.links))
			p.links = append(p.links, int32(e))
			p.left = append(p.left, c-x)
		}
	}
	p.rate = append([]float64(nil), p.wish...)
	p.speed = make([]float64, len(p.links))
	p.enlist()
	p.fill()
	for d, x := range p.rate {
		if p.has[d] <= 0 {
			p.rate[d] = 0
			continue
		}
		if x < s.w.mass[d] {
			p.score += math.Log(math.Max(x/s.w.mass[d], 1e-9))
		}
	}
	return p
}

// wishMost is how much more than it holds a demand may get.
const wishMost = 2

// wishes sets has and wish, and returns the loads were everybody to have its wish, split as it is.
func (p *evenPour) wishes() []float64 {
	s := p.s
	s.overGroves(func(sc *scout, k int) {
		g := &s.groves[k]
		at := cleared(sc.at, len(g.parent))
		sc.at = at
		for d := s.w.from[k]; d < s.w.from[k+1]; d++ {
			for h := s.head[d]; h >= 0; h = g.held[h].next {
				p.has[d] += g.held[h].rate
			}
			p.wish[d] = math.Min(s.w.mass[d], wishMost*p.has[d])
			for h := s.head[d]; h >= 0; h = g.held[h].next {
				at[g.held[h].twig] += g.held[h].rate / p.has[d] * p.wish[d]
			}
		}
		s.addUp(sc, g, at)
	})
	load := make([]float64, s.n.links)
	s.gatherLoads(load)
	return load
}

// enlist lists who rises and crosses a row, and takes what they wish off the rows' loads.
func (p *evenPour) enlist() {
	s := p.s
	p.at = append(p.at, 0)
	var below []int32 // by twig: its nearest twig whose link is a row, or 0
	for k := range s.groves {
		g := &s.groves[k]
		below = slices.Grow(below[:0], len(g.parent))[:len(g.parent)]
		below[0] = 0
		for t := 1; t < len(below); t++ {
			if below[t] = below[g.parent[t]]; p.row[g.link[t]] >= 0 {
				below[t] = int32(t)
			}
		}
		for d := s.w.from[k]; d < s.w.from[k+1]; d++ {
			from := len(p.parts)
			if s.even.speed[d] == 0 {
				continue
			}
			for h := s.head[d]; h >= 0; h = g.held[h].next {
				part := g.held[h].rate / p.has[d]
				for t := below[g.held[h].twig]; t > 0; t = below[g.parent[t]] {
					p.parts = append(p.parts, rowPart{p.row[g.link[t]], part})
				}
			}
			if len(p.parts) == from {
				continue
			}
			p.users, p.at = append(p.users, d), append(p.at, int32(len(p.parts)))
			for _, x := range p.parts[from:] {
				p.left[x.row] += x.part * p.wish[d]
				p.speed[x.row] += x.part * s.even.speed[d]
			}
		}
	}
}

// fill raises everybody until all have stopped.
func (p *evenPour) fill() {
	s := p.s
	speed := func(i int32) float64 { return s.even.speed[p.users[i]] }
	want := func(i int32) float64 { return p.wish[p.users[i]] / speed(i) }
	byWant := make([]int32, len(p.users))
	onAt := make([]int32, len(p.links)+1)
	for i := range byWant {
		byWant[i] = int32(i)
	}
	slices.SortFunc(byWant, func(a, b int32) int { return compareFloat(want(a), want(b)) })
	for _, x := range p.parts {
		onAt[x.row+1]++
	}
	for r := range p.links {
		onAt[r+1] += onAt[r]
	}
	on, next := make([]int32, len(p.parts)), slices.Clone(onAt)
	for i := range p.users {
		for _, x := range p.parts[p.at[i]:p.at[i+1]] {
			on[next[x.row]] = int32(i)
			next[x.row]++
		}
	}
	stopped := make([]bool, len(p.users))
	stop := func(i int32, level float64) {
		if stopped[i] {
			return
		}
		stopped[i] = true
		p.rate[p.users[i]] = speed(i) * level
		for _, x := range p.parts[p.at[i]:p.at[i+1]] {
			p.left[x.row] -= x.part * speed(i) * level
			p.speed[x.row] -= x.part * speed(i)
		}
	}
	for r, v := range p.speed {
		if v > 0 {
			p.heap = append(p.heap, nodeKey{math.Max(0, p.left[r]) / v, int32(r)})
			siftUp(p.heap)
		}
	}
	content := 0
	for {
		for content < len(byWant) && stopped[byWant[content]] {
			content++
		}
		if content == len(byWant) {
			return
		}
		row, level := p.nextFull()
		if i := byWant[content]; want(i) <= level {
			p.rate[p.users[i]] = p.wish[p.users[i]]
			stop(i, want(i))
			continue
		}
		p.full[p.links[row]] = level
		for _, i := range on[onAt[row]:onAt[row+1]] {
			stop(i, level)
		}
		p.speed[row] = 0
	}
}

// nextFull returns the row that fills next and its level, -1 and +Inf: none does. The level at which
// a row fills only ever gets later, so that an entry is looked at again when it comes up.
func (p *evenPour) nextFull() (row int32, level float64) {
	for len(p.heap) > 0 {
		top := p.heap[0]
		r := top.node
		at := math.Inf(1)
		if p.speed[r] > 1e-9 {
			at = math.Max(0, p.left[r]) / p.speed[r]
		}
		switch {
		case math.IsInf(at, 1):
			last := p.heap[len(p.heap)-1]
			if p.heap = p.heap[:len(p.heap)-1]; len(p.heap) > 0 {
				siftDown(p.heap, last)
			}
		case at > top.key*(1+1e-12):
			siftDown(p.heap, nodeKey{at, r})
		default:
			return r, top.key
		}
	}
	return -1, math.Inf(1)
}
