package xdp_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dssn/internal/need"
)

// TestGeneratingAgainChangesNothing compiles the programs with the pinned compiler
// and compares with what is committed.
func TestGeneratingAgainChangesNothing(t *testing.T) {
	need.Tool(t, "clang-14")
	need.Tool(t, "llvm-strip-14")
	from, err := filepath.Abs("bpf")
	if err != nil {
		t.Fatal(err)
	}
	directives, err := os.ReadFile(filepath.Join(from, "doc.go"))
	if err != nil {
		t.Fatal(err)
	}
	before := map[string][]byte{}
	generated, _ := filepath.Glob(filepath.Join(from, "*_bpfel.*"))
	for _, f := range generated {
		before[f], _ = os.ReadFile(f)
	}
	if want := 2 * strings.Count(string(directives), "//go:generate "); len(before) != want {
		t.Fatalf("%d generated files, want %d", len(before), want)
	}
	for line := range strings.Lines(string(directives)) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "//go:generate ")
		if !ok {
			continue
		}
		out := t.TempDir()
		// The compiler is told the folder of the source, so work in a copy of it.
		dir := filepath.Join(t.TempDir(), "bpf")
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		command = strings.ReplaceAll(command, `"`, `'`)
		command = strings.Replace(command, "go run github.com/cilium/ebpf/cmd/bpf2go", bpf2go(t)+" -output-dir "+out, 1)
		c := exec.Command("sh", "-c", command)
		c.Dir = dir
		if text, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, text)
		}
		made, _ := filepath.Glob(filepath.Join(out, "*_bpfel.*"))
		if len(made) != 2 {
			t.Fatalf("%s made %d files", command, len(made))
		}
		for _, f := range made {
			now, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(from, filepath.Base(f))
			if !bytes.Equal(now, before[name]) {
				t.Errorf("%s changes when it is generated again", filepath.Base(f))
			}
		}
	}
}

// bpf2go builds the generator once.
func bpf2go(t *testing.T) string {
	t.Helper()
	if built == "" {
		built = filepath.Join(t.TempDir(), "bpf2go")
		if text, err := exec.Command("go", "build", "-o", built, "github.com/cilium/ebpf/cmd/bpf2go").CombinedOutput(); err != nil {
			t.Fatalf("building bpf2go: %v\n%s", err, text)
		}
	}
	return built
}

var built string
