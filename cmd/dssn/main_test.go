package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"refused": refused},
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
