package node

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"dssn"
	"dssn/controller/southbound"
	"dssn/node/kernel"
	"dssn/node/liveness"
)

// Self is who a node is: what does not change from one Assignment to the next.
type Self struct {
	Node  dssn.NodeID
	Name  string
	Role  southbound.Role
	SID   dssn.SID
	Block netip.Prefix
	// Shifts is true if the kernel shifts carriers, Steers if carriers can be
	// written into packets that leave here.
	Shifts, Steers bool
	// Drives is true if a transit program in the driver forwards.
	Drives bool
	// Inside is the name of the engine's interface; "" if there is no engine.
	Inside string
	// Workers is how many threads the engine has.
	Workers int
	// Killed is true if the process before this one had no time to tidy up:
	// what it put into the kernel has carried on meanwhile.
	Killed bool
	// Timing is of path probes.
	Timing liveness.Timing
}

// Timers of the core.
const (
	// adoptFor is how long after its start a node leaves in the kernel what an
	// earlier process put there, while it meets its neighbours again.
	adoptFor = 2 * time.Second
	// auditEvery is how often the kernel is compared with what is wanted even
	// though nothing changed: somebody else may have.
	auditEvery = 5 * time.Second
	// pathsEvery is how often path states go up although nothing changed.
	pathsEvery = 2 * time.Second
	// lanesEvery is how often lanes are looked at that shall have a path of their
	// own.
	lanesEvery = 100 * time.Millisecond
	// meetFor is how long a node that was killed waits for its neighbours'
	// hellos before it says that they are not there.
	meetFor = time.Second
)

// Core decides what one host does. It is a machine: Step takes the time and an
// input and returns effects; nothing else happens. It is owned by one goroutine.
//
//	          Assigned                     LinkSeen, HelloHeard
//	(waiting) --------> (acting on n) <-- Assigned n+1 --, ProbeAnswered, Tick
//
// Every effect is computed from the whole of what is known, never from what
// changed, so that a lost or repeated input is mended by the next.
type Core struct {
	self       Self
	began      time.Time
	assignment *southbound.Assignment // nil before the first
	links      map[string]kernel.Link // watched, by name
	neighbours *liveness.Neighbours
	paths      *liveness.Paths
	carriers   map[netip.Addr]dssn.Carrier // as set below the socket
	laned      map[LaneKey]dssn.Carrier    // those of lanes with a path of their own
	nextLanes  time.Time
	data       []dssn.DataID
	plan       *kernel.Plan // last sent to the kernel
	adopting   bool
	meeting    bool // adjacencies are held back; see meetFor
	nextAudit  time.Time
	nextPaths  time.Time
	tunnels    map[dssn.SID]tunnel // those that may begin; see tunnels.go
	taken      time.Time           // when the Assignment came
	published  Published
	realised   Realised
}

// NewCore returns the core of a node that starts now.
func NewCore(now time.Time, self Self) *Core {
	return &Core{
		self:       self,
		began:      now,
		links:      map[string]kernel.Link{},
		neighbours: liveness.NewNeighbours(self.Name, self.SID),
		paths:      liveness.NewPaths(self.SID, self.Timing),
		carriers:   map[netip.Addr]dssn.Carrier{},
		adopting:   true,
		nextAudit:  now.Add(auditEvery),
	}
}

// Step takes one input and returns what is to be done about it, in order.
func (c *Core) Step(now time.Time, in Input) []Effect {
	switch in := in.(type) {
	case Tick:
		return c.tick(now)
	case LinkSeen:
		return c.linkSeen(now, in.Link)
	case HelloHeard:
		return c.helloHeard(now, in)
	case ProbeAnswered:
		var out []Effect
		if c.paths.Answered(now, in.Probe) {
			out = c.pathsChanged(now, nil)
		}
		return append(out, c.begin(now, in.Probe.From, in.Probe.Open)...)
	case Assigned:
		return c.assigned(now, in)
	case Attached:
		return c.attached(now)
	case DataHeld:
		c.data = slices.SortedFunc(slices.Values(in.Data), dssn.DataID.Compare)
		return c.kernelWanted(now, false)
	case Published:
		c.published = in
		return c.applied()
	case Realised:
		c.realised = in
		return c.applied()
	}
	return nil
}

func (c *Core) tick(now time.Time) (out []Effect) {
	probes, moved, changed := c.paths.Tick(now)
	if changed {
		out = c.pathsChanged(now, moved) // first: traffic waits
	}
	for _, p := range probes {
		out = append(out, SendProbe{p})
	}
	out = append(out, c.beginLate(now)...)
	hellos, met := c.neighbours.Tick(now)
	for _, h := range hellos {
		out = append(out, SendHello{c.links[h.Interface].Index, h.Hello})
	}
	if met {
		out = append(out, c.neighboursChanged(now)...)
	}
	if c.meeting && now.Sub(c.began) >= meetFor {
		out = append(out, c.adjacencies(now)...)
	}
	if c.adopting && now.Sub(c.began) >= adoptFor {
		c.adopting = false
		out = append(out, c.kernelWanted(now, true)...)
	}
	if !now.Before(c.nextAudit) {
		out = append(out, c.kernelWanted(now, true)...)
	}
	if !now.Before(c.nextLanes) { // a path that was new has answered meanwhile
		c.nextLanes = now.Add(lanesEvery)
		out = append(out, c.laneCarriers()...)
	}
	if c.assignment != nil && len(c.assignment.Peers) > 0 && !now.Before(c.nextPaths) {
		out = append(out, c.pathStates(now))
	}
	return out
}

// linkSeen follows a watched interface. An interface that goes down takes its
// routes along in the kernel, so the kernel is always compared anew.
func (c *Core) linkSeen(now time.Time, l kernel.Link) (out []Effect) {
	before, known := c.links[l.Name]
	if l.Gone {
		delete(c.links, l.Name)
	} else {
		c.links[l.Name] = l
	}
	same := known && !l.Gone && before.Index == l.Index && before.Up == l.Up && before.MTU == l.MTU
	if known && before.Up && (!l.Up || before.Index != l.Index) {
		c.neighbours.LinkDown(l.Name)
		out = append(out, LoseLink{l.Name, before.Index}, Noticed{"link down", []any{"link", l.Name}})
	}
	if l.Up && c.neighbours.LinkUp(now, l.Name) {
		out = append(out, UseLink{l.Name, l.Index}, Noticed{"link up", []any{"link", l.Name}})
		hellos, _ := c.neighbours.Tick(now)
		for _, h := range hellos {
			out = append(out, SendHello{c.links[h.Interface].Index, h.Hello})
		}
	}
	if same && before.Speed == l.Speed {
		return out
	}
	return append(out, c.neighboursChanged(now)...)
}

func (c *Core) helloHeard(now time.Time, in HelloHeard) (out []Effect) {
	if !c.neighbours.Received(now, in.Interface, in.From, in.Hello) {
		return nil
	}
	hellos, _ := c.neighbours.Tick(now) // an answer, without waiting
	for _, h := range hellos {
		out = append(out, SendHello{c.links[h.Interface].Index, h.Hello})
	}
	return append(out, c.neighboursChanged(now)...)
}

// neighboursChanged tells kernel and controller what the links lead to.
func (c *Core) neighboursChanged(now time.Time) []Effect {
	return append(c.kernelWanted(now, true), c.adjacencies(now)...)
}

func (c *Core) assigned(now time.Time, in Assigned) []Effect {
	a := in.Assignment
	if err := c.check(a); err != nil {
		return []Effect{Noticed{"assignment refused", []any{"generation", a.Generation, "err", err}},
			SendUp{southbound.Up{Applied: &southbound.Applied{Generation: a.Generation, Problem: err.Error()}}}}
	}
	if c.assignment != nil && a.Generation <= c.assignment.Generation {
		return c.applied() // late or repeated
	}
	c.assignment, c.taken = a, now
	var out []Effect
	if !in.FromDisk {
		out = append(out, Persist{a})
	}
	c.keepTunnels(now)
	out = append(out, c.probePeers(), SetAdmission{a})
	out = append(out, c.kernelWanted(now, true)...)
	out = append(out, c.pathsChanged(now, c.paths.Set(now, c.ways()))...)
	return append(out, PublishTables{c.tables()})
}

// check reports why an Assignment cannot be acted on.
func (c *Core) check(a *southbound.Assignment) error {
	switch {
	case a.Generation == 0:
		return fmt.Errorf("the assignment has no generation")
	case a.Node != c.self.Node:
		return fmt.Errorf("the assignment is for %s, and this is %s", a.Node, c.self.Node)
	case a.SID != c.self.SID || a.Block != c.self.Block:
		return fmt.Errorf("the assignment moves this node from %v to %v: join again", c.self.SID.Node(c.self.Block), a.SID.Node(a.Block))
	}
	for _, p := range a.Peers {
		if suites[p.Suite] == 0 {
			return fmt.Errorf("the assignment wants the tunnel with %s sealed by %q, which this version cannot: upgrade this node", p.Name, string(p.Suite))
		}
	}
	return nil
}

// attached tells a controller that just appeared all there is to know.
func (c *Core) attached(now time.Time) []Effect {
	out := c.adjacencies(now)
	if c.assignment != nil && len(c.assignment.Peers) > 0 {
		out = append(out, c.pathStates(now))
	}
	return append(out, c.applied()...)
}

// applied tells the controller how far the held generation is in force; nothing
// until both the engine and the kernel have taken it.
func (c *Core) applied() []Effect {
	if c.assignment == nil {
		return nil
	}
	g := c.assignment.Generation
	if c.published.Generation != g || c.realised.Generation != g || len(c.tunnels) != len(c.assignment.Peers) {
		return nil
	}
	problem := c.published.Problem
	if problem == "" {
		problem = c.realised.Problem
	}
	return []Effect{SendUp{southbound.Up{Applied: &southbound.Applied{Generation: g, Problem: problem}}}}
}

// adjacencies tells what the links lead to, unless this node was killed, has just
// begun again and has not met all its neighbours yet.
func (c *Core) adjacencies(now time.Time) []Effect {
	if c.meeting = c.self.Killed && now.Sub(c.began) < meetFor && !c.metAll(); c.meeting {
		return nil
	}
	m := &southbound.Adjacencies{Links: []southbound.Adjacency{}}
	met := map[string]liveness.Neighbour{}
	for _, n := range c.neighbours.List() {
		met[n.Interface] = n
	}
	for _, name := range slices.Sorted(maps.Keys(c.links)) {
		l, n := c.links[name], met[name]
		m.Links = append(m.Links, southbound.Adjacency{Interface: name, Neighbour: n.Name, Up: l.Up && n.Held, Speed: l.Speed})
	}
	return []Effect{SendUp{southbound.Up{Adjacencies: m}}}
}

// metAll reports whether every neighbour of the Assignment is up.
func (c *Core) metAll() bool {
	if c.assignment == nil {
		return false
	}
	ways := c.waysToNeighbours()
	for _, n := range c.assignment.Neighbours {
		if !ways[n.Node].up {
			return false
		}
	}
	return true
}

// pathsChanged sets the carriers of the paths in use and reports.
func (c *Core) pathsChanged(now time.Time, moved []liveness.Switch) (out []Effect) {
	wanted := map[netip.Addr]dssn.Carrier{}
	if c.assignment != nil && c.assignment.Steering && c.self.Steers {
		for _, s := range c.paths.Status() {
			if s.InUse {
				wanted[s.Peer.Node(c.self.Block)] = s.Carrier
			}
		}
	}
	for _, to := range slices.SortedFunc(maps.Keys(wanted), netip.Addr.Compare) {
		if c.carriers[to] != wanted[to] {
			out = append(out, SetCarrier{to, wanted[to]})
		}
	}
	for _, to := range slices.SortedFunc(maps.Keys(c.carriers), netip.Addr.Compare) {
		if _, ok := wanted[to]; !ok {
			out = append(out, ClearCarrier{to})
		}
	}
	c.carriers = wanted
	out = append(out, c.laneCarriers()...)
	for _, s := range moved {
		if p := c.peer(s.Peer); p != nil {
			out = append(out, Switched{p.Node, p.Name, c.hops(p, s.To), s})
		}
	}
	return append(out, c.pathStates(now))
}

func (c *Core) peer(sid dssn.SID) *southbound.Peer {
	if c.assignment == nil {
		return nil
	}
	for i := range c.assignment.Peers {
		if c.assignment.Peers[i].SID == sid {
			return &c.assignment.Peers[i]
		}
	}
	return nil
}

func (c *Core) hops(p *southbound.Peer, carrier dssn.Carrier) []string {
	for _, path := range p.Paths {
		if path.Carrier == carrier {
			return path.Hops
		}
	}
	return nil
}

func (c *Core) pathStates(now time.Time) Effect {
	c.nextPaths = now.Add(pathsEvery)
	m := &southbound.PathStates{States: []southbound.PathState{}}
	for _, s := range c.paths.Status() {
		if p := c.peer(s.Peer); p != nil {
			m.States = append(m.States, southbound.PathState{Peer: p.Node, Carrier: s.Carrier, Alive: s.Alive, InUse: s.InUse, RTT: s.RTT, Since: s.Since})
		}
	}
	return SendUp{southbound.Up{Paths: m}}
}

// Neighbours returns what the links lead to.
func (c *Core) Neighbours() []liveness.Neighbour { return c.neighbours.List() }

// Paths returns the state of every path.
func (c *Core) Paths() []liveness.PathStatus { return c.paths.Status() }

// Assignment returns the one in force, nil before the first. It is not changed
// by anybody.
func (c *Core) Assignment() *southbound.Assignment { return c.assignment }
