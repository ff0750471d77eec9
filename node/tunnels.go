package node

import (
	"time"

	"dssn"
)

// A handshake that is lost is tried again only after five seconds, and so are two
// that cross each other. Therefore the tunnel of a pair begins in this order,
// which their probes tell both ends:
//
//	edge with the higher SID              edge with the lower SID
//	a probe was answered: open the
//	tunnel, say so in every probe   ---> the peer is open: open the tunnel
//	                                     and call (keepalive on)
//	half a second later: call too,  <--- handshake
//	in case the other end lost its
//	session (a keepalive if it has
//	not)
//
// A peer whose probes are not answered, or that shares no key, is not waited for
// longer than awaitPeer.
const (
	awaitPeer = time.Second
	callLate  = 500 * time.Millisecond
	// keepalive makes the engine call at once when it appears in the tables.
	keepalive = 25 * time.Second
)

// tunnel is one that may begin.
type tunnel struct {
	open  time.Time // since when
	calls bool      // this end keeps it alive
}

// keepTunnels carries over what goes on, and opens what cannot be waited for.
func (c *Core) keepTunnels(now time.Time) {
	kept := map[dssn.SID]tunnel{}
	for _, p := range c.assignment.Peers {
		if t, ok := c.tunnels[p.SID]; ok {
			kept[p.SID] = t
		} else if len(p.PresharedKey) == 0 {
			kept[p.SID] = tunnel{now, true}
		}
	}
	c.tunnels = kept
}

// begin opens the tunnel with a peer that has answered, if it is its time.
func (c *Core) begin(now time.Time, peer dssn.SID, open bool) []Effect {
	if c.peer(peer) == nil {
		return nil
	}
	if _, already := c.tunnels[peer]; already {
		return nil
	}
	lower := c.self.SID < peer
	if lower && !open {
		return nil
	}
	c.tunnels[peer] = tunnel{now, lower}
	return []Effect{PublishTables{c.tables()}, c.probePeers()}
}

// beginLate opens the tunnels that have waited long enough, and calls where only
// the other end did.
func (c *Core) beginLate(now time.Time) []Effect {
	if c.assignment == nil {
		return nil
	}
	changed := false
	for _, p := range c.assignment.Peers {
		t, open := c.tunnels[p.SID]
		switch {
		case !open && now.Sub(c.taken) >= awaitPeer:
			t = tunnel{now, true}
		case open && !t.calls && now.Sub(t.open) >= callLate:
			t.calls = true
		default:
			continue
		}
		c.tunnels[p.SID] = t
		changed = true
	}
	if !changed {
		return nil
	}
	return []Effect{PublishTables{c.tables()}, c.probePeers()}
}
