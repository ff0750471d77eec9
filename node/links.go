package node

import (
	"context"
	"sync"
	"time"

	"dssn/node/kernel"
)

// carrierEvery is how often the carriers of watched links are asked for.
const carrierEvery = 20 * time.Millisecond

// linkWatch joins two sources of news about watched links: the kernel's messages,
// which tell of everything but of a lost carrier late, and asking.
type linkWatch struct {
	n    *running
	ctx  context.Context
	mu   sync.Mutex // guards seen, and orders what is fed
	seen map[string]kernel.Link
}

// watchLinks begins to feed every watched link and its changes. The function
// that it returns asks for carriers until ctx ends.
func (n *running) watchLinks(ctx context.Context) (func(context.Context), error) {
	carriers, err := kernel.OpenCarriers()
	if err != nil {
		return nil, err
	}
	w := &linkWatch{n: n, ctx: ctx, seen: map[string]kernel.Link{}}
	if err := kernel.WatchLinks(ctx, w.told, w.broken); err != nil {
		carriers.Close()
		return nil, err
	}
	return func(ctx context.Context) {
		defer carriers.Close()
		w.ask(ctx, carriers)
	}, nil
}

// told takes a link from the kernel's messages.
func (w *linkWatch) told(l kernel.Link) {
	if !w.n.watches(l.Name) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.Gone {
		delete(w.seen, l.Name)
	} else {
		w.seen[l.Name] = l
	}
	w.n.feedUntil(w.ctx, LinkSeen{l})
}

// broken watches anew; the first messages then tell of every link.
func (w *linkWatch) broken(err error) {
	for {
		w.n.log.Warn("watching links anew", "err", err)
		select {
		case <-w.ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
		if err = kernel.WatchLinks(w.ctx, w.told, w.broken); err == nil {
			return
		}
	}
}

// ask feeds a link whose carrier is not what was seen last.
func (w *linkWatch) ask(ctx context.Context, carriers *kernel.Carriers) {
	tick := time.NewTicker(carrierEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.mu.Lock()
		for name, l := range w.seen {
			if up, ok := carriers.Up(name); ok && up != l.Up {
				l.Up = up
				w.seen[name] = l
				w.n.feedUntil(w.ctx, LinkSeen{l})
			}
		}
		w.mu.Unlock()
	}
}
