package node

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
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

	mu sync.Mutex // guards begun
	// begun are the transfers that began here, by grants that limit their number.
	begun map[string]map[string]bool
}

// admit is the server's question on every request. Default deny: what no permit
// covers is refused.
func (a *admission) admit(source netip.Addr, data dssn.DataID, name string) (transfer.Terms, error) {
	held := a.assignment.Load()
	if held == nil {
		return transfer.Terms{}, fmt.Errorf("%s is not served yet: this node has no assignment from its controller", data)
	}
	expired, used := false, ""
	for _, p := range held.Permits {
		if p.To.Addr() != source || !p.Data.Contains(data.Addr()) {
			continue
		}
		if !p.Until.After(a.now()) {
			expired = true
			continue
		}
		if used = a.usedUp(&p, name); used != "" {
			continue
		}
		t := transfer.Terms{Peer: p.To}
		if m := meterOf(held.Meters, data.Addr(), source, true); m != nil {
			t.Reservation, t.Rate = m.Reservation, m.Allocated
		}
		return t, nil
	}
	if used != "" {
		return transfer.Terms{}, fmt.Errorf("%s", used)
	}
	if expired {
		return transfer.Terms{}, fmt.Errorf("the grant of %s to %s has ended: ask its owner for a new one", data, source)
	}
	return transfer.Terms{}, fmt.Errorf("%s has no grant for %s: ask its owner for one", source, data)
}

// usedUp reports why a permit with a number of transfers does not admit one more,
// empty if it does. What begins here counts before the controller knows of it.
func (a *admission) usedUp(p *southbound.Permit, name string) string {
	if p.Limit == 0 || name == transfer.Metadata || slices.Contains(p.Begun, name) {
		return ""
	}
	if name == "" {
		return fmt.Sprintf("the grant %s counts transfers, and this request belongs to none: use `dssn get`", p.Grant)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	here := a.begun[p.Grant]
	if here[name] {
		return ""
	}
	count := len(p.Begun)
	for t := range here {
		if !slices.Contains(p.Begun, t) {
			count++
		}
	}
	if count >= p.Limit {
		return fmt.Sprintf("the grant %s allows %d transfers, and that many have begun: ask its owner for a new one", p.Grant, p.Limit)
	}
	if here == nil {
		here = map[string]bool{}
		if a.begun == nil {
			a.begun = map[string]map[string]bool{}
		}
		a.begun[p.Grant] = here
	}
	here[name] = true
	return ""
}

// forget drops what was counted for grants that the assignment no longer has.
func (a *admission) forget(held *southbound.Assignment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for grant := range a.begun {
		if !slices.ContainsFunc(held.Permits, func(p southbound.Permit) bool { return p.Grant == grant }) {
			delete(a.begun, grant)
		}
	}
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
