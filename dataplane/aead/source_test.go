package aead

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"dssn/internal/need"
)

// TestGeneratingAgainChangesNothing runs the generator and compares.
func TestGeneratingAgainChangesNothing(t *testing.T) {
	goTool := need.Tool(t, "go")
	dir := t.TempDir()
	gen := filepath.Join(dir, "asm")
	build := exec.Command(goTool, "build", "-o", gen, ".")
	build.Dir = filepath.Join("internal", "asm")
	build.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		list := exec.Command(goTool, "list", "-m", "-f", "{{.Dir}}", "github.com/mmcloughlin/avo")
		list.Dir, list.Env = build.Dir, build.Env
		where, listErr := list.Output()
		if listErr != nil || len(bytes.TrimSpace(where)) == 0 {
			need.Module(t, "github.com/mmcloughlin/avo", err)
		}
		t.Fatalf("build the generator: %v\n%s", err, out)
	}
	fresh := filepath.Join(dir, "kernels_amd64.s")
	if out, err := exec.Command(gen, "-out", fresh).CombinedOutput(); err != nil {
		t.Fatalf("generate: %v\n%s", err, out)
	}
	want, err := os.ReadFile(fresh)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("kernels_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	// The first line names the command with its arguments.
	_, want, _ = bytes.Cut(want, []byte("\n"))
	_, got, _ = bytes.Cut(got, []byte("\n"))
	if !bytes.Equal(got, want) {
		t.Error("kernels_amd64.s is not what the generator makes: run go generate")
	}
}

var (
	textLine  = regexp.MustCompile(`^TEXT ·(\w+)\(SB\)`)
	jumpLine  = regexp.MustCompile(`^J(EQ|NE|LT|LE|GT|GE|CS|CC|HI|LS|MI|PL|OS|OC|Z|NZ|B|BE|A|AE|E|L|G)\b`)
	flagLine  = regexp.MustCompile(`^(CMP|TEST|DEC|INC|SUB|ADD|AND|OR|XOR|NEG|SHL|SHR|ADC|SBB|IMUL)[BWLQ]\b`)
	indexed   = regexp.MustCompile(`\(\w+\)\(\w+\*\d\)`)
	gathering = regexp.MustCompile(`^V?P?GATHER|^VPSCATTER`)
)

// publicFlags are the only instructions that a kernel's branches may hang on:
// lengths, counts of blocks and of rounds.
var publicFlags = map[string]string{
	"CMPQ DX":  "bytes left",
	"TESTQ DX": "bytes left",
	"SUBQ DX":  "bytes or blocks left",
	"ANDQ CX":  "bytes in the last register",
	"CMPQ R8":  "AES rounds: the key's length",
	"DECQ CX":  "double rounds, or blocks left",
	"TESTQ CX": "blocks left",
	"DECL CX":  "powers left",
	"CMPQ AX":  "address of a group against the text's beginning",
}

// TestKernelsBranchOnlyOnLengths reads the assembly: every conditional jump
// follows a flag-setting instruction on a register that holds a length, and
// nothing gathers by index. It is the static half of the timing test.
func TestKernelsBranchOnlyOnLengths(t *testing.T) {
	src, err := os.ReadFile("kernels_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	kernel, flags, jumps := "", "", 0
	for i, line := range strings.Split(string(src), "\n") {
		line = strings.TrimSpace(line)
		if m := textLine.FindStringSubmatch(line); m != nil {
			kernel = m[1]
			continue
		}
		if gathering.MatchString(line) {
			t.Errorf("line %d, %s: %s reads addresses from data", i+1, kernel, line)
		}
		fields := strings.Fields(strings.ReplaceAll(line, ",", " "))
		if len(fields) == 0 {
			continue
		}
		if flagLine.MatchString(line) {
			operand := fields[len(fields)-1]
			if strings.HasPrefix(fields[0], "CMP") {
				operand = fields[1]
			}
			flags = fields[0] + " " + operand
		}
		if jumpLine.MatchString(line) {
			jumps++
			if _, ok := publicFlags[flags]; !ok {
				t.Errorf("line %d, %s: %s after %s, which is not known to be public", i+1, kernel, line, flags)
			}
		}
		if indexed.MatchString(line) && !strings.HasPrefix(line, "LEAQ") {
			t.Errorf("line %d, %s: %s has an index register", i+1, kernel, line)
		}
	}
	if jumps < 50 {
		t.Errorf("found %d conditional jumps: the test no longer reads the assembly", jumps)
	}
}
