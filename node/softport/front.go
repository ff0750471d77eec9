package softport

import (
	"math/rand/v2"
	"net/netip"

	"dssn/dataplane/session"
	"dssn/node/tunnel"
)

// front is where a worker meets the control goroutine: it lets through what is
// worth a thought. Its methods are the worker's; what it hands over is guarded by
// control's lock, and nothing of it is a packet's way.
type front struct {
	control *control
	thread  *thread
	gate    *tunnel.Gate
	sketch  sketch
}

func newFront(c *control, t *thread) *front {
	return &front{control: c, thread: t, sketch: sketch{key: rand.Uint64()}}
}

// Handshake implements worker.Control.
func (f *front) Handshake(b []byte, from netip.AddrPort) bool {
	c := f.control
	if f.gate == nil || !f.gate.Admits(b) {
		c.drop(tunnel.BadMAC)
		return true // it has its own name
	}
	c.mu.Lock()
	if c.length >= crowdedAt && !f.sketch.allow(c.engine.now(), from) {
		c.mu.Unlock()
		c.drop(tunnel.FloodedHello)
		return true
	}
	ok := c.length < len(c.ring)
	if ok {
		h := &c.ring[(c.first+c.length)%len(c.ring)]
		h.from, h.worker = from, f.thread.number
		h.to, h.shared = f.thread.worker.HandedTo()
		h.length = copy(h.data[:], b)
		c.length++
	}
	c.mu.Unlock()
	c.ring1()
	return ok
}

// Want implements worker.Control.
func (f *front) Want(p *session.Peer) {
	c := f.control
	c.mu.Lock()
	c.wants = append(c.wants, p)
	c.mu.Unlock()
	c.ring1()
}

// Confirmed implements worker.Control.
func (f *front) Confirmed(s *session.Session) {
	c := f.control
	c.mu.Lock()
	c.confirm = append(c.confirm, s)
	c.mu.Unlock()
	c.ring1()
}
