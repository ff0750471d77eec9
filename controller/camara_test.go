package controller_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"dssn"
	"dssn/content"
	"dssn/controller"
	"dssn/controller/controllertest"
	"dssn/controller/northbound"
	"dssn/controller/northbound/camara"
	"dssn/controller/southbound"
)

// official is where the release's own definitions are, on machines that have them.
const official = "../../shared/conformance/camara-qod"

func definition(t testing.TB, name string) oas {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(official, name))
	if err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := yaml.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// qod is a live network with an API client, as CAMARA's tests want one.
type qod struct {
	*world
	t      testing.TB
	skew   *atomic.Int64 // of the controller's clock
	http   *http.Client
	rain   *content.Record
	sink   *httptest.Server
	events chan received
	// tokens by what they are: app (two-legged), device (three-legged), other
	// (another client), expired, and one without each scope.
	tokens map[string]string
	// definitions of the release, by the paths that they are about, where they are
	// at hand: every answer is held to them.
	definitions map[string]oas
}

// received is what the sink was sent.
type received struct {
	header http.Header
	body   map[string]any
}

func newQoD(t testing.TB, ctx context.Context) *qod {
	t.Helper()
	q := &qod{t: t, skew: &atomic.Int64{}, events: make(chan received, 100), tokens: map[string]string{}}
	if _, err := os.Stat(official); err == nil {
		q.definitions = map[string]oas{"/quality-on-demand/v1": definition(t, "quality-on-demand.yaml"), "/qos-profiles/v1": definition(t, "qos-profiles.yaml")}
	}
	q.sink = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		b, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(b, &body); err != nil {
			t.Errorf("the sink was sent %q: %v", b, err)
		}
		if strings.HasPrefix(r.URL.Path, "/gone") {
			w.WriteHeader(http.StatusGone)
		} else {
			w.WriteHeader(http.StatusNoContent)
		}
		q.events <- received{r.Header, body}
	}))
	t.Cleanup(q.sink.Close)
	ca := filepath.Join(t.TempDir(), "sink.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: q.sink.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	q.world = newWorld(t, ctx, func(o *controller.Options) {
		o.SinkCA = ca
		o.Clock = func() time.Time { return time.Now().Add(time.Duration(q.skew.Load())) }
	})
	q.rain = must(q.holder.Record("rain", 1<<30))(t)
	must(q.holder.V1.Publish(ctx, northbound.PublishRequest{Record: q.rain}))(t)
	must(q.holder.V1.Grant(ctx, northbound.GrantRequest{Data: q.rain.ID.Prefix(), To: "south", Until: time.Now().Add(24 * time.Hour)}))(t)
	must(q.holder.Assigned(ctx, hasPeer))(t)
	q.holder.Obey()
	q.consumer.Obey()
	tok := must(q.op.CreateToken(ctx, northbound.TokenRequest{Node: "later", Role: "terminal", Institution: "south"}))(t)
	q.http = &http.Client{Transport: &http.Transport{TLSClientConfig: controllertest.Pinned(tok.Token)}}
	t.Cleanup(q.http.CloseIdleConnections)
	person := func(as string, p northbound.PersonRequest) {
		p.Name, p.Institution, p.Role = strings.ReplaceAll(strings.ReplaceAll(as, ":", "."), " ", "-"), "south", northbound.RoleMember
		q.tokens[as] = must(q.op.AddPerson(ctx, p))(t).Token
	}
	person("expired", northbound.PersonRequest{TTLSeconds: 1})
	q.skew.Add(int64(2 * time.Second))
	person("app", northbound.PersonRequest{Scopes: camara.Scopes()})
	person("device", northbound.PersonRequest{Scopes: camara.Scopes(), Device: "south-1"})
	person("other", northbound.PersonRequest{Scopes: camara.Scopes()})
	for _, s := range camara.Scopes() {
		var rest []string
		for _, o := range camara.Scopes() {
			if o != s {
				rest = append(rest, o)
			}
		}
		person("without "+s, northbound.PersonRequest{Scopes: rest})
	}
	return q
}

func hasPeer(a *southbound.Assignment) bool { return len(a.Peers) > 0 }

// answer is what a request came to.
type answer struct {
	status int
	header http.Header
	body   any // JSON, or nil
}

// ask sends a request; an empty token sends none.
func (q *qod) ask(method, path, token, correlator string, body any) answer {
	q.t.Helper()
	var text []byte
	if body != nil {
		text, _ = json.Marshal(body)
	}
	r, err := http.NewRequest(method, q.url+path, bytes.NewReader(text))
	if err != nil {
		q.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if correlator != "" {
		r.Header.Set("x-correlator", correlator)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w, err := q.http.Do(r)
	if err != nil {
		q.t.Fatal(err)
	}
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		q.t.Fatal(err)
	}
	a := answer{status: w.StatusCode, header: w.Header}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &a.body); err != nil {
			q.t.Fatalf("%s %s answered %q", method, path, b)
		}
	}
	q.judge(method, path, a)
	return a
}

// judge holds an answer to the release's definitions, on machines that have them:
// its status is one that the operation may have, its body fits that answer's schema.
func (q *qod) judge(method, path string, a answer) {
	q.t.Helper()
	for prefix, o := range q.definitions {
		rest, ok := strings.CutPrefix(path, prefix)
		if !ok || a.status == http.StatusMethodNotAllowed {
			continue
		}
		paths := o.at("/paths").(map[string]any)
		for pattern, item := range paths {
			form := regexp.MustCompile("^" + regexp.MustCompile(`\{\w+\}`).ReplaceAllString(pattern, "[^/]+") + "$")
			op, _ := item.(map[string]any)[strings.ToLower(method)].(map[string]any)
			if !form.MatchString(rest) || op == nil {
				continue
			}
			r, _ := op["responses"].(map[string]any)[fmt.Sprint(a.status)].(map[string]any)
			if ref, ok := r["$ref"].(string); ok {
				r, _ = o.at(ref).(map[string]any)
			}
			if r == nil {
				q.t.Errorf("%s %s was answered %d, which the definition does not know: %v", method, path, a.status, a.body)
				return
			}
			content, _ := r["content"].(map[string]any)
			media, _ := content["application/json"].(map[string]any)
			if s, ok := media["schema"].(map[string]any); ok {
				if err := o.fits("$", s, a.body); err != nil {
					q.t.Errorf("%s %s: the answer %v does not fit the definition: %v", method, path, a.body, err)
				}
			}
			return
		}
		q.t.Errorf("the definition has no %s %s", method, path)
	}
}

// property is what a path such as $.device.ipv6Address leads to.
func (a answer) property(path string) (any, bool) { return property(a.body, path) }

func property(v any, path string) (any, bool) {
	for _, p := range strings.Split(strings.TrimPrefix(path, "$."), ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[p]; !ok {
			return nil, false
		}
	}
	return v, true
}

func (a answer) text(path string) string {
	v, _ := a.property(path)
	return fmt.Sprint(v)
}

// request is a proper body of createSession, without a device.
func (q *qod) request() map[string]any {
	return map[string]any{
		"applicationServer": map[string]any{"ipv6Address": q.rain.ID.String()},
		"qosProfile":        "QOS_S", "duration": 60,
		"applicationServerPorts": map[string]any{"ports": []any{443}},
		"devicePorts":            map[string]any{"ranges": []any{map[string]any{"from": 5000, "to": 6000}}},
	}
}

func (q *qod) device() map[string]any {
	return map[string]any{"ipv6Address": q.consumer.Node.String()}
}

// withSink adds a sink to a request.
func (q *qod) withSink(body map[string]any, path string) map[string]any {
	body["sink"] = q.sink.URL + path
	body["sinkCredential"] = map[string]any{"credentialType": "ACCESSTOKEN", "accessTokenType": "bearer", "accessToken": "let-me-in",
		"accessTokenExpiresUtc": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
	return body
}

// create makes a session by a token and fails the test where it cannot.
func (q *qod) create(token string, body map[string]any) answer {
	q.t.Helper()
	a := q.ask("POST", camara.SessionsPath, q.tokens[token], "", body)
	if a.status != 201 {
		q.t.Fatalf("creating a session was answered %d %v", a.status, a.body)
	}
	return a
}

// link cuts or mends the holder's access link.
func (q *qod) link(ctx context.Context, up bool) {
	q.t.Helper()
	if up {
		q.see(q.hubs["a"], "b", "d", "north-1")
	} else {
		q.see(q.hubs["a"], "b", "d")
	}
	for {
		st, err := q.op.Status(ctx)
		if err != nil {
			q.t.Fatal(err)
		}
		for _, l := range st.Links {
			if l.From == "a" && l.To == "north-1" && l.Up == up {
				return
			}
		}
		if !up && !slices.ContainsFunc(st.Links, func(l northbound.Link) bool { return l.To == "north-1" }) {
			return
		}
	}
}

// next waits for what the sink is sent next.
func (q *qod) next(ctx context.Context) received {
	q.t.Helper()
	select {
	case e := <-q.events:
		return e
	case <-ctx.Done():
		q.t.Fatal("the sink was told nothing")
		return received{}
	}
}

// clean deletes whatever sessions are left and forgets what the sink was sent.
func (q *qod) clean() {
	q.t.Helper()
	for _, token := range []string{"app", "device"} {
		body := map[string]any{}
		if token == "app" {
			body["device"] = q.device()
		}
		a := q.ask("POST", "/quality-on-demand/v1/retrieve-sessions", q.tokens[token], "", body)
		for _, s := range list(a.body) {
			q.ask("DELETE", camara.SessionsPath+"/"+fmt.Sprint(s.(map[string]any)["sessionId"]), q.tokens[token], "", nil)
		}
	}
	for len(q.events) > 0 {
		<-q.events
	}
}

func TestASessionLivesAndItsSinkHears(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	q := newQoD(t, ctx)
	body := q.withSink(q.request(), "/hear")
	body["device"] = map[string]any{"ipv6Address": q.consumer.Node.String(), "phoneNumber": "+123456789"}
	a := q.create("app", body)
	id := a.text("$.sessionId")
	if a.text("$.qosStatus") != "AVAILABLE" || a.text("$.device") != fmt.Sprint(q.device()) || a.text("$.sinkCredential") != "<nil>" {
		t.Fatalf("the session is %v", a.body)
	}
	e := q.next(ctx)
	if e.header.Get("Authorization") != "Bearer let-me-in" || e.header.Get("Content-Type") != camara.EventContentType ||
		fmt.Sprint(e.body["data"]) != fmt.Sprint(map[string]any{"sessionId": id, "qosStatus": "AVAILABLE"}) {
		t.Errorf("the sink was told %v by %v", e.body, e.header)
	}
	first := e.body["id"]
	if said := must(q.op.Metrics(ctx))(t); !bytes.Contains(said, []byte("dssn_sessions{status=\"AVAILABLE\"} 1\n")) {
		t.Errorf("the metrics are\n%s", said)
	}
	// It is a reservation of the profile's terms.
	var r northbound.Reservation
	for _, x := range must(q.op.Reservations(ctx))(t) {
		if !x.Implicit {
			r = x
		}
	}
	if r.State != northbound.StateActive || r.Committed != 10*dssn.Mbps || r.Ceiling != dssn.Gbps || r.Class != dssn.ClassElastic || r.Priority != 41 {
		t.Errorf("its reservation is %+v", r)
	}
	// Longer, but never longer than the profile's sessions can be.
	x := q.ask("POST", camara.SessionsPath+"/"+id+"/extend", q.tokens["app"], "", map[string]any{"requestedAdditionalDuration": 60})
	if x.status != 200 || x.text("$.duration") != "120" {
		t.Errorf("extended: %d %v", x.status, x.body)
	}
	x = q.ask("POST", camara.SessionsPath+"/"+id+"/extend", q.tokens["app"], "", map[string]any{"requestedAdditionalDuration": 1_000_000_000})
	if x.text("$.duration") != "604800" {
		t.Errorf("extended beyond the profile: %v", x.body)
	}
	// The controller dies: the session is still there, with its sink.
	q.stop()
	q.running = start(t, q.state, q.listen, q.opts...)
	for _, n := range []*controllertest.Node{q.holder, q.consumer} {
		n.Close()
		if err := n.Attach(ctx); err != nil {
			t.Fatal(err)
		}
		n.Obey()
	}
	if y := q.ask("GET", camara.SessionsPath+"/"+id, q.tokens["app"], "", nil); fmt.Sprint(y.body) != fmt.Sprint(x.body) {
		t.Errorf("after a restart the session is %v, before it was %v", y.body, x.body)
	}
	// Somebody takes its reservation away: the network has terminated it.
	must(q.op.Release(ctx, r.ID))(t)
	e = q.next(ctx)
	if got := fmt.Sprint(e.body["data"]); got != fmt.Sprint(map[string]any{"sessionId": id, "qosStatus": "UNAVAILABLE", "statusInfo": "NETWORK_TERMINATED"}) || e.body["id"] == first {
		t.Errorf("the sink was told %v", e.body)
	}
	// Until it is deleted, or forgotten, it is in the way of another.
	if c := q.ask("POST", camara.SessionsPath, q.tokens["app"], "", body); c.status != 409 || c.text("$.code") != camara.CodeConflict {
		t.Errorf("a second session: %d %v", c.status, c.body)
	}
	if x := q.ask("POST", camara.SessionsPath+"/"+id+"/extend", q.tokens["app"], "", map[string]any{"requestedAdditionalDuration": 60}); x.status != 409 ||
		x.text("$.code") != camara.CodeNoExtension || !strings.Contains(x.text("$.message"), "(UNAVAILABLE)") {
		t.Errorf("extending it: %d %v", x.status, x.body)
	}
	if d := q.ask("DELETE", camara.SessionsPath+"/"+id, q.tokens["app"], "", nil); d.status != 204 {
		t.Errorf("deleting it: %d %v", d.status, d.body)
	}
	if g := q.ask("GET", camara.SessionsPath+"/"+id, q.tokens["app"], "", nil); g.status != 404 {
		t.Errorf("looking at it: %d %v", g.status, g.body)
	}
	// A sink that is gone is told no more.
	before := must(q.op.Status(ctx))(t).Journal
	id = q.create("app", q.withSink(body, "/gone")).text("$.sessionId")
	q.next(ctx)
	for must(q.op.Status(ctx))(t).Journal < before+3 { // created, ready, told
	}
	q.skew.Add(int64(2 * time.Minute))                                             // and its time runs out
	must(q.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: "west"}))(t) // the core learns the time
	if g := q.ask("GET", camara.SessionsPath+"/"+id, q.tokens["app"], "", nil); g.text("$.statusInfo") != "DURATION_EXPIRED" || g.text("$.startedAt") != "<nil>" {
		t.Errorf("after its time: %v", g.body)
	}
	// Nothing is in the way of the next, whose device the token names.
	delete(body, "device")
	q.withSink(body, "/hear")
	if d := q.create("device", body); d.text("$.device") != "<nil>" {
		t.Errorf("a session of a three-legged token shows %v", d.body)
	}
	if e := q.next(ctx); fmt.Sprint(e.body["source"]) == camara.SessionsPath+"/"+id {
		t.Errorf("a sink that is gone was told %v", e.body)
	}
}

// A session that the network cannot carry is there to be looked at.
func TestASessionThatCannotBeCarriedIsUnavailable(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	q := newQoD(t, ctx)
	must(q.consumer.V1.Quote(ctx, northbound.ReservationRequest{Data: q.rain.ID, Committed: dssn.Gbps, Class: dssn.ClassElastic}))(t)
	q.link(ctx, false)
	body := q.withSink(q.request(), "/hear")
	body["device"] = q.device()
	a := q.create("app", body)
	if a.text("$.qosStatus") != "UNAVAILABLE" || a.text("$.statusInfo") != "NETWORK_TERMINATED" || a.text("$.startedAt") != "<nil>" {
		t.Errorf("the session is %v", a.body)
	}
	if e := q.next(ctx); !strings.Contains(fmt.Sprint(e.body["data"]), "NETWORK_TERMINATED") {
		t.Errorf("the sink was told %v", e.body)
	}
	id := a.text("$.sessionId")
	q.skew.Add(int64(7 * time.Minute))
	must(q.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: "west"}))(t)
	if g := q.ask("GET", camara.SessionsPath+"/"+id, q.tokens["app"], "", nil); g.status != 404 {
		t.Errorf("seven minutes later: %d %v", g.status, g.body)
	}
}

func TestProfilesAreOfferedByWhatADeviceCanCarry(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	q := newQoD(t, ctx)
	const all, one = "/qos-profiles/v1/retrieve-qos-profiles", "/qos-profiles/v1/qos-profiles/"
	for _, c := range []struct {
		token string
		body  map[string]any
		want  int // profiles, or a status
	}{
		{"app", map[string]any{}, 5},
		{"app", map[string]any{"device": q.device()}, 4}, // its access link is 10G
		{"device", map[string]any{}, 4},
		{"app", map[string]any{"status": "INACTIVE"}, 1},
		{"app", map[string]any{"name": "QOS_M", "status": "ACTIVE"}, 1},
		{"app", map[string]any{"name": "QOS_M", "status": "DEPRECATED"}, 0},
		{"app", map[string]any{"name": "no such"}, 400},
		{"app", map[string]any{"status": "BROKEN"}, 400},
		{"app", map[string]any{"device": map[string]any{}}, 400},
		{"app", map[string]any{"device": map[string]any{"ipv6Address": "3fff:d55:1:1::1"}}, 404},
		{"app", map[string]any{"device": map[string]any{"phoneNumber": "+123456789"}}, 422},
		{"device", map[string]any{"device": q.device()}, 422},
		{"without qos-profiles:read", map[string]any{}, 403},
		{"", map[string]any{}, 401},
	} {
		a := q.ask("POST", all, q.tokens[c.token], "", c.body)
		if a.status == 200 && len(list(a.body)) != c.want || a.status != 200 && a.status != c.want {
			t.Errorf("%s asking for %v was answered %d %v, want %d", c.token, c.body, a.status, a.body, c.want)
		}
	}
	for name, want := range map[string]int{"QOS_M": 200, "QOS_XL": 404, "none": 404, "x": 400, "a%20b": 400} {
		if a := q.ask("GET", one+name, q.tokens["device"], "", nil); a.status != want {
			t.Errorf("the profile %s was answered %d %v, want %d", name, a.status, a.body, want)
		}
	}
	if a := q.ask("GET", one+"QOS_S", q.tokens["app"], "a b", nil); a.status != 400 || a.header.Get("x-correlator") == "" {
		t.Errorf("a bad correlator was answered %d %v", a.status, a.header)
	}
	if a := q.ask("PUT", one+"QOS_S", q.tokens["app"], "", nil); a.status != 405 || a.text("$.code") != camara.CodeMethodNotAllowed {
		t.Errorf("PUT was answered %d %v", a.status, a.body)
	}
}

// What the other test definitions of the release are about, in our own words:
// extending a session, and a device's sessions. Every answer is held to the
// definitions too (judge).
func TestSessionsAreExtendedAndFoundByTheirDevice(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	q := newQoD(t, ctx)
	body := q.request()
	body["device"], body["qosProfile"] = q.device(), "QOS_E"
	made := q.create("app", body)
	id := made.text("$.sessionId")
	for _, r := range must(q.op.Reservations(ctx))(t) {
		if !r.Implicit && (r.Class != dssn.ClassAssured || r.DelayBound <= 0 || r.DelayBound > 100*time.Millisecond) {
			t.Errorf("the reservation of a profile with a delay budget is %+v", r)
		}
	}
	more := func(n any) map[string]any { return map[string]any{"requestedAdditionalDuration": n} }
	const find = "/quality-on-demand/v1/retrieve-sessions"
	one := camara.SessionsPath + "/" + id
	none := camara.SessionsPath + "/" + northbound.NewUUID()
	for _, c := range []struct {
		token, method, path string
		body                any
		status              int
		code                string
	}{
		{"app", "POST", one + "/extend", more(30), 200, ""},
		{"app", "POST", one + "/extend", more(0), 400, camara.CodeInvalidArgument},
		{"app", "POST", one + "/extend", more("1"), 400, camara.CodeInvalidArgument},
		{"app", "POST", one + "/extend", more(3000000000), 400, camara.CodeInvalidArgument},
		{"app", "POST", one + "/extend", map[string]any{}, 400, camara.CodeInvalidArgument},
		{"app", "POST", one + "/extend", nil, 400, camara.CodeInvalidArgument},
		{"app", "POST", camara.SessionsPath + "/x/extend", more(30), 400, camara.CodeInvalidArgument},
		{"app", "POST", none + "/extend", more(30), 404, camara.CodeNotFound},
		{"other", "POST", one + "/extend", more(30), 403, camara.CodePermissionDenied},
		{"without quality-on-demand:sessions:update", "POST", one + "/extend", more(30), 403, camara.CodePermissionDenied},
		{"expired", "POST", one + "/extend", more(30), 401, camara.CodeUnauthenticated},
		{"", "POST", one + "/extend", more(30), 401, camara.CodeUnauthenticated},
		{"app", "POST", find, map[string]any{}, 422, camara.CodeMissingDevice},
		{"app", "POST", find, map[string]any{"device": map[string]any{}}, 400, camara.CodeInvalidArgument},
		{"app", "POST", find, map[string]any{"device": nil}, 400, camara.CodeInvalidArgument},
		{"app", "POST", find, map[string]any{"device": map[string]any{"ipv6Address": "10.0.0.1"}}, 400, camara.CodeInvalidArgument},
		{"app", "POST", find, map[string]any{"device": map[string]any{"phoneNumber": "+123456789"}}, 422, camara.CodeUnsupportedDevice},
		{"app", "POST", find, map[string]any{"device": map[string]any{"ipv6Address": "3fff:d55:1:9::1"}}, 404, camara.CodeDeviceNotFound},
		{"device", "POST", find, map[string]any{"device": q.device()}, 422, camara.CodeUnnecessaryDevice},
		{"app", "POST", find, []any{}, 400, camara.CodeInvalidArgument},
		{"without quality-on-demand:sessions:retrieve-by-device", "POST", find, map[string]any{"device": q.device()}, 403, camara.CodePermissionDenied},
		{"", "POST", find, map[string]any{"device": q.device()}, 401, camara.CodeUnauthenticated},
	} {
		a := q.ask(c.method, c.path, q.tokens[c.token], "corr:1", c.body)
		if a.status != c.status || a.status >= 400 && a.text("$.code") != c.code || a.header.Get("x-correlator") != "corr:1" || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s asking %s %v was answered %d %v %v, want %d %s", c.token, c.path, c.body, a.status, a.body, a.header, c.status, c.code)
		}
	}
	for token, want := range map[string]int{"app": 1, "other": 0} {
		if a := q.ask("POST", find, q.tokens[token], "", map[string]any{"device": q.device()}); a.status != 200 || len(list(a.body)) != want {
			t.Errorf("%s found %d %v, want %d sessions", token, a.status, a.body, want)
		}
	}
	if a := q.ask("POST", find, q.tokens["device"], "", map[string]any{}); a.status != 200 || len(list(a.body)) != 0 {
		t.Errorf("another client's sessions were found: %v", a.body)
	}
}
