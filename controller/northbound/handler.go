package northbound

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"dssn"
	"dssn/controller/southbound"
)

// MaxBodyBytes bounds a request's body.
const MaxBodyBytes = 1 << 20

// Service decides; the controller is one. Errors that are *Problem are answered
// as such, others as an internal error whose text stays in the log.
type Service interface {
	Billing
	Join(ctx context.Context, q southbound.JoinRequest) (southbound.JoinResponse, error)
	Renew(ctx context.Context, by WhoAmI, q southbound.RenewRequest) (southbound.RenewResponse, error)

	AddInstitution(ctx context.Context, by WhoAmI, q InstitutionRequest) (Institution, error)
	Institutions(ctx context.Context, by WhoAmI) ([]Institution, error)
	CreateToken(ctx context.Context, by WhoAmI, q TokenRequest) (Token, error)
	RemoveNode(ctx context.Context, by WhoAmI, node string) error

	Publish(ctx context.Context, by WhoAmI, q PublishRequest) (Dataset, error)
	Datasets(ctx context.Context, by WhoAmI) ([]Dataset, error)
	Dataset(ctx context.Context, by WhoAmI, id dssn.DataID) (Dataset, error)
	Resolve(ctx context.Context, by WhoAmI, id dssn.DataID) (Resolution, error)
	Grant(ctx context.Context, by WhoAmI, q GrantRequest) (Grant, error)
	Grants(ctx context.Context, by WhoAmI) ([]Grant, error)
	Revoke(ctx context.Context, by WhoAmI, id string) (Grant, error)
	Approve(ctx context.Context, by WhoAmI, id string) (Grant, error)
	Freeze(ctx context.Context, by WhoAmI, q FreezeRequest) (Freeze, error)
	Freezes(ctx context.Context, by WhoAmI) ([]Freeze, error)
	Unfreeze(ctx context.Context, by WhoAmI, id string) (Freeze, error)
	AddPerson(ctx context.Context, by WhoAmI, q PersonRequest) (Person, error)
	People(ctx context.Context, by WhoAmI) ([]Person, error)
	RemovePerson(ctx context.Context, by WhoAmI, name string) error
	SetRoles(ctx context.Context, by WhoAmI, q RoleRequest) (Roles, error)
	AddAPIToken(ctx context.Context, by WhoAmI, person string, q APITokenRequest) (APIToken, error)
	RemoveAPIToken(ctx context.Context, by WhoAmI, person, name string) error
	SetPolicy(ctx context.Context, by WhoAmI, q PolicyRequest) (Policy, error)
	Policy(ctx context.Context, by WhoAmI) (Policy, error)
	Reach(ctx context.Context, by WhoAmI, q ReachRequest) (Reach, error)

	Quote(ctx context.Context, by WhoAmI, q ReservationRequest) (Quote, error)
	Reserve(ctx context.Context, by WhoAmI, q ReservationRequest) (Reservation, error)
	Commit(ctx context.Context, by WhoAmI, id dssn.ReservationID) (Reservation, error)
	Modify(ctx context.Context, by WhoAmI, id dssn.ReservationID, q ModifyRequest) (Reservation, error)
	Extend(ctx context.Context, by WhoAmI, id dssn.ReservationID, q ExtendRequest) (Reservation, error)
	Boost(ctx context.Context, by WhoAmI, id dssn.ReservationID, q BoostRequest) (Reservation, error)
	Release(ctx context.Context, by WhoAmI, id dssn.ReservationID) (Reservation, error)
	// Why says why a reservation had the rate and path that it had at a moment, zero for now.
	Why(ctx context.Context, by WhoAmI, id dssn.ReservationID, at time.Time) (Why, error)
	Reservations(ctx context.Context, by WhoAmI) ([]Reservation, error)
	Reservation(ctx context.Context, by WhoAmI, id dssn.ReservationID) (Reservation, error)

	Usage(ctx context.Context, by WhoAmI) (Usage, error)
	Bill(ctx context.Context, by WhoAmI, institution string, from, to time.Time) (Bill, error)
	Receipt(ctx context.Context, by WhoAmI, transfer string) (json.RawMessage, error)
	// Export writes use or bills in somebody else's format: focus, tmf635 or cloudevents.
	Export(ctx context.Context, by WhoAmI, format, institution string, from, to time.Time) (contentType string, text []byte, err error)
	Tariff(ctx context.Context) (json.RawMessage, error)

	Status(ctx context.Context, by WhoAmI) (Status, error)
	Events(ctx context.Context, by WhoAmI, after int64, limit int) ([]Event, error)

	Checkpoint(ctx context.Context) ([]byte, error)
	Tile(ctx context.Context, path string) (data []byte, ok bool, err error)
}

// Options say how a handler knows its callers and where it tells of trouble.
type Options struct {
	// Identify says as whom a request is known; its error, usually a *Problem,
	// is the answer. It is not asked for /v1/join and the evidence log.
	Identify func(*http.Request) (WhoAmI, error)
	// Trouble is told of errors that are no decision; nil means nobody is.
	Trouble func(r *http.Request, err error)
	// Beside are the routes of others that the document describes too.
	Beside []Described
	// Feed lets clients follow the events; nil means that they can only poll.
	Feed *Feed
}

// api is a handler in the making.
type api struct {
	mux *http.ServeMux
	Options
	operations []operation  // as registered, for the document
	lists      []string     // patterns of those that come in pages
	streams    atomic.Int64 // clients that follow the events
}

// none is the body of requests that have none.
type none struct{}

// NewHandler answers /v1 and /evidence by s.
func NewHandler(s Service, o Options) http.Handler {
	a := &api{mux: http.NewServeMux(), Options: o}
	a.handle("POST "+southbound.JoinPath, reflect.TypeFor[southbound.JoinRequest](), reflect.TypeFor[southbound.JoinResponse](), true, func(w http.ResponseWriter, r *http.Request) {
		answerTo(a, w, r, s.Join)
	})
	route(a, "POST "+southbound.RenewPath, func(c call, q southbound.RenewRequest) (southbound.RenewResponse, error) {
		return s.Renew(c, c.by, q)
	})
	route(a, "GET /v1/whoami", func(c call, _ none) (WhoAmI, error) { return c.by, nil })
	route(a, "POST /v1/institutions", func(c call, q InstitutionRequest) (Institution, error) { return s.AddInstitution(c, c.by, q) })
	list(a, "GET /v1/institutions", func(c call) ([]Institution, error) { return s.Institutions(c, c.by) }, func(i Institution) string { return i.Name })
	route(a, "POST /v1/tokens", func(c call, q TokenRequest) (Token, error) { return s.CreateToken(c, c.by, q) })
	route(a, "DELETE /v1/nodes/{id}", func(c call, _ none) (none, error) { return none{}, s.RemoveNode(c, c.by, c.id()) })

	route(a, "POST /v1/datasets", func(c call, q PublishRequest) (Dataset, error) { return s.Publish(c, c.by, q) })
	list(a, "GET /v1/datasets", func(c call) ([]Dataset, error) { return s.Datasets(c, c.by) }, func(d Dataset) string { return d.Record.ID.Addr().StringExpanded() })
	route(a, "GET /v1/catalogue.jsonld", func(c call, _ none) (raw, error) {
		status, err := s.Status(c, c.by)
		if err != nil {
			return raw{}, err
		}
		list, err := s.Datasets(c, c.by)
		if err != nil {
			return raw{}, err
		}
		text, err := DCAT(status.Network, list)
		return raw{DCATType, text}, err
	})
	route(a, "GET /v1/datasets/{id}", func(c call, _ none) (Dataset, error) { return withData(c, s.Dataset) })
	route(a, "GET /v1/resolve/{id}", func(c call, _ none) (Resolution, error) { return withData(c, s.Resolve) })
	route(a, "POST /v1/grants", func(c call, q GrantRequest) (Grant, error) { return s.Grant(c, c.by, q) })
	list(a, "GET /v1/grants", func(c call) ([]Grant, error) { return s.Grants(c, c.by) }, grantKey)
	route(a, "GET /v1/grants/{id}", func(c call, _ none) (Grant, error) { return one(c, "grant", s.Grants, grantKey) })
	route(a, "DELETE /v1/grants/{id}", func(c call, _ none) (Grant, error) { return s.Revoke(c, c.by, c.id()) })
	route(a, "POST /v1/grants/{id}/approve", func(c call, _ none) (Grant, error) { return s.Approve(c, c.by, c.id()) })
	route(a, "POST /v1/freezes", func(c call, q FreezeRequest) (Freeze, error) { return s.Freeze(c, c.by, q) })
	list(a, "GET /v1/freezes", func(c call) ([]Freeze, error) { return s.Freezes(c, c.by) }, freezeKey)
	route(a, "GET /v1/freezes/{id}", func(c call, _ none) (Freeze, error) { return one(c, "freeze", s.Freezes, freezeKey) })
	route(a, "DELETE /v1/freezes/{id}", func(c call, _ none) (Freeze, error) { return s.Unfreeze(c, c.by, c.id()) })
	route(a, "POST /v1/people", func(c call, q PersonRequest) (Person, error) { return s.AddPerson(c, c.by, q) })
	route(a, "POST /v1/people/{id}/tokens", func(c call, q APITokenRequest) (APIToken, error) { return s.AddAPIToken(c, c.by, c.id(), q) })
	route(a, "DELETE /v1/people/{id}/tokens/{name}", func(c call, _ none) (none, error) {
		return none{}, s.RemoveAPIToken(c, c.by, c.id(), c.r.PathValue("name"))
	})
	route(a, "POST /v1/policy", func(c call, q PolicyRequest) (Policy, error) { return s.SetPolicy(c, c.by, q) })
	route(a, "GET /v1/policy", func(c call, _ none) (Policy, error) { return s.Policy(c, c.by) })
	route(a, "POST /v1/policy/why", func(c call, q ReachRequest) (Reach, error) { return s.Reach(c, c.by, q) })
	route(a, "POST /v1/roles", func(c call, q RoleRequest) (Roles, error) { return s.SetRoles(c, c.by, q) })
	list(a, "GET /v1/people", func(c call) ([]Person, error) { return s.People(c, c.by) }, personKey)
	route(a, "GET /v1/people/{id}", func(c call, _ none) (Person, error) { return one(c, "person", s.People, personKey) })
	route(a, "DELETE /v1/people/{id}", func(c call, _ none) (none, error) { return none{}, s.RemovePerson(c, c.by, c.id()) })

	route(a, "POST /v1/quotes", func(c call, q ReservationRequest) (Quote, error) { return s.Quote(c, c.by, q) })
	route(a, "POST /v1/reservations", func(c call, q ReservationRequest) (Reservation, error) { return s.Reserve(c, c.by, q) })
	list(a, "GET /v1/reservations", func(c call) ([]Reservation, error) { return s.Reservations(c, c.by) }, func(r Reservation) string { return r.ID.String() })
	route(a, "GET /v1/reservations/{id}", func(c call, _ none) (Reservation, error) { return withReservation(c, s.Reservation) })
	route(a, "POST /v1/reservations/{id}/commit", func(c call, _ none) (Reservation, error) { return withReservation(c, s.Commit) })
	route(a, "POST /v1/reservations/{id}/extend", func(c call, q ExtendRequest) (Reservation, error) {
		return withReservation(c, func(ctx context.Context, by WhoAmI, id dssn.ReservationID) (Reservation, error) {
			return s.Extend(ctx, by, id, q)
		})
	})
	route(a, "POST /v1/reservations/{id}/boost", func(c call, q BoostRequest) (Reservation, error) {
		return withReservation(c, func(ctx context.Context, by WhoAmI, id dssn.ReservationID) (Reservation, error) {
			return s.Boost(ctx, by, id, q)
		})
	})
	route(a, "GET /v1/reservations/{id}/why", func(c call, _ none) (Why, error) {
		at, err := c.when("at", time.Time{})
		if err != nil {
			return Why{}, err
		}
		return withReservation(c, func(ctx context.Context, by WhoAmI, id dssn.ReservationID) (Why, error) {
			return s.Why(ctx, by, id, at)
		})
	})
	route(a, "POST /v1/reservations/{id}/release", func(c call, _ none) (Reservation, error) { return withReservation(c, s.Release) })
	route(a, "POST /v1/reservations/{id}/modify", func(c call, q ModifyRequest) (Reservation, error) {
		return withReservation(c, func(ctx context.Context, by WhoAmI, id dssn.ReservationID) (Reservation, error) {
			return s.Modify(ctx, by, id, q)
		})
	})

	route(a, "GET /v1/usage", func(c call, _ none) (Usage, error) { return s.Usage(c, c.by) })
	route(a, "GET /v1/bills", func(c call, _ none) (Bill, error) {
		from, to, err := c.period()
		if err != nil {
			return Bill{}, err
		}
		return s.Bill(c, c.by, c.r.URL.Query().Get("institution"), from, to)
	})
	route(a, "POST /v1/receipts", func(c call, q ReceiptRequest) (json.RawMessage, error) { return s.Receipt(c, c.by, q.Transfer) })
	route(a, "GET /v1/receipts/{id}", func(c call, _ none) (json.RawMessage, error) { return s.Receipt(c, c.by, c.id()) })
	route(a, "GET /v1/status", func(c call, _ none) (Status, error) { return s.Status(c, c.by) })
	route(a, "GET /v1/events", func(c call, _ none) ([]Event, error) {
		after, err := c.number("after", 0)
		if err != nil {
			return nil, err
		}
		limit, err := c.number("limit", 1000)
		if err != nil {
			return nil, err
		}
		return s.Events(c, c.by, after, int(min(limit, 10_000)))
	})

	route(a, "GET /v1/tariff", func(c call, _ none) (json.RawMessage, error) { return s.Tariff(c) })
	route(a, "GET /v1/exports/{id}", func(c call, _ none) (raw, error) {
		from, to, err := c.period()
		if err != nil {
			return raw{}, err
		}
		kind, text, err := s.Export(c, c.by, c.id(), c.r.URL.Query().Get("institution"), from, to)
		return raw{kind, text}, err
	})

	a.billing(s)
	a.evidence(s)
	a.document()
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		WriteProblem(w, NewProblem("unknown", http.StatusNotFound, "nothing answers at %s %s: see the API's document for what does", r.Method, r.URL.Path))
	})
	return correlated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.Feed != nil && r.Method == http.MethodGet && r.URL.Path == "/v1/events" && wantsStream(r) {
			a.stream(w, r, s)
			return
		}
		a.mux.ServeHTTP(w, r)
	}))
}

func grantKey(g Grant) string   { return g.ID }
func freezeKey(f Freeze) string { return f.ID }
func personKey(p Person) string { return p.Name }

// one finds the element of a list that the path names.
func one[T any](c call, what string, all func(context.Context, WhoAmI) ([]T, error), key func(T) string) (zero T, err error) {
	list, err := all(c, c.by)
	if err != nil {
		return zero, err
	}
	for _, e := range list {
		if key(e) == c.id() {
			return e, nil
		}
	}
	return zero, NewProblem("unknown", http.StatusNotFound, "no %s of yours is called %q: list them to see which there are", what, c.id())
}

// evidence serves the log as C2SP tlog-tiles, to anyone.
func (a *api) evidence(s Service) {
	a.open("GET /evidence/checkpoint", reflect.TypeFor[raw](), func(w http.ResponseWriter, r *http.Request) {
		cp, err := s.Checkpoint(r.Context())
		if err != nil {
			a.fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		w.Write(cp)
	})
	a.open("GET /evidence/tile/{path...}", reflect.TypeFor[raw](), func(w http.ResponseWriter, r *http.Request) {
		b, ok, err := s.Tile(r.Context(), "tile/"+r.PathValue("path"))
		switch {
		case err != nil:
			a.fail(w, r, err)
		case !ok:
			WriteProblem(w, NewProblem("unknown", http.StatusNotFound, "the evidence log has no such tile: read the checkpoint for its size"))
		default:
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			w.Write(b)
		}
	})
}

// call is one authenticated request.
type call struct {
	context.Context
	by     WhoAmI
	r      *http.Request
	header http.Header // of the answer
}

func (c call) id() string { return c.r.PathValue("id") }

func (c call) when(name string, missing time.Time) (time.Time, error) {
	s := c.r.URL.Query().Get(name)
	if s == "" {
		return missing, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return t, NewProblem("invalid", http.StatusBadRequest, "%s=%q is not a time: write it as 2026-11-24T00:00:00Z", name, s)
	}
	return t, nil
}

// period is the time from "from", the beginning if it is missing, to "to", zero
// if it is missing.
func (c call) period() (from, to time.Time, err error) {
	if from, err = c.when("from", time.Unix(0, 0)); err == nil {
		to, err = c.when("to", time.Time{})
	}
	return from, to, err
}

// raw is an answer that is not JSON of ours.
type raw struct {
	contentType string
	text        []byte
}

func (c call) number(name string, missing int64) (int64, error) {
	s := c.r.URL.Query().Get(name)
	if s == "" {
		return missing, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, NewProblem("invalid", http.StatusBadRequest, "%s=%q is not a number: write digits only", name, s)
	}
	return n, nil
}

func withData[A any](c call, do func(context.Context, WhoAmI, dssn.DataID) (A, error)) (zero A, err error) {
	id, err := dssn.ParseDataID(c.id())
	if err != nil {
		return zero, NewProblem("invalid", http.StatusBadRequest, "%v", err)
	}
	return do(c, c.by, id)
}

func withReservation[A any](c call, do func(context.Context, WhoAmI, dssn.ReservationID) (A, error)) (zero A, err error) {
	id, err := dssn.ParseReservationID(c.id())
	if err != nil {
		return zero, NewProblem("invalid", http.StatusBadRequest, "%v", err)
	}
	return do(c, c.by, id)
}

// route registers a request that needs to know its caller. Who asks comes first:
// a stranger's body is not read.
func route[Q, A any](a *api, pattern string, do func(call, Q) (A, error)) {
	a.handle(pattern, reflect.TypeFor[Q](), reflect.TypeFor[A](), false, func(w http.ResponseWriter, r *http.Request) {
		by, err := a.caller(r)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		answerTo(a, w, r, func(ctx context.Context, q Q) (zero A, err error) {
			cond, err := condition(r, by, q)
			if err != nil {
				return zero, err
			}
			if cond != nil {
				ctx = WithCondition(ctx, cond)
			}
			return do(call{ctx, by, r, w.Header()}, q)
		})
	})
}

// caller is who asks, if they may ask for this at all.
func (a *api) caller(r *http.Request) (WhoAmI, error) {
	by, err := a.Identify(r)
	switch {
	case err != nil:
		return by, err
	case by.Scopes != nil && !slices.Contains(by.Scopes, ScopeV1):
		return by, NewProblem("denied", http.StatusForbidden, "the token of %s is not good for /v1: ask an admin of %s for one with the scope %s", by.Person, by.Institution, ScopeV1)
	case by.Role == RoleAuditor && r.Method != http.MethodGet:
		return by, NewProblem("denied", http.StatusForbidden, "%s is an auditor and may only read: ask an admin of %s", by.Person, by.Institution)
	}
	return by, nil
}

// answerTo reads a request's body, if it has one, and answers with what comes of it.
func answerTo[Q, A any](a *api, w http.ResponseWriter, r *http.Request, do func(context.Context, Q) (A, error)) {
	var q Q
	if _, bodiless := any(q).(none); !bodiless {
		if err := readBody(w, r, &q); err != nil {
			a.fail(w, r, err)
			return
		}
	}
	answer, err := do(r.Context(), q)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	writeAnswer(w, r, answer)
}

// handle registers a route and what the document says of it. Every route is
// registered here.
func (a *api) handle(pattern string, request, answer reflect.Type, anybody bool, h http.HandlerFunc) {
	method, path, _ := strings.Cut(pattern, " ")
	a.operations = append(a.operations, operation{pattern: pattern, request: request, answer: answer, id: operationID(method, path), summary: summaries[pattern], anybody: anybody})
	a.mux.HandleFunc(pattern, h)
}

// open registers a route without a body that anyone may ask.
func (a *api) open(pattern string, answer reflect.Type, h http.HandlerFunc) {
	a.handle(pattern, reflect.TypeFor[none](), answer, true, h)
}

func readBody(w http.ResponseWriter, r *http.Request, q any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxBodyBytes))
	d.DisallowUnknownFields()
	err := d.Decode(q)
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		return NewProblem("too-large", http.StatusRequestEntityTooLarge, "the request is larger than %d bytes: send less", MaxBodyBytes)
	case errors.Is(err, io.EOF):
		return NewProblem("invalid", http.StatusBadRequest, "the request has no body: send a JSON object")
	case err != nil:
		return NewProblem("invalid", http.StatusBadRequest, "the request is not understood (%v): send what the API's document says", err)
	case d.More():
		return NewProblem("invalid", http.StatusBadRequest, "something stands behind the request's JSON: send one object")
	}
	return nil
}

func writeAnswer(w http.ResponseWriter, r *http.Request, v any) {
	w.Header().Set("Cache-Control", "no-store")
	if t, ok := v.(raw); ok {
		w.Header().Set("Content-Type", t.contentType)
		w.Write(t.text)
		return
	}
	t := reflect.TypeOf(v)
	if x := reflect.ValueOf(v); x.Kind() == reflect.Slice && x.IsNil() && t != reflect.TypeFor[json.RawMessage]() {
		v = []none{} // an empty list is [] and not null
	}
	b, err := json.Marshal(v)
	if err != nil {
		WriteProblem(w, NewProblem("internal", http.StatusInternalServerError, "the answer could not be written: ask the operator to look at the controller's log"))
		return
	}
	if r.Method == http.MethodGet || slices.Contains(tagged, t) {
		tag := etagOf(b)
		w.Header().Set("ETag", tag)
		if r.Method == http.MethodGet {
			w.Header().Set("Cache-Control", "private, no-cache")
			if h := r.Header.Get("If-None-Match"); h != "" && Matches(strings.ReplaceAll(h, "W/", ""), tag) {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(b, '\n'))
}

func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p *Problem
	if errors.As(err, &p) {
		WriteProblem(w, p)
		return
	}
	if a.Trouble != nil {
		a.Trouble(r, err)
	}
	WriteProblem(w, NewProblem("internal", http.StatusInternalServerError, "the controller could not do this: ask the operator to look at its log, and try again"))
}
