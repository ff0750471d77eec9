package controller

import (
	"context"
	"crypto/ed25519"
	"errors"
	"runtime"
	"sync"

	"github.com/hdevalence/ed25519consensus"

	"dssn"
	"dssn/controller/core"
	"dssn/controller/southbound"
)

// Intake of usage reports. The streams of all nodes put their reports into one
// bounded queue; one goroutine takes what waits and checks the signatures of it
// together; another makes one journal entry of the good ones and acknowledges them
// when that is durable. While one batch is written the next is checked and a third
// gathers, so batches grow with the load and a lone report waits for nothing.
//
// A full queue blocks the stream that wants to add to it: HTTP/2 flow control
// carries the pressure to the node, which reports cumulative counters and loses
// nothing by waiting.
const (
	maxReports   = 4096    // of one journal entry
	maxFacts     = 1 << 17 // counts and deliveries of one journal entry
	reportsQueue = 2 * maxReports
)

// errForged ends the stream of a node whose report has a signature that is not
// its own: the connection proved who it is, so this is no accident of the network.
var errForged = errors.New("a report is not signed by the node's identity key")

// waiting is a report on its way.
type waiting struct {
	session *session
	report  *southbound.Usage
}

type intake struct {
	engine *engine
	queue  chan waiting
	good   chan []waiting // checked, not yet written
	done   chan struct{}  // closed when run has returned
}

func newIntake(e *engine) *intake {
	return &intake{engine: e, queue: make(chan waiting, reportsQueue), good: make(chan []waiting), done: make(chan struct{})}
}

// put adds a report; it waits while the queue is full.
func (t *intake) put(ctx context.Context, s *session, u *southbound.Usage) error {
	select {
	case t.queue <- waiting{s, u}:
		return nil
	case <-t.engine.done:
		return errStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run takes reports until ctx ends or the engine does.
func (t *intake) run(ctx context.Context) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		for batch := range t.good {
			if t.take(ctx, batch) != nil {
				break // the engine has stopped, and says why
			}
		}
		for range t.good { // until run hears of it
		}
	}()
	defer close(t.done)
	defer func() { close(t.good); <-written }()
	for {
		var batch []waiting
		select {
		case <-ctx.Done():
			return
		case <-t.engine.done:
			return
		case w := <-t.queue:
			batch = append(batch, w)
		}
		size := facts(batch[0].report)
	more:
		for len(batch) < maxReports && size < maxFacts {
			select {
			case w := <-t.queue:
				batch = append(batch, w)
				size += facts(w.report)
			default:
				break more
			}
		}
		if good := t.verified(batch); len(good) > 0 {
			t.good <- good
		}
	}
}

func facts(u *southbound.Usage) int { return 1 + len(u.Counts) + len(u.Deliveries) }

// take makes a checked batch durable and acknowledges it. The last report of a
// node is acknowledged, which covers those before it.
func (t *intake) take(ctx context.Context, good []waiting) error {
	in := &core.Reports{Reports: make([]core.Usage, len(good))}
	for i, w := range good {
		in.Reports[i] = core.Usage{Node: w.session.name, Report: *w.report}
	}
	r, err := t.engine.submit(ctx, core.Input{Reports: in})
	if err != nil {
		return err
	}
	t.engine.counters.reports.Add(uint64(len(good)))
	for i, w := range good {
		if r.Reports[i] != nil {
			t.engine.logger.Warn("a node's report was refused", "node", w.session.name, "reason", r.Reports[i])
			continue // not acknowledged: a node that means well sends it again
		}
		w.session.put(nil, &southbound.UsageAck{Epoch: w.report.Epoch, Sequence: w.report.Sequence})
	}
	return nil
}

// verified returns the reports whose signatures are their nodes', in order, and
// those without one: whether a node must sign is for the core to say.
func (t *intake) verified(batch []waiting) (good []waiting) {
	keys := make([]ed25519.PublicKey, len(batch))
	nodes := make([]dssn.NodeID, len(batch))
	t.engine.query(func(c *core.Core) {
		for i, w := range batch {
			nodes[i], keys[i], _ = c.NodeKey(w.session.name)
		}
	})
	signed := make([]signature, 0, len(batch))
	at := make([]int, 0, len(batch))
	for i, w := range batch {
		if len(w.report.Signature) > 0 {
			signed = append(signed, signature{keys[i], w.report.AppendSigned(nil, nodes[i]), w.report.Signature})
			at = append(at, i)
		}
	}
	bad := make([]bool, len(batch))
	for k, ok := range verifyAll(signed) {
		bad[at[k]] = !ok
	}
	good = batch[:0]
	for i, w := range batch {
		if bad[i] {
			t.engine.counters.forged.Add(1)
			t.engine.logger.Warn("a node's report was refused and its stream ended", "node", w.session.name, "reason", errForged)
			w.session.cancel(errForged)
			continue
		}
		good = append(good, w)
	}
	return good
}

// signature is a message with its signature and the key that should have made it.
type signature struct {
	key     ed25519.PublicKey
	message []byte
	sig     []byte
}

// verifyAll says of each signature whether it is good, using all processors.
func verifyAll(list []signature) []bool {
	ok := make([]bool, len(list))
	workers := min(runtime.GOMAXPROCS(0), (len(list)+minTogether-1)/minTogether)
	if workers <= 1 {
		verifyTogether(list, ok)
		return ok
	}
	var wait sync.WaitGroup
	for w := range workers {
		from, to := w*len(list)/workers, (w+1)*len(list)/workers
		wait.Go(func() { verifyTogether(list[from:to], ok[from:to]) })
	}
	wait.Wait()
	return ok
}

// minTogether is from how many signatures on checking them together is faster
// than one by one.
const minTogether = 4

// verifyTogether checks signatures by one equation, which holds if all are good
// (but for a chance of 2^-128) and costs less than half as much. If it does not
// hold the list is halved until the bad ones are found: one liar costs the
// others a few equations, not a check each. The equation is the cofactored one of ZIP 215:
// it may accept what crypto/ed25519 would not only if the key's owner made key
// and signature for that end, who deceives nobody but themselves.
func verifyTogether(list []signature, ok []bool) {
	if len(list) < minTogether {
		for i, s := range list {
			ok[i] = len(s.key) == ed25519.PublicKeySize && ed25519.Verify(s.key, s.message, s.sig)
		}
		return
	}
	all := ed25519consensus.NewPreallocatedBatchVerifier(len(list))
	for _, s := range list {
		all.Add(s.key, s.message, s.sig)
	}
	if all.Verify() {
		for i := range ok {
			ok[i] = true
		}
		return
	}
	half := len(list) / 2
	verifyTogether(list[:half], ok[:half])
	verifyTogether(list[half:], ok[half:])
}
