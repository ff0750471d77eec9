// Dealing: what the master gave to classes becomes paths and rates of demands.
//
// Members of a class are served one after the other, column after column, so that
// all but one member per boundary between columns have a single path. Then rates
// on links that rounding overfilled are scaled down, and what room is left is
// offered to whoever still wants something: the result is feasible to the last
// bit per second, whatever the master's accuracy was.

package solve

import (
	"math"
	"slices"
)

// dealt is a rate over a path of the store.
type dealt struct {
	demand int32
	path   int32
	rate   float64
}

// shares deals the classes' amounts out to demands in order.
func (e *engine) shares() []dealt {
	ip, c := e.ip, e.cols
	flows := make([]dealt, 0, len(c.classOf)+len(c.classOf)/8)
	// What is left to deal of every column; columns the central path merely grazes
	// are dropped and their amount goes to the class's other columns.
	left := make([]float64, len(ip.colPat))
	live := len(ip.fixed)
	next := make([]int32, live)
	for k := range live {
		lo, hi := ip.colAt[k], ip.colAt[k+1]
		next[k] = lo
		amount, kept := ip.amount(k), 0.0
		served := 0.0
		most := lo
		for i := lo; i < hi; i++ {
			served += ip.x[i]
			if ip.x[i] > ip.x[most] {
				most = i
			}
		}
		if e.refuse && ip.s[k] < ip.zeta[k]*ip.pull[k] {
			served = amount // refusal is only grazed
		}
		if e.refuse && ip.s[k] > 0.999*amount {
			served = 0
		}
		for i := lo; i < hi; i++ {
			if ip.x[i] >= ip.z[i]*ip.pull[k] || i == most {
				left[i] = ip.x[i]
				kept += ip.x[i]
			}
		}
		for i := lo; i < hi; i++ {
			left[i] *= served / kept
		}
	}
	for d := range c.classOf {
		class := c.classOf[d]
		if class == 0 {
			continue
		}
		k := e.liveOf[class]
		switch k {
		case absent, dead:
			continue
		case forced:
			if m := e.mass(int32(d)); m > 0 {
				flows = append(flows, dealt{int32(d), c.pathFor(int32(d), c.classes.last[class]), m})
			}
			continue
		}
		want := e.mass(int32(d))
		crumb := 1e-9 * want
		for i := next[k]; want > crumb && i < ip.colAt[k+1]; i++ {
			next[k] = i
			if r := math.Min(want, left[i]); r > crumb {
				left[i] -= r
				want -= r
				flows = append(flows, dealt{int32(d), c.pathFor(int32(d), ip.colPat[i]), r})
			}
		}
	}
	return flows
}

// deal makes the allocation of a flow problem from the master's iterate.
func (e *engine) deal(in *Instance, o Objective) *Allocation {
	flows := e.shares()
	load := e.loadOf(flows)
	flows = e.squeeze(flows, load)
	flows = e.fill(flows, load)
	a := &Allocation{Objective: o, Flows: e.export(flows)}
	for _, f := range flows {
		a.Value += f.rate
	}
	return a
}

func (e *engine) loadOf(flows []dealt) []float64 {
	load := make([]float64, e.net.links)
	for _, f := range flows {
		for _, l := range e.store.path(f.path) {
			load[l] += f.rate
		}
	}
	return load
}

// squeeze scales flows down until no link is overfull, and keeps load up to date.
func (e *engine) squeeze(flows []dealt, load []float64) []dealt {
	fit := make([]float64, len(load))
	over := false
	for l, x := range load {
		fit[l] = 1
		if x > e.net.capacity[l] {
			fit[l] = e.net.capacity[l] / x
			over = true
		}
	}
	if !over {
		return flows
	}
	clear(load)
	for i := range flows {
		f := &flows[i]
		least := 1.0
		path := e.store.path(f.path)
		for _, l := range path {
			least = math.Min(least, fit[l])
		}
		f.rate *= least
		for _, l := range path {
			load[l] += f.rate
		}
	}
	return slices.DeleteFunc(flows, func(f dealt) bool { return f.rate <= 0 })
}

// fill offers what room is left to demands that want more, over their own paths,
// the ones that cost the fewest links first.
func (e *engine) fill(flows []dealt, load []float64) []dealt {
	at := make([]int32, len(e.store.head)) // the demand's first flow, 1-based
	got := make([]float64, len(e.store.head))
	for i, f := range flows {
		if at[f.demand] == 0 {
			at[f.demand] = int32(i) + 1
		}
		got[f.demand] += f.rate
	}
	n := len(flows)
	for d := range e.store.head {
		want := e.work.mass[d] - got[d]
		if want <= 1e-9*e.work.mass[d] {
			continue
		}
		for p := e.store.head[d]; p >= 0 && want > 1e-9*e.work.mass[d]; p = e.store.prev[p] {
			path := e.store.path(p)
			room := want
			for _, l := range path {
				if room = math.Min(room, e.net.capacity[l]-load[l]); room <= 0 {
					break
				}
			}
			if room <= 1e-6*want {
				continue
			}
			want -= room
			for _, l := range path {
				load[l] += room
			}
			joined := false
			for i := int(at[d]) - 1; i >= 0 && i < n && flows[i].demand == int32(d); i++ {
				if flows[i].path == p {
					flows[i].rate += room
					joined = true
				}
			}
			if !joined {
				flows = append(flows, dealt{int32(d), p, room})
			}
		}
	}
	return flows
}

// export turns flows into the instance's terms, ordered by demand.
func (e *engine) export(flows []dealt) []Flow {
	out := make([]Flow, 0, len(flows))
	size := 0
	for _, f := range flows {
		size += len(e.store.path(f.path))
	}
	// The paths are copied into one block of their own, so that the store can go.
	block := make([]int32, 0, size)
	for _, f := range flows {
		from := len(block)
		block = append(block, e.store.path(f.path)...)
		out = append(out, Flow{Demand: e.work.of[f.demand], Rate: f.rate, Path: block[from:len(block):len(block)]})
	}
	slices.SortStableFunc(out, func(a, b Flow) int { return int(a.Demand) - int(b.Demand) })
	return out
}
