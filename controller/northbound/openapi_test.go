package northbound

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
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
			Responses map[string]json.RawMessage `json:"responses"`
			Schemas   map[string]struct {
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
		method, path, _ := strings.Cut(strings.ReplaceAll(pattern, "...}", "}"), " ")
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
	for path, methods := range doc.Paths {
		for method, text := range methods {
			var op struct {
				ID         string `json:"operationId"`
				Parameters []struct{ Name, In string }
				Responses  map[string]struct {
					Ref string `json:"$ref"`
				}
			}
			if err := json.Unmarshal(text, &op); err != nil || op.ID == "" || len(op.Parameters) == 0 {
				t.Errorf("%s %s: %v, %+v", method, path, err, op)
			}
			for status, r := range op.Responses {
				if r.Ref != "" && doc.Components.Responses[strings.TrimPrefix(r.Ref, "#/components/responses/")] == nil {
					t.Errorf("%s %s refers to the response %s for %s, which is missing", method, path, r.Ref, status)
				}
			}
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

// Problems are made in many places; the document names every kind that is.
func TestTheDocumentNamesEveryProblem(t *testing.T) {
	made := map[string]bool{}
	forms := []*regexp.Regexp{regexp.MustCompile(`NewProblem\("([a-z-]+)"`), regexp.MustCompile(`RefusalKind += "([a-z-]+)"`)}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, f := range forms {
			for _, m := range f.FindAllStringSubmatch(string(text), -1) {
				made[m[1]] = true
			}
		}
		return err
	})
	if err != nil || len(made) < 8 {
		t.Fatalf("%v: %v", err, made)
	}
	named := map[string]bool{}
	for _, k := range problemKinds {
		named[k.kind] = true
		if !made[k.kind] {
			t.Errorf("the document names the problem %s, which nobody makes", k.kind)
		}
	}
	for k := range made {
		if !named[k] {
			t.Errorf("the problem %s is made and not in the document: add it to problemKinds", k)
		}
	}
	doc := string(apiDocument(nil, nil))
	for _, k := range problemKinds {
		if !strings.Contains(doc, `"`+problemBase+k.kind+`"`) {
			t.Errorf("the schema of problems lacks %s", k.kind)
		}
	}
}

// Routes are registered in one place, which is where the document learns of them.
func TestEveryRouteIsRegisteredWhereTheDocumentLearnsOfIt(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "mux.Handle") {
				found = append(found, strings.TrimSpace(line))
			}
		}
	}
	if len(found) != 2 { // in handle, and "/" for what is nowhere
		t.Errorf("routes are registered by %q: use route, list or open", found)
	}
}
