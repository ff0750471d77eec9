// The k shortest loop-free paths: J. Y. Yen, "Finding the K shortest loopless
// paths in a network", Management Science 17(11) (1971). Each further path leaves
// an earlier one at some node, over a link that no path with the same beginning has taken.

package paths

import (
	"errors"
	"slices"

	"dssn/topology"
)

// KShortest returns up to k loop-free paths from src to dst under c, least latency
// first, then fewest hops, then smallest links. The error is a *NoPathError where
// there is not even one.
func KShortest(g *topology.Graph, src, dst, k int, c Constraint) ([]Path, error) {
	best, err := Shortest(g, src, dst, c)
	if err != nil {
		return nil, err
	}
	found := []Path{best}
	var waiting []Path
	for len(found) < k {
		last := found[len(found)-1]
		nodes := last.Nodes(g)
		for i := range last {
			spur := c
			spur.MaxLatency = 0
			spur.AvoidLinks, spur.AvoidNodes = slices.Clone(c.AvoidLinks), slices.Clone(c.AvoidNodes)
			for _, p := range found {
				if len(p) > i && slices.Equal(p[:i], last[:i]) {
					spur.AvoidLinks = append(spur.AvoidLinks, p[i])
				}
			}
			for _, u := range nodes[:i] {
				spur.AvoidNodes = append(spur.AvoidNodes, int32(u))
			}
			tail, err := Shortest(g, nodes[i], dst, spur)
			var none *NoPathError
			if errors.As(err, &none) {
				continue
			}
			if err != nil {
				return nil, err
			}
			p := append(slices.Clone(last[:i]), tail...)
			if c.MaxLatency > 0 && p.Latency(g) > c.MaxLatency {
				continue
			}
			if at, ok := slices.BinarySearchFunc(waiting, p, func(a, b Path) int { return order(g, a, b) }); !ok {
				waiting = slices.Insert(waiting, at, p)
			}
		}
		if len(waiting) == 0 {
			break
		}
		found, waiting = append(found, waiting[0]), waiting[1:]
	}
	return found, nil
}

// order compares paths as the package documents.
func order(g *topology.Graph, a, b Path) int {
	if x, y := a.Latency(g), b.Latency(g); x != y {
		return int(min(max(x-y, -1), 1))
	}
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return slices.Compare(a, b)
}
