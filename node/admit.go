package node

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"dssn"
	"dssn/controller/southbound"
	"dssn/node/transfer"
)

// admission answers, from the Assignment in force, who may reach what is held
// here and under which reservation. Safe for concurrent use.
type admission struct {
	assignment atomic.Pointer[southbound.Assignment]
	now        func() time.Time
}

// admit is the server's question on every request. Default deny: what no permit
// covers is refused.
func (a *admission) admit(source netip.Addr, data dssn.DataID, name string) (transfer.Terms, error) {
	held := a.assignment.Load()
	if held == nil {
		return transfer.Terms{}, fmt.Errorf("%s is not served yet: this node has no assignment from its controller", data)
	}
	expired := false
	for _, p := range held.Permits {
		if p.To.Addr() != source || !p.Data.Contains(data.Addr()) {
			continue
		}
		if !p.Until.After(a.now()) {
			expired = true
			continue
		}
		t := transfer.Terms{Peer: p.To}
		if m := meterOf(held.Meters, data.Addr(), source, true); m != nil {
			t.Reservation, t.Rate = m.Reservation, m.Allocated
		}
		return t, nil
	}
	if expired {
		return transfer.Terms{}, fmt.Errorf("the grant of %s to %s has ended: ask its owner for a new one", data, source)
	}
	return transfer.Terms{}, fmt.Errorf("%s has no grant for %s: ask its owner for one", source, data)
}

// meterOf finds the meter that a packet belongs to: the longest To wins, then
// the longest From.
func meterOf(meters []southbound.Meter, from, to netip.Addr, ingress bool) (best *southbound.Meter) {
	for i := range meters {
		m := &meters[i]
		if m.Ingress != ingress || !m.From.Contains(from) || !m.To.Contains(to) {
			continue
		}
		if best == nil || m.To.Bits() > best.To.Bits() || m.To.Bits() == best.To.Bits() && m.From.Bits() > best.From.Bits() {
			best = m
		}
	}
	return best
}
