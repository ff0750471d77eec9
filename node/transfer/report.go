package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"dssn"
	"dssn/controller/southbound"
)

const (
	progressEvery    = 200 * time.Millisecond
	acknowledgeEvery = time.Second
	pathEvery        = time.Second
	// rateWindow is how far back the rate of a Progress looks.
	rateWindow = 3 * time.Second
)

// reporter tells three parties how far a get has come: the person who watches,
// the holder and this host's node. Each has a goroutine of its own, because the
// node asks the controller, and a controller that is away must not hold up the
// progress bar, nor the acknowledgements.
type reporter struct {
	g       *get
	cancel  context.CancelFunc
	running sync.WaitGroup
	path    atomic.Pointer[string]
	samples []sample // used by the goroutine of progress, and by settle after it

	// used by the goroutine of acknowledge, and by settle and stop after it
	acked uint64
	told  uint64
}

type sample struct {
	at    time.Time
	bytes int64
}

func (g *get) startReporter(ctx context.Context) *reporter {
	ctx, cancel := context.WithCancel(ctx)
	r := &reporter{g: g, cancel: cancel}
	every := func(d time.Duration, f func()) {
		r.running.Go(func() {
			t := time.NewTicker(d)
			defer t.Stop()
			for ctx.Err() == nil {
				f()
				select {
				case <-ctx.Done():
				case <-t.C:
				}
			}
		})
	}
	every(acknowledgeEvery, func() { r.acknowledge(ctx, g.queue.counted(), false) })
	if g.Progress != nil {
		every(progressEvery, func() { r.progress(time.Now()) })
		every(pathEvery, func() {
			if p, err := g.Local.Path(ctx, g.res.Holder); err == nil {
				r.path.Store(&p)
			}
		})
	}
	return r
}

// progress computes and hands out a Progress.
func (r *reporter) progress(now time.Time) {
	if r.g.Progress == nil {
		return
	}
	q := r.g.queue
	q.mu.Lock()
	have, fetched, whole := q.have, q.fetched, q.whole
	q.mu.Unlock()
	r.samples = append(r.samples, sample{now, fetched})
	for len(r.samples) > 2 && now.Sub(r.samples[0].at) > rateWindow {
		r.samples = r.samples[1:]
	}
	first := r.samples[0]
	p := Progress{Bytes: dssn.ByteCount(have), Total: r.g.total, Files: whole}
	if path := r.path.Load(); path != nil {
		p.Path = *path
	}
	p.Rate = dssn.RateOf(dssn.ByteCount(fetched-first.bytes), now.Sub(first.at))
	if p.Rate > 0 {
		p.ETA = p.Rate.TimeFor(p.Total - p.Bytes)
	}
	r.g.Progress(p)
}

// acknowledge tells holder and node the cumulative count, once each.
func (r *reporter) acknowledge(ctx context.Context, count uint64, done bool) error {
	if count != r.acked || done {
		if err := r.g.remote.acknowledge(ctx, r.g.transfer, acknowledgement{count, done}); err != nil {
			return err
		}
		r.acked = count
	}
	if count != r.told || done {
		if err := r.g.Local.Report(ctx, r.g.delivery(count, done)); err != nil {
			return err
		}
		r.told = count
	}
	return nil
}

func (g *get) delivery(count uint64, done bool) southbound.Delivery {
	return southbound.Delivery{
		Transfer: g.transfer, End: southbound.EndReceiver, Data: g.res.Record.ID, Peer: g.res.Holder,
		Reservation: g.res.Reservation, ContentBytes: count, Started: g.began.UTC(), Updated: time.Now().UTC(), Done: done,
	}
}

// stop ends the goroutines. What was verified since its last word is told now
// if the holder can still be reached, and by the next run if not.
func (r *reporter) stop() {
	r.cancel()
	r.running.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r.acknowledge(ctx, r.g.queue.counted(), false)
}

// settle ends the goroutines and insists that both ends know the final count.
func (r *reporter) settle(ctx context.Context, count uint64) error {
	r.cancel()
	r.running.Wait()
	r.progress(time.Now())
	if count == 0 {
		return nil // everything was here before; there was no transfer
	}
	done := !r.g.unasked
	err := r.g.remote.insist(ctx, r.g.Patience, func() error {
		err := r.acknowledge(ctx, count, done)
		var refused *Refusal
		if err != nil && ctx.Err() == nil && !errors.As(err, &refused) {
			return &temporary{err}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("everything has arrived and is verified, but it could not be settled (%w): give the same command again to settle", err)
	}
	return nil
}
