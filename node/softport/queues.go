package softport

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"dssn/dataplane"
	"dssn/xdp"
)

// A peer with one lane belongs to one worker, and so must every packet to it: the
// kernel is told which queue of the TUN its prefixes go to. Stock peers, which know
// nothing of workers, are dealt out, so that each worker has as many. All other flows are
// spread by a hash of addresses and ports, the same for both directions, so that
// between nodes with the same number of workers a flow has one lane.

// everywhere reports whether lanes (none: a stock peer's one) are with every worker.
func (e *Engine) everywhere(lanes []dataplane.Lane) bool {
	with := map[int]bool{}
	for _, l := range lanes {
		with[l.Worker] = true
	}
	return max(1, len(with)) == len(e.threads)
}

// laneWorker is whose lane i of p is. A stock peer stays with its worker; a new one goes to
// whoever has fewest.
func (e *Engine) laneWorker(old *entry, p *dataplane.Peer, i int) int {
	switch {
	case len(p.Lanes) > 0:
		return p.Lanes[i].Worker
	case old != nil && len(old.Lanes) == 0:
		return old.lanes[0].Worker
	}
	least := 0
	for w, n := range e.stock {
		if n < e.stock[least] {
			least = w
		}
	}
	return least
}

// recount adds n to the stock peers of p's worker, if p is one.
func (e *Engine) recount(p *entry, n int) {
	if p != nil && len(p.Lanes) == 0 {
		e.stock[p.lanes[0].Worker] += n
	}
}

// openQueues prepares to choose queues where there are several. A host that
// cannot leaves the choice to its kernel.
func (e *Engine) openQueues() {
	if len(e.threads) == 1 {
		return
	}
	q, err := xdp.NewQueues()
	if err == nil {
		if err = unix.IoctlSetPointerInt(e.threads[0].link.fd, unix.TUNSETSTEERINGEBPF, q.FD()); err != nil {
			q.Close()
		}
	}
	if err != nil {
		e.noQueues = fmt.Errorf("choose the queues of %s: %w", e.Name(), err)
		e.log.Warn("the kernel gives flows to workers by itself", "reason", e.noQueues)
		return
	}
	e.queues = q
}

// checkLanes reports the first peer that these workers could not send to.
func (e *Engine) checkLanes(peers []dataplane.Peer) error {
	for _, p := range peers {
		for i, l := range p.Lanes {
			if l.Worker < 0 || l.Worker >= len(e.threads) {
				return fmt.Errorf("lane %d of peer %v is for worker %d of %d", i, p.Key, l.Worker, len(e.threads))
			}
		}
		if e.noQueues != nil && !e.everywhere(p.Lanes) {
			return fmt.Errorf("peer %v has no lane to each of %d workers, and packets cannot be led to one of them: %w", p.Key, len(e.threads), e.noQueues)
		}
	}
	return nil
}

// pin has the kernel lead packets to peers that not every worker has a lane to,
// to the queue of one that has. Call it before the routes are published.
func (e *Engine) pin() {
	if e.queues == nil {
		return
	}
	pins := map[netip.Prefix]uint32{}
	for _, k := range e.order {
		if p := e.peers[k]; !e.everywhere(p.Peer.Lanes) {
			for _, a := range p.Allowed {
				pins[a.Masked()] = uint32(p.lanes[0].Worker)
			}
		}
	}
	if err := e.queues.Pin(pins); err != nil {
		e.log.Error("packets to some peers are dropped where their worker is another's", "error", err)
	}
}
