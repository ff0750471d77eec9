package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	})
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
