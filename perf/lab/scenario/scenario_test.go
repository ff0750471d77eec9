package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// village has the links a-b (link 1) and b-c (link 2).
type village struct{}

func (village) Link(name string) (string, error) {
	switch name {
	case "a-b", "b-a", "link 1":
		return "a-b", nil
	case "b-c", "c-b", "link 2":
		return "b-c", nil
	}
	return "", fmt.Errorf("there is no link %q", name)
}

func (v village) Way(name string) (string, error) {
	if name == "a>b" || name == "b>a" {
		return name, nil
	}
	return v.Link(name)
}

func (village) Node(name string) (string, error) {
	if len(name) == 1 && strings.Contains("abc", name) || name == "controller" {
		return name, nil
	}
	return "", fmt.Errorf("there is no node %q", name)
}

func (village) Settings(text string) error {
	if !strings.Contains(text, "=") {
		return fmt.Errorf("%q is not a setting", text)
	}
	return nil
}

// TestTranscripts reads every testdata/*.txt: a scenario, a line of dashes, and
// what is made of it.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		in, _, ok := strings.Cut(string(text), "----\n")
		if !ok {
			t.Fatalf("%s has no line of dashes", f)
		}
		got := in + "----\n" + outcome(in)
		if got == string(text) {
			continue
		}
		if os.Getenv("DSSN_REWRITE") != "" {
			if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		t.Errorf("%s (DSSN_REWRITE=1 writes it anew):\n%s", f, got)
	}
}

func outcome(in string) string {
	s, err := Parse(in, village{})
	if err != nil {
		return "refused: " + err.Error() + "\n"
	}
	var b strings.Builder
	for _, a := range s.Actions {
		fmt.Fprintf(&b, "%v %v (line %d)\n", a.At, a, a.Line)
	}
	return b.String()
}

func TestRefusalsNameTheLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                                                   "is empty",
		"at 1s end":                                          "line 1: a scenario begins",
		"dssn-scenario/2":                                    "line 1: a scenario begins",
		"#\n" + Format + "\n\nat 10 end":                     `line 4: "10" is not a time`,
		Format + "\nat -1s end":                              "line 2:",
		Format + "\nat 25h end":                              "line 2:",
		Format + "\nin 1s end":                               "line 2: write `at TIME",
		Format + "\nat 1s":                                   "line 2: write `at TIME",
		Format + "\nat 1s explode a":                         `"explode" is not a verb`,
		Format + "\nat 1s reset a-b":                         `"reset" is not a verb`,
		Format + "\nat 1s cut":                               "needs a link",
		Format + "\nat 1s cut a-z":                           "no link",
		Format + "\nat 1s cut link":                          "needs a number",
		Format + "\nat 1s cut link x":                        "numbered from 1",
		Format + "\nat 1s cut link 9":                        "no link",
		Format + "\nat 1s cut a>b":                           "no link",
		Format + "\nat 1s cut a-b for":                       `"for" is not understood`,
		Format + "\nat 1s cut a-b for 0s":                    "longer than nothing",
		Format + "\nat 1s cut a-b now":                       `"now" is not understood`,
		Format + "\nat 1s set a-b":                           "needs settings",
		Format + "\nat 1s set a-b loss":                      "not a setting",
		Format + "\nat 1s kill":                              "needs a node",
		Format + "\nat 1s kill z":                            "no node",
		Format + "\nat 1s say":                               "needs words",
		Format + "\nat 1s end now":                           "takes nothing",
		Format + "\nat 1s cut a-b\nat 1s restore a-b for 2s": "cannot be undone",
		Format + "\nat 1s cut a-b\nat 2s cut link 1":         "line 3: at 2s a-b is cut already, by line 2",
		Format + "\nat 1s cut a-b for 5s\nat 2s restore a-b": "line 2: at 6s a-b is not cut",
		Format + "\nat 1s restore a-b":                       "is not cut",
		Format + "\nat 1s start a":                           "a runs",
		Format + "\nat 1s kill a\nat 1s kill a":              "dead already",
		Format + "\nat 1s end\nat 2s say x":                  "after the end of line 2",
		Format + "\nat 1s say " + strings.Repeat("x", 1000):  "line 2 is longer",
		Format + "\nat 1s say \xff":                          "UTF-8",
	} {
		_, err := Parse(in, village{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want one sentence with %q", in, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Format + "\nat 10s cut a-b for 3s\nat 1.5s set b>a loss=1% x=2 for 1h # no\nat 2s kill controller\nat 20h end")
	f.Add("# c\r\n" + Format + "\r\n at 0s say a  b\r\nat 0s cut link 2\n")
	f.Fuzz(func(t *testing.T, in string) {
		s, err := Parse(in, village{})
		if err != nil {
			return
		}
		// Written as a text again, it is the same scenario.
		var b strings.Builder
		b.WriteString(Format + "\n")
		last := time.Duration(0)
		for _, a := range s.Actions {
			if a.At < last || a.At > MaxTime {
				t.Fatalf("%v comes after %v", a.At, last)
			}
			last = a.At
			if undone(s, a) {
				continue
			}
			fmt.Fprintf(&b, "at %v %v\n", a.At, a)
		}
		back, err := Parse(b.String(), village{})
		if err != nil {
			t.Fatalf("%q was read, but not when written as %q: %v", in, b.String(), err)
		}
		if len(back.Actions) != len(s.Actions) {
			t.Fatalf("%d actions became %d", len(s.Actions), len(back.Actions))
		}
	})
}

// undone reports whether a is the undoing of another action of its line.
func undone(s Scenario, a Action) bool {
	for _, o := range s.Actions {
		if u, ok := o.undo(); ok && u == a {
			return true
		}
	}
	return false
}
