// What survives: the arithmetic of failures.

package protect

import (
	"cmp"
	"fmt"
	"slices"

	"dssn"
	"dssn/topology"
)

// Risk is something that fails as a whole.
type Risk struct {
	Name  string
	Links []int32 // every link that is gone with it, ascending
	Node  int     // the node that fails, -1 for a fibre or a group
}

// Risks lists everything that can fail alone: every fibre with both its
// directions, every node, every shared-risk group of more than one fibre.
func Risks(g *topology.Graph) (all []Risk) {
	groups := map[uint32][]int32{}
	for e, l := range g.Links() {
		for _, s := range l.SRLGs {
			groups[s] = append(groups[s], int32(e))
		}
		r, ok := g.LinkBetween(l.Dst, l.Src)
		switch {
		case !ok:
			all = append(all, Risk{"link " + g.LinkName(e), []int32{int32(e)}, -1})
		case r > e:
			all = append(all, Risk{"fibre " + g.LinkName(e), []int32{int32(e), int32(r)}, -1})
		}
	}
	for u := range g.NumNodes() {
		links := append(slices.Clone(g.Out(u)), g.In(u)...)
		slices.Sort(links)
		all = append(all, Risk{"node " + g.NodeLabel(u), links, u})
	}
	var ids []uint32
	for s, links := range groups {
		if len(links) > 2 {
			ids = append(ids, s)
		}
	}
	slices.Sort(ids)
	for _, s := range ids {
		all = append(all, Risk{fmt.Sprintf("risk group %d", s), groups[s], -1})
	}
	return all
}

// Traffic is a rate on a protected path.
type Traffic struct {
	*Protection
	Rate dssn.Bandwidth
}

// Outcome is what one failure, or two at once, does.
type Outcome struct {
	Failure  string
	Hit      dssn.Bandwidth // on primaries that cross what failed
	Repaired dssn.Bandwidth // of it, carried by backups
	Lost     dssn.Bandwidth // of it, carried by nothing
	Ended    dssn.Bandwidth // of it, began or ended at a failed node: nothing can carry it
	Overfull []int32        // links that the repaired traffic would overfill, ascending
}

// Survey computes the outcome of every single risk, the worst loss first; ties by
// name. With doubles it does the same for every pair of risks too: their number is
// the square of the number of risks.
func Survey(g *topology.Graph, traffic []Traffic, risks []Risk, doubles bool) []Outcome {
	s := newSurvey(g, traffic)
	var out []Outcome
	for i := range risks {
		out = append(out, s.outcome(risks[i].Name, risks[i:i+1]))
		if !doubles {
			continue
		}
		for j := range i {
			out = append(out, s.outcome(risks[j].Name+" and "+risks[i].Name, []Risk{risks[j], risks[i]}))
		}
	}
	slices.SortFunc(out, func(a, b Outcome) int {
		if c := cmp.Compare(b.Lost, a.Lost); c != 0 {
			return c
		}
		return cmp.Compare(a.Failure, b.Failure)
	})
	return out
}

type survey struct {
	g       *topology.Graph
	traffic []Traffic
	onLink  [][]int32 // primaries by link
	load    []dssn.Bandwidth
	dead    []bool
	seen    []int
	stamp   int
}

func newSurvey(g *topology.Graph, traffic []Traffic) *survey {
	s := &survey{g: g, traffic: traffic, onLink: make([][]int32, g.NumLinks()), load: make([]dssn.Bandwidth, g.NumLinks()),
		dead: make([]bool, g.NumLinks()), seen: make([]int, len(traffic))}
	for i, t := range traffic {
		for _, e := range t.Primary {
			s.onLink[e] = append(s.onLink[e], int32(i))
			s.load[e] += t.Rate
		}
	}
	return s
}

func (s *survey) outcome(name string, failed []Risk) Outcome {
	out := Outcome{Failure: name}
	for _, r := range failed {
		for _, e := range r.Links {
			s.dead[e] = true
		}
	}
	s.stamp++
	extra := map[int32]int64{}
	for _, r := range failed {
		for _, e := range r.Links {
			for _, i := range s.onLink[e] {
				if s.seen[i] != s.stamp {
					s.seen[i] = s.stamp
					s.reroute(&out, &s.traffic[i], failed, extra)
				}
			}
		}
	}
	for e, x := range extra {
		if x > 0 && int64(s.load[e])+x > int64(s.g.Link(int(e)).Capacity) {
			out.Overfull = append(out.Overfull, e)
		}
	}
	slices.Sort(out.Overfull)
	for _, r := range failed {
		for _, e := range r.Links {
			s.dead[e] = false
		}
	}
	return out
}

// reroute books one hit primary's traffic under what becomes of it.
func (s *survey) reroute(out *Outcome, t *Traffic, failed []Risk, extra map[int32]int64) {
	out.Hit += t.Rate
	nodes := t.Primary.Nodes(s.g)
	for _, r := range failed {
		if r.Node >= 0 && (r.Node == nodes[0] || r.Node == nodes[len(nodes)-1]) {
			out.Ended += t.Rate
			return
		}
	}
	if t.Backup == nil || slices.ContainsFunc(t.Backup, func(e int32) bool { return s.dead[e] }) {
		out.Lost += t.Rate
		return
	}
	out.Repaired += t.Rate
	for _, e := range t.Primary {
		extra[e] -= int64(t.Rate)
	}
	for _, e := range t.Backup {
		extra[e] += int64(t.Rate)
	}
}
