package controller_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"dssn/controller/northbound"
	"dssn/controller/northbound/camara"
	"dssn/internal/need"
)

// The official scenarios of CAMARA's release, each against a live controller.
// Where a scenario contradicts the definition of the same release, departures
// says so; there the definition is followed.

// departures are steps as they are written, and what is checked instead.
var departures = map[string]string{
	// The schema's only event type, which the step before this one checks, is another.
	`the event body property "$.type" is set to "org.camaraproject.qod.v1.qos-status-changed"`: `the event body property "$.type" is set to "` + camara.EventType + `"`,
}

// scene is one scenario under way.
type scene struct {
	*qod
	t      *testing.T
	ctx    context.Context
	schema oas

	path       string
	headers    map[string]string
	body       map[string]any // nil: none is sent
	device     string         // of the body: "" decides by the token
	id         string         // path parameter
	made       answer         // of createSession, where the scenario begins with a session
	madeBody   map[string]any
	answer     answer
	event      received
	eventsSeen map[any]bool
}

const deviceStep = `the request body property "\$.device" `

// steps are what the sentences mean; the first that matches is taken.
var steps = []struct {
	form string
	do   func(s *scene, m []string)
}{
	// The place and the request.
	{`an environment at "apiRoot"`, func(s *scene, m []string) {}},
	{`the resource "(.*)"`, func(s *scene, m []string) { s.path = m[1] }},
	{`the header "Content-Type" is set to "application/json"`, func(s *scene, m []string) {}},
	{`the header "x-correlator" complies with .*`, func(s *scene, m []string) { s.headers["x-correlator"] = "b4333c46-49c0/<{north};.:_>" }},
	{`the request body is set by default to .*`, func(s *scene, m []string) { s.body = s.request() }},
	{`the request body is set to a valid request body`, func(s *scene, m []string) {}},

	// Who asks.
	{`the header "Authorization" is set to a valid access token`, func(s *scene, m []string) { s.as("app") }},
	{`the header "Authorization" is set to a valid access token which does not identify a single device`, func(s *scene, m []string) { s.as("app") }},
	{`the header "Authorization" is set to a valid access token identifying a device`, func(s *scene, m []string) { s.as("device") }},
	{`the header "Authorization" is set to a valid 3-legged access token associated to .*`, func(s *scene, m []string) { s.as("device") }},
	{`the header "Authorization" is set to a valid access token emitted to a client which did not created the QoS session`, func(s *scene, m []string) { s.as("other") }},
	{`the header "Authorization" is set to an access token that does not include scope (.*)`, func(s *scene, m []string) { s.as("without " + m[1]) }},
	{`the header "Authorization" is set to an expired access token`, func(s *scene, m []string) { s.as("expired") }},
	{`the header "Authorization" is set to an invalid access token`, func(s *scene, m []string) { s.headers["Authorization"] = "invalid" }},
	{`the header "Authorization" is not sent`, func(s *scene, m []string) { s.headers["Authorization"] = "" }},

	// For which device.
	{`a valid testing device supported by the service, .*`, func(s *scene, m []string) {}},
	{deviceStep + `is set to: \{\}`, func(s *scene, m []string) { s.set("$.device", map[string]any{}) }},
	{`the request (?:body )?property "\$.device" is not included`, func(s *scene, m []string) { s.device = "none" }},
	{deviceStep + `is set to a valid device`, func(s *scene, m []string) { s.set("$.device", s.qod.device()) }},
	{deviceStep + `is compliant with the schema but does not identify a valid device`, func(s *scene, m []string) {
		s.set("$.device", map[string]any{"ipv6Address": "3fff:d55:1:9::1"})
	}},
	{`that some types of device identifiers are not supported by the implementation`, func(s *scene, m []string) {}},
	{deviceStep + `only includes device identifiers not supported by the implementation`, func(s *scene, m []string) {
		s.set("$.device", map[string]any{"phoneNumber": "+123456789", "networkAccessIdentifier": "1@example.com", "ipv4Address": map[string]any{"publicAddress": "203.0.113.1", "publicPort": 59765}})
	}},
	{`that the service is not available for all devices commercialized by the operator`, func(s *scene, m []string) {}},
	{`a valid device, .* for which the service is not applicable`, func(s *scene, m []string) { // a backbone node
		s.set("$.device", map[string]any{"ipv6Address": s.hubs["b"].Node.String()})
	}},

	// What is asked for.
	{`the request (?:body )?property "\$.applicationServer" is set to a valid application server`, func(s *scene, m []string) {}},
	{`the request property "\$.qosProfile" is set to a valid QoS Profile as returned by QoS Profiles API`, func(s *scene, m []string) {
		ps := s.ask("POST", "/qos-profiles/v1/retrieve-qos-profiles", s.tokens["app"], "", map[string]any{"status": "ACTIVE", "device": s.qod.device()})
		s.set("$.qosProfile", list(ps.body)[0].(map[string]any)["name"])
	}},
	{`the request body property "\$.duration" is set to a valid duration .*`, func(s *scene, m []string) { s.set("$.duration", 3600.0) }},
	{`the request property "\$.sink" is set to a URL where events can be monitored`, func(s *scene, m []string) { s.withSink(s.body, "/hear") }},
	{`the request property "\$.sinkCredential.accessToken" is set to a valid access token .*`, func(s *scene, m []string) { s.set("$.sinkCredential.accessToken", "let-me-in") }},
	{`the request (?:body )?property +"(\$.sinkCredential.\w+)" is set to "(\w+)"`, func(s *scene, m []string) {
		if s.body["sinkCredential"] == nil {
			s.withSink(s.body, "/hear")
		}
		s.set(m[1], m[2])
	}},
	{`the request body property +"\$.sinkCredential.accessTokenType" is set to a value other than "bearer"`, func(s *scene, m []string) {
		s.withSink(s.body, "/hear")
		s.set("$.sinkCredential.accessTokenType", "mac")
	}},
	{`the request body property "(.*)" does not comply with the OAS schema at "(.*)"`, func(s *scene, m []string) {
		bad := map[string]any{"PhoneNumber": "0123", "DeviceIpv4Addr": map[string]any{"publicAddress": "203.0.113.1"}, "DeviceIpv6Address": "2001:db8::/32", "NetworkAccessIdentifier": 7.0}[filepath.Base(m[2])]
		if s.schema.judge(m[2], bad) == nil {
			s.t.Fatalf("%v complies with %s", bad, m[2])
		}
		s.set("$.device", map[string]any{})
		s.set(m[1], bad)
	}},
	{`the request body is set to any value which is not compliant with .*`, func(s *scene, m []string) { s.set("$.duration", "an hour") }},
	{`the request body is not included`, func(s *scene, m []string) { s.body = nil }},
	{`the request body is set to \{\}`, func(s *scene, m []string) { s.body, s.device = map[string]any{}, "none" }},
	{`the request body property "(.*)" is set to \{\}`, func(s *scene, m []string) { s.set(m[1], map[string]any{}) }},
	{`the request body property "(.*)" is set to a value not between between 0 and 65535`, func(s *scene, m []string) { s.outOfRange(m[1]) }},
	{`the request body property "qosProfile" is set to a non existent qos Profile`, func(s *scene, m []string) { s.set("$.qosProfile", "NO_SUCH_PROFILE") }},
	{`the request body property "duration" is set to an invalid duration .*`, func(s *scene, m []string) { s.set("$.duration", 2147483647.0) }},
	{`the requested QoS Profile exists but is not applicable for the session`, func(s *scene, m []string) { s.set("$.qosProfile", "QOS_XL") }},

	// Sessions that there are.
	{`an existing QoS session created by operation createSession`, func(s *scene, m []string) { s.begin(s.request()) }},
	{`a QoD session already exists for that device`, func(s *scene, m []string) { s.begin(s.request()) }},
	{`an existing QoS session created by operation createSession with provided values for "sink" and "sinkCredential", and with status "AVAILABLE"`, func(s *scene, m []string) {
		s.begin(s.withSink(s.request(), "/hear"))
		if s.made.text("$.qosStatus") != "AVAILABLE" {
			s.t.Fatalf("the session is %v", s.made.body)
		}
		s.hear()
		s.eventsSeen[s.event.body["id"]] = true
	}},
	{`a QoS session has been created successfully and includes a valid sink and sinkCredentials`, func(s *scene, m []string) { s.begin(s.withSink(s.request(), "/hear")) }},
	{`an existing QoS session failed to be created in the last 360 seconds`, func(s *scene, m []string) {
		s.link(s.ctx, false)
		s.begin(s.request())
		s.link(s.ctx, true)
	}},
	{`the path parameter "sessionId" is set by default to a existing QoS session sessionId`, func(s *scene, m []string) {}},
	{`the path parameter "sessionId" is set to the value for that QoS session`, func(s *scene, m []string) {}},
	{`the path parameter "sessionId" is set to a random UUID`, func(s *scene, m []string) { s.id = northbound.NewUUID() }},
	{`the path parameter "sessionId" has not a UUID format`, func(s *scene, m []string) { s.id = "not-a-uuid" }},

	// It is sent.
	{`the request "createSession" is sent`, func(s *scene, m []string) { s.send("POST") }},
	{`the HTTP "POST" request is sent`, func(s *scene, m []string) { s.send("POST") }},
	{`the request "getSession" is sent`, func(s *scene, m []string) { s.send("GET") }},
	{`the request "deleteSession" is sent`, func(s *scene, m []string) { s.send("DELETE") }},
	{`the QoS status of the session becomes known`, func(s *scene, m []string) {}},

	// What comes back.
	{`the response status code is (\d+)`, func(s *scene, m []string) { s.same("status", fmt.Sprint(s.answer.status), m[1]) }},
	{`the response header "x-correlator" has (?:the )?same value as the request header "x-correlator"`, func(s *scene, m []string) {
		s.same("x-correlator", s.answer.header.Get("x-correlator"), s.headers["x-correlator"])
	}},
	{`the response header "(.*)" is "(.*)"`, func(s *scene, m []string) { s.same(m[1], s.answer.header.Get(m[1]), m[2]) }},
	{`the response property "\$.message" contains a user.friendly text`, func(s *scene, m []string) {
		if s.schema.judge("/components/schemas/ErrorInfo", s.answer.body) != nil || len(s.answer.text("$.message")) < 20 {
			s.t.Errorf("the answer is %v", s.answer.body)
		}
	}},
	{`the response body complies with the OAS schema at "(.*)"`, func(s *scene, m []string) {
		if err := s.schema.judge(m[1], s.answer.body); err != nil {
			s.t.Errorf("the answer %v does not comply: %v", s.answer.body, err)
		}
	}},
	{`the response property "(.*)" does not exist`, func(s *scene, m []string) {
		if v, ok := s.answer.property(m[1]); ok {
			s.t.Errorf("%s is %v", m[1], v)
		}
	}},
	{`the response property "(.*)" matches the rule: (.*)`, func(s *scene, m []string) { s.rule(m[1], m[2]) }},
	{`the response property "(.*)" ((?:exists only if|has the (?:same )?value) .*)`, func(s *scene, m []string) { s.rule(m[1], m[2]) }},
	{`the response property "(.*)" is (.*)`, func(s *scene, m []string) { s.oneOf(s.answer.body, m[1], m[2]) }},

	// What the sink is told.
	{`an event is received at the address of the .*`, func(s *scene, m []string) { s.hear() }},
	{`the event header "Authorization" is set to "Bearer " \+ .*`, func(s *scene, m []string) {
		s.same("Authorization", s.event.header.Get("Authorization"), "Bearer let-me-in")
	}},
	{`the event header "(.*)" is set to "(.*)"`, func(s *scene, m []string) { s.same(m[1], s.event.header.Get(m[1]), m[2]) }},
	{`the event body complies with the OAS schema at "(.*)"`, func(s *scene, m []string) {
		if err := s.schema.judge(m[1], s.event.body); err != nil {
			s.t.Errorf("the event %v does not comply: %v", s.event.body, err)
		}
	}},
	{`the event body property "\$.id" is unique`, func(s *scene, m []string) {
		if id := s.event.body["id"]; id == nil || s.eventsSeen[id] {
			s.t.Errorf("the event's id is %v", id)
		}
	}},
	{`the event body property "\$.data.sessionId" (?:has the same value|as returned) .*`, func(s *scene, m []string) {
		s.oneOf(s.event.body, "$.data.sessionId", `"`+s.made.text("$.sessionId")+`"`)
	}},
	{`the event body property "\$.data.statusInfo" exists only if .*`, func(s *scene, m []string) {
		_, has := property(s.event.body, "$.data.statusInfo")
		if status, _ := property(s.event.body, "$.data.qosStatus"); has != (status == "UNAVAILABLE") {
			s.t.Errorf("the event is %v", s.event.body)
		}
	}},
	{`the event body property "(.*)" is (?:set to )?(.*)`, func(s *scene, m []string) { s.oneOf(s.event.body, m[1], m[2]) }},
}

func (s *scene) as(token string) {
	t, ok := s.tokens[token]
	if !ok {
		s.t.Fatalf("there is no token %q", token)
	}
	s.headers["Authorization"] = t
}

// set sets a property of the body.
func (s *scene) set(path string, v any) {
	if strings.HasPrefix(path, "$.device") {
		if s.device = "set"; path != "$.device" && s.body["device"] == nil {
			s.body["device"] = map[string]any{}
		}
	}
	ps := strings.Split(strings.TrimPrefix(path, "$."), ".")
	m := s.body
	for _, p := range ps[:len(ps)-1] {
		next, ok := m[p].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[p] = next
		}
		m = next
	}
	m[ps[len(ps)-1]] = v
}

// outOfRange puts a port that is none at a path, in a body that is else proper.
func (s *scene) outOfRange(path string) {
	name := strings.Split(path, ".")[1]
	switch {
	case name == "device":
		s.set("$.device", map[string]any{"ipv4Address": map[string]any{"publicAddress": "203.0.113.1", "publicPort": 65536.0}})
	case strings.HasSuffix(path, "ports[*]"):
		s.set("$."+name, map[string]any{"ports": []any{1.0, 65536.0}})
	case strings.HasSuffix(path, "from"):
		s.set("$."+name, map[string]any{"ranges": []any{map[string]any{"from": -1.0, "to": 80.0}}})
	default:
		s.set("$."+name, map[string]any{"ranges": []any{map[string]any{"from": 80.0, "to": 65536.0}}})
	}
}

// begin creates the session that the scenario is about, as the usual client.
func (s *scene) begin(body map[string]any) {
	body["device"] = s.qod.device()
	s.made, s.madeBody = s.create("app", body), body
	s.id = s.made.text("$.sessionId")
}

// send sends the request. A device is named unless the token or the scenario
// says otherwise; a session is made first where the path needs one.
func (s *scene) send(method string) {
	s.t.Helper()
	path := s.path
	if strings.Contains(path, "{sessionId}") {
		if s.id == "" {
			s.begin(s.request())
		}
		path = strings.ReplaceAll(path, "{sessionId}", s.id)
	}
	var body any
	if s.body != nil {
		if s.device == "" && s.headers["Authorization"] != s.tokens["device"] {
			s.body["device"] = s.qod.device()
		} else if s.device == "none" {
			delete(s.body, "device")
		}
		body, s.madeBody = s.body, s.body
	}
	s.answer = s.ask(method, path, s.headers["Authorization"], s.headers["x-correlator"], body)
	if method == "POST" {
		s.made = s.answer
	}
}

// hear waits for the next event of the scenario's session; others are of
// sessions before it.
func (s *scene) hear() {
	s.t.Helper()
	for {
		s.event = s.next(s.ctx)
		if id, _ := property(s.event.body, "$.data.sessionId"); id == s.made.text("$.sessionId") {
			return
		}
	}
}

func (s *scene) same(what, got, want string) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("%s is %q, want %q: %v", what, got, want, s.answer.body)
	}
}

// oneOf checks a property against `"A" or "B"`, or a number.
func (s *scene) oneOf(v any, path, want string) {
	s.t.Helper()
	p, _ := property(v, path)
	got, _ := json.Marshal(p)
	for _, w := range strings.Split(want, " or ") {
		if string(got) == w {
			return
		}
	}
	s.t.Errorf("%s is %s, want %s", path, got, want)
}

// rule checks what a success has to show beyond its schema.
func (s *scene) rule(path, condition string) {
	s.t.Helper()
	v, has := s.answer.property(path)
	status := s.answer.text("$.qosStatus")
	at := func(p string) time.Time { t, _ := time.Parse(time.RFC3339, s.answer.text(p)); return t }
	ok := false
	switch {
	case strings.Contains(condition, "provided"), strings.Contains(condition, "request body"):
		sent, was := property(plain(s.madeBody), path)
		ok = has == was && reflect.DeepEqual(v, sent)
	case strings.Contains(condition, `"$.qosStatus" is "AVAILABLE"`):
		ok = has == (status == "AVAILABLE") && (!has || at(path).Before(time.Now().Add(time.Duration(s.skew.Load()))))
	case strings.Contains(condition, `"$.qosStatus" is not "REQUESTED"`):
		ok = has == (status != "REQUESTED") && (!has || at(path).After(at("$.startedAt")))
	case strings.Contains(condition, `"$.qosStatus" is "UNAVAILABLE"`):
		ok = has == (status == "UNAVAILABLE")
	default:
		s.t.Fatalf("nobody knows what %q means", condition)
	}
	if !ok {
		s.t.Errorf("%s is %v: %s; the answer is %v to %v", path, v, condition, s.answer.body, s.madeBody)
	}
}

func TestOfficialScenarios(t *testing.T) {
	need.File(t, "CAMARA's test definitions, release r3.2 (../shared/conformance/camara-qod)", official)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	q := newQoD(t, ctx)
	schema := definition(t, "quality-on-demand.yaml")
	type bound struct {
		form *regexp.Regexp
		do   func(*scene, []string)
	}
	var known []bound
	for _, s := range steps {
		known = append(known, bound{regexp.MustCompile("^" + s.form + "$"), s.do})
	}
	files, err := filepath.Glob(filepath.Join(official, "*.feature"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	ran := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range readGherkin(string(text)) {
			ran++
			t.Run(g.name, func(t *testing.T) {
				q.t, q.world.t = t, t
				defer func() { q.clean(); q.t = nil }()
				s := &scene{qod: q, t: t, ctx: ctx, schema: schema, headers: map[string]string{}, eventsSeen: map[any]bool{}}
			steps:
				for _, line := range g.steps {
					if d, ok := departures[line]; ok {
						line = d
					}
					for _, k := range known {
						if m := k.form.FindStringSubmatch(line); m != nil {
							k.do(s, m)
							continue steps
						}
					}
					t.Fatalf("nobody knows the step %q", line)
				}
			})
		}
	}
	q.t, q.world.t = t, t
	if ran < 60 {
		t.Errorf("only %d scenarios were found", ran)
	}
}
