// Package policy evaluates an operator's policies, which stand above all grants,
// with an existing engine: Cedar (github.com/cedar-policy/cedar-go). It is the one
// door to that engine.
//
// A policy file is Cedar text whose policies carry their own tests, in comments:
//
//	// test: deny  by=no-health-abroad institution=abroad category=health grade=core
//	// test: allow institution=south category=health grade=core
//	@id("no-health-abroad")
//	forbid (principal, action, resource)
//	when { resource.category == "health" && principal.institution == "abroad" };
//
// The policies are asked where a grant lets a node reach a dataset, and can only
// forbid: a permit of theirs opens nothing. Without any, everything granted is
// allowed. A policy that cannot be evaluated for a request forbids it.
//
// A Set is immutable and safe for concurrent use. The package has no I/O.
package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
)

// MaxBytes bounds the text of a policy file.
const MaxBytes = 256 << 10

// Request is a node that a grant lets reach a dataset, as policies see it: the
// principal has name, institution, hub and roles, the resource data, owner, grade,
// level (0 to 12) and category, the context purpose.
type Request struct {
	Node        string
	Institution string
	Hub         string
	Roles       []string
	Data        string // identifier
	Owner       string // institution
	Grade       string // open, general-1 …, important, core
	Level       int64  // 0 open, 1 to 4 general, 8 important, 12 core
	Category    string
	Purpose     string // of the grant
}

// Decision is what the policies say, and which of them.
type Decision struct {
	Allowed bool
	By      []string // the policies that forbid, sorted
	Why     string   // one sentence where it is not allowed
}

// Set is a policy file that was read.
type Set struct {
	policies *cedar.PolicySet
	ids      []string
	tests    []test
}

// Parse reads a policy file. Every policy needs an @id of its own.
func Parse(text string) (*Set, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("the policies have %d bytes: %d are the most", len(text), MaxBytes)
	}
	list, err := cedar.NewPolicyListFromBytes("policy", []byte(text))
	if err != nil {
		return nil, fmt.Errorf("the policies are not understood: %w", err)
	}
	s := &Set{policies: cedar.NewPolicySet()}
	for _, p := range list {
		id := string(p.Annotations()["id"])
		line := p.Position().Line
		switch {
		case id == "":
			return nil, fmt.Errorf("the policy in line %d has no name: write @id(\"name\") before it", line)
		case slices.Contains(s.ids, id):
			return nil, fmt.Errorf("the policy in line %d is called %q as one before it is: give it a name of its own", line, id)
		case p.Effect() != cedar.Forbid:
			return nil, fmt.Errorf("the policy %q permits: grants do that, policies only forbid", id)
		}
		s.ids = append(s.ids, id)
		s.policies.Add(cedar.PolicyID(id), p)
	}
	if s.tests, err = parseTests(text); err != nil {
		return nil, err
	}
	return s, nil
}

// IDs returns the names of the policies in the order of the file.
func (s *Set) IDs() []string { return append([]string{}, s.ids...) }

// Decide evaluates every policy. A nil or empty set allows.
func (s *Set) Decide(q Request) Decision {
	if s == nil || len(s.ids) == 0 {
		return Decision{Allowed: true}
	}
	node, data := cedar.NewEntityUID("Node", cedar.String(q.Node)), cedar.NewEntityUID("Dataset", cedar.String(q.Data))
	roles := make([]cedar.Value, len(q.Roles))
	for i, r := range q.Roles {
		roles[i] = cedar.String(r)
	}
	entities := cedar.EntityMap{
		node: {UID: node, Attributes: cedar.NewRecord(cedar.RecordMap{
			"name": cedar.String(q.Node), "institution": cedar.String(q.Institution), "hub": cedar.String(q.Hub), "roles": cedar.NewSet(roles...)})},
		data: {UID: data, Attributes: cedar.NewRecord(cedar.RecordMap{
			"data": cedar.String(q.Data), "owner": cedar.String(q.Owner), "grade": cedar.String(q.Grade), "level": cedar.Long(q.Level), "category": cedar.String(q.Category)})},
	}
	_, why := cedar.Authorize(s.policies, entities, cedar.Request{Principal: node, Action: cedar.NewEntityUID("Action", "reach"), Resource: data,
		Context: cedar.NewRecord(cedar.RecordMap{"purpose": cedar.String(q.Purpose)})})
	d := Decision{}
	for _, r := range why.Reasons {
		d.By = append(d.By, string(r.PolicyID))
	}
	slices.Sort(d.By)
	switch {
	case len(d.By) > 0:
		d.Why = "the operator's policy " + strings.Join(d.By, " and ") + " forbids it"
	case len(why.Errors) > 0:
		for _, e := range why.Errors {
			d.By = append(d.By, string(e.PolicyID))
		}
		slices.Sort(d.By)
		d.Why = "the operator's policy " + strings.Join(d.By, " and ") + " cannot be evaluated for it"
	default:
		d.Allowed = true
	}
	return d
}
