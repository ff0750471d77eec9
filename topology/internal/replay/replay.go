// Package replay makes up a day in the life of a network, from a seed: fibres that
// fail and are mended, nodes taken out for maintenance, demands that change. Tests and
// the bench solve after each event and judge every answer.
//
// It touches no clock; an event's time of day orders events and nothing else. A Day
// belongs to one goroutine.
package replay

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"dssn"
	"dssn/topology/solve"
)

// Day is a network and everything wrong with it at one instant.
type Day struct {
	// In is the instance of the instant; every event replaces it, graph and demands, so
	// that an instance handed out stays what it was.
	In    *solve.Instance
	r     *rand.Rand
	asked []dssn.Bandwidth // the demands of an ordinary hour
	cut   []int            // fibres that are down, by their first link
	out   []int            // nodes that are drained
}

// New begins a day on in, which must pass Check and is not changed.
func New(in *solve.Instance, seed uint64) *Day {
	return &Day{In: in, r: rand.New(rand.NewPCG(seed, 24)), asked: slices.Clone(in.Demands.Rate)}
}

// most is how much may be wrong at one time.
const most = 4

// Next lets one thing happen and says what it was.
func (d *Day) Next() string {
	next := &solve.Instance{Name: d.In.Name, Graph: d.In.Graph.Clone(), Demands: d.In.Demands}
	d.In = next
	switch p := d.r.IntN(10); {
	case p < 4 && len(d.cut) < most:
		e := d.r.IntN(next.Graph.NumLinks())
		d.cut = append(d.cut, e)
		d.mark()
		return "fibre " + next.Graph.LinkName(e) + " is cut"
	case p < 6 && len(d.cut) > 0:
		e := d.cut[0]
		d.cut = d.cut[1:]
		d.mark()
		return "fibre " + next.Graph.LinkName(e) + " is mended"
	case p < 7 && len(d.out) < 1:
		u := d.r.IntN(next.Graph.NumNodes())
		d.out = append(d.out, u)
		d.mark()
		return "node " + next.Graph.NodeLabel(u) + " is drained"
	case p < 8 && len(d.out) > 0:
		u := d.out[0]
		d.out = d.out[1:]
		d.mark()
		return "node " + next.Graph.NodeLabel(u) + " is back"
	}
	return d.change()
}

// mark writes what is wrong onto the fresh graph.
func (d *Day) mark() {
	g := d.In.Graph
	for e := range g.NumLinks() {
		g.SetDown(e, false)
		g.SetDrained(e, false)
	}
	for _, u := range d.out {
		g.DrainNode(u, true)
	}
	for _, e := range d.cut {
		l := g.Link(e)
		g.SetDown(e, true)
		if back, ok := g.LinkBetween(l.Dst, l.Src); ok {
			g.SetDown(back, true)
		}
	}
}

// change lets one demand in twenty ask for something between half and twice of what it
// asks for in an ordinary hour.
func (d *Day) change() string {
	rate := slices.Clone(d.In.Demands.Rate)
	n := 0
	for i, b := range d.asked {
		if d.r.IntN(20) == 0 {
			rate[i] = max(1, dssn.Bandwidth(float64(b)*(0.5+1.5*d.r.Float64())))
			n++
		}
	}
	d.In.Demands.Rate = rate
	return fmt.Sprintf("%d demands change", n)
}
