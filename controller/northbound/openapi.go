package northbound

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"dssn/controller/southbound"
)

// operation is one registered route, from which its part of the document is made.
type operation struct {
	pattern         string // "POST /v1/tokens"
	request, answer reflect.Type
}

// summaries say in one line what each route does; a test holds them to the routes.
var summaries = map[string]string{
	"POST " + southbound.JoinPath:        "Become a node: exchange a token and a certificate request for a certificate and an assignment",
	"POST " + southbound.RenewPath:       "Renew a node's certificate",
	"GET /v1/whoami":                     "Say as whom this connection is known",
	"POST /v1/institutions":              "Register an institution",
	"GET /v1/institutions":               "List institutions",
	"POST /v1/tokens":                    "Make a one-time token for one node",
	"DELETE /v1/nodes/{id}":              "Remove a node, by name",
	"POST /v1/people":                    "Register a person, or give one a new token",
	"GET /v1/people":                     "List people",
	"DELETE /v1/people/{id}":             "Remove a person, by name",
	"POST /v1/roles":                     "Set the roles of an institution or a node, by which grants can name it",
	"POST /v1/datasets":                  "Register a signed record",
	"GET /v1/datasets":                   "List the catalogue",
	"GET /v1/datasets/{id}":              "Show a catalogue entry",
	"GET /v1/resolve/{id}":               "Say who holds an identifier, if the asker may have it",
	"POST /v1/grants":                    "Let a party reach data until a time",
	"GET /v1/grants":                     "List grants",
	"DELETE /v1/grants/{id}":             "Revoke a grant",
	"POST /v1/grants/{id}/approve":       "Approve a grant of important or core data, as the second person",
	"POST /v1/freezes":                   "Stop all reach of data or of a party at once",
	"GET /v1/freezes":                    "List freezes",
	"DELETE /v1/freezes/{id}":            "Lift a freeze",
	"POST /v1/quotes":                    "Say what a reservation would get now",
	"POST /v1/reservations":              "Hold bandwidth until its commit",
	"GET /v1/reservations":               "List reservations",
	"GET /v1/reservations/{id}":          "Show a reservation",
	"POST /v1/reservations/{id}/commit":  "Make a hold a contract",
	"POST /v1/reservations/{id}/release": "End a reservation",
	"POST /v1/reservations/{id}/extend":  "Move the end of a reservation",
	"POST /v1/reservations/{id}/boost":   "Raise a contract's committed rate for a window of its own",
	"GET /v1/reservations/{id}/why":      "Say why a reservation had its rate and path at a moment",
	"POST /v1/reservations/{id}/modify":  "Change a reservation's rates, burst, priority or end",
	"GET /v1/usage":                      "Show what both ends metered",
	"GET /v1/bills":                      "Rate a period",
	"POST /v1/bills":                     "Issue the next bill of an institution, from the end of its last one on (operator only)",
	"GET /v1/bills/issued":               "List issued bills",
	"GET /v1/bills/issued/{id}":          "Fetch an issued bill with its tariff, records and proof",
	"GET /v1/disputes":                   "List what two ends disagree on, which is not billed",
	"POST /v1/disputes/{id}/resolve":     "Decide a dispute of a reservation or transfer: how many bytes are billed (operator only)",
	"GET /v1/tariff":                     "Show the tariff in force",
	"GET /v1/exports/{id}":               "Export as focus, tmf635 or cloudevents",
	"POST /v1/receipts":                  "Write the receipt of a settled transfer",
	"GET /v1/receipts/{id}":              "Show the receipt of a settled transfer",
	"GET /v1/status":                     "Show the network at a glance",
	"GET /v1/events":                     "List what happened and why",
}

// queries are the query parameters of the routes that have some.
var queries = map[string][]string{
	"GET /v1/bills":                 {"institution", "from", "to"},
	"GET /v1/exports/{id}":          {"institution", "from", "to"},
	"GET /v1/events":                {"after", "limit"},
	"GET /v1/reservations/{id}/why": {"at"},
}

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// document builds the OpenAPI 3.1 document from the registered routes and
// serves it at /v1/openapi.json.
func (a *api) document() {
	doc := apiDocument(a.operations)
	a.mux.HandleFunc("GET /v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(doc)
	})
}

// apiDocument writes the OpenAPI 3.1 document of operations.
func apiDocument(operations []operation) []byte {
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	problem := &huma.Response{Description: "A refusal: one sentence with a next step (RFC 9457)",
		Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schemas.Schema(reflect.TypeFor[Problem](), true, "")}}}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{Title: "DSSN controller", Version: "1", Description: "The northbound interface of a data switching service network. " +
			"Rates are integers of bits per second, amounts integers of bytes, durations integers of nanoseconds, times RFC 3339."},
		Paths: map[string]*huma.PathItem{},
		Components: &huma.Components{Schemas: schemas, SecuritySchemes: map[string]*huma.SecurityScheme{
			"certificate": {Type: "mutualTLS", Description: "a node's certificate"},
			"person":      {Type: "http", Scheme: "bearer", Description: "a person's token"},
		}},
		Security: []map[string][]string{{"certificate": {}}, {"person": {}}},
	}
	for _, o := range operations {
		method, path, _ := strings.Cut(o.pattern, " ")
		op := &huma.Operation{Method: method, Path: path, Summary: summaries[o.pattern], OperationID: operationID(method, path),
			Responses: map[string]*huma.Response{"200": {Description: "Done"}, "default": problem}}
		if path == southbound.JoinPath {
			op.Security = []map[string][]string{{}}
		}
		for _, m := range pathParameter.FindAllStringSubmatch(path, -1) {
			op.Parameters = append(op.Parameters, &huma.Param{Name: m[1], In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
		}
		for _, q := range queries[o.pattern] {
			op.Parameters = append(op.Parameters, &huma.Param{Name: q, In: "query", Schema: &huma.Schema{Type: huma.TypeString}})
		}
		if o.request != reflect.TypeFor[none]() {
			op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(o.request, true, "")}}}
		}
		switch o.answer {
		case reflect.TypeFor[none]():
		case reflect.TypeFor[raw](), reflect.TypeFor[json.RawMessage]():
			op.Responses["200"].Content = map[string]*huma.MediaType{"*/*": {Schema: &huma.Schema{}}}
		default:
			op.Responses["200"].Content = map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(o.answer, true, "")}}
		}
		doc.AddOperation(op)
	}
	text, err := doc.MarshalJSON()
	if err != nil {
		panic("the API document cannot be written: " + err.Error()) // made of our own types only
	}
	return append(text, '\n')
}

// operationID turns "POST /v1/grants/{id}/approve" into "post-grants-id-approve".
func operationID(method, path string) string {
	words := strings.FieldsFunc(strings.TrimPrefix(path, "/v1/"), func(r rune) bool { return strings.ContainsRune("/{}", r) })
	return strings.ToLower(method + "-" + strings.Join(words, "-"))
}
