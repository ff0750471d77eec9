package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"dssn/controller/core"
	"dssn/controller/evidence"
	"dssn/controller/journal"
	"dssn/controller/northbound"
)

// maxBatch bounds how many inputs share one transaction.
const maxBatch = 256

// snapshotEvery is how many entries a recovery replays at most, about; one is
// also saved when the controller stops.
const snapshotEvery = 20_000

// errStopped is the answer to whoever asks during shutdown.
var errStopped = errors.New("the controller is stopping: try again in a moment")

// engine makes inputs durable and then true, in the order of their arrival. One
// goroutine runs it; anybody may submit and query.
type engine struct {
	journal *journal.Journal
	log     *evidence.Log
	logger  *slog.Logger
	clock   func() time.Time
	// deliver carries out assignments and disconnections; called by run only,
	// must not block.
	deliver func([]core.Effect)

	inbox chan *submission
	done  chan struct{} // closed when run has returned

	// applied and saved are the entries that the core has taken and that the
	// newest snapshot covers; run's own.
	applied, saved int64

	counters counters

	mu   sync.Mutex // guards core; held for a step or a query, never across I/O
	core *core.Core
}

// submission is an input on its way, and what came of it.
type submission struct {
	in    core.Input
	now   time.Time
	reply core.Reply
	err   error
	ready chan struct{}
}

// recover brings a core to the journal's end, from the newest snapshot on, and
// completes the evidence log: leaves that were decided but not yet written when
// the process died.
func (e *engine) recover() error {
	seq, state, err := e.journal.Snapshot()
	if err != nil {
		return err
	}
	e.core = core.New()
	if seq > 0 {
		if e.core, err = core.Restore(state); err != nil {
			e.logger.Warn("the newest snapshot cannot be used; the whole journal is replayed", "error", err)
			e.core, seq = core.New(), 0
		}
	}
	e.applied, e.saved = seq, seq
	var leaves [][]byte
	var first int64
	flush := func() error {
		if len(leaves) == 0 {
			return nil
		}
		err := e.log.Append(first, leaves)
		leaves = nil
		return err
	}
	err = e.journal.Replay(seq, func(entry journal.Entry) error {
		e.applied = entry.Sequence
		var in core.Input
		if err := json.Unmarshal(entry.Body, &in); err != nil {
			return &journal.CorruptError{Sequence: entry.Sequence, What: "cannot be read"}
		}
		_, effects, _ := e.core.Step(entry.At, in) // a refusal then is a refusal now
		for _, f := range effects {
			if f.Leaf != nil {
				if leaves == nil {
					first = f.Leaf.Index
				}
				leaves = append(leaves, f.Leaf.Data)
			}
			if f.Document != nil {
				if err := e.journal.SetSetting(f.Document.Name, f.Document.Body); err != nil {
					return err
				}
			}
		}
		if len(leaves) >= 1024 {
			return flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// snapshot saves the state as it is. It is not needed for anything but speed, so
// trouble with it is told and survived.
func (e *engine) snapshot() {
	if e.saved == e.applied {
		return
	}
	e.mu.Lock()
	state, err := e.core.Snapshot()
	e.mu.Unlock()
	if err == nil {
		err = e.journal.SaveSnapshot(e.applied, state)
	}
	if err != nil {
		e.logger.Warn("no snapshot was saved", "error", err)
		return
	}
	e.saved = e.applied
	e.counters.snapshots.Add(1)
}

// run takes inputs until ctx ends. An error means that nothing can be made
// durable any more; what was acknowledged is safe.
func (e *engine) run(ctx context.Context) error {
	defer close(e.done)
	for {
		wake := time.NewTimer(e.untilDue())
		var batch []*submission
		select {
		case <-ctx.Done():
			wake.Stop()
			e.snapshot()
			return nil
		case s := <-e.inbox:
			batch = append(batch, s)
		case <-wake.C:
			batch = append(batch, &submission{in: core.Input{Tick: &core.Tick{}}, ready: make(chan struct{})})
		}
		wake.Stop()
	more:
		for len(batch) < maxBatch {
			select {
			case s := <-e.inbox:
				batch = append(batch, s)
			default:
				break more
			}
		}
		if err := e.take(batch); err != nil {
			return err
		}
		if e.applied-e.saved >= snapshotEvery {
			e.snapshot()
		}
	}
}

// untilDue is how long nothing ends by itself, at most a minute.
func (e *engine) untilDue() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := time.Minute
	if at, ok := e.core.Due(); ok {
		d = min(d, at.Sub(e.clock()))
	}
	return max(d, time.Millisecond)
}

// take journals a batch, steps the core through it, writes the evidence and
// answers. Callers hear nothing before everything is durable.
func (e *engine) take(batch []*submission) error {
	entries := make([]journal.Entry, len(batch))
	now := e.clock()
	for i, s := range batch {
		body, err := json.Marshal(&s.in)
		if err != nil {
			return fmt.Errorf("write an input: %w", err)
		}
		s.now = now
		entries[i] = journal.Entry{At: now, Body: body}
	}
	if err := e.journal.Append(entries); err != nil {
		e.refuseAll(batch, err)
		return err
	}
	var effects []core.Effect
	e.mu.Lock()
	for _, s := range batch {
		var f []core.Effect
		s.reply, f, s.err = e.core.Step(s.now, s.in)
		effects = append(effects, f...)
		e.counters.inputs.Add(1)
		if s.err != nil {
			e.counters.refused.Add(1)
		}
	}
	e.mu.Unlock()
	e.counters.batches.Add(1)
	e.applied = entries[len(entries)-1].Sequence
	if err := e.witness(effects); err != nil {
		e.refuseAll(batch, err)
		return err
	}
	e.deliver(effects)
	for _, s := range batch {
		close(s.ready)
	}
	return nil
}

func (e *engine) refuseAll(batch []*submission, err error) {
	for _, s := range batch {
		s.reply, s.err = core.Reply{}, err
		close(s.ready)
	}
}

// witness writes the leaves among effects, and the events to the operator's log.
func (e *engine) witness(effects []core.Effect) error {
	var leaves [][]byte
	var first int64
	for _, f := range effects {
		switch {
		case f.Leaf != nil:
			if leaves == nil {
				first = f.Leaf.Index
			}
			leaves = append(leaves, f.Leaf.Data)
		case f.Document != nil:
			if err := e.journal.SetSetting(f.Document.Name, f.Document.Body); err != nil {
				return fmt.Errorf("keep %s: %w", f.Document.Name, err)
			}
		case f.Event != nil:
			e.logger.Info(f.Event.Detail, "event", f.Event.Kind, "node", f.Event.Node, "sequence", f.Event.Sequence)
		}
	}
	if len(leaves) == 0 {
		return nil
	}
	return e.log.Append(first, leaves)
}

// submit gives an input to the core and waits for what comes of it.
func (e *engine) submit(ctx context.Context, in core.Input) (core.Reply, error) {
	if c := northbound.ConditionOf(ctx); c != nil {
		var key string
		if key, in.Match = c.Take(); key != "" {
			in.Once = &core.Once{Client: c.Client, Key: key, Digest: c.Digest}
		}
	}
	s := &submission{in: in, ready: make(chan struct{})}
	select {
	case e.inbox <- s:
	case <-e.done:
		return core.Reply{}, errStopped
	case <-ctx.Done():
		return core.Reply{}, ctx.Err()
	}
	select {
	case <-s.ready:
		return s.reply, s.err
	case <-e.done:
		select {
		case <-s.ready: // it was answered just before the end
			return s.reply, s.err
		default:
			return core.Reply{}, errStopped
		}
	}
}

// query lets ask read the core.
func (e *engine) query(ask func(c *core.Core)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ask(e.core)
}
