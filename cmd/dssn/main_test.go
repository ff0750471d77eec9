package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"dssn/internal/enclose"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "dssn-wg" {
		main()
		return
	}
	if filepath.Base(os.Args[0]) == "dssn" { // a script runs the program
		testscript.Main(m, map[string]func(){"dssn": main})
	}
	os.Exit(enclose.Main(func() int {
		testscript.Main(m, map[string]func(){"dssn": main}) // exits
		return 0
	}))
}

// TestScripts types commands as a person would and looks at what they answer;
// the scripts in testdata/script need no root and no network.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("DSSN_STATE", e.Getenv("WORK")+"/state")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"refused": refused, "until": until, "change": change, "key": logKeyPolicy},
	})
}

// refused is the script command `refused SENTENCE FLAG…`: dssn plan with these flags and
// with files to write must print one line with the sentence, exit with status 2 and write
// nothing.
func refused(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: refused SENTENCE FLAG…")
	}
	err := ts.Exec("dssn", append([]string{"plan", "--out", "refused.json", "--report", "refused.html"}, args[1:]...)...)
	said := ts.ReadFile("stderr")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
		ts.Fatalf("%v: %v, want exit status %d\n%s", args, err, exitUsage, said)
	}
	if strings.Count(said, "\n") != 1 || !strings.Contains(said, args[0]) {
		ts.Fatalf("%v: want one line with %q, got\n%s", args[1:], args[0], said)
	}
	for _, name := range []string{"refused.json", "refused.html"} {
		if _, err := os.Stat(ts.MkAbs(name)); err == nil {
			ts.Fatalf("%v: %s was written", args, name)
		}
	}
}

func TestExitCodesSayWhoseMistakeItWas(t *testing.T) {
	failure := exec.Command("sh", "-c", "exit 7").Run() // of a program that a command ran
	for _, c := range []struct {
		err  error
		code int
		said string
	}{
		{nil, exitOK, ""},
		{errors.New("the link is full; ask for less"), exitError, "dssn: the link is full; ask for less\n"},
		{usagef("%q is no rate: write 1G", "x"), exitUsage, "dssn: \"x\" is no rate: write 1G\n"},
		{fmt.Errorf("reserve: %w", usagef("no rate")), exitUsage, "dssn: reserve: no rate\n"},
		{&problem{Detail: "refused; see the owner", Status: 403}, exitError, "dssn: refused; see the owner\n"},
		{fmt.Errorf("reserve: %w; ask for less", failure), exitError, "dssn: reserve: exit status 7; ask for less\n"},
		{exitStatus(exitError), exitError, ""},
		{errors.Join(errors.New("one"), errors.New("two")), exitError, "dssn: one two\n"},
	} {
		var said bytes.Buffer
		if code := report(&said, c.err); code != c.code || said.String() != c.said {
			t.Errorf("report(%v) = %d, %q; want %d, %q", c.err, code, said.String(), c.code, c.said)
		}
	}
}

// until is the script command `until COMMAND…`: it is typed again until it succeeds,
// for programs in the background that take a moment to answer.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: until COMMAND…")
	}
	for range 300 {
		if ts.Exec(args[0], args[1:]...) == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("%v does not succeed: %s", args, ts.ReadFile("stderr"))
}

// change is the script command `change FILE OLD NEW`; OLD must be there.
func change(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: change FILE OLD NEW")
	}
	path := ts.MkAbs(args[0])
	text, err := os.ReadFile(path)
	ts.Check(err)
	if !bytes.Contains(text, []byte(args[1])) {
		ts.Fatalf("%s has no %s:\n%s", args[0], args[1], text)
	}
	ts.Check(os.WriteFile(path, bytes.ReplaceAll(text, []byte(args[1]), []byte(args[2])), 0o644))
}

// logKeyPolicy is the script command `key STATE FILE`: it writes a policy with the
// key of the evidence log of the controller in STATE.
func logKeyPolicy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: key STATE FILE")
	}
	ts.Check(ts.Exec("dssn", "--state", args[0], "status", "--json"))
	var st struct {
		LogKey string `json:"log_key"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &st))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte("log "+st.LogKey+"\n"), 0o644))
}
