package controller

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"dssn/controller/core"
	"dssn/controller/northbound"
	"dssn/controller/northbound/camara"
)

// Delivery of notices to sinks. What is to be delivered is part of the state, so
// a notice survives the controller's death; it is sent until the sink answers,
// its token runs out or the core gives it up, and may therefore arrive twice,
// with the same id. An address that a client names is not trusted: only https to
// verified servers, no redirects, nothing of the answer is shown to anybody, and
// never to link-local addresses, where clouds keep their secrets.

const (
	maxDeliveries = 16 // at the same time
	sinkTimeout   = 10 * time.Second
	firstRetry    = time.Second
	lastRetry     = time.Minute
)

// sinks delivers notices.
type sinks struct {
	http *http.Client

	mu    sync.Mutex // guards state
	state map[string]*delivery
}

// delivery is a notice under way.
type delivery struct {
	running bool
	tries   int
	next    time.Time // when to try again
}

func newSinks(caFile string) (*sinks, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("read the authority of sinks: %w", err)
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read the authority of sinks: %s holds no PEM certificate", caFile)
		}
	}
	d := &net.Dialer{Timeout: sinkTimeout, Control: func(_, address string, _ syscall.RawConn) error { return sinkAddress(address) }}
	return &sinks{state: map[string]*delivery{}, http: &http.Client{
		Timeout: sinkTimeout,
		Transport: &http.Transport{DialContext: d.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
			MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: sinkTimeout},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// sinkAddress refuses addresses at which no client's program can be.
func sinkAddress(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	a := ap.Addr().Unmap()
	if a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
		return fmt.Errorf("%s is no address of a sink", a)
	}
	return nil
}

// deliver starts what is due and returns after how long to look again. Its
// goroutines are counted by running.
func (k *sinks) deliver(ctx context.Context, c *Controller, running *sync.WaitGroup) time.Duration {
	var notices map[string]core.Notice
	c.engine.query(func(q *core.Core) { notices = q.Notices() })
	now, wait := c.clock(), time.Minute
	k.mu.Lock()
	defer k.mu.Unlock()
	busy := 0
	for id, d := range k.state {
		if _, there := notices[id]; !there && !d.running {
			delete(k.state, id)
		} else if d.running {
			busy++
		}
	}
	for id, n := range notices {
		d := k.state[id]
		if d == nil {
			d = &delivery{}
			k.state[id] = d
		}
		switch due := d.next.Sub(now); {
		case d.running:
		case due > 0:
			wait = min(wait, due)
		case busy == maxDeliveries:
			// The next one that ends looks again.
		default:
			busy++
			d.running = true
			running.Go(func() { k.try(ctx, c, id, n, d) })
		}
	}
	return wait
}

// try sends a notice once.
func (k *sinks) try(ctx context.Context, c *Controller, id string, n core.Notice, d *delivery) {
	done, gone, err := k.send(ctx, id, n)
	if err != nil {
		c.logger.Warn("a sink was not told", "session", n.Session, "error", err)
	}
	if done {
		// A refusal means that it was given up meanwhile; trouble, that it is sent again.
		if _, err := c.engine.submit(ctx, core.Input{NoticeDone: &core.NoticeDone{ID: id, Gone: gone}}); err != nil {
			var r *core.Refusal
			done = errors.As(err, &r)
		}
	}
	k.mu.Lock()
	d.running = false
	d.next = c.clock().Add(min(firstRetry<<min(d.tries, 10), lastRetry))
	d.tries++
	k.mu.Unlock()
	c.changed.ring()
}

// send posts a notice's event. done means that no more is to be tried, gone that
// the sink wants no more of them.
func (k *sinks) send(ctx context.Context, id string, n core.Notice) (done, gone bool, err error) {
	body, err := json.Marshal(camara.NewEvent(id, n.Session, n.At, n.Status, n.Info))
	if err != nil {
		return false, false, fmt.Errorf("write an event: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.Sink, bytes.NewReader(body))
	if err != nil {
		return true, false, fmt.Errorf("write a notification: %w", err)
	}
	r.Header.Set("Content-Type", camara.EventContentType)
	r.Header.Set("X-Correlator", northbound.NewUUID())
	if n.Token != "" {
		r.Header.Set("Authorization", "Bearer "+n.Token)
	}
	w, err := k.http.Do(r)
	if err != nil {
		return false, false, err
	}
	defer w.Body.Close()
	io.Copy(io.Discard, io.LimitReader(w.Body, 1<<16))
	switch {
	case w.StatusCode < 300:
		return true, false, nil
	case w.StatusCode == http.StatusGone:
		return true, true, nil
	case w.StatusCode >= 500, w.StatusCode == http.StatusTooManyRequests, w.StatusCode == http.StatusRequestTimeout:
		return false, false, fmt.Errorf("the sink answered %s", w.Status)
	}
	return true, false, fmt.Errorf("the sink answered %s and is not asked again", w.Status)
}

// close ends idle connections.
func (k *sinks) close() { k.http.CloseIdleConnections() }
