package worker

import (
	"net/netip"

	"dssn/dataplane/fib"
	"dssn/dataplane/meter"
	"dssn/dataplane/packet"
	"dssn/dataplane/session"
)

// Tables are what packets are decided by, immutable once published.
type Tables struct {
	// Routes lead inside addresses to peers, and say which sources a peer may use.
	Routes *fib.Table[*session.Lanes]
	// Meters police and count. Nil lets everything pass uncounted: a plain
	// WireGuard interface.
	Meters *meter.Set
	// MTU of the inside, bytes: sealed packets are padded no further.
	MTU int
}

// flow is the answer to "where, and on whose account" for one pair of
// addresses. Packets come in runs of one flow, so one is remembered for each
// direction.
type flow struct {
	tables   *Tables
	src, dst netip.Addr
	lanes    *session.Lanes
	own      []*session.Peer // the lanes that are this worker's
	meter    *meter.Meter
}

func (f *flow) is(t *Tables, src, dst netip.Addr) bool {
	return f.tables == t && f.src == src && f.dst == dst
}

// lane returns where packet p of this flow goes: all packets between the same two
// addresses and ports by the same lane, so that their order is kept.
func (f *flow) lane(p []byte) *session.Peer {
	if len(f.own) == 1 {
		return f.own[0]
	}
	return f.own[packet.FlowHash(p)%uint32(len(f.own))]
}

// tally sums what one flow did, so that counters are touched once a run.
type tally struct{ packets, bytes uint64 }

func (t *tally) add(n int) { t.packets++; t.bytes += uint64(n) }
