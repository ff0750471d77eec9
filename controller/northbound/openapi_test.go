package northbound

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheDocumentDescribesEveryRoute(t *testing.T) {
	h := NewHandler(nil, Options{})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/openapi.json", nil))
	var doc struct {
		OpenAPI    string                                `json:"openapi"`
		Paths      map[string]map[string]json.RawMessage `json:"paths"`
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Type   any    `json:"type"`
					Format string `json:"format"`
				} `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatalf("%v: %.200s", err, w.Body)
	}
	seen := 0
	for pattern := range summaries {
		method, path, _ := strings.Cut(pattern, " ")
		op := doc.Paths[path][strings.ToLower(method)]
		if op == nil || !strings.Contains(string(op), "summary") {
			t.Errorf("%s has a summary and no route", pattern)
		}
		seen++
	}
	routes := 0
	for _, methods := range doc.Paths {
		routes += len(methods)
	}
	if routes != seen {
		t.Errorf("%d routes have %d summaries", routes, seen)
	}
	for pattern := range queries {
		if summaries[pattern] == "" {
			t.Errorf("%s has parameters and no route", pattern)
		}
	}
	// Identifiers are text and rates are numbers, as they are on the wire.
	p := doc.Components.Schemas["ReservationRequest"].Properties
	if p["data"].Type != "string" || p["committed_bps"].Type != "integer" || p["class"].Type != "string" || p["until"].Format != "date-time" {
		t.Errorf("a reservation request is %+v", p)
	}
	// Every reference leads somewhere.
	for _, part := range strings.Split(w.Body.String(), `"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if _, ok := doc.Components.Schemas[name]; !ok {
			t.Errorf("the schema %s is referred to and missing", name)
		}
	}
}
