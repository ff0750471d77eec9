package bound

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"dssn"
	"dssn/topology"
	"dssn/topology/paths"
)

// Flow is an assured flow on its path.
type Flow struct {
	Envelope
	Path paths.Path
}

// Network bounds every flow of the assured class at once: each link's crossing
// bursts are the flows' bursts as they arrive there, grown by the hops before.
// otherPacket is the largest packet of any other class.
//
// The error names a link that is promised more than it carries, or that the growth
// of bursts runs in a circle (flow A meets B, B meets C, and C meets A before
// them), where this method proves nothing.
func Network(g *topology.Graph, flows []Flow, otherPacket dssn.ByteCount) ([]Bounds, error) {
	n := &network{g: g, flows: flows, other: otherPacket, on: map[int32][]visit{}, burst: map[visit]dssn.ByteCount{}}
	for i, f := range flows {
		for k, e := range f.Path {
			n.on[e] = append(n.on[e], visit{i, k})
		}
	}
	for _, e := range slices.Sorted(maps.Keys(n.on)) { // in order, so that the same error is found every time
		var sum dssn.Bandwidth
		for _, v := range n.on[e] {
			sum += flows[v.flow].Rate
		}
		if c := g.Link(int(e)).Capacity; sum > c {
			return nil, fmt.Errorf("link %s is promised %s but carries %s: release some", g.LinkName(int(e)), sum, c)
		}
	}
	out := make([]Bounds, len(flows))
	for i, f := range flows {
		hops := make([]Hop, len(f.Path))
		for k := range f.Path {
			h, err := n.hop(visit{i, k}, nil)
			if err != nil {
				return nil, err
			}
			hops[k] = h
		}
		b, err := Path(f.Envelope, hops)
		if err != nil {
			return nil, fmt.Errorf("flow %d: %w", i, err)
		}
		out[i] = b
	}
	return out, nil
}

// visit is a flow at one hop of its path.
type visit struct{ flow, hop int }

type network struct {
	g     *topology.Graph
	flows []Flow
	other dssn.ByteCount
	on    map[int32][]visit
	burst map[visit]dssn.ByteCount // on arrival; what is known so far
}

// hop describes a link as the visiting flow meets it.
func (n *network) hop(v visit, asked []visit) (Hop, error) {
	e := n.flows[v.flow].Path[v.hop]
	l := n.g.Link(int(e))
	h := Hop{Capacity: l.Capacity, Propagation: time.Duration(l.LatencyMicros) * time.Microsecond, OtherPacket: n.other}
	for _, o := range n.on[e] {
		if o.flow == v.flow {
			continue
		}
		b, err := n.arriving(o, asked)
		if err != nil {
			return Hop{}, err
		}
		h.CrossRate += n.flows[o.flow].Rate
		h.CrossBurst += b
	}
	return h, nil
}

// arriving returns a flow's burst on arrival at one of its hops.
func (n *network) arriving(v visit, asked []visit) (dssn.ByteCount, error) {
	f := n.flows[v.flow]
	if v.hop == 0 {
		return f.Burst, nil
	}
	if b, ok := n.burst[v]; ok {
		return b, nil
	}
	for _, a := range asked {
		if a == v {
			return 0, fmt.Errorf("the bursts on link %s depend on themselves in a circle: choose paths that do not wind round each other", n.g.LinkName(int(f.Path[v.hop])))
		}
	}
	asked = append(asked, v)
	before := visit{v.flow, v.hop - 1}
	b, err := n.arriving(before, asked)
	if err != nil {
		return 0, err
	}
	h, err := n.hop(before, asked)
	if err != nil {
		return 0, err
	}
	s, err := h.Service()
	if err != nil {
		return 0, fmt.Errorf("link %s: %w", n.g.LinkName(int(f.Path[v.hop-1])), err)
	}
	// Propagation delays everything alike and makes no burst.
	b += arrivals(f.Rate, s.Latency-h.Propagation)
	n.burst[v] = b
	return b, nil
}
