package node

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"dssn/controller/southbound"
)

// Waiting between attempts to reach a controller: it doubles from the first to
// the last, and each wait is drawn between half and the whole of it, so that
// nodes that lost one controller do not return in step.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// uplink keeps the stream to the controllers up and carries messages both ways.
// Every message is whole (a later one replaces an earlier of its kind), so the
// outbox holds at most one of each and what was not sent is not missed.
type uplink struct {
	log         *slog.Logger
	version     string
	features    southbound.Features
	client      *http.Client
	controllers []string
	// generation is that of the assignment held; read when a stream begins.
	generation func() uint64
	// attached is called when a stream begins, down with each message.
	attached func()
	down     func(*southbound.Down)

	current atomic.Pointer[string] // URL of the controller that answered last

	mu     sync.Mutex // guards the fields below
	outbox southbound.Up
	status ControllerStatus
	wake   chan struct{} // one slot: the outbox has something
}

// ControllerStatus is the state of the stream.
type ControllerStatus struct {
	URL       string    `json:"url"`
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since"`
	LastError string    `json:"last_error,omitempty"`
}

func newUplink(log *slog.Logger, client *http.Client, controllers []string) *uplink {
	u := &uplink{log: log, client: client, controllers: controllers, wake: make(chan struct{}, 1)}
	u.current.Store(&controllers[0])
	u.status = ControllerStatus{URL: controllers[0], Since: time.Now()}
	return u
}

// url is where requests to the controller go.
func (u *uplink) url() string { return *u.current.Load() }

// send puts a message into the outbox, over the one of its kind that is there.
func (u *uplink) send(m southbound.Up) {
	u.mu.Lock()
	if m.Adjacencies != nil {
		u.outbox.Adjacencies = m.Adjacencies
	}
	if m.Paths != nil {
		u.outbox.Paths = m.Paths
	}
	if m.Usage != nil {
		u.outbox.Usage = m.Usage
	}
	if m.Applied != nil {
		u.outbox.Applied = m.Applied
	}
	if m.Transit != nil {
		u.outbox.Transit = m.Transit
	}
	u.mu.Unlock()
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// take empties the outbox into messages of one field each, in the order in
// which a controller makes the most of them.
func (u *uplink) take() (out []*southbound.Up) {
	u.mu.Lock()
	o := u.outbox
	u.outbox = southbound.Up{}
	u.mu.Unlock()
	if o.Adjacencies != nil {
		out = append(out, &southbound.Up{Adjacencies: o.Adjacencies})
	}
	if o.Applied != nil {
		out = append(out, &southbound.Up{Applied: o.Applied})
	}
	if o.Paths != nil {
		out = append(out, &southbound.Up{Paths: o.Paths})
	}
	if o.Usage != nil {
		out = append(out, &southbound.Up{Usage: o.Usage})
	}
	if o.Transit != nil {
		out = append(out, &southbound.Up{Transit: o.Transit})
	}
	return out
}

// run keeps a stream up until ctx ends.
func (u *uplink) run(ctx context.Context) {
	wait := firstRetry
	for i := 0; ctx.Err() == nil; i++ {
		url := u.controllers[i%len(u.controllers)]
		began := time.Now()
		err := u.stream(ctx, url)
		if ctx.Err() != nil {
			return
		}
		u.note(ControllerStatus{URL: url, LastError: err.Error()})
		// The next attempt shakes hands anew, with the newest certificate: the
		// connection may have begun with one that has ended.
		u.client.CloseIdleConnections()
		if time.Since(began) > lastRetry {
			wait = firstRetry
		}
		u.log.Warn("no stream to the controller", "controller", url, "err", err, "retry", wait)
		pause := wait/2 + rand.N(wait/2)
		wait = min(2*wait, lastRetry)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (u *uplink) note(s ControllerStatus) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s.Connected != u.status.Connected {
		s.Since = time.Now()
	} else {
		s.Since = u.status.Since
	}
	u.status = s
}

func (u *uplink) state() ControllerStatus {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.status
}

// stream holds one stream and returns why it ended.
func (u *uplink) stream(ctx context.Context, url string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := connect.NewClient[southbound.Up, southbound.Down](u.client, url+southbound.Procedure,
		connect.WithCodec(southbound.Codec{}), connect.WithReadMaxBytes(southbound.MaxMessageBytes))
	s := c.CallBidiStream(ctx)
	defer s.CloseResponse()
	defer s.CloseRequest()
	hello := &southbound.Hello{Generation: u.generation(), Features: u.features, Version: u.version, Deltas: true}
	if err := s.Send(&southbound.Up{Hello: hello}); err != nil {
		return receiveError(s, err)
	}
	received := make(chan error, 1)
	go func() {
		first := true
		var held *southbound.Assignment // the last that this stream brought
		for {
			m, err := s.Receive()
			if err == nil && m.Delta != nil {
				// After an error the next stream begins with a whole one.
				m.Assignment, err = m.Delta.Apply(held)
				m.Delta = nil
			}
			if err != nil {
				received <- err
				return
			}
			if m.Assignment != nil {
				held = m.Assignment
			}
			if first {
				first = false
				u.current.Store(&url)
				u.note(ControllerStatus{URL: url, Connected: true})
			}
			u.down(m)
		}
	}()
	// What was sent before may have been lost with the stream: say it all.
	u.take()
	u.attached()
	for {
		select {
		case err := <-received:
			return err
		case <-ctx.Done():
			// The transport notices a cancelled context only once it is done with
			// the request's body, which may be waiting for its next message.
			cancel()
			s.CloseRequest()
			<-received
			return ctx.Err()
		case <-u.wake:
			for _, m := range u.take() {
				if err := s.Send(m); err != nil {
					cancel()
					s.CloseRequest()
					return receiveErrorFrom(<-received, err)
				}
			}
		}
	}
}

// receiveError returns the reason a stream that cannot be sent to has ended,
// which only receiving tells.
func receiveError(s *connect.BidiStreamForClient[southbound.Up, southbound.Down], err error) error {
	_, r := s.Receive()
	return receiveErrorFrom(r, err)
}

func receiveErrorFrom(received, sent error) error {
	if received != nil {
		return received
	}
	return sent
}

// renewal replaces the certificate when two thirds of its life are over.
type renewal struct {
	log         *slog.Logger
	client      *http.Client
	url         func() string
	key         ed25519.PrivateKey
	certificate *atomic.Pointer[tls.Certificate]
	save        func(der []byte) error
}

// renewAt is when a certificate should be replaced.
func renewAt(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 3 * 2)
}

func (r *renewal) run(ctx context.Context) {
	wait := time.Duration(0)
	for {
		due := max(time.Until(renewAt(r.certificate.Load().Leaf)), wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(due):
		}
		if err := r.renew(ctx); err != nil {
			r.log.Warn("certificate not renewed", "err", err, "until", r.certificate.Load().Leaf.NotAfter)
			wait = min(max(2*wait, time.Second), 5*time.Minute)
			continue
		}
		wait = 0
	}
}

func (r *renewal) renew(ctx context.Context) error {
	csr, err := certificateRequest(r.key)
	if err != nil {
		return err
	}
	var resp southbound.RenewResponse
	if err := postJSON(ctx, r.client, r.url()+southbound.RenewPath, southbound.RenewRequest{CSR: csr}, &resp); err != nil {
		return err
	}
	c, err := tlsCertificate(resp.Certificate, r.key)
	if err != nil {
		return err
	}
	old := r.certificate.Load().Leaf
	if pub, ok := c.Leaf.PublicKey.(ed25519.PublicKey); !ok || !pub.Equal(r.key.Public()) || !c.Leaf.NotAfter.After(old.NotAfter) {
		return fmt.Errorf("the controller's new certificate is of no use: it is for another key or ends no later")
	}
	if err := r.save(resp.Certificate); err != nil {
		return err
	}
	r.certificate.Store(c)
	r.client.CloseIdleConnections()
	r.log.Info("certificate renewed", "until", c.Leaf.NotAfter)
	return nil
}
