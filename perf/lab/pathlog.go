package lab

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"dssn/controller/northbound"
	"dssn/node"
)

// pathLog follows which path the ingress edge uses to its peer. It asks the
// edge's own local API, which answers also while there is no controller, and
// at every change reads the links' counters, so that each path has its own
// books.
type pathLog struct {
	lab    *Lab
	client *northbound.Client
	peer   string
	share  func() float64 // of the transfer, in percent
	stop   context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex // guards what follows
	paths []ReportPath
	loads map[string]uint64 // of the links, when the present path came into use
}

// followPaths begins a log, with the path that is in use now.
func (l *Lab) followPaths(ctx context.Context, edge, peer string, share func() float64) (*pathLog, error) {
	ctx, stop := context.WithCancel(ctx)
	g := &pathLog{lab: l, peer: peer, share: share, stop: stop, done: make(chan struct{}),
		client: northbound.NewUnixClient(filepath.Join(l.StateOf(edge), "node.sock"))}
	// The edge has its path moments after the grant made it.
	if err := until(ctx, 5*time.Second, func() error { return g.look(ctx) }); err != nil {
		stop()
		g.client.Close()
		return nil, fmt.Errorf("ask %s for its path to %s: %w", edge, peer, err)
	}
	go func() {
		defer close(g.done)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
				g.look(ctx) // an edge too busy to answer is asked again
			}
		}
	}()
	return g, nil
}

// look asks once.
func (g *pathLog) look(ctx context.Context) error {
	var peers []node.PeerPaths
	if err := g.client.Do(ctx, http.MethodGet, "/local/paths?peer="+url.QueryEscape(g.peer), nil, &peers); err != nil {
		return err
	}
	for _, p := range peers {
		for _, v := range p.Paths {
			if v.InUse && len(v.Hops) > 0 {
				return g.use(ReportPath{Hops: v.Hops, Carrier: v.Carrier, FromPercent: g.share()})
			}
		}
	}
	return fmt.Errorf("no path to %s is in use", g.peer)
}

// use begins a new entry if the path is another one.
func (g *pathLog) use(p ReportPath) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.paths); n > 0 && slices.Equal(g.paths[n-1].Hops, p.Hops) {
		return nil
	}
	if err := g.closeBooksLocked(); err != nil {
		return err
	}
	g.paths = append(g.paths, p)
	return nil
}

// closeBooksLocked writes down what the links of the present path have carried.
func (g *pathLog) closeBooksLocked() error {
	now, err := g.lab.linkLoads()
	if err != nil {
		return err
	}
	if n := len(g.paths); n > 0 {
		g.paths[n-1].Carried = carried(g.loads, now, g.paths[n-1].Hops)
	}
	g.loads = now
	return nil
}

// current returns the path in use and its place in the log.
func (g *pathLog) current() (ReportPath, int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.paths[len(g.paths)-1], len(g.paths) - 1
}

// close ends the log and returns all paths that were used.
func (g *pathLog) close() ([]ReportPath, error) {
	g.stop()
	<-g.done
	defer g.client.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.paths, g.closeBooksLocked()
}
