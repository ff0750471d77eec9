package controller_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/controller/controllertest"
	"dssn/controller/northbound"
	"dssn/controller/northbound/camara"
)

// caller sends requests with headers, as a person.
type caller struct {
	t     testing.TB
	http  *http.Client
	url   string
	token string
}

func (r *running) person(ctx context.Context, q northbound.PersonRequest) *caller {
	r.t.Helper()
	p := must(r.op.AddPerson(ctx, q))(r.t)
	tok := must(r.op.CreateToken(ctx, northbound.TokenRequest{Node: "pin-" + q.Name, Role: "terminal", Institution: "south"}))(r.t)
	c := &caller{r.t, &http.Client{Transport: &http.Transport{TLSClientConfig: controllertest.Pinned(tok.Token), ForceAttemptHTTP2: true}}, r.url, p.Token}
	r.t.Cleanup(c.http.CloseIdleConnections)
	return c
}

func (c *caller) request(ctx context.Context, method, path string, body any, headers ...string) *http.Response {
	c.t.Helper()
	var text io.Reader
	if body != nil {
		b, _ := json.Marshal(body)
		text = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, text)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	return w
}

// do returns the status, the headers and the text of an answer.
func (c *caller) do(ctx context.Context, method, path string, body any, headers ...string) (int, http.Header, string) {
	c.t.Helper()
	w := c.request(ctx, method, path, body, headers...)
	defer w.Body.Close()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return w.StatusCode, w.Header, string(b)
}

func TestASecondTimeIsAnsweredAsTheFirstAlsoAfterACrash(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	w := newWorld(t, ctx)
	rec := must(w.holder.Record("rain", 1<<30))(t)
	must(w.holder.V1.Publish(ctx, northbound.PublishRequest{Record: rec}))(t)
	must(w.holder.V1.Grant(ctx, northbound.GrantRequest{Data: rec.ID.Prefix(), To: "south", Until: time.Now().Add(time.Hour)}))(t)
	op := w.person(ctx, northbound.PersonRequest{Name: "root", Role: northbound.RoleOperator})
	mem := w.person(ctx, northbound.PersonRequest{Name: "mem", Role: northbound.RoleMember, Institution: "south"})
	requests := []struct {
		who    *caller
		path   string
		body   any
		status int
	}{
		{mem, "/v1/reservations", northbound.ReservationRequest{Data: rec.ID, Committed: dssn.Gbps, Class: dssn.ClassElastic, Consumer: "south-1"}, 200},
		{op, "/v1/tokens", northbound.TokenRequest{Node: "south-9", Role: "terminal", Institution: "south"}, 200},
		{op, "/v1/people", northbound.PersonRequest{Name: "new", Role: northbound.RoleMember, Institution: "south"}, 200},
		{op, "/v1/institutions", northbound.InstitutionRequest{Name: "north"}, 409},
	}
	answers := map[string]string{}
	for round := range 3 {
		if round == 2 {
			w.stop()
			w.running = start(t, w.state, w.listen)
		}
		before := must(w.op.Reservations(ctx))(t)
		for i, q := range requests {
			status, _, text := q.who.do(ctx, "POST", q.path, q.body, "Idempotency-Key", "key-1"+fmt.Sprint(i))
			if status != q.status {
				t.Fatalf("round %d: %s was answered %d %s", round, q.path, status, text)
			}
			if round == 0 {
				answers[q.path] = text
			} else if answers[q.path] != text {
				t.Errorf("round %d: %s was answered\n%s, at first\n%s", round, q.path, text, answers[q.path])
			}
		}
		if after := must(w.op.Reservations(ctx))(t); round > 0 && len(after) != len(before) {
			t.Errorf("round %d: %d reservations became %d", round, len(before), len(after))
		}
	}
	// The token given twice is one that works.
	var tok northbound.Token
	if err := json.Unmarshal([]byte(answers["/v1/tokens"]), &tok); err != nil {
		t.Fatal(err)
	}
	n := must(controllertest.Join(ctx, w.url, tok.Token))(t)
	n.V1.Close()
	// A key is for one request, and each client has its own.
	if status, _, text := mem.do(ctx, "POST", "/v1/reservations", northbound.ReservationRequest{Data: rec.ID, Committed: dssn.Mbps, Class: dssn.ClassElastic, Consumer: "south-1"}, "Idempotency-Key", "key-10"); status != 422 || !strings.Contains(text, "urn:dssn:problem:reused") {
		t.Errorf("another request with the same key: %d %s", status, text)
	}
	if status, _, text := op.do(ctx, "POST", "/v1/institutions", northbound.InstitutionRequest{Name: "west"}, "Idempotency-Key", "key-10"); status != 200 {
		t.Errorf("another client with the same key: %d %s", status, text)
	}
	if status, _, _ := op.do(ctx, "POST", "/v1/institutions", northbound.InstitutionRequest{Name: "east"}, "Idempotency-Key", strings.Repeat("x", 256)); status != 400 {
		t.Errorf("a key of 256 characters: %d", status)
	}
}

func TestOnlyWhatIsAsItWasSeenIsChanged(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	w := newWorld(t, ctx)
	rec := must(w.holder.Record("rain", 1<<30))(t)
	must(w.holder.V1.Publish(ctx, northbound.PublishRequest{Record: rec}))(t)
	g := must(w.holder.V1.Grant(ctx, northbound.GrantRequest{Data: rec.ID.Prefix(), To: "south", Until: time.Now().Add(time.Hour)}))(t)
	mem := w.person(ctx, northbound.PersonRequest{Name: "mem", Role: northbound.RoleAdmin, Institution: "south"})
	r := must(w.consumer.V1.Reserve(ctx, northbound.ReservationRequest{Data: rec.ID, Committed: dssn.Gbps, Class: dssn.ClassElastic}))(t)
	path := "/v1/reservations/" + r.ID.String()
	_, h, text := mem.do(ctx, "GET", path, nil)
	tag := h.Get("ETag")
	if tag == "" || tag != northbound.ETag(must(w.op.Reservation(ctx, r.ID))(t)) {
		t.Fatalf("the tag of %s is %q", text, tag)
	}
	if status, h, text := mem.do(ctx, "GET", path, nil, "If-None-Match", `"0", W/`+tag); status != 304 || text != "" || h.Get("ETag") != tag {
		t.Errorf("asked for again: %d %s", status, text)
	}
	rate := 2 * dssn.Gbps
	status, h, text := mem.do(ctx, "POST", path+"/modify", northbound.ModifyRequest{Committed: &rate}, "If-Match", tag)
	if status != 200 || h.Get("ETag") == tag || h.Get("ETag") == "" {
		t.Fatalf("as it was seen: %d %s", status, text)
	}
	if status, _, text := mem.do(ctx, "POST", path+"/modify", northbound.ModifyRequest{Committed: &rate}, "If-Match", tag); status != 412 || !strings.Contains(text, "urn:dssn:problem:precondition") {
		t.Errorf("not as it was seen: %d %s", status, text)
	}
	if status, _, text := mem.do(ctx, "POST", path+"/release", nil, "If-Match", `"x", `+h.Get("ETag")); status != 200 {
		t.Errorf("with the tag of the answer: %d %s", status, text)
	}
	if status, _, _ := mem.do(ctx, "POST", "/v1/people", northbound.PersonRequest{Name: "x", Role: northbound.RoleMember, Institution: "south"}, "If-Match", "*"); status != 400 {
		t.Errorf("where If-Match has no meaning: %d", status)
	}
	if status, h, _ := mem.do(ctx, "GET", "/v1/grants/"+g.ID, nil); status != 200 || h.Get("ETag") != northbound.ETag(g) {
		t.Errorf("the grant: %d %v", status, h)
	}
	if status, _, _ := mem.do(ctx, "GET", "/v1/grants/g-none", nil); status != 404 {
		t.Errorf("no grant: %d", status)
	}
	if status, h, _ := mem.do(ctx, "GET", path, nil, "x-correlator", "a/b:c"); status != 200 || h.Get("x-correlator") != "a/b:c" {
		t.Errorf("the correlator: %d %v", status, h)
	}
	if status, h, _ := mem.do(ctx, "GET", path, nil, "x-correlator", "a b"); status != 400 || len(h.Get("x-correlator")) != 36 {
		t.Errorf("no correlator: %d %v", status, h)
	}
}

func TestListsComeInPages(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r := start(t, t.TempDir(), "[::1]:0")
	must(r.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: "south"}))(t)
	op := r.person(ctx, northbound.PersonRequest{Name: "root", Role: northbound.RoleOperator})
	for i := range 25 {
		must(r.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: fmt.Sprintf("i%02d", i)}))(t)
	}
	path, seen, pages := "/v1/institutions?limit=10", []string{}, 0
	for path != "" {
		status, h, text := op.do(ctx, "GET", path, nil)
		var page []northbound.Institution
		if err := json.Unmarshal([]byte(text), &page); err != nil || status != 200 || len(page) > 10 {
			t.Fatalf("%d %s: %v", status, text, err)
		}
		for _, i := range page {
			seen = append(seen, i.Name)
		}
		if pages++; pages == 1 { // what is added and what goes away meanwhile changes nothing of the rest
			must(r.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: "a"}))(t)
		}
		link := h.Get("Link")
		path, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
	}
	if pages != 3 || len(seen) != 27 || seen[0] != "i00" || seen[26] != "south" {
		t.Errorf("%d pages: %v", pages, seen)
	}
	if all := must(r.op.Institutions(ctx))(t); len(all) != 28 {
		t.Errorf("the client read %d institutions", len(all))
	}
	for _, bad := range []string{"limit=-1", "limit=x", "cursor=%21"} {
		if status, _, text := op.do(ctx, "GET", "/v1/institutions?"+bad, nil); status != 400 {
			t.Errorf("%s: %d %s", bad, status, text)
		}
	}
}

// follow reads events from a stream.
type follow struct {
	t    testing.TB
	body io.ReadCloser
	r    *bufio.Reader
}

func (c *caller) follow(ctx context.Context, headers ...string) *follow {
	c.t.Helper()
	w := c.request(ctx, "GET", "/v1/events", nil, append(headers, "Accept", "text/event-stream")...)
	if w.StatusCode != 200 || w.Header.Get("Content-Type") != "text/event-stream" {
		c.t.Fatalf("following was answered %s", w.Status)
	}
	f := &follow{c.t, w.Body, bufio.NewReader(w.Body)}
	c.t.Cleanup(func() { w.Body.Close() })
	return f
}

// next returns the fields of the next event; comments are passed over.
func (f *follow) next() map[string]string {
	f.t.Helper()
	e := map[string]string{}
	for {
		line, err := f.r.ReadString('\n')
		if err != nil {
			f.t.Fatalf("the stream ended: %v", err)
		}
		name, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case line == "\n" && len(e) > 0:
			return e
		case name != "" && line != "\n":
			e[name] = v
		}
	}
}

func TestEventsAreFollowedAndResumed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r := start(t, t.TempDir(), "[::1]:0")
	must(r.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: "south"}))(t)
	op := r.person(ctx, northbound.PersonRequest{Name: "root", Role: northbound.RoleOperator})
	f := op.follow(ctx)
	must(r.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: "one"}))(t)
	e := f.next()
	var v northbound.Event
	if err := json.Unmarshal([]byte(e["data"]), &v); err != nil || e["event"] != "institution-added" || e["id"] != fmt.Sprint(v.Sequence) || !strings.Contains(v.Detail, "one") {
		t.Fatalf("the event is %v (%v)", e, err)
	}
	f.body.Close()
	must(r.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: "two"}))(t)
	must(r.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: "three"}))(t)
	f = op.follow(ctx, "Last-Event-ID", e["id"])
	for _, want := range []string{"two", "three"} {
		if e := f.next(); !strings.Contains(e["data"], want) {
			t.Errorf("the next event is %v, want %s", e, want)
		}
	}
	// A member sees what is theirs, an unknown token nothing.
	op.token += "x"
	if status, _, _ := op.do(ctx, "GET", "/v1/events", nil, "Accept", "text/event-stream"); status != 403 && status != 401 {
		t.Errorf("following with a wrong token: %d", status)
	}
	if status, _, _ := op.do(ctx, "GET", "/v1/events", nil, "Accept", "text/event-stream", "Last-Event-ID", "x"); status < 400 {
		t.Errorf("following from nowhere: %d", status)
	}
	// A stopping controller ends its streams at once; stop waits for it.
	r.stop()
	if b, err := io.ReadAll(f.r); err == nil && len(b) > 1000 {
		t.Errorf("after the end: %q", b)
	}
}

func TestEverythingInTheDocumentIsAnswered(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r := start(t, t.TempDir(), "[::1]:0")
	must(r.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: "south"}))(t)
	op := r.person(ctx, northbound.PersonRequest{Name: "root", Role: northbound.RoleOperator})
	_, _, text := op.do(ctx, "GET", "/v1/openapi.json", nil)
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]any `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	n := 0
	for path, methods := range doc.Paths {
		for method, o := range methods {
			n++
			// Nobody is called zz, so little comes of it but an answer.
			status, h, text := op.do(ctx, strings.ToUpper(method), strings.NewReplacer("{id}", "zz", "{sessionId}", "zz", "{name}", "zz", "{path}", "zz").Replace(path), nil, "x-correlator", "c")
			if strings.Contains(text, "nothing answers at") || h.Get("x-correlator") != "c" {
				t.Errorf("%s %s: %d %s", method, path, status, text)
			}
			if _, described := o.Responses[fmt.Sprint(status)]; !described && o.Responses["default"] == nil {
				t.Errorf("%s %s was answered %d, which the document does not say", method, path, status)
			}
		}
	}
	for _, o := range camara.Operations {
		method, path, _ := strings.Cut(o.Pattern, " ")
		if doc.Paths[path][strings.ToLower(method)].Responses[fmt.Sprint(o.Status)] == nil {
			t.Errorf("the document lacks %s", o.Pattern)
		}
	}
	if n < 40 {
		t.Errorf("the document has %d routes", n)
	}
	status := must(r.op.Status(ctx))(t)
	code, h, text := op.do(ctx, "GET", "/v1/catalogue.jsonld", nil)
	if code != 200 || h.Get("Content-Type") != northbound.DCATType || !strings.Contains(text, `"urn:dssn:`+status.Network+`:catalogue"`) || status.Network == "" {
		t.Errorf("the catalogue of %q in DCAT: %d %s %s", status.Network, code, h.Get("Content-Type"), text)
	}
}

// Only guesses at tokens count against a network: somebody who is known may be
// wrong as often as they like.
func TestAKnownCallerMayBeWrongOften(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r := start(t, t.TempDir(), "[::1]:0")
	must(r.op.AddInstitution(ctx, northbound.InstitutionRequest{Name: "south"}))(t)
	mem := r.person(ctx, northbound.PersonRequest{Name: "mem", Role: northbound.RoleMember, Institution: "south"})
	for i := range 300 {
		path, want := "/v1/institutions", 403
		if i%2 == 0 {
			path, want = "/v1/grants", 400
		}
		if status, _, text := mem.do(ctx, "POST", path, northbound.InstitutionRequest{Name: "x"}); status != want {
			t.Fatalf("request %d was answered %d %s", i, status, text)
		}
	}
	mem.token = "dssnp1.0.0"
	if status, _, text := mem.do(ctx, "POST", "/v1/grants", strings.Repeat("x", 2<<20)); status != 403 && status != 401 {
		t.Errorf("a stranger's large body: %d %s", status, text)
	}
}

// What is answered is what the document describes.
func TestAnswersFitTheDocument(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	w := newWorld(t, ctx)
	rec := must(w.holder.Record("rain", 1<<30))(t)
	must(w.holder.V1.Publish(ctx, northbound.PublishRequest{Record: rec}))(t)
	g := must(w.holder.V1.Grant(ctx, northbound.GrantRequest{Data: rec.ID.Prefix(), To: "south", Until: time.Now().Add(time.Hour)}))(t)
	r := must(w.consumer.V1.Reserve(ctx, northbound.ReservationRequest{Data: rec.ID, Committed: dssn.Gbps, Ceiling: 2 * dssn.Gbps, Class: dssn.ClassElastic}))(t)
	f := must(w.op.Freeze(ctx, northbound.FreezeRequest{Party: "north", Reason: "a drill"}))(t)
	op := w.person(ctx, northbound.PersonRequest{Name: "root", Role: northbound.RoleOperator})
	_, _, text := op.do(ctx, "GET", "/v1/openapi.json", nil)
	var doc oas
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, path := range []string{"/v1/whoami", "/v1/institutions", "/v1/datasets", "/v1/datasets/" + rec.ID.String(), "/v1/resolve/" + rec.ID.String(), "/v1/grants", "/v1/grants/" + g.ID,
		"/v1/freezes", "/v1/freezes/" + f.ID, "/v1/people", "/v1/people/root", "/v1/reservations", "/v1/reservations/" + r.ID.String(), "/v1/reservations/" + r.ID.String() + "/why",
		"/v1/usage", "/v1/bills?institution=south", "/v1/bills/issued", "/v1/disputes", "/v1/status", "/v1/events", "/v1/grants/none", "/v1/nothing"} {
		status, h, text := op.do(ctx, "GET", path, nil)
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Errorf("%s was answered %q: %v", path, text, err)
			continue
		}
		if status >= 400 {
			if err := doc.judge("/components/schemas/Problem", v); err != nil || h.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s was answered %d %s, which is no problem of the document: %v", path, status, text, err)
			}
			continue
		}
		bare, _, _ := strings.Cut(path, "?")
		bare = strings.NewReplacer(rec.ID.String(), "{id}", g.ID, "{id}", f.ID, "{id}", r.ID.String(), "{id}", "root", "{id}").Replace(bare)
		pointer := "/paths/" + strings.ReplaceAll(bare, "/", "~1") + "/get/responses/200/content/application~1json/schema"
		if err := doc.judge(pointer, v); err != nil {
			t.Errorf("%s was answered %s: %v", path, text, err)
		}
		judged++
	}
	if judged < 19 {
		t.Errorf("only %d answers were judged", judged)
	}
}
