package core_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dssn/controller/core"
)

var update = flag.Bool("update", false, "write the transcripts in testdata again; review the difference")

// Each transcript is inputs, one a line behind "> ", and everything that
// followed from it. A file's inputs are run again and must give the same text.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			s := newScript(t)
			for line := range strings.Lines(string(text)) {
				line = strings.TrimSuffix(line, "\n")
				switch in, is := strings.CutPrefix(line, "> "); {
				case is && in == "world":
					s.run(world)
					s.out.Reset()
					s.out.WriteString("> world\n")
				case is:
					fmt.Fprintf(&s.out, "%s\n", line)
					answer, err := s.do(in)
					if err != nil {
						r, ok := err.(*core.Refusal)
						if !ok {
							t.Fatalf("%s: %v", in, err)
						}
						fmt.Fprintf(&s.out, "  refused (%s): %s\n", r.Kind, r.Detail)
					} else {
						fmt.Fprintf(&s.out, "  = %s\n", answer)
					}
				case strings.HasPrefix(line, "#") || line == "":
					fmt.Fprintf(&s.out, "%s\n", line)
				}
			}
			if *update {
				if err := os.WriteFile(f, s.out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(text), s.out.String()); d != "" {
				t.Errorf("what followed is not what the transcript says (-want +got):\n%s", d)
			}
			s.checkReplay()
		})
	}
}

// checkReplay folds the journal again, whole and from a snapshot in the middle,
// and compares states and assignments.
func (s *script) checkReplay() {
	s.t.Helper()
	again := core.New()
	half := core.New()
	for i, e := range s.journal {
		var in core.Input
		if err := json.Unmarshal(e.body, &in); err != nil {
			s.t.Fatal(err)
		}
		again.Step(e.at, in)
		if i == len(s.journal)/2 {
			snap, err := again.Snapshot()
			if err != nil {
				s.t.Fatal(err)
			}
			if half, err = core.Restore(snap); err != nil {
				s.t.Fatal(err)
			}
			if half.Hash() != again.Hash() {
				s.t.Error("a restored snapshot has another state hash")
			}
		} else if i > len(s.journal)/2 {
			half.Step(e.at, in)
		}
	}
	if again.Hash() != s.c.Hash() {
		s.t.Errorf("replaying %d inputs gives the state %s, not %s", len(s.journal), again.Hash(), s.c.Hash())
	}
	if half.Hash() != s.c.Hash() {
		a, _ := half.Snapshot()
		b, _ := s.c.Snapshot()
		s.t.Errorf("continuing from a snapshot gives another state:\n%s", cmp.Diff(string(b), string(a)))
	}
	for _, n := range s.c.Status(operator).Nodes {
		if d := cmp.Diff(fmt.Sprintf("%+v", s.c.Assignment(n.Name)), fmt.Sprintf("%+v", again.Assignment(n.Name))); d != "" {
			s.t.Errorf("the assignment of %s after replay differs:\n%s", n.Name, d)
		}
	}
}
