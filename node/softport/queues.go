package softport

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"dssn/dataplane"
	"dssn/xdp"
)

// A peer with one lane belongs to one worker, and so must every packet to it: the
// kernel is told which queue of the TUN its prefixes go to. All other flows are
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
