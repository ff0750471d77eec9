package core

import (
	"maps"

	"dssn"
	"dssn/controller/southbound"
)

func (c *Core) adjacent(a, b string) bool {
	na, nb := c.s.Nodes[a], c.s.Nodes[b]
	return na != nil && nb != nil && na.Neighbours[b] && nb.Neighbours[a]
}

func (c *Core) whyDown(a, b string) string {
	na, nb := c.s.Nodes[a], c.s.Nodes[b]
	switch {
	case na == nil:
		return a + " is not a member"
	case nb == nil:
		return b + " is not a member"
	case !na.Neighbours[b] && !nb.Neighbours[a]:
		return "neither end sees the other"
	case !na.Neighbours[b]:
		return a + " does not see " + b
	}
	return b + " does not see " + a
}

// Redundant reports whether an input would change nothing, so that it need not
// be journaled: a node repeats its adjacencies and features whenever it attaches.
func (c *Core) Redundant(in Input) bool {
	switch {
	case in.Adjacencies != nil:
		n := c.s.Nodes[in.Adjacencies.Node]
		return n != nil && maps.Equal(n.Neighbours, neighbours(in.Adjacencies.Links)) && (n.Role != southbound.RoleTerminal || n.Hub != "")
	case in.Hello != nil:
		n := c.s.Nodes[in.Hello.Node]
		return n != nil && n.Features == in.Hello.Features && !c.behind(in.Hello)
	case in.PathUse != nil:
		n, p := c.s.Nodes[in.PathUse.Node], c.nodeByID(in.PathUse.Peer)
		return n == nil || p == nil || n.InUse[p.Name] == in.PathUse.Carrier
	}
	return false
}

func neighbours(links []southbound.Adjacency) map[string]bool {
	up := map[string]bool{}
	for _, l := range links {
		if l.Up && l.Neighbour != "" {
			up[l.Neighbour] = true
		}
	}
	return up
}

func (x *step) hello(in *Hello) error {
	n := x.s.Nodes[in.Node]
	if n == nil {
		return refuse(Unknown, "no node is named %q: join first", in.Node)
	}
	if n.Features != in.Features {
		n.Features = in.Features
		x.changedNode(n) // carriers depend on who can steer
		x.event("features-changed", n.Name, 0, "%s now says: next-csid %v, carrier-egress %v, AES-256-GCM %v, %d workers %s", n.Name, in.Features.NextCSID, in.Features.CarrierEgress, in.Features.AES256GCM, in.Features.Workers, in.Features.Why)
	}
	if x.behind(in) {
		is := x.s.Issued[n.Name]
		x.event("generation-behind", n.Name, 0, "%s has generation %d of its assignment and %d was the last one known here, as after a restored backup: the next is above both", n.Name, in.Generation, is.Generation)
		is.Generation, is.Digest = in.Generation, ""
		x.touchNode(n.Name)
		x.replan = true
	}
	return nil
}

// maxGeneration bounds what a node can say that it has, so that generations can
// go on from there.
const maxGeneration = 1 << 53

// behind reports whether a node has a newer assignment than was ever issued, as
// far as is known here: the state is from a backup. The node would take none
// that is not above its own.
func (c *Core) behind(in *Hello) bool {
	is := c.s.Issued[in.Node]
	return is != nil && in.Generation > is.Generation && in.Generation < maxGeneration
}

// adjacencies takes what a node sees of its neighbours. A terminal's first
// neighbour among the backbone becomes its hub.
func (x *step) adjacencies(in *Adjacencies) error {
	n := x.s.Nodes[in.Node]
	if n == nil {
		return refuse(Unknown, "no node is named %q: join first", in.Node)
	}
	up := neighbours(in.Links)
	if maps.Equal(up, n.Neighbours) && (n.Role != southbound.RoleTerminal || n.Hub != "") {
		return nil
	}
	n.Neighbours = up
	if n.Role == southbound.RoleTerminal && n.Hub == "" {
		for _, name := range sortedKeys(up) {
			if _, isHub := x.index[name]; isHub && (x.s.Nodes[name] == nil || x.s.Nodes[name].Role == southbound.RoleBackbone) {
				n.Hub = name
				x.event("access-added", n.Name, 0, "%s is behind %s with %s", n.Name, n.Hub, n.Access)
				break
			}
		}
	}
	x.relink = true
	return nil
}

// pathUse remembers that an edge moved.
func (x *step) pathUse(in *PathUse) error {
	n, p := x.s.Nodes[in.Node], x.nodeByID(in.Peer)
	if n == nil || p == nil {
		return refuse(Unknown, "the path belongs to no known pair of nodes")
	}
	if n.InUse == nil {
		n.InUse = map[string]dssn.Carrier{}
	}
	if old, had := n.InUse[p.Name]; had && old != in.Carrier {
		x.event("path-taken", n.Name, 0, "%s moved its traffic to %s from %s to %s", n.Name, p.Name, old, in.Carrier)
	}
	n.InUse[p.Name] = in.Carrier
	return nil
}
