package policy

import (
	"strings"
	"testing"
)

const good = `// Health data of the highest grades stays with hospitals.
// test: deny by=health-to-hospitals institution=abroad category=health grade=core
// test: allow institution=south category=health grade=core roles=hospital,school
// test: allow institution=abroad category=health grade=open
@id("health-to-hospitals")
forbid (principal, action == Action::"reach", resource)
when { resource.category == "health" && resource.level >= 8 }
unless { principal.roles.contains("hospital") };

// test: deny by=no-resale purpose="to be sold on"
@id("no-resale")
forbid (principal, action, resource) when { context.purpose like "*sold*" };
`

func TestPoliciesCarryTheirTests(t *testing.T) {
	s, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	if n, failures := s.Check(); n != 4 || len(failures) > 0 {
		t.Errorf("%d tests, failures %v", n, failures)
	}
	d := s.Decide(Request{Node: "n", Institution: "x", Category: "health", Level: 12, Purpose: "sold"})
	if d.Allowed || strings.Join(d.By, " ") != "health-to-hospitals no-resale" {
		t.Errorf("both policies should forbid: %+v", d)
	}
	if d := (*Set)(nil).Decide(Request{}); !d.Allowed {
		t.Error("no policies forbid something")
	}
}

func TestAPolicyThatIsWrongIsToldSo(t *testing.T) {
	check := func(s *Set) string {
		_, f := s.Check()
		var b strings.Builder
		for _, f := range f {
			b.WriteString(f.Text)
		}
		return b.String()
	}
	for _, c := range []struct{ text, parse, check string }{
		{strings.ReplaceAll(good, "abroad category=health grade=core", "abroad category=health grade=1"), "", "no policy forbids it"},
		{strings.ReplaceAll(good, "roles=hospital,school", ""), "", "forbids it"},
		{strings.ReplaceAll(good, `purpose="to be sold on"`, `purpose="research"`), "", "forbids in no test"},
		{strings.ReplaceAll(good, "deny by=no-resale", "deny by=health-to-hospitals"), "", "health-to-hospitals does not"},
		{strings.ReplaceAll(good, `@id("no-resale")`, ""), "has no name", ""},
		{strings.ReplaceAll(good, `@id("no-resale")`, `@id("health-to-hospitals")`), "one before it", ""},
		{strings.ReplaceAll(good, "forbid (principal, action, resource)", "permit (principal, action, resource)"), "only forbid", ""},
		{strings.ReplaceAll(good, "allow institution=abroad", "maybe institution=abroad"), "line 4", ""},
		{strings.ReplaceAll(good, "grade=open", "colour=red"), "colour", ""},
		{"forbid (", "not understood", ""},
		{strings.Repeat(" ", MaxBytes+1), "bytes", ""},
	} {
		s, err := Parse(c.text)
		switch {
		case c.parse != "" && (err == nil || !strings.Contains(err.Error(), c.parse)):
			t.Errorf("error %v, want one with %q of\n%.200s", err, c.parse, c.text)
		case c.parse == "" && err != nil:
			t.Errorf("%v", err)
		case c.parse == "" && !strings.Contains(check(s), c.check):
			t.Errorf("the tests say %q, want %q", check(s), c.check)
		}
	}
}

// What cannot be evaluated is forbidden.
func TestAPolicyThatFailsForbids(t *testing.T) {
	s, err := Parse(`@id("typo") forbid (principal, action, resource) when { principal.institutoin == "x" };`)
	if err != nil {
		t.Fatal(err)
	}
	if d := s.Decide(Request{Node: "n"}); d.Allowed || !strings.Contains(d.Why, "typo cannot be evaluated") {
		t.Errorf("%+v", d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("// test: deny by=\"a b\nforbid(principal,action,resource);")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := Parse(text); err == nil {
			s.Check()
		}
	})
}
