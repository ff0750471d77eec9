package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"dssn/controller/evidence"
	"dssn/controller/journal"
)

// witnesses has the evidence log cosigned. Whenever the log has grown its newest
// checkpoint is sent to all witnesses of the policy at once; when a quorum has
// cosigned, it becomes the published one. A witness that does not answer is asked
// again later and hinders nobody: what is decided and carried never waits for one,
// only what is published does.
type witnesses struct {
	log     *evidence.Log
	keep    *journal.Journal
	policy  evidence.Policy
	client  *http.Client
	logger  *slog.Logger
	wake    chan struct{} // capacity 1: ask now
	done    chan struct{} // closed when run has returned
	pending []*asked

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced whenever something was published
	cosigned []string      // of the published checkpoint
	failing  map[string]string
}

// asked is what is known of one witness; run's own.
type asked struct {
	evidence.Witness
	size int64 // leaves that it has cosigned, as far as we know
}

const (
	witnessEvery   = time.Second      // growth is gathered so long
	witnessAgain   = 15 * time.Second // after a round without a quorum
	witnessTimeout = 10 * time.Second
	// witnessPatience is how long a receipt waits for a quorum before it is given
	// out under the log's own signature only.
	witnessPatience = 3 * time.Second
)

// publishedSetting is where the published checkpoint is kept.
const publishedSetting = "evidence-published"

// newWitnesses returns nil for a policy that names none. The error is a log that
// is not the one whose checkpoint was published.
func newWitnesses(log *evidence.Log, j *journal.Journal, policy evidence.Policy, logger *slog.Logger) (*witnesses, error) {
	old, err := j.Setting(publishedSetting)
	if err != nil {
		return nil, fmt.Errorf("read the published checkpoint: %w", err)
	}
	if old != nil { // checked even where no witness is asked any more
		if err := log.SetPublished(old); err != nil {
			return nil, err
		}
	}
	if len(policy.Witnesses) == 0 {
		return nil, nil
	}
	policy.LogKey = log.VerifierKey()
	w := &witnesses{log: log, keep: j, policy: policy, client: &http.Client{Timeout: witnessTimeout}, logger: logger,
		wake: make(chan struct{}, 1), done: make(chan struct{}), changed: make(chan struct{}), failing: map[string]string{}}
	for _, x := range policy.Witnesses {
		if x.URL == "" {
			return nil, fmt.Errorf("the witness %s of the policy has no URL: a controller that asks it needs one", x.Name)
		}
		w.pending = append(w.pending, &asked{Witness: x})
	}
	return w, nil
}

// run asks until ctx ends.
func (w *witnesses) run(ctx context.Context) {
	defer close(w.done)
	defer w.client.CloseIdleConnections()
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-w.wake:
		}
		pause := witnessEvery
		if _, size, err := w.log.Published(); err == nil && (size < w.log.Size() || w.names() == nil) {
			if err := w.round(ctx); err != nil && ctx.Err() == nil {
				w.logger.Warn("the evidence log is not witnessed", "reason", err)
				pause = witnessAgain
			}
		}
		next.Reset(pause)
	}
}

// round asks every witness for the newest checkpoint, and publishes it.
func (w *witnesses) round(ctx context.Context) error {
	cp, size, err := w.log.Head()
	if err != nil {
		return err
	}
	lines := make([]string, len(w.pending))
	errs := make([]error, len(w.pending))
	var all sync.WaitGroup
	for i, x := range w.pending {
		all.Go(func() { lines[i], errs[i] = w.ask(ctx, x, size, cp) })
	}
	all.Wait()
	msg := bytes.Clone(cp)
	for _, l := range lines {
		msg = append(msg, l...)
	}
	w.remember(errs)
	names, err := w.policy.Cosigned(msg)
	if err != nil {
		return err
	}
	if len(names) == 0 || !w.policy.Satisfied(names) {
		return fmt.Errorf("the checkpoint of %d leaves has no quorum: %w", size, errors.Join(errs...))
	}
	if err := w.keep.SetSetting(publishedSetting, msg); err != nil {
		return fmt.Errorf("keep the published checkpoint: %w", err)
	}
	if err := w.log.SetPublished(msg); err != nil {
		return err
	}
	w.mu.Lock()
	w.cosigned = names
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	return nil
}

// remember notes which witnesses fail, and tells of a change once.
func (w *witnesses) remember(errs []error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, x := range w.pending {
		old, failed := w.failing[x.Name]
		switch {
		case errs[i] != nil && (!failed || old != errs[i].Error()):
			w.failing[x.Name] = errs[i].Error()
			w.logger.Warn("a witness does not cosign the evidence log", "witness", x.Name, "reason", errs[i])
		case errs[i] == nil && failed:
			delete(w.failing, x.Name)
			w.logger.Info("a witness cosigns the evidence log again", "witness", x.Name)
		}
	}
}

// names are the witnesses of the published checkpoint; nil before the first.
func (w *witnesses) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cosigned
}

// count returns how many witnesses are asked, and how many of them fail.
func (w *witnesses) count() (n [2]int) {
	if w == nil {
		return n
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return [2]int{len(w.policy.Witnesses), len(w.failing)}
}

// ask has one witness cosign, at its second try from where it says that it is.
func (w *witnesses) ask(ctx context.Context, x *asked, size int64, cp []byte) (lines string, err error) {
	for range 2 {
		body, err := w.log.WitnessRequest(x.size, size, cp)
		if err != nil {
			return "", err
		}
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, x.URL+"/add-checkpoint", bytes.NewReader(body))
		if err != nil {
			return "", fmt.Errorf("ask the witness %s: %w", x.Name, err)
		}
		a, err := w.client.Do(q)
		if err != nil {
			return "", fmt.Errorf("ask the witness %s: %w", x.Name, err)
		}
		answer, err := io.ReadAll(io.LimitReader(a.Body, 64<<10))
		a.Body.Close()
		if err != nil {
			return "", fmt.Errorf("read the answer of the witness %s: %w", x.Name, err)
		}
		switch a.StatusCode {
		case http.StatusOK:
			if lines, err = evidence.TakeCosignature(cp, answer, x.Witness); err == nil {
				x.size = size
			}
			return lines, err
		case http.StatusConflict:
			seen, err := evidence.WitnessSize(answer)
			if err != nil {
				return "", err
			}
			if seen > size {
				return "", fmt.Errorf("the witness %s has seen %d leaves, but the log has %d: the log was cut, or an old backup runs; restore the last one", x.Name, seen, size)
			}
			if seen == x.size {
				return "", fmt.Errorf("the witness %s knows another log of %d leaves: this one was rewritten; restore the last backup", x.Name, seen)
			}
			x.size = seen
		case http.StatusNotFound:
			return "", fmt.Errorf("the witness %s does not know this log: have its operator add the origin and key %s", x.Name, w.log.VerifierKey())
		case http.StatusForbidden:
			return "", fmt.Errorf("the witness %s knows this log with another key: have its operator add %s", x.Name, w.log.VerifierKey())
		case http.StatusUnprocessableEntity:
			return "", fmt.Errorf("the witness %s does not accept the proof that the log only grew: it was rewritten; restore the last backup", x.Name)
		default:
			return "", fmt.Errorf("the witness %s answers %s", x.Name, a.Status)
		}
	}
	return "", fmt.Errorf("the witness %s goes on while it is asked: is another controller using this log's key?", x.Name)
}

// cover waits until a leaf is under the published checkpoint, at most for
// witnessPatience: a witness that is away delays a receipt and prevents none.
func (w *witnesses) cover(ctx context.Context, index int64) {
	if w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, witnessPatience)
	defer cancel()
	for {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		if _, size, err := w.log.Published(); err != nil || size > index && w.names() != nil {
			return
		}
		select {
		case w.wake <- struct{}{}:
		default:
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-w.done:
			return
		}
	}
}
