package softport

import (
	"net/netip"
	"sync"
	"time"

	"dssn/dataplane/session"
	"dssn/dataplane/worker"
	"dssn/node/tunnel"
)

// control is the goroutine that runs the tunnel machine: it takes handshake
// messages and wishes from the workers' fronts, lets time pass, and hands effects
// back.
//
// Handshake messages wait in a ring of fixed size, filled only by messages
// whose first MAC was right: a flood of noise costs the worker one hash each
// and no newcomer a place.
type control struct {
	engine *Engine

	mu      sync.Mutex // guards what follows
	ring    []handshake
	first   int // oldest in ring
	length  int
	wants   []*session.Peer
	confirm []*session.Session
	calls   []func()
	stopped bool

	bell   chan struct{} // rung when something was added
	closed chan struct{}

	// The goroutine's own.
	effects   []tunnel.Effect
	busyUntil time.Duration
	lastMTU   time.Duration

	dropMu  sync.Mutex
	dropped map[tunnel.Reason]uint64
}

// handshake is a message as it waits, with room for the longest.
type handshake struct {
	from   netip.AddrPort
	to     netip.Addr // which of our addresses
	shared bool       // at the port of all workers
	worker int        // who heard it
	length int
	data   [148]byte
}

const (
	ringLen   = 1024
	busyAt    = ringLen / 8  // waiting messages that make the node demand cookies
	busyFor   = time.Second  // and for how long after that
	crowdedAt = ringLen / 32 // waiting messages from which each sender has a few turns only
	tickEvery = 100 * time.Millisecond
)

func newControl(e *Engine) *control {
	return &control{
		engine: e, ring: make([]handshake, ringLen),
		bell: make(chan struct{}, 1), closed: make(chan struct{}),
		dropped: make(map[tunnel.Reason]uint64),
	}
}

// setGates gives the workers another key to know messages by.
func (c *control) setGates(m *tunnel.Machine) {
	for _, t := range c.engine.threads {
		var g *tunnel.Gate
		if m != nil {
			g = tunnel.NewGate(m.Public())
		}
		t.worker.Do(func() { t.front.gate = g })
	}
}

func (c *control) ring1() {
	select {
	case c.bell <- struct{}{}:
	default:
	}
}

// do has f called by the goroutine and waits for it; false if it has stopped.
func (c *control) do(f func()) bool {
	done := make(chan struct{})
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return false
	}
	c.calls = append(c.calls, func() { f(); close(done) })
	c.mu.Unlock()
	c.ring1()
	<-done
	return true
}

func (c *control) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.ring1()
	<-c.closed
}

// run is the goroutine.
func (c *control) run() {
	defer close(c.closed)
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		tick := false
		select {
		case <-c.bell:
		case <-ticker.C:
			tick = true
		}
		if !c.turn(tick) {
			return
		}
	}
}

// turn takes everything that waits; false when it is time to stop.
func (c *control) turn(tick bool) bool {
	c.mu.Lock()
	calls, wants, confirm, stopped := c.calls, c.wants, c.confirm, c.stopped
	c.calls, c.wants, c.confirm = nil, nil, nil
	c.mu.Unlock()
	for _, f := range calls {
		f()
	}
	if stopped {
		return false
	}
	m := c.engine.machine
	if m == nil {
		return true
	}
	now := c.now()
	for _, s := range confirm {
		c.effects = m.Confirmed(now, s.Local, c.effects)
	}
	for _, p := range wants {
		c.effects = m.Want(now, p.Key, p.Lane, c.effects)
	}
	c.messages(m)
	if tick {
		c.effects = m.Tick(c.now(), look, c.effects)
		c.followMTU()
		c.followPaths()
	}
	c.carryOut(c.effects)
	clear(c.effects)
	c.effects = c.effects[:0]
	return true
}

func (c *control) now() tunnel.Now { return tunnel.Now{Mono: c.engine.now(), Wall: time.Now()} }

// messages feeds the machine what is in the ring, a bounded number so that
// time goes on passing under a flood.
func (c *control) messages(m *tunnel.Machine) {
	var h handshake
	for range ringLen {
		c.mu.Lock()
		waiting := c.length
		if waiting > 0 {
			h = c.ring[c.first]
			c.first = (c.first + 1) % len(c.ring)
			c.length--
		}
		c.mu.Unlock()
		if waiting == 0 {
			return
		}
		now := c.now()
		if waiting >= busyAt {
			c.busyUntil = now.Mono + busyFor
		}
		var reason tunnel.Reason
		before := len(c.effects)
		c.effects, reason = m.Message(now, h.worker, h.from, h.data[:h.length], now.Mono < c.busyUntil, c.effects)
		if reason != tunnel.Accepted {
			c.drop(reason)
		}
		for i := range c.effects[before:] { // answers leave from where the question came to
			if f := &c.effects[before+i]; f.Kind == tunnel.Send && f.To == h.from {
				f.Source = h.to
				f.Shared = h.shared
			}
		}
		if len(c.effects) >= 64 {
			c.carryOut(c.effects)
			clear(c.effects)
			c.effects = c.effects[:0]
		}
	}
	c.ring1()
}

// letTimePass has the machine look at its timers between two ticks.
func (c *control) letTimePass() {
	if m := c.engine.machine; m != nil {
		c.carryOut(m.Tick(c.now(), look, nil))
	}
}

func look(handle any) tunnel.Activity {
	a := &handle.(*session.Peer).Activity
	return tunnel.Activity{
		LastSent:     time.Duration(a.LastSent.Load()),
		LastReceived: time.Duration(a.LastReceived.Load()),
		Unanswered:   time.Duration(a.Unanswered.Load()),
		Owing:        time.Duration(a.Owing.Load()),
	}
}

// carryOut has the workers do what the machine decided, each its own lanes'.
func (c *control) carryOut(effects []tunnel.Effect) {
	if len(effects) == 0 {
		return
	}
	e := c.engine
	all := make([][]func(w *worker.Worker), len(e.threads))
	for _, f := range effects {
		steps := &all[f.Worker]
		p, _ := f.Handle.(*session.Peer)
		switch f.Kind {
		case tunnel.Send:
			d := worker.Datagrams{Buf: f.Message, Segment: len(f.Message), Peer: f.To, Local: f.Source, Shared: f.Shared}
			if p != nil {
				d.Shared = p.Shared
			}
			*steps = append(*steps, func(w *worker.Worker) {
				if !d.Peer.IsValid() && p != nil {
					d.Peer, d.Local = p.Endpoint, p.Source
				}
				if d.Peer.IsValid() {
					w.Send(d)
				}
			})
		case tunnel.Install:
			s, err := session.New(p, f.Keys)
			*f.Keys = session.Keys{}
			if err != nil {
				e.log.Error("session refused", "error", err)
				continue
			}
			current := f.Current
			*steps = append(*steps, func(w *worker.Worker) { w.Install(s, current) })
			e.log.Debug("session agreed", "peer", p.Key, "initiator", s.Initiator)
		case tunnel.Erase:
			local := f.Local
			*steps = append(*steps, func(w *worker.Worker) { w.Erase(local) })
		case tunnel.Keepalive:
			*steps = append(*steps, func(w *worker.Worker) { w.Keepalive(p) })
		case tunnel.Forget:
			*steps = append(*steps, func(w *worker.Worker) { w.Forget(p) })
		case tunnel.Move:
			to := f.To
			*steps = append(*steps, func(*worker.Worker) { p.MoveTo(to) })
		}
	}
	for i, t := range e.threads {
		if steps := all[i]; len(steps) > 0 {
			t.worker.Do(func() {
				for _, s := range steps {
					s(t.worker)
				}
			})
		}
	}
}

// followMTU notices once a second that the interface's MTU was changed.
func (c *control) followMTU() {
	e := c.engine
	now := e.now()
	if now-c.lastMTU < time.Second {
		return
	}
	c.lastMTU = now
	if mtu, err := e.threads[0].link.mtu(); err == nil && mtu != e.mtu {
		e.mtu = mtu
		e.compile()
	}
}

func (c *control) drop(r tunnel.Reason) {
	c.dropMu.Lock()
	c.dropped[r]++
	c.dropMu.Unlock()
}

func (c *control) drops(m map[string]uint64) {
	c.dropMu.Lock()
	defer c.dropMu.Unlock()
	for r, n := range c.dropped {
		m[string(r)] += n
	}
}
