package controller

import (
	"context"
	"errors"
	"io"
	"maps"
	"sync"
	"time"

	"connectrpc.com/connect"

	"dssn"
	"dssn/controller/core"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// sessions knows the attached nodes. Each has one stream: a goroutine reads it
// (the handler's own), another writes, and between the core and the writer only
// the newest assignment and the newest acknowledgement wait.
type sessions struct {
	mu    sync.Mutex
	nodes map[dssn.NodeID]*session
	// live is what is known of nodes but not remembered, attached or not.
	live map[dssn.NodeID]*live
}

// live is a node as it is now.
type live struct {
	connected bool
	since     time.Time
	seen      time.Time
	applied   southbound.Applied
	paths     []southbound.PathState
	version   string
	transit   []southbound.TransitCount
}

// session is one stream.
type session struct {
	node   dssn.NodeID
	name   string
	cancel context.CancelCauseFunc
	wake   chan struct{} // capacity 1

	mu         sync.Mutex // guards what waits for the writer
	assignment *southbound.Assignment
	ack        *southbound.UsageAck
	deltas     bool // the node can apply them

	// sent is the last assignment that this stream sent; the writer's own.
	sent *southbound.Assignment
}

func newSessions() *sessions {
	return &sessions{nodes: map[dssn.NodeID]*session{}, live: map[dssn.NodeID]*live{}}
}

// put sets what the writer sends next. What was waiting is replaced: an
// assignment is whole, and an acknowledgement covers those before it.
func (s *session) put(a *southbound.Assignment, ack *southbound.UsageAck) {
	s.mu.Lock()
	if a != nil && (s.assignment == nil || a.Generation > s.assignment.Generation) {
		s.assignment = a
	}
	if ack != nil {
		s.ack = ack
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *session) next() (out []*southbound.Down) {
	s.mu.Lock()
	ack, a, deltas := s.ack, s.assignment, s.deltas
	s.ack, s.assignment = nil, nil
	s.mu.Unlock()
	if ack != nil {
		out = append(out, &southbound.Down{UsageAck: ack})
	}
	if a == nil {
		return out
	}
	if deltas && s.sent != nil && a.Generation > s.sent.Generation {
		out = append(out, &southbound.Down{Delta: southbound.Diff(s.sent, a)})
	} else {
		out = append(out, &southbound.Down{Assignment: a})
	}
	s.sent = a
	return out
}

var (
	errReplaced = errors.New("the node has attached again")
	errRemoved  = errors.New("the node was removed")
)

// begin registers a new stream; one that the node had before ends.
func (m *sessions) begin(s *session, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.nodes[s.node]; old != nil {
		old.cancel(errReplaced)
	}
	m.nodes[s.node] = s
	l := m.liveLocked(s.node)
	l.connected, l.since, l.seen = true, now, now
}

func (m *sessions) end(s *session, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.nodes[s.node] == s {
		delete(m.nodes, s.node)
		l := m.liveLocked(s.node)
		l.connected, l.since = false, now
	}
}

func (m *sessions) liveLocked(id dssn.NodeID) *live {
	if m.live[id] == nil {
		m.live[id] = &live{}
	}
	return m.live[id]
}

// update changes what is known of a node.
func (m *sessions) update(id dssn.NodeID, change func(*live)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m.liveLocked(id))
}

func (m *sessions) get(id dssn.NodeID) live {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := *m.liveLocked(id)
	l.applied.Obtained = maps.Clone(l.applied.Obtained)
	return l
}

// deliver carries effects to the nodes they concern.
func (m *sessions) deliver(effects []core.Effect) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range effects {
		switch {
		case f.Assignment != nil:
			if s := m.nodes[f.Assignment.Node]; s != nil {
				s.put(f.Assignment, nil)
			}
		case !f.Disconnect.IsZero():
			if s := m.nodes[f.Disconnect]; s != nil {
				s.cancel(errRemoved)
			}
			delete(m.live, f.Disconnect)
		}
	}
}

type stream = connect.BidiStream[southbound.Up, southbound.Down]

// attach runs one node's stream until either side ends it.
func (c *Controller) attach(ctx context.Context, st *stream) error {
	by, id, err := c.nodeFrom(ctx)
	if err != nil {
		return connect.NewError(connect.CodeUnauthenticated, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &session{node: id, name: by.Node, cancel: cancel, wake: make(chan struct{}, 1)}
	c.sessions.begin(s, c.clock())
	defer func() { c.sessions.end(s, c.clock()) }()
	c.logger.Info("node attached", "node", by.Node)

	reading := make(chan error, 1)
	go func() { reading <- c.read(ctx, s, st) }()
	err = c.write(ctx, s, st, reading)
	c.logger.Info("node detached", "node", by.Node, "reason", err)
	if errors.Is(err, errRemoved) {
		return connect.NewError(connect.CodePermissionDenied, err)
	}
	return nil
}

// write sends what waits until the reader or the context ends.
func (c *Controller) write(ctx context.Context, s *session, st *stream, reading <-chan error) error {
	for {
		select {
		case err := <-reading:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.stopping:
			return errStopped
		case <-s.wake:
		}
		for _, d := range s.next() {
			if err := st.Send(d); err != nil {
				return err
			}
		}
	}
}

// read takes the node's messages.
func (c *Controller) read(ctx context.Context, s *session, st *stream) error {
	for {
		up, err := st.Receive()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		c.sessions.update(s.node, func(l *live) { l.seen = c.clock() })
		if err := c.hear(ctx, s, up); err != nil {
			return err
		}
	}
}

// hear takes one message. What would change nothing is not journaled.
func (c *Controller) hear(ctx context.Context, s *session, up *southbound.Up) error {
	switch {
	case up.Hello != nil:
		s.mu.Lock()
		s.deltas = up.Hello.Deltas
		s.mu.Unlock()
		c.sessions.update(s.node, func(l *live) { l.version = up.Hello.Version })
		if _, err := c.tell(ctx, core.Input{Hello: &core.Hello{Node: s.name, Features: up.Hello.Features, Generation: up.Hello.Generation}}); err != nil {
			return err
		}
		var a *southbound.Assignment
		c.engine.query(func(k *core.Core) { a = k.Assignment(s.name) })
		if a != nil && a.Generation != up.Hello.Generation {
			s.put(a, nil)
		}
	case up.Adjacencies != nil:
		_, err := c.tell(ctx, core.Input{Adjacencies: &core.Adjacencies{Node: s.name, Links: up.Adjacencies.Links}})
		return err
	case up.Paths != nil:
		c.sessions.update(s.node, func(l *live) { l.paths = up.Paths.States })
		for _, p := range up.Paths.States {
			if p.InUse {
				if _, err := c.tell(ctx, core.Input{PathUse: &core.PathUse{Node: s.name, Peer: p.Peer, Carrier: p.Carrier}}); err != nil {
					return err
				}
			}
		}
	case up.Usage != nil:
		return c.intake.put(ctx, s, up.Usage)
	case up.Transit != nil:
		c.sessions.update(s.node, func(l *live) { l.transit = up.Transit.Counts })
	case up.Applied != nil:
		if up.Applied.Problem != "" {
			c.logger.Warn("node cannot apply its assignment", "node", s.name, "generation", up.Applied.Generation, "problem", up.Applied.Problem)
		}
		c.sessions.update(s.node, func(l *live) { l.applied = *up.Applied })
		c.changed.ring()
	}
	return nil
}

// tell submits an input unless it would change nothing, and reports whether it
// holds now. A refusal is the node's fault and is logged; the stream goes on.
func (c *Controller) tell(ctx context.Context, in core.Input) (taken bool, err error) {
	redundant := false
	c.engine.query(func(k *core.Core) { redundant = k.Redundant(in) })
	if redundant {
		return true, nil
	}
	_, err = c.engine.submit(ctx, in)
	var r *core.Refusal
	if errors.As(err, &r) {
		c.logger.Warn("a node's message was refused", "reason", r.Detail)
		return false, nil
	}
	return err == nil, err
}

// nodeFrom returns the node that the connection of ctx has proved to be.
func (c *Controller) nodeFrom(ctx context.Context) (northbound.WhoAmI, dssn.NodeID, error) {
	p, ok := ctx.Value(peerKey{}).(peer)
	if !ok {
		return northbound.WhoAmI{}, dssn.NodeID{}, errors.New("only a node with a certificate can attach: join with `dssn node join`")
	}
	return p.by, p.id, p.err
}
