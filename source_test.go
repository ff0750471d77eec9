package dssn_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Properties of the source itself, as ordinary tests.

// cores are the packages (or single files) that decide without I/O: time and
// randomness are their arguments. See STYLE: "(now, input) → effects".
var cores = []string{
	".",
	"topology",
	"topology/paths",
	"controller/southbound",
	"controller/core",
	"controller/ledger",
	"controller/policy",
	"controller/names/names.go", "controller/names/answer.go", "controller/names/limit.go",
	"perf/rfc2544/search.go", "perf/path/locate.go", "perf/rfc2544/burst.go", "perf/y1564/judge.go",
	"perf/gen/schedule.go", "perf/gen/tracker.go", "perf/gen/signature.go", "perf/gen/histogram.go",
	"node/core.go", "node/compile.go", "node/tunnels.go", "node/transit.go", "node/io.go",
	"perf/wire", "perf/stat", "perf/lab/scenario",
	"xdp/echo.go", "node/liveness/hello.go", "node/liveness/neighbours.go", "node/liveness/probe.go", "node/liveness/paths.go",
	"node/core.go", "node/compile.go", "node/tunnels.go", "node/io.go",
	"node/pathmtu",
	"node/liveness/hello.go", "node/liveness/neighbours.go", "node/liveness/probe.go", "node/liveness/paths.go",
}

// impure are the imports that a core cannot have, with the reason.
var impure = map[string]string{
	"os":          "a core reads no files, environment or arguments",
	"os/exec":     "a core runs no programs",
	"os/signal":   "a core hears no signals",
	"net":         "a core opens no sockets",
	"net/http":    "a core speaks no HTTP",
	"syscall":     "a core makes no system calls",
	"math/rand":   "randomness is an argument",
	"sync":        "a core is owned by one goroutine",
	"sync/atomic": "a core is owned by one goroutine",
	"log":         "a core returns effects and logs nothing",
	"log/slog":    "a core returns effects and logs nothing",
}

// impureCalls read a clock or wait for one.
var impureCalls = []string{"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.AfterFunc", "time.NewTimer", "time.NewTicker", "time.Tick"}

// pardons are the exceptions, each with its reason.
var pardons = map[string]string{
	"contract.go crypto/rand": "NewReservationID takes its reader as an argument and falls back to crypto/rand for a nil one",
}

func TestCoresArePure(t *testing.T) {
	for _, core := range cores {
		n := 0
		for _, f := range goFiles(t) {
			if f.test() || path.Dir(f.path) != core && f.path != core {
				continue
			}
			n++
			for _, imp := range f.imports(t) {
				why, bad := impure[imp]
				if strings.HasPrefix(imp, "math/rand") || imp == "crypto/rand" {
					why, bad = impure["math/rand"], true
				}
				if _, pardoned := pardons[f.path+" "+imp]; bad && !pardoned {
					t.Errorf("%s imports %s: %s", f.path, imp, why)
				}
			}
			ast.Inspect(f.parse(t), func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s starts a goroutine: a core has none", f.at(n))
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && slices.Contains(impureCalls, x.Name+"."+n.Sel.Name) {
						t.Errorf("%s uses %s.%s: time is an argument", f.at(n), x.Name, n.Sel.Name)
					}
				}
				return true
			})
		}
		if n == 0 {
			t.Errorf("the core %s has no files: correct the list", core)
		}
	}
}

func TestEverythingIsFormatted(t *testing.T) {
	for _, f := range goFiles(t) {
		want, err := format.Source(f.text)
		if err != nil {
			t.Errorf("%s: %v", f.path, err)
		} else if !bytes.Equal(want, f.text) {
			t.Errorf("%s is not formatted: run gofmt -w %s", f.path, f.path)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test() {
			continue
		}
		dir := path.Dir(f.path)
		file := f.parse(t)
		documented[dir] = documented[dir] || file.Doc != nil && len(file.Doc.Text()) > 40
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: its package comment does not say what the package is", dir)
		}
	}
}

func TestEveryExportedNameIsDocumented(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test() || f.generated() {
			continue
		}
		for _, decl := range f.parse(t).Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !wellKnown[d.Name.Name] && !sharesDoc(f, d) {
					t.Errorf("%s: %s has no comment", f.at(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if s, ok := spec.(*ast.TypeSpec); ok && s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
						t.Errorf("%s: %s has no comment", f.at(s), s.Name.Name)
					}
				}
			}
		}
	}
}

// wellKnown are methods whose interface says all there is to say.
var wellKnown = map[string]bool{"Error": true, "Unwrap": true, "Is": true, "As": true, "String": true, "Len": true, "Less": true, "Swap": true,
	"MarshalText": true, "UnmarshalText": true, "MarshalJSON": true, "UnmarshalJSON": true, "ServeHTTP": true, "Read": true, "Write": true}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	t := d.Recv.List[0].Type
	if s, ok := t.(*ast.StarExpr); ok {
		t = s.X
	}
	if i, ok := t.(*ast.IndexExpr); ok {
		t = i.X
	}
	id, ok := t.(*ast.Ident)
	return ok && id.IsExported()
}

// sharesDoc reports whether the line above d is another one-line function: a
// run of those is documented by the comment on its first.
func sharesDoc(f goFile, d *ast.FuncDecl) bool {
	line := f.fset.Position(d.Pos()).Line
	lines := strings.Split(string(f.text), "\n")
	return line >= 2 && strings.HasPrefix(lines[line-2], "func ")
}

func TestNoFileIsTooLong(t *testing.T) {
	for _, f := range goFiles(t) {
		if n := bytes.Count(f.text, []byte("\n")); n > 900 && !f.generated() {
			t.Errorf("%s has %d lines: give its second idea a file of its own", f.path, n)
		}
	}
}

func TestNothingIsLeftForLater(t *testing.T) {
	// Joined here so that this file does not contain what it looks for.
	words := regexp.MustCompile(`\b(` + "TO" + `DO|FIX` + `ME|X` + `XX)\b|(?i:not ` + `implemented)`)
	for _, f := range goFiles(t) {
		for i, line := range strings.Split(string(f.text), "\n") {
			if m := words.FindString(line); m != "" {
				t.Errorf("%s:%d says %q: do it, or file it", f.path, i+1, m)
			}
		}
	}
}

func TestNoFileNamesThisMachine(t *testing.T) {
	if _, err := os.Stat("go.mod"); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	// The folder above the module, and the hosts that package clients were told
	// to use here, must not be written into anything that others will read.
	words := [][]byte{[]byte("/" + "work" + "/main"), []byte("/" + "work" + "/shared"), []byte(here + "/")}
	for _, list := range []string{os.Getenv("GOPROXY"), os.Getenv("npm_config_registry"), os.Getenv("PIP_INDEX_URL")} {
		for _, u := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == '|' }) {
			if _, rest, ok := strings.Cut(u, "://"); ok {
				host, _, _ := strings.Cut(rest, "/")
				if _, after, ok := strings.Cut(host, "@"); ok {
					host = after
				}
				if host != "" {
					words = append(words, []byte(host))
				}
			}
		}
	}
	for _, p := range ownFiles(t) {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range words {
			if bytes.Contains(text, w) {
				t.Errorf("%s contains the name of this machine's folder or package host (word %d)", p, i)
			}
		}
	}
}

// goFile is one source file, parsed when asked.
type goFile struct {
	path string // relative to the module root, with slashes
	text []byte
	fset *token.FileSet
}

func (f goFile) test() bool { return strings.HasSuffix(f.path, "_test.go") }

// forTests reports whether only tests use the file: a test itself, or in a
// helper package, whose folder is named so (xdptest).
func (f goFile) forTests() bool { return f.test() || strings.HasSuffix(path.Dir(f.path), "test") }

// room is the file's folder; the module root's is called dssn.
func (f goFile) room() string {
	if d := path.Dir(f.path); d != "." {
		return d
	}
	return "dssn"
}

func (f goFile) generated() bool {
	head, _, _ := bytes.Cut(f.text, []byte("\npackage "))
	return bytes.Contains(head, []byte("Code generated ")) && bytes.Contains(head, []byte("DO NOT EDIT"))
}

func (f goFile) parse(t *testing.T) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(f.fset, f.path, f.text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func (f goFile) at(n ast.Node) token.Position { return f.fset.Position(n.Pos()) }

func (f goFile) imports(t *testing.T) (out []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), f.path, f.text, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range file.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func goFiles(t *testing.T) (out []goFile) {
	t.Helper()
	for _, p := range ownFiles(t) {
		if !strings.HasSuffix(p, ".go") {
			continue
		}
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, goFile{p, text, token.NewFileSet()})
	}
	if len(out) < 10 {
		t.Fatalf("found only %d Go files: run this test in the module root", len(out))
	}
	return out
}

// ownFiles lists the module's text files, as slash-separated relative paths.
func ownFiles(t *testing.T) (out []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p != "." && (name == ".git" || name == "testdata" || name == "bin" || name == "dist" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		switch filepath.Ext(name) {
		case "":
			if name != "Makefile" && name != "run" && name != "LICENSE" {
				return nil // a program that somebody built
			}
		case ".go", ".c", ".h", ".s", ".md", ".mk", ".json", ".service", ".sh", ".txt", ".yaml", ".mod", ".js", ".html", ".css":
		default:
			return nil
		}
		out = append(out, filepath.ToSlash(p))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
