package node

import (
	"cmp"
	"maps"
	"slices"

	"dssn"
	"dssn/controller/southbound"
)

// laneCarriers sets the carriers of lanes that have a path of their own, for as
// long as probes are answered on it. Otherwise a lane goes where the peer's
// traffic goes.
func (c *Core) laneCarriers() (out []Effect) {
	wanted := map[LaneKey]dssn.Carrier{}
	if c.assignment != nil && c.assignment.Steering && c.self.Steers {
		type way struct {
			peer    dssn.SID
			carrier dssn.Carrier
		}
		works := map[way]bool{}
		for _, s := range c.paths.Status() {
			works[way{s.Peer, s.Carrier}] = s.Alive && s.Heard > 0
		}
		for _, p := range c.assignment.Peers {
			for _, l := range p.Lanes {
				if l.Path <= 0 || l.Path >= len(p.Paths) {
					continue
				}
				if car := p.Paths[l.Path].Carrier; works[way{p.SID, car}] {
					wanted[LaneKey{p.SID.Node(c.self.Block), southbound.WorkerPort(TunnelPort, l.Here)}] = car
				}
			}
		}
	}
	sorted := func(m map[LaneKey]dssn.Carrier) []LaneKey {
		return slices.SortedFunc(maps.Keys(m), func(a, b LaneKey) int { return cmp.Or(a.To.Compare(b.To), cmp.Compare(a.Port, b.Port)) })
	}
	for _, k := range sorted(wanted) {
		if c.laned[k] != wanted[k] {
			out = append(out, SetLaneCarrier{k, wanted[k]})
		}
	}
	for _, k := range sorted(c.laned) {
		if _, ok := wanted[k]; !ok {
			out = append(out, ClearLaneCarrier{k})
		}
	}
	c.laned = wanted
	return out
}
