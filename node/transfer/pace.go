package transfer

import (
	"net/netip"
	"sync"

	"dssn"
)

// pacing shares a reservation's rate among the connections that use it, so
// that together they stay below the policer. Whenever a connection joins or
// leaves, or the rate changes, all of them are set anew. Safe for concurrent
// use.
type pacing struct {
	mu     sync.Mutex
	groups map[paceKey]*paceGroup
}

type paceKey struct {
	source netip.Addr
	data   dssn.DataID
}

// paceGroup is guarded by pacing.mu.
type paceGroup struct {
	rate  dssn.Bandwidth
	conns map[paced]struct{}
}

// paced is a connection that can be told how fast to send.
type paced interface {
	pace(rate dssn.Bandwidth)
	beforeClose(f func())
}

// use notes that c sends data to source, whose reservation is allocated rate.
// A connection leaves when it closes. Zero means that the rate is not known.
func (p *pacing) use(c paced, source netip.Addr, data dssn.DataID, rate dssn.Bandwidth) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := paceKey{source, data}
	g := p.groups[k]
	if g == nil {
		if rate == 0 {
			return
		}
		g = &paceGroup{conns: map[paced]struct{}{}}
		if p.groups == nil {
			p.groups = map[paceKey]*paceGroup{}
		}
		p.groups[k] = g
	}
	_, known := g.conns[c]
	if known && rate == g.rate {
		return
	}
	g.rate = rate
	if !known {
		g.conns[c] = struct{}{}
		c.beforeClose(func() { p.leave(k, c) })
	}
	g.set()
}

func (p *pacing) leave(k paceKey, c paced) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.groups[k]
	if g == nil {
		return
	}
	delete(g.conns, c)
	if len(g.conns) == 0 {
		delete(p.groups, k)
		return
	}
	g.set()
}

// set gives each connection its part, less one sixteenth: TCP paces payload,
// and the policer counts headers too.
func (g *paceGroup) set() {
	if g.rate == 0 {
		return
	}
	share := max(1, g.rate/16*15/dssn.Bandwidth(len(g.conns)))
	for c := range g.conns {
		c.pace(share)
	}
}
