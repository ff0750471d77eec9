package solve

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dssn/internal/need"
	"dssn/topology"
)

// TestAStrangersVerifierAcceptsEveryObjective has the answers judged by the verifier that
// lies beside the repository and shares nothing with this program, on instances of
// the generator beside it: every development topology small enough for a test.
// `make judge-topology` does the same for all of them.
func TestAStrangersVerifierAcceptsEveryObjective(t *testing.T) {
	python := need.Tool(t, "python3")
	const te = "../../../shared/te/"
	need.File(t, "../shared/te/verify.py beside the repository", te+"verify.py")
	files, err := filepath.Glob("../../../shared/topologies/*.json")
	if err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		g, err := topology.Read(text)
		if err != nil {
			t.Fatal(err)
		}
		if g.NumNodes() > 60 {
			continue
		}
		t.Run(g.Name, func(t *testing.T) {
			dir := t.TempDir()
			run := func(args ...string) {
				t.Helper()
				if out, err := exec.Command(python, args...).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
				}
			}
			file := filepath.Join(dir, "instance.json")
			run(te+"gen.py", "instance", "--topo", f, "--model", "gravity", "--pairs", "all", "--seed", "1", "--load", "0.5", "-o", file)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in, err := ReadInstance(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range []Objective{MaxFlow, MaxLambda, MaxMinFair} {
				a, err := Solve(in, Options{Objective: o})
				if err != nil {
					t.Fatal(err)
				}
				answer := filepath.Join(dir, o.String()+".json")
				if err := os.WriteFile(answer, a.AppendJSON(nil, in.Name), 0o600); err != nil {
					t.Fatal(err)
				}
				run(te+"verify.py", file, answer, "--objective", o.String(), "--max-gap", "0.0002")
				judged++
			}
		})
	}
	if judged == 0 {
		t.Error("nothing was judged")
	}
}
