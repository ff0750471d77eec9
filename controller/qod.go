package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"dssn"
	"dssn/controller/core"
	"dssn/controller/northbound"
	"dssn/controller/northbound/camara"
	"dssn/controller/southbound"
)

// What the controller does for CAMARA's sessions: it answers the handler, says
// when a session is enforced, and tells sinks (sinks.go).

// answerWithin is how long the answer to createSession waits for the network, so
// that most sessions are AVAILABLE in it.
const answerWithin = time.Second

// northbound answers /v1, the evidence log and CAMARA's two APIs.
func (c *Controller) northbound(identify func(*http.Request) (northbound.WhoAmI, error)) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", northbound.NewHandler(service{c}, northbound.Options{Identify: identify, Trouble: c.trouble, Feed: c.feed(), Beside: describeCAMARA()}))
	qod := camara.NewHandler(qodService{service{c}}, camara.Options{Trouble: c.trouble, Profiles: c.profiles,
		Identify: func(r *http.Request) (northbound.WhoAmI, error) {
			by, err := identify(r)
			if err == nil && by.Node != "" {
				by.Device = c.terminal(by.Node)
			}
			return by, err
		}})
	for _, p := range camara.Prefixes {
		mux.Handle(p, qod)
	}
	return mux
}

// describeCAMARA is CAMARA's part of the API's document.
func describeCAMARA() (out []northbound.Described) {
	for _, o := range camara.Operations {
		out = append(out, northbound.Described{Pattern: o.Pattern, ID: o.ID, Summary: o.Summary, Status: o.Status, Request: o.Request, Answer: o.Answer, Error: camara.ErrorInfo{}})
	}
	return out
}

// feed is what clients that follow the events wait for.
func (c *Controller) feed() *northbound.Feed {
	return &northbound.Feed{Changed: c.changed.wait, Stopping: c.stopping, Oldest: func() (n int64) {
		c.engine.query(func(k *core.Core) { n = k.OldestEvent() })
		return n
	}}
}

// terminal returns name if it is a terminal's, else "".
func (c *Controller) terminal(name string) (device string) {
	c.engine.query(func(k *core.Core) {
		if n, ok := k.NodeRole(name); ok && n == southbound.RoleTerminal {
			device = name
		}
	})
	return device
}

// onCAMARA reports whether a path is answered in CAMARA's words.
func onCAMARA(path string) bool {
	return slices.ContainsFunc(camara.Prefixes, func(p string) bool { return strings.HasPrefix(path, p) })
}

func readProfiles(path string) ([]camara.Profile, error) {
	if path == "" {
		return camara.StandardProfiles(), nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read QoS profiles: %w", err)
	}
	return camara.ReadProfiles(text)
}

// qodService answers the CAMARA handler.
type qodService struct{ service }

// errorInfo turns a refusal into CAMARA's error.
func errorInfo(err error) error {
	var r *core.Refusal
	if !errors.As(err, &r) {
		if errors.Is(err, errStopped) {
			return camara.Fail(camara.CodeUnavailable, "")
		}
		return err
	}
	code := r.Code
	if code == "" {
		switch r.Kind {
		case core.Denied:
			code = camara.CodePermissionDenied
		case core.Unknown:
			code = camara.CodeNotFound
		case core.Conflict, core.Capacity:
			code = camara.CodeConflict
		case core.Expired:
			code = camara.CodeNotFound
		default:
			code = camara.CodeInvalidArgument
		}
	}
	return camara.Fail(code, r.Detail)
}

// look asks the core a question in CAMARA's words.
func look[A any](s qodService, q func(*core.Core) (A, error)) (a A, err error) {
	s.engine.query(func(k *core.Core) { a, err = q(k) })
	if err != nil {
		return a, errorInfo(err)
	}
	return a, nil
}

// CreateSession creates a session and waits a moment for the network.
func (s qodService) CreateSession(ctx context.Context, by northbound.WhoAmI, q camara.CreateSession, terms camara.Terms) (camara.SessionInfo, error) {
	id, err := dssn.NewReservationID(rand.Reader)
	if err != nil {
		return camara.SessionInfo{}, err
	}
	r, err := s.engine.submit(ctx, core.Input{CreateSession: &core.CreateSession{By: by, ID: northbound.NewUUID(), Reservation: id, Request: q, Terms: terms}})
	if err != nil {
		return camara.SessionInfo{}, errorInfo(err)
	}
	info := *r.Session
	late := time.NewTimer(answerWithin)
	defer late.Stop()
	for info.Status == camara.Requested {
		changed := s.changed.wait()
		now, err := s.Session(ctx, by, info.ID)
		if err != nil {
			break // it was deleted meanwhile; it was created nevertheless
		}
		if info = now; info.Status != camara.Requested {
			break
		}
		select {
		case <-changed:
		case <-late.C:
			return info, nil
		case <-ctx.Done():
			return info, ctx.Err()
		}
	}
	return info, nil
}

// Session shows a session.
func (s qodService) Session(_ context.Context, by northbound.WhoAmI, id string) (camara.SessionInfo, error) {
	return look(s, func(k *core.Core) (camara.SessionInfo, error) { return k.Session(by, id) })
}

// DeleteSession deletes a session.
func (s qodService) DeleteSession(ctx context.Context, by northbound.WhoAmI, id string) error {
	_, err := s.engine.submit(ctx, core.Input{DeleteSession: &core.DeleteSession{By: by, ID: id}})
	return errorInfo(err)
}

// ExtendSession makes a session last longer.
func (s qodService) ExtendSession(ctx context.Context, by northbound.WhoAmI, id string, q camara.ExtendSession) (camara.SessionInfo, error) {
	r, err := s.engine.submit(ctx, core.Input{ExtendSession: &core.ExtendSession{By: by, ID: id, Seconds: int64(q.Additional)}})
	return value(r.Session), errorInfo(err)
}

// SessionsOf lists a device's sessions.
func (s qodService) SessionsOf(_ context.Context, by northbound.WhoAmI, q camara.RetrieveSessions) ([]camara.SessionInfo, error) {
	return look(s, func(k *core.Core) ([]camara.SessionInfo, error) { return k.SessionsOf(by, q.Device) })
}

// Offered leaves away the profiles that a device's access link cannot carry.
func (s qodService) Offered(_ context.Context, by northbound.WhoAmI, d *camara.Device, ps []camara.Profile) ([]camara.Profile, error) {
	if by.Device == "" && d == nil {
		return ps, nil
	}
	access, err := look(s, func(k *core.Core) (dssn.Bandwidth, error) { return k.Access(by, d) })
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(ps), func(p camara.Profile) bool { return p.Terms().Committed > access }), nil
}

// keepSessions says when sessions are enforced and delivers notices, until the
// function that it returns is called.
func (c *Controller) keepSessions(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			changed := c.changed.wait()
			c.settleSessions(ctx)
			wait := c.sinks.deliver(ctx, c, &running)
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-changed:
			case <-timer.C:
			}
			timer.Stop()
		}
	})
	return func() { cancel(); running.Wait(); c.sinks.close() }
}

// settleSessions submits what the nodes have said of sessions that wait.
func (c *Controller) settleSessions(ctx context.Context) {
	var waiting []core.Waiting
	c.engine.query(func(k *core.Core) { waiting = k.Waiting() })
	for _, w := range waiting {
		if l := c.sessions.get(w.Ingress); l.connected && l.applied.Problem == "" && l.applied.Generation >= w.Generation {
			// A refusal means that it ended meanwhile.
			_, err := c.engine.submit(ctx, core.Input{SessionReady: &core.SessionReady{ID: w.ID}})
			var r *core.Refusal
			if err != nil && !errors.As(err, &r) {
				return
			}
		}
	}
}
