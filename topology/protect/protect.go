package protect

import (
	"errors"
	"fmt"
	"slices"

	"dssn/topology"
	"dssn/topology/paths"
)

// Separation says how far a backup keeps clear of its primary, best first.
type Separation uint8

// Disjoint backups share no node but the ends and no risk group; NodeDisjoint
// ones may share a risk group, LinkDisjoint ones nodes too; with Unprotected there
// is no backup.
const (
	Disjoint Separation = iota
	NodeDisjoint
	LinkDisjoint
	Unprotected
)

// String returns the separation in words.
func (s Separation) String() string {
	return [...]string{"disjoint", "node-disjoint", "link-disjoint", "unprotected"}[min(s, Unprotected)]
}

// Detour is what the node before a failed hop does.
type Detour struct {
	Hop      int        // index into the primary; its first node detours
	Path     paths.Path // from there to the destination; nil: nothing is left
	Segments []int      // waypoints that pin Path, the destination last
	// PastNode says that Path also avoids the node behind the hop, so that it
	// helps whether the link or that node has failed.
	PastNode bool
	// SharesRisk says that Path crosses a risk group of the hop, because there is nothing
	// else: it helps if the link alone has failed.
	SharesRisk bool
}

// Protection is a primary path and its repairs.
type Protection struct {
	Primary        paths.Path
	Backup         paths.Path
	BackupSegments []int
	Separation     Separation
	Detours        []Detour // one per hop
}

// Planner computes protections on one unchanging graph, remembering forwarding
// trees between calls. It belongs to one goroutine.
type Planner struct {
	g   *topology.Graph
	fwd *paths.Forwarding
}

// NewPlanner returns a Planner for g.
func NewPlanner(g *topology.Graph) *Planner { return &Planner{g: g, fwd: paths.NewForwarding(g)} }

// Plan computes the repairs of primary, a loop-free path; the error says where it
// is not one. Repairs that do not exist are no error: see Separation and Detour.Path.
func (p *Planner) Plan(primary paths.Path) (*Protection, error) {
	nodes := primary.Nodes(p.g)
	if len(nodes) == 0 {
		return nil, fmt.Errorf("protect an empty path: give at least one link")
	}
	src, dst := nodes[0], nodes[len(nodes)-1]
	if err := primary.Check(p.g, src, dst); err != nil {
		return nil, fmt.Errorf("protect: %w", err)
	}
	out := &Protection{Primary: slices.Clone(primary), Separation: Unprotected}
	var inner []int32
	for _, u := range nodes[1 : len(nodes)-1] {
		inner = append(inner, int32(u))
	}
	groups := p.groups(primary)
	both := p.withReverse(primary)
	for s, c := range []paths.Constraint{
		{AvoidLinks: both, AvoidNodes: inner, AvoidSRLGs: groups},
		{AvoidLinks: both, AvoidNodes: inner},
		{AvoidLinks: both},
	} {
		if out.Backup, out.BackupSegments = p.pinned(src, dst, c); out.Backup != nil {
			out.Separation = Separation(s)
			break
		}
	}
	for i, e := range primary {
		out.Detours = append(out.Detours, p.detour(nodes, primary, i, e))
	}
	return out, nil
}

// detour finds the way from the node before hop i to the end without the hop, its
// risk groups and, if there is one, the node behind it.
func (p *Planner) detour(nodes []int, primary paths.Path, i int, e int32) Detour {
	d := Detour{Hop: i}
	dst := nodes[len(nodes)-1]
	// The nodes already passed stay out: traffic must not come back to them.
	c := paths.Constraint{AvoidLinks: p.withReverse(primary[i : i+1]), AvoidSRLGs: p.groups(primary[i : i+1])}
	for _, u := range nodes[:i] {
		c.AvoidNodes = append(c.AvoidNodes, int32(u))
	}
	for _, shared := range []bool{false, true} {
		try := c
		if shared {
			try.AvoidSRLGs = nil
		}
		if d.SharesRisk = shared; shared && len(c.AvoidSRLGs) == 0 {
			break
		}
		if behind := nodes[i+1]; behind != dst {
			past := try
			past.AvoidNodes = append(slices.Clone(c.AvoidNodes), int32(behind))
			if d.Path, d.Segments = p.pinned(nodes[i], dst, past); d.Path != nil {
				d.PastNode = true
				return d
			}
		}
		if d.Path, d.Segments = p.pinned(nodes[i], dst, try); d.Path != nil {
			return d
		}
	}
	d.SharesRisk = false
	return d
}

// pinned returns the shortest path under c that a segment list can express, trying
// again without each link that none can.
func (p *Planner) pinned(src, dst int, c paths.Constraint) (paths.Path, []int) {
	c.AvoidLinks = slices.Clone(c.AvoidLinks)
	for range p.g.NumLinks() {
		path, err := paths.Shortest(p.g, src, dst, c)
		if err != nil {
			return nil, nil
		}
		segments, err := p.fwd.Segments(path)
		if err == nil {
			return path, segments
		}
		var odd *paths.UnpinnableError
		if !errors.As(err, &odd) {
			return nil, nil
		}
		c.AvoidLinks = append(c.AvoidLinks, odd.Index)
	}
	return nil, nil
}

// groups lists the risk groups of the links.
func (p *Planner) groups(links paths.Path) (all []uint32) {
	for _, e := range links {
		all = append(all, p.g.Link(int(e)).SRLGs...)
	}
	return all
}

// withReverse adds the links' opposite directions, which fail with them.
func (p *Planner) withReverse(links paths.Path) []int32 {
	all := slices.Clone([]int32(links))
	for _, e := range links {
		l := p.g.Link(int(e))
		if r, ok := p.g.LinkBetween(l.Dst, l.Src); ok {
			all = append(all, int32(r))
		}
	}
	return all
}
