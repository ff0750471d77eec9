package node

import (
	"context"
	"slices"
	"time"

	"dssn"
	"dssn/controller/southbound"
	"dssn/dataplane"
	"dssn/xdp"
)

// Tagged contracts. An ingress edge writes a contract's tag (the flow label) and class
// (the DSCP) into the outer headers of its packets; the transit program of each
// backbone node on the way counts them and polices the contract's ceiling.
//
// The kernel's own forwarding does neither, and the status of such a node says so.

// Every tag that a controller may give can be metered.
const _ = uint(xdp.MaxTag - southbound.MaxTag)

// markOf is what the outer headers of a meter's packets say.
func markOf(m southbound.Meter) dataplane.Mark {
	if !m.Ingress || m.Tag == 0 {
		return 0
	}
	return dataplane.NewMark(xdp.TrafficClass(uint8(m.Class)), m.Tag)
}

const (
	// tunnelOverhead are the bytes that a tunnel adds to an inside packet: IPv6, UDP,
	// the message's header and tag, and at most 15 of padding. The edge polices inside
	// bytes; what is left of a packet without these is never more.
	tunnelOverhead = 40 + 8 + 16 + 16 + 15
	// transitSlack is how long the traffic of a ceiling may be held up between its edge
	// and a node on its way, in queues and while the edge hears of a new ceiling before
	// the node, and come in one burst.
	transitSlack = 100 * time.Millisecond
)

// transitMeters are the program's meters for what the Assignment says of contracts.
func (c *Core) transitMeters() (out []xdp.TransitMeter) {
	for _, m := range c.assignment.Transit {
		out = append(out, xdp.TransitMeter{
			Tag: m.Tag, Class: uint8(m.Class), Owner: uint64(m.Reservation), Source: m.Source.Node(c.self.Block),
			BitsPerSecond: uint64(m.Ceiling), BurstBytes: uint64(m.Burst + m.Ceiling.BytesIn(transitSlack)), OverheadBytes: tunnelOverhead,
		})
	}
	return out
}

// terminals are the links that lead to terminals: what comes in there is to be theirs. A
// link whose neighbour was not met yet is none.
func (c *Core) terminals() map[string]dssn.SID {
	byName := map[string]bool{}
	for _, n := range c.assignment.Neighbours {
		byName[n.Name] = n.Terminal
	}
	out := map[string]dssn.SID{}
	for _, n := range c.neighbours.List() {
		if byName[n.Name] {
			out[n.Interface] = n.SID
		}
	}
	return out
}

// counts reads what was seen of each contract that is metered here.
func (d *driver) counts() ([]southbound.TransitCount, error) {
	d.mu.Lock()
	meters := d.meters
	d.mu.Unlock()
	out := make([]southbound.TransitCount, 0, len(meters))
	for _, m := range meters {
		u, err := d.transit.Usage(m.Tag, m.Class)
		if err != nil {
			return nil, err
		}
		out = append(out, southbound.TransitCount{
			Reservation: dssn.ReservationID(m.Owner), Tag: m.Tag, Class: dssn.Class(m.Class), Packets: u.Packets, Bytes: u.Bytes,
			PolicedPackets: u.OverPackets, PolicedBytes: u.OverBytes, ForeignPackets: u.Foreign,
		})
	}
	return out, nil
}

// Counts of contracts go up when they changed, and now and then although they did not:
// a controller that was started again does not remember them.
const (
	transitEvery = time.Second
	transitAgain = 10 * time.Second
)

// reportTransit tells the controller what was seen of contracts, until ctx ends.
func (n *running) reportTransit(ctx context.Context) {
	tick := time.NewTicker(transitEvery)
	defer tick.Stop()
	var told []southbound.TransitCount
	var at time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			counts, err := n.driver.counts()
			if err != nil {
				n.log.Warn("contracts not counted", "err", err)
				continue
			}
			if slices.Equal(counts, told) && now.Sub(at) < transitAgain {
				continue
			}
			told, at = counts, now
			n.uplink.send(southbound.Up{Transit: &southbound.Transit{Counts: counts}})
		}
	}
}
