package solve

import (
	"cmp"
	"math"
	"slices"
)

// water is the state of the filling.
type water struct {
	demands []PathDemand
	left    []float64 // capacity not given away, by link
	rate    []float64 // by demand
	stop    []int32   // what stopped it, -1: its limit

	// Of one filling. A demand that may rise starts moving when the level reaches
	// the rate it has, and is then at weight × level.
	upper, weight []float64 // by demand
	state         []riser   // by demand
	pool          []pool    // by link
	first         []int32   // into on, by link
	on            []int32   // the risers of each link
	queue         []fullAt
	place         []int32 // in the queue, by link; -1: not there
}

type riser uint8

const (
	still riser = iota // does not take part, or has stopped
	ahead              // its rate lies above the level
	afloat
)

// pool is what the risers of a link share. It is full at the level free/speed:
// free counts the rates that the moving ones began with as free again.
type pool struct {
	free, speed float64
	moving      int32
}

func (p *pool) full() float64 {
	if p.moving == 0 {
		return math.Inf(1)
	}
	return max(p.free, 0) / p.speed
}

// fullAt says that a link fills at a level, or later: levels that have risen since
// are noticed when their turn comes. Each link stands in the queue at most once.
type fullAt struct {
	level float64
	link  int32
}

// turning is a level at which one demand starts or is content.
type turning struct {
	level  float64
	demand int
}

// fill raises the rates of the members together until each is stopped. limit
// returns a demand's upper rate and its speed.
//
// It goes from event to event: a demand starts to move, has what it wants, or a
// link fills and stops all that cross it. Each demand causes a bounded number of changes on each of
// its links, so that n demands over h links cost n·h·log(n·h).
func (w *water) fill(members []int, limit func(*PathDemand) (upper, weight float64)) {
	starts, ends := w.begin(members, limit)
	nextStart, nextEnd := 0, 0
	for {
		for nextEnd < len(ends) && w.state[ends[nextEnd].demand] == still {
			nextEnd++
		}
		for nextStart < len(starts) && w.state[starts[nextStart].demand] == still {
			nextStart++
		}
		if nextEnd == len(ends) {
			break // all have stopped
		}
		end, start, full := ends[nextEnd].level, math.Inf(1), w.nextFull()
		if nextStart < len(starts) {
			start = starts[nextStart].level
		}
		switch {
		case end <= start && end <= full.level:
			i := ends[nextEnd].demand
			w.halt(i, w.upper[i], -1)
		case start <= full.level:
			w.start(starts[nextStart].demand)
			nextStart++
		default:
			for _, i := range w.on[w.first[full.link]:w.first[full.link+1]] {
				switch w.state[i] {
				case afloat:
					w.halt(int(i), max(w.rate[i], min(w.upper[i], w.weight[i]*full.level)), full.link)
				case ahead:
					w.halt(int(i), w.rate[i], full.link)
				}
			}
			w.pool[full.link] = pool{}
		}
	}
	for _, i := range members {
		for _, e := range w.demands[i].Links {
			w.left[e] = max(w.pool[e].free, 0)
		}
	}
}

// begin sets up a filling and returns when who would start and end.
func (w *water) begin(members []int, limit func(*PathDemand) (upper, weight float64)) (starts, ends []turning) {
	if w.state == nil {
		n, m := len(w.demands), len(w.left)
		w.upper, w.weight, w.state = make([]float64, n), make([]float64, n), make([]riser, n)
		w.pool, w.first, w.place = make([]pool, m), make([]int32, m+1), make([]int32, m)
	}
	clear(w.first)
	w.queue = w.queue[:0]
	for e := range w.place {
		w.place[e] = -1
	}
	hops := 0
	for _, i := range members {
		d := &w.demands[i]
		w.upper[i], w.weight[i] = limit(d)
		for _, e := range d.Links {
			w.pool[e] = pool{free: w.left[e]}
		}
		if w.upper[i] <= w.rate[i] {
			w.state[i], w.stop[i] = still, -1
			continue
		}
		w.state[i] = ahead
		starts = append(starts, turning{w.rate[i] / w.weight[i], i})
		ends = append(ends, turning{w.upper[i] / w.weight[i], i})
		for _, e := range d.Links {
			w.first[e+1]++
			hops++
		}
	}
	for e := range w.left {
		w.first[e+1] += w.first[e]
	}
	w.on = slices.Grow(w.on[:0], hops)[:hops]
	for _, s := range starts {
		for _, e := range w.demands[s.demand].Links {
			w.on[w.first[e]] = int32(s.demand)
			w.first[e]++
		}
	}
	copy(w.first[1:], w.first[:len(w.first)-1])
	w.first[0] = 0
	order := func(a, b turning) int { return cmp.Or(cmp.Compare(a.level, b.level), a.demand-b.demand) }
	slices.SortFunc(starts, order)
	slices.SortFunc(ends, order)
	return starts, ends
}

// start lets a demand move.
func (w *water) start(i int) {
	w.state[i] = afloat
	for _, e := range w.demands[i].Links {
		p := &w.pool[e]
		p.free += w.rate[i]
		p.speed += w.weight[i]
		p.moving++
		w.push(fullAt{p.full(), e})
	}
}

// halt fixes a demand's rate. Its links fill later than they would have.
func (w *water) halt(i int, rate float64, why int32) {
	if w.state[i] == afloat {
		for _, e := range w.demands[i].Links {
			p := &w.pool[e]
			p.free -= rate
			p.speed -= w.weight[i]
			if p.moving--; p.moving == 0 {
				p.speed = 0
			}
		}
	}
	w.rate[i], w.stop[i], w.state[i] = rate, why, still
}

// nextFull returns the link that fills first, infinitely high if none does.
func (w *water) nextFull() fullAt {
	for len(w.queue) > 0 {
		top := w.queue[0]
		now := w.pool[top.link].full()
		if now <= top.level {
			return top
		}
		// It fills later than was thought, or not at all.
		if math.IsInf(now, 1) {
			last := len(w.queue) - 1
			w.put(0, w.queue[last])
			w.queue = w.queue[:last]
			w.place[top.link] = -1
		} else {
			w.queue[0].level = now
		}
		w.sink()
	}
	return fullAt{level: math.Inf(1)}
}

func earlier(a, b fullAt) bool { return a.level < b.level || a.level == b.level && a.link < b.link }

// put writes f to the i-th place of the queue.
func (w *water) put(i int, f fullAt) {
	w.queue[i] = f
	w.place[f.link] = int32(i)
}

// push takes note that a link fills at a level that may be lower than was thought.
func (w *water) push(f fullAt) {
	i := int(w.place[f.link])
	if i < 0 {
		i = len(w.queue)
		w.queue = append(w.queue, f)
	} else if f.level >= w.queue[i].level {
		return
	}
	for ; i > 0; i = (i - 1) / 2 {
		up := w.queue[(i-1)/2]
		if !earlier(f, up) {
			break
		}
		w.put(i, up)
	}
	w.put(i, f)
}

// sink puts the first of the queue where it belongs.
func (w *water) sink() {
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(w.queue); c++ {
			if earlier(w.queue[c], w.queue[least]) {
				least = c
			}
		}
		if least == i {
			return
		}
		a, b := w.queue[i], w.queue[least]
		w.put(i, b)
		w.put(least, a)
		i = least
	}
}
