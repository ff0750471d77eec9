package policy

import (
	"fmt"
	"slices"
	"strings"

	"dssn"
)

// test is one line "// test: allow|deny key=value …" of a policy file.
type test struct {
	line    int
	text    string
	allow   bool
	by      string // the policy that must forbid; empty: any
	request Request
}

// Failure is a test of a policy file that does not hold, or a policy without one.
type Failure struct {
	Line int    `json:"line,omitempty"` // of the test; 0 for a policy without
	Text string `json:"text"`           // one sentence
}

const testMark = "// test:"

// parseTests finds the tests among the comments. Values with spaces are quoted.
func parseTests(text string) (out []test, err error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		rest, is := strings.CutPrefix(strings.TrimSpace(line), testMark)
		if !is {
			continue
		}
		words, err := split(rest)
		if err != nil || len(words) == 0 || words[0] != "allow" && words[0] != "deny" {
			return nil, fmt.Errorf("the test in line %d is not understood: write // test: allow or deny, then key=value", n)
		}
		t := test{line: n, text: strings.TrimSpace(rest), allow: words[0] == "allow",
			request: Request{Node: "node", Institution: "institution", Data: "data", Owner: "owner", Grade: "open", Category: "cross-sector"}}
		for _, w := range words[1:] {
			if err := t.set(w); err != nil {
				return nil, fmt.Errorf("the test in line %d: %w", n, err)
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// set takes one key=value.
func (t *test) set(word string) error {
	key, value, ok := strings.Cut(word, "=")
	if !ok {
		return fmt.Errorf("%q is not key=value", word)
	}
	q := &t.request
	switch key {
	case "by":
		t.by = value
	case "node":
		q.Node = value
	case "institution":
		q.Institution = value
	case "hub":
		q.Hub = value
	case "roles":
		q.Roles = strings.Split(value, ",")
	case "data":
		q.Data = value
	case "owner":
		q.Owner = value
	case "grade":
		g, err := dssn.ParseGrade(value)
		if err != nil {
			return err
		}
		q.Grade, q.Level = g.String(), int64(g)
	case "category":
		c, err := dssn.ParseCategory(value)
		if err != nil {
			return err
		}
		q.Category = c.String()
	case "purpose":
		q.Purpose = value
	default:
		return fmt.Errorf("nothing is called %q: use by, node, institution, hub, roles, data, owner, grade, category, purpose", key)
	}
	return nil
}

// split breaks a line at spaces outside of double quotes, which it drops.
func split(s string) (out []string, err error) {
	var word strings.Builder
	quoted, some := false, false
	for _, r := range s {
		switch {
		case r == '"':
			quoted, some = !quoted, true
		case !quoted && (r == ' ' || r == '\t' || r == '\n' || r == '\r'):
			if some {
				out = append(out, word.String())
			}
			word.Reset()
			some = false
		default:
			word.WriteRune(r)
			some = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if some {
		out = append(out, word.String())
	}
	return out, nil
}

// Check runs the tests of the file. Every policy needs a test in which it forbids;
// n is how many tests ran.
func (s *Set) Check() (n int, failures []Failure) {
	shown := map[string]bool{}
	for _, t := range s.tests {
		d := s.Decide(t.request)
		for _, id := range d.By {
			shown[id] = true
		}
		switch {
		case d.Allowed && !t.allow:
			failures = append(failures, Failure{t.line, fmt.Sprintf("%q: no policy forbids it", t.text)})
		case !d.Allowed && t.allow:
			failures = append(failures, Failure{t.line, fmt.Sprintf("%q: %s", t.text, d.Why)})
		case t.by != "" && !slices.Contains(d.By, t.by):
			failures = append(failures, Failure{t.line, fmt.Sprintf("%q: %s, and %s does not", t.text, d.Why, t.by)})
		}
	}
	for _, id := range s.ids {
		if !shown[id] {
			failures = append(failures, Failure{0, fmt.Sprintf("the policy %s forbids in no test: add // test: deny by=%s …", id, id)})
		}
	}
	return len(s.tests), failures
}
