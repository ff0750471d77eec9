package camara

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"dssn/controller/northbound"
)

// Service decides; the controller is one. Errors that are *ErrorInfo are answered
// as such, others as an internal error whose text stays in the log. Answers of
// sessions that are not the caller's own are PERMISSION_DENIED.
type Service interface {
	CreateSession(ctx context.Context, by northbound.WhoAmI, q CreateSession, terms Terms) (SessionInfo, error)
	Session(ctx context.Context, by northbound.WhoAmI, id string) (SessionInfo, error)
	DeleteSession(ctx context.Context, by northbound.WhoAmI, id string) error
	ExtendSession(ctx context.Context, by northbound.WhoAmI, id string, q ExtendSession) (SessionInfo, error)
	SessionsOf(ctx context.Context, by northbound.WhoAmI, q RetrieveSessions) ([]SessionInfo, error)
	// Offered reports which of the profiles a device can use: the caller's own, or
	// d; where there is neither, all.
	Offered(ctx context.Context, by northbound.WhoAmI, d *Device, ps []Profile) ([]Profile, error)
}

// Options say how a handler knows its callers and where it tells of trouble.
type Options struct {
	// Identify says as whom a request is known; an error means as nobody.
	Identify func(*http.Request) (northbound.WhoAmI, error)
	// Trouble is told of errors that are no decision; nil means nobody is.
	Trouble  func(r *http.Request, err error)
	Profiles []Profile
}

// Operation is one route, for the handler and for whoever describes it.
type Operation struct {
	Pattern string // "POST /quality-on-demand/v1/sessions"
	ID      string // operationId of the definition
	Scope   string
	Summary string
	Status  int // of success
	// Request and Answer are zero values of the bodies' types; nil where there is none.
	Request, Answer any
	do              func(*api, call) (any, error)
}

// Operations are the routes of both APIs.
var Operations = []Operation{
	{"POST " + SessionsPath, "createSession", "quality-on-demand:sessions:create", "CAMARA: create a session", http.StatusCreated, CreateSession{}, SessionInfo{}, (*api).create},
	{"GET " + SessionsPath + "/{sessionId}", "getSession", "quality-on-demand:sessions:read", "CAMARA: show a session", http.StatusOK, nil, SessionInfo{}, (*api).get},
	{"DELETE " + SessionsPath + "/{sessionId}", "deleteSession", "quality-on-demand:sessions:delete", "CAMARA: delete a session", http.StatusNoContent, nil, nil, (*api).delete},
	{"POST " + SessionsPath + "/{sessionId}/extend", "extendQosSessionDuration", "quality-on-demand:sessions:update", "CAMARA: extend an available session", http.StatusOK, ExtendSession{}, SessionInfo{}, (*api).extend},
	{"POST /quality-on-demand/v1/retrieve-sessions", "retrieveSessionsByDevice", "quality-on-demand:sessions:retrieve-by-device", "CAMARA: list a device's sessions", http.StatusOK, RetrieveSessions{}, []SessionInfo{}, (*api).retrieve},
	{"POST /qos-profiles/v1/retrieve-qos-profiles", "retrieveQoSProfiles", "qos-profiles:read", "CAMARA: list QoS profiles", http.StatusOK, ProfileQuery{}, []Profile{}, (*api).profiles},
	{"GET /qos-profiles/v1/qos-profiles/{name}", "getQosProfile", "qos-profiles:read", "CAMARA: show a QoS profile", http.StatusOK, nil, Profile{}, (*api).profile},
}

// Scopes are the scopes of all operations.
func Scopes() (out []string) {
	for _, o := range Operations {
		if !slices.Contains(out, o.Scope) {
			out = append(out, o.Scope)
		}
	}
	return out
}

type api struct {
	Service
	Options
}

// call is one authenticated request.
type call struct {
	context.Context
	by   northbound.WhoAmI
	r    *http.Request
	body []byte
}

// Prefixes are the paths below which a handler answers.
var Prefixes = []string{"/quality-on-demand/v1/", "/qos-profiles/v1/"}

// NewHandler answers both APIs by s.
func NewHandler(s Service, o Options) http.Handler {
	a := &api{s, o}
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, op := range Operations {
		mux.HandleFunc(op.Pattern, func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, op) })
		method, path, _ := strings.Cut(op.Pattern, " ")
		methods[path] = append(methods[path], method)
	}
	for path, allowed := range methods {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			WriteError(w, Fail(CodeMethodNotAllowed, fmt.Sprintf("%s is not done here: use %s.", r.Method, strings.Join(allowed, " or "))))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { WriteError(w, Fail(CodeNotFound, "")) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := northbound.Correlator(r)
		w.Header().Set("X-Correlator", c)
		if !ok {
			WriteError(w, invalid("The header x-correlator is not one: use at most 256 letters, digits and -_:;./<>{}."))
			return
		}
		mux.ServeHTTP(w, r.WithContext(northbound.WithCorrelator(r.Context(), c)))
	})
}

// serve answers one operation: who asks, may they, what do they ask, and then
// what comes of it.
func (a *api) serve(w http.ResponseWriter, r *http.Request, op Operation) {
	by, err := a.Identify(r)
	if err != nil {
		WriteError(w, Fail(CodeUnauthenticated, ""))
		return
	}
	if !may(by, op) {
		WriteError(w, Fail(CodePermissionDenied, ""))
		return
	}
	c := call{Context: r.Context(), by: by, r: r}
	if op.Request != nil {
		var e *ErrorInfo
		if c.body, e = readBody(w, r); e != nil {
			WriteError(w, e)
			return
		}
	}
	answer, err := op.do(a, c)
	var e *ErrorInfo
	switch {
	case errors.As(err, &e):
		WriteError(w, e)
	case err != nil:
		if a.Trouble != nil {
			a.Trouble(r, err)
		}
		WriteError(w, Fail(CodeInternal, ""))
	case op.Answer == nil:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(op.Status)
	default:
		writeJSON(w, op.Status, answer)
	}
}

// may reports whether a caller's token and role permit an operation.
func may(by northbound.WhoAmI, op Operation) bool {
	if by.Role == northbound.RoleAuditor && !strings.HasSuffix(op.Scope, ":read") && !strings.HasSuffix(op.Scope, ":retrieve-by-device") {
		return false
	}
	return by.Scopes == nil || slices.Contains(by.Scopes, op.Scope)
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *ErrorInfo) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, northbound.MaxBodyBytes))
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		return nil, invalid("The request body is larger than %d bytes: send less.", northbound.MaxBodyBytes)
	case err != nil:
		return nil, invalid("The request body did not arrive whole: send it again.")
	case len(b) == 0:
		return nil, invalid("The request has no body: send a JSON object.")
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if kind = strings.TrimSpace(kind); kind != "" && !strings.EqualFold(kind, "application/json") {
		return nil, Fail(CodeUnsupportedMedia, "")
	}
	return b, nil
}

// session returns the path's session, if it can be one.
func (c call) session() (string, error) {
	id := c.r.PathValue("sessionId")
	if !uuidForm.MatchString(id) {
		return "", invalid("sessionId is not a UUID: take it from the answer of createSession.")
	}
	return strings.ToLower(id), nil
}

func (a *api) create(c call) (any, error) {
	q, e := ReadCreateSession(c.body)
	if e != nil {
		return nil, e
	}
	if e := DeviceOf(c.by, q.Device, true); e != nil {
		return nil, e
	}
	p := a.named(q.Profile)
	if p == nil {
		return nil, invalid("There is no QoS profile %q: see /qos-profiles/v1 for those that there are.", q.Profile)
	}
	t := p.Terms()
	if d := int64(q.Duration); d < t.MinSeconds || d > t.MaxSeconds {
		// The code is the one that the test definition of r3.2 asks for.
		return nil, invalid("The requested duration is out of the allowed range for the specific QoS profile: %s lasts from %d to %d seconds.", p.Name, t.MinSeconds, t.MaxSeconds)
	}
	if p.Status != ProfileActive {
		return nil, Fail(CodeProfileNotUsable, "")
	}
	return a.CreateSession(c, c.by, q, t)
}

// DeviceOf says what is wrong with how a caller names a device: one whose token
// names it does not name it again, others must if it is needed.
func DeviceOf(by northbound.WhoAmI, d *Device, needed bool) *ErrorInfo {
	switch {
	case by.Device != "" && d != nil:
		return Fail(CodeUnnecessaryDevice, "")
	case by.Device != "":
		return nil
	case d == nil && needed:
		return Fail(CodeMissingDevice, "")
	case d != nil && d.IPv6Address == "":
		return Fail(CodeUnsupportedDevice, "")
	}
	return nil
}

func (a *api) get(c call) (any, error) {
	id, err := c.session()
	if err != nil {
		return nil, err
	}
	return a.Session(c, c.by, id)
}

func (a *api) delete(c call) (any, error) {
	id, err := c.session()
	if err != nil {
		return nil, err
	}
	return nil, a.DeleteSession(c, c.by, id)
}

func (a *api) extend(c call) (any, error) {
	id, err := c.session()
	if err != nil {
		return nil, err
	}
	q, e := ReadExtendSession(c.body)
	if e != nil {
		return nil, e
	}
	return a.ExtendSession(c, c.by, id, q)
}

func (a *api) retrieve(c call) (any, error) {
	q, e := ReadRetrieveSessions(c.body)
	if e == nil {
		e = DeviceOf(c.by, q.Device, true)
	}
	if e != nil {
		return nil, e
	}
	list, err := a.SessionsOf(c, c.by, q)
	if list == nil {
		list = []SessionInfo{}
	}
	return list, err
}

// named returns the profile of a name, or nil.
func (a *api) named(name string) *Profile {
	for i := range a.Profiles {
		if a.Options.Profiles[i].Name == name {
			return &a.Options.Profiles[i]
		}
	}
	return nil
}

func (a *api) profiles(c call) (any, error) {
	q, e := ReadProfileQuery(c.body)
	if e == nil {
		e = DeviceOf(c.by, q.Device, false)
	}
	if e != nil {
		return nil, e
	}
	list, err := a.Offered(c, c.by, q.Device, a.Options.Profiles)
	out := []Profile{}
	for _, p := range list {
		if (q.Name == "" || q.Name == p.Name) && (q.Status == "" || q.Status == p.Status) {
			out = append(out, p)
		}
	}
	return out, err
}

func (a *api) profile(c call) (any, error) {
	name := c.r.PathValue("name")
	if !profileForm.MatchString(name) {
		return nil, invalid("%.80q is not a profile's name: use 3 to 256 letters, digits, dots, hyphens and underlines.", name)
	}
	list, err := a.Offered(c, c.by, nil, a.Options.Profiles)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, Fail(CodeNotFound, "")
}

// NewEvent is what a sink is told.
func NewEvent(id, session string, at time.Time, s Status, i StatusInfo) Event {
	return Event{ID: id, Source: SessionsPath + "/" + session, SpecVersion: "1.0", Type: EventType, Time: at.UTC(), DataContentType: "application/json",
		Data: EventData{Session: session, Status: s, Info: i}}
}
