// Segment lists: a path written as the fewest waypoints.
//
// A packet sent to waypoint w travels by w's forwarding tree. For each node j on
// the path, low(j) is the earliest node of the path from which j's tree follows
// the path: from every node between low(j) and j it does so too. The fewest
// waypoints are then a shortest path in the little graph with an edge i→j
// wherever low(j) ≤ i < j.

package paths

import (
	"fmt"
	"net/netip"

	"dssn"
	"dssn/topology"
)

// Forwarding remembers forwarding trees by destination, for callers that ask
// for many segment lists on one unchanging graph.
type Forwarding struct {
	g     *topology.Graph
	next  map[int][]int32
	allow []bool
}

// NewForwarding returns an empty Forwarding over g, which must not change meanwhile.
func NewForwarding(g *topology.Graph) *Forwarding {
	return &Forwarding{g: g, next: map[int][]int32{}, allow: Constraint{}.filter(g)}
}

// NextHops is the package function NextHops, remembered.
func (f *Forwarding) NextHops(dst int) []int32 {
	if next, ok := f.next[dst]; ok {
		return next
	}
	t := newTree(f.g.NumNodes())
	t.grow(f.g, dst, -1, f.allow)
	f.next[dst] = t.next
	return t.next
}

// Segments is the package function Segments on remembered trees.
func (f *Forwarding) Segments(p Path) ([]int, error) {
	if len(p) == 0 {
		return nil, fmt.Errorf("segment list of an empty path: give at least one link")
	}
	nodes := p.Nodes(f.g)
	if err := p.Check(f.g, nodes[0], nodes[len(nodes)-1]); err != nil {
		return nil, fmt.Errorf("segment list: %w", err)
	}
	type step struct{ count, from int }
	best := make([]step, len(nodes))
	for j := 1; j < len(nodes); j++ {
		next := f.NextHops(nodes[j])
		low := j
		for low > 0 && next[nodes[low-1]] == p[low-1] {
			low--
		}
		if low == j {
			return nil, &UnpinnableError{Link: f.g.LinkName(int(p[j-1])), Index: p[j-1]}
		}
		best[j] = step{best[low].count + 1, low}
		for i := low + 1; i < j; i++ {
			if best[i].count+1 < best[j].count {
				best[j] = step{best[i].count + 1, i}
			}
		}
	}
	waypoints := make([]int, best[len(nodes)-1].count)
	for j, k := len(nodes)-1, len(waypoints)-1; j > 0; j, k = best[j].from, k-1 {
		waypoints[k] = nodes[j]
	}
	return waypoints, nil
}

// UnpinnableError says that a link is not itself the shortest way between its
// ends, so that no list of node segments can make a packet take it.
type UnpinnableError struct {
	Link  string
	Index int32
}

func (e *UnpinnableError) Error() string {
	return fmt.Sprintf("link %s is not the shortest way between its own ends, so node segments cannot steer onto it: lower its latency metric or avoid it", e.Link)
}

// Segments returns the fewest waypoints, in travelling order and ending with the
// path's last node, that make the forwarding of NextHops follow p exactly. The
// error is an *UnpinnableError where node segments cannot express p.
func Segments(g *topology.Graph, p Path) ([]int, error) { return NewForwarding(g).Segments(p) }

// Carrier writes waypoints as a NEXT-CSID carrier in block. It fails where a
// node has no SID or there are more than dssn.MaxCarrierSIDs waypoints.
func Carrier(g *topology.Graph, block netip.Prefix, waypoints []int) (dssn.Carrier, error) {
	sids := make([]dssn.SID, len(waypoints))
	for i, w := range waypoints {
		n := g.Node(w)
		if n.SID == 0 {
			return dssn.Carrier{}, fmt.Errorf("carrier through %q: the node has no SID yet", n.Name)
		}
		sids[i] = n.SID
	}
	return dssn.NewCarrier(block, sids...)
}
