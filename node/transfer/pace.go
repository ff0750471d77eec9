package transfer

import (
	"net/netip"
	"sync"

	"dssn"
)

// pacing shares a reservation's rate among the connections that use it, so
// that together they stay below the policer. Safe for concurrent use.
type pacing struct {
	mu    sync.Mutex
	users map[paceKey]map[*conn]struct{}
}

type paceKey struct {
	source netip.Addr
	data   dssn.DataID
}

// join notes that c sends data to source and returns how many connections do.
// A connection leaves when it closes.
func (p *pacing) join(c *conn, source netip.Addr, data dssn.DataID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := paceKey{source, data}
	if p.users == nil {
		p.users = map[paceKey]map[*conn]struct{}{}
	}
	group := p.users[k]
	if group == nil {
		group = map[*conn]struct{}{}
		p.users[k] = group
	}
	if _, ok := group[c]; !ok {
		group[c] = struct{}{}
		c.beforeClose(func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(group, c)
			if len(group) == 0 && len(p.users[k]) == 0 {
				delete(p.users, k)
			}
		})
	}
	return len(group)
}

// share returns c's part of the rate, less one sixteenth: TCP paces payload,
// and the policer counts headers too.
func (p *pacing) share(c *conn, source netip.Addr, data dssn.DataID, rate dssn.Bandwidth) dssn.Bandwidth {
	if rate == 0 {
		return 0
	}
	return max(1, rate/16*15/dssn.Bandwidth(p.join(c, source, data)))
}
