package node

import (
	"net/netip"
	"slices"
	"time"

	"dssn"
	"dssn/controller/southbound"
	"dssn/dataplane"
	"dssn/dataplane/aead"
	"dssn/node/kernel"
	"dssn/node/liveness"
)

const loopback = "lo"

// kernelWanted computes the plan of the present state. Without always it is
// sent only if it differs from the last one.
func (c *Core) kernelWanted(now time.Time, always bool) []Effect {
	if c.assignment == nil {
		return nil
	}
	p := c.kernelPlan()
	if !always && c.plan != nil && c.plan.Equal(p) {
		return nil
	}
	c.plan = p
	c.nextAudit = now.Add(auditEvery)
	return append([]Effect{SetKernel{c.assignment.Generation, p, c.adopting}}, c.transitWanted(p)...)
}

// kernelPlan is everything that this node wants in the kernel.
//
//	own address          block:sid::/128 on lo        the end of tunnels and carriers
//	own locator          block:sid::/48 End           carriers are shifted (backbone)
//	others' locators     via neighbours               and a second best, which the kernel takes by
//	                                                  itself when the first one's link goes down
//	NodeID, data held    /128 on lo                   what this node answers on
//	peers' identifiers   the tunnel interface         only what the Assignment allows
//	the operator's /32   unreachable                  identifiers travel only inside tunnels
func (c *Core) kernelPlan() *kernel.Plan {
	a, p := c.assignment, &kernel.Plan{}
	self := c.self.SID.Node(c.self.Block)
	p.Addresses = append(p.Addresses, kernel.Address{Interface: loopback, Prefix: netip.PrefixFrom(self, 128)})
	if c.self.Role == southbound.RoleBackbone {
		p.Settings = c.forwarding()
		if c.self.Shifts {
			p.Routes = append(p.Routes, kernel.Route{Prefix: c.self.SID.Locator(c.self.Block), Metric: kernel.MetricPrimary, Kind: kernel.End, Interface: loopback})
		}
	}
	ways := c.waysToNeighbours()
	for _, r := range a.Routes {
		p.Routes = append(p.Routes, ways.routes(r, self)...)
	}
	p.Routes = append(p.Routes, kernel.Route{Prefix: c.self.Node.DataID().Operator(), Metric: kernel.MetricPrimary, Kind: kernel.Unreachable, Interface: loopback})
	if c.self.Inside != "" {
		c.insideRoutes(p)
	}
	p.Sort()
	p.Routes = slices.CompactFunc(p.Routes, func(x, y kernel.Route) bool { return x.Prefix == y.Prefix && x.Metric == y.Metric })
	return p
}

// forwarding are the settings of a node that carries others' packets.
// With ignore_routes_with_linkdown a route whose link has no carrier counts as
// gone, so that the kernel takes the backup at once.
func (c *Core) forwarding() []kernel.Setting {
	s := []kernel.Setting{{Name: "net/ipv6/conf/all/forwarding", Value: "1"}}
	for name := range c.links {
		s = append(s, kernel.Setting{Name: "net/ipv6/conf/" + name + "/forwarding", Value: "1"},
			kernel.Setting{Name: "net/ipv6/conf/" + name + "/ignore_routes_with_linkdown", Value: "1"})
	}
	return s
}

// insideRoutes adds what goes into and comes out of tunnels.
func (c *Core) insideRoutes(p *kernel.Plan) {
	node := c.self.Node.DataID()
	p.Addresses = append(p.Addresses, kernel.Address{Interface: loopback, Prefix: node.Prefix()})
	held := map[netip.Prefix]bool{node.Prefix(): true}
	for _, d := range c.data {
		held[d.Prefix()] = true
		p.Routes = append(p.Routes, kernel.Route{Prefix: d.Prefix(), Metric: kernel.MetricPrimary, Kind: kernel.Local, Interface: loopback})
	}
	for _, peer := range c.assignment.Peers {
		for _, allowed := range peer.Allowed {
			if held[allowed.Masked()] {
				continue // the nearest holder is this node
			}
			p.Routes = append(p.Routes, kernel.Route{Prefix: allowed.Masked(), Metric: kernel.MetricPrimary, Interface: c.self.Inside, Source: node.Addr()})
		}
	}
}

// way is a neighbour as a next hop.
type way struct {
	iface string
	via   netip.Addr
	up    bool // each end hears the other
}

type ways map[dssn.NodeID]way

// waysToNeighbours finds a link to each expected neighbour that was met: one
// that is up if there is one, of several the first by name.
func (c *Core) waysToNeighbours() ways {
	byName := map[string]dssn.NodeID{}
	for _, n := range c.assignment.Neighbours {
		byName[n.Name] = n.Node
	}
	out := ways{}
	for _, n := range c.neighbours.List() {
		id, expected := byName[n.Name]
		if !expected || !n.Address.IsValid() {
			continue
		}
		if old, have := out[id]; !have || n.Up && !old.up {
			out[id] = way{n.Interface, n.Address, n.Up}
		}
	}
	return out
}

// routes turns one assigned route into the kernel's: the assigned neighbour, and
// behind it the backup, which the kernel takes by itself when the first one's
// link goes down. A neighbour that fell silent on a link that is up trades places
// with its backup and stays as the last resort: often only its program has
// ended, and its kernel still carries.
func (w ways) routes(r southbound.Route, source netip.Addr) (out []kernel.Route) {
	first, met := w[r.Via]
	second, spare := w[r.Backup]
	spare = spare && r.Backup != r.Via
	route := func(via way, metric uint32) kernel.Route {
		return kernel.Route{Prefix: r.Prefix.Masked(), Metric: metric, Interface: via.iface, Via: via.via, Source: source}
	}
	switch {
	case met && spare && !first.up && second.up:
		return []kernel.Route{route(second, kernel.MetricPrimary), route(first, kernel.MetricBackup)}
	case met && spare:
		return []kernel.Route{route(first, kernel.MetricPrimary), route(second, kernel.MetricBackup)}
	case met:
		return []kernel.Route{route(first, kernel.MetricPrimary)}
	case spare:
		return []kernel.Route{route(second, kernel.MetricBackup)}
	}
	return nil
}

// tables compiles the Assignment for the engine, with the peers whose tunnels
// may begin.
func (c *Core) tables() *dataplane.Tables {
	a := c.assignment
	t := &dataplane.Tables{Generation: a.Generation, Block: c.self.Block}
	for _, p := range a.Peers {
		began, ok := c.tunnels[p.SID]
		if !ok {
			continue
		}
		d := dataplane.Peer{Endpoint: netip.AddrPortFrom(p.SID.Node(c.self.Block), p.Port), Allowed: p.Allowed, Suite: suites[p.Suite]}
		for _, l := range p.Lanes {
			// An assignment of before this host lost cores may name workers that
			// are not there; the controller's next one will not.
			if l.Here < c.self.Workers {
				d.Lanes = append(d.Lanes, dataplane.Lane{Worker: l.Here, Part: l.Path, Endpoint: netip.AddrPortFrom(d.Endpoint.Addr(), southbound.WorkerPort(p.Port, l.There))})
			}
		}
		if began.calls {
			d.Keepalive = keepalive
		}
		copy(d.Key[:], p.TunnelKey)
		copy(d.PresharedKey[:], p.PresharedKey)
		t.Peers = append(t.Peers, d)
	}
	for _, m := range a.Meters {
		d := dataplane.Meter{Reservation: m.Reservation, From: m.From, To: m.To, Burst: m.Burst, Mark: markOf(m)}
		if m.Ingress {
			d.Rate, d.Parts = m.Allocated, m.Parts
		}
		t.Meters = append(t.Meters, d)
	}
	return t
}

// suites are those that an Assignment may name.
var suites = map[southbound.Suite]aead.Suite{
	southbound.SuiteChaCha20Poly1305: aead.ChaCha20Poly1305,
	southbound.SuiteAES256GCM:        aead.AES256GCM,
}

func (c *Core) probePeers() SetProbePeers {
	peers := map[dssn.SID]ProbePeer{}
	for _, p := range c.assignment.Peers {
		if len(p.PresharedKey) > 0 {
			_, open := c.tunnels[p.SID]
			peers[p.SID] = ProbePeer{liveness.NewProbeKey(p.PresharedKey), open}
		}
	}
	return SetProbePeers{peers, c.gate()}
}

// gate is the SID of the neighbour through which the locator block is reached, 0
// if carriers are not shifted there.
func (c *Core) gate() dssn.SID {
	if !c.assignment.Steering {
		return 0
	}
	for _, r := range c.assignment.Routes {
		for _, n := range c.assignment.Neighbours {
			if r.Prefix == c.self.Block && n.Node == r.Via {
				return n.SID
			}
		}
	}
	return 0
}

// ways lists the paths of all peers for the machine of probes.
func (c *Core) ways() []liveness.Ways {
	var out []liveness.Ways
	for _, p := range c.assignment.Peers {
		w := liveness.Ways{Peer: p.SID, Probed: len(p.PresharedKey) > 0}
		for _, path := range p.Paths {
			w.Paths = append(w.Paths, liveness.PathTo{Carrier: path.Carrier, Return: path.Return})
		}
		out = append(out, w)
	}
	return out
}
