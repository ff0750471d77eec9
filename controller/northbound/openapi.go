package northbound

import (
	"cmp"
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"dssn/controller/southbound"
)

// operation is one registered route, from which its part of the document is made.
type operation struct {
	pattern         string // "POST /v1/tokens"
	request, answer reflect.Type
	id, summary     string
	status          int          // of success; 0 means 200
	anybody         bool         // needs no caller
	other           reflect.Type // what errors are, if they are no problems
}

// Described is a route that somebody else answers, for the document.
type Described struct {
	Pattern, ID, Summary string
	Status               int // of success
	// Request, Answer and Error are zero values of the bodies' types, or nil.
	Request, Answer, Error any
}

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// document builds the OpenAPI 3.1 document from the registered routes and
// serves it at /v1/openapi.json.
func (a *api) document() {
	var doc []byte
	a.open("GET /v1/openapi.json", reflect.TypeFor[json.RawMessage](), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(doc)
	})
	for _, d := range a.Beside {
		a.operations = append(a.operations, operation{pattern: d.Pattern, request: reflect.TypeOf(d.Request), answer: reflect.TypeOf(d.Answer),
			id: d.ID, summary: d.Summary, status: d.Status, other: reflect.TypeOf(d.Error)})
	}
	doc = apiDocument(a.operations, a.lists)
}

// apiDocument writes the OpenAPI 3.1 document of operations.
func apiDocument(operations []operation, lists []string) []byte {
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{Title: "DSSN controller", Version: "1", Description: "The northbound interface of a data switching service network. " +
			"Rates are integers of bits per second, amounts integers of bytes, durations integers of nanoseconds, times RFC 3339. " +
			"Below /quality-on-demand/v1 and /qos-profiles/v1 it speaks CAMARA's words; their own definitions say more."},
		Paths: map[string]*huma.PathItem{},
		Components: &huma.Components{Schemas: schemas, Responses: problemResponses(schemas), SecuritySchemes: map[string]*huma.SecurityScheme{
			"certificate": {Type: "mutualTLS", Description: "a node's certificate"},
			"person":      {Type: "http", Scheme: "bearer", Description: "a person's token"},
		}},
		Security: []map[string][]string{{"certificate": {}}, {"person": {}}},
	}
	for _, o := range operations {
		op := o.describe(schemas)
		if slices.Contains(lists, o.pattern) {
			op.Parameters = append(op.Parameters, query("limit", "how many at most; 1000 if it is missing, never more than 10000"), query("cursor", "where to go on; taken from the Link of the page before"))
			op.Responses["200"].Headers["Link"] = &huma.Header{Description: `the next page, rel="next"; missing on the last`, Schema: text()}
		}
		doc.AddOperation(op)
	}
	out, err := doc.MarshalJSON()
	if err != nil {
		panic("the API document cannot be written: " + err.Error()) // made of our own types only
	}
	return append(out, '\n')
}

func text() *huma.Schema { return &huma.Schema{Type: huma.TypeString} }

func query(name, description string) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: description, Schema: text()}
}

func header(name, description string) *huma.Param {
	return &huma.Param{Name: name, In: "header", Description: description, Schema: text()}
}

// problemResponses is one response for each status that problems have.
func problemResponses(schemas huma.Registry) map[string]*huma.Response {
	schema := schemas.Schema(reflect.TypeFor[Problem](), true, "")
	var types []any
	out := map[string]*huma.Response{}
	for _, k := range problemKinds {
		types = append(types, problemBase+k.kind)
		name := strconv.Itoa(k.status)
		if out[name] == nil {
			out[name] = &huma.Response{Description: http.StatusText(k.status) + ".", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}}}
		}
		out[name].Description += " " + problemBase + k.kind + ": " + k.meaning + "."
	}
	schemas.Map()["Problem"].Properties["type"].Enum = types
	return out
}

// describe is an operation in OpenAPI's words.
func (o *operation) describe(schemas huma.Registry) *huma.Operation {
	method, path, _ := strings.Cut(o.pattern, " ")
	path = strings.ReplaceAll(path, "...}", "}")
	op := &huma.Operation{Method: method, Path: path, Summary: o.summary, OperationID: o.id,
		Parameters: []*huma.Param{header("x-correlator", "names the request in answers and logs; one is made if it is missing")},
		Responses:  map[string]*huma.Response{}}
	done := &huma.Response{Description: "Done", Headers: map[string]*huma.Header{"x-correlator": {Description: "the request's, or a new one", Schema: text()}}}
	op.Responses[strconv.Itoa(cmp.Or(o.status, http.StatusOK))] = done
	if o.anybody {
		op.Security = []map[string][]string{{}}
	}
	for _, m := range pathParameter.FindAllStringSubmatch(path, -1) {
		op.Parameters = append(op.Parameters, &huma.Param{Name: m[1], In: "path", Required: true, Schema: text()})
	}
	for _, q := range queries[o.pattern] {
		op.Parameters = append(op.Parameters, query(q, ""))
	}
	if o.request != nil && o.request != reflect.TypeFor[none]() {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(o.request, true, "")}}}
	}
	switch o.answer {
	case nil, reflect.TypeFor[none]():
	case reflect.TypeFor[raw](), reflect.TypeFor[json.RawMessage]():
		done.Content = map[string]*huma.MediaType{"*/*": {Schema: &huma.Schema{}}}
	default:
		done.Content = map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(o.answer, true, "")}}
	}
	if o.other != nil {
		op.Extensions = map[string]any{"x-definition": "CAMARA QualityOnDemand r3.2: " + o.id}
		op.Responses["default"] = &huma.Response{Description: "CAMARA's ErrorInfo", Content: map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(o.other, true, "")}}}
		return op
	}
	for _, status := range o.statuses(method, path) {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + strconv.Itoa(status)}
	}
	switch {
	case o.anybody:
	case method == http.MethodGet:
		op.Parameters = append(op.Parameters, header("If-None-Match", "entity tags that are known; the answer is 304 if it is one of them"))
		done.Headers["ETag"] = &huma.Header{Description: "the entity tag of the answer", Schema: text()}
		op.Responses["304"] = &huma.Response{Description: "It is as it was"}
	default:
		op.Parameters = append(op.Parameters, header("Idempotency-Key", "the same request with the same key is done once and answered alike, for a day"),
			header("If-Match", "do it only if the thing has one of these entity tags"))
	}
	if o.pattern == "GET /v1/events" {
		op.Parameters = append(op.Parameters, header("Last-Event-ID", "the last event of a stream that broke; the new one goes on after it"))
		done.Content["text/event-stream"] = &huma.MediaType{Schema: text()}
	}
	return op
}

// statuses are the problems that a route can answer with.
func (o *operation) statuses(method, path string) []int {
	out := []int{http.StatusBadRequest, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusNotFound}
	if !o.anybody || path == southbound.JoinPath {
		out = append(out, http.StatusUnauthorized, http.StatusForbidden)
	}
	if method != http.MethodGet {
		out = append(out, http.StatusConflict, http.StatusGone, http.StatusPreconditionFailed, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity)
	}
	return out
}

// operationID turns "POST /v1/grants/{id}/approve" into "post-grants-id-approve".
func operationID(method, path string) string {
	words := strings.FieldsFunc(strings.TrimPrefix(path, "/v1/"), func(r rune) bool { return strings.ContainsRune("/{}.", r) })
	return strings.ToLower(method + "-" + strings.Join(words, "-"))
}
