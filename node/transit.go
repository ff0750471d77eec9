package node

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"

	"dssn"
	"dssn/node/kernel"
	"dssn/xdp"
)

// TransitPlan is what the transit program in the driver shall do. It says what the
// kernel's routes say, so that a carrier goes the same way whether the driver or the
// kernel forwards it; what the program leaves to the kernel is therefore never lost.
type TransitPlan struct {
	Links  []string // on which carriers come in, up or not, by name
	Routes []TransitRoute
	// Terminals are those of Links that lead to a terminal, with its SID.
	Terminals map[string]dssn.SID
	Meters    []xdp.TransitMeter
}

// TransitRoute leads carriers whose next identifier is SID to Via, and to Backup, which
// may be zero, while Via is down.
type TransitRoute struct {
	SID         dssn.SID
	Via, Backup TransitHop
}

// TransitHop is a neighbour on a link. The zero value is none.
type TransitHop struct {
	Interface string
	Address   netip.Addr // link-local
	SID       dssn.SID   // of the neighbour
}

// transitWanted computes the plan for the driver from the one for the kernel.
func (c *Core) transitWanted(k *kernel.Plan) []Effect {
	if !c.self.Drives {
		return nil
	}
	p := &TransitPlan{Terminals: c.terminals(), Meters: c.transitMeters()}
	p.Links = slices.Sorted(maps.Keys(c.links))
	sids := map[string]dssn.SID{}
	for _, n := range c.neighbours.List() {
		sids[n.Interface] = n.SID
	}
	routes := map[dssn.SID]*TransitRoute{}
	for _, r := range k.Routes { // for one prefix the better metric first
		sid := locatorOf(c.self.Block, r.Prefix)
		if r.Kind != kernel.Unicast || !r.Via.IsValid() || sid == 0 {
			continue
		}
		hop := TransitHop{r.Interface, r.Via, sids[r.Interface]}
		if old := routes[sid]; old != nil {
			old.Backup = hop
			continue
		}
		routes[sid] = &TransitRoute{SID: sid, Via: hop}
	}
	for _, r := range routes {
		p.Routes = append(p.Routes, *r)
	}
	slices.SortFunc(p.Routes, func(a, b TransitRoute) int { return int(a.SID) - int(b.SID) })
	return []Effect{SetTransit{p, c.adopting}}
}

// locatorOf returns the SID whose locator in the block p is, 0 if it is none.
func locatorOf(block, p netip.Prefix) dssn.SID {
	b := p.Addr().As16()
	sid := dssn.SID(binary.BigEndian.Uint16(b[4:]))
	if sid == 0 || p != sid.Locator(block) {
		return 0
	}
	return sid
}
