package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes that scripts can rely on.
const (
	exitOK    = 0
	exitError = 1 // it was asked for rightly and did not work
	exitUsage = 2 // it was asked for wrongly
)

// usageError is a mistake in what was typed; it exits with exitUsage.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitStatus is how a command ends that has nothing to add to what a program it
// ran has already said.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// report prints err as one line and returns the exit code.
func report(w io.Writer, err error) int {
	var usage usageError
	var status exitStatus
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &status):
		return int(status)
	}
	fmt.Fprintf(w, "dssn: %s\n", oneLine(err.Error()))
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitError
}

// oneLine folds whatever a library put on several lines.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}

// exactly is cobra.ExactArgs with a sentence; names says what is expected.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		if len(names) == 0 {
			return usagef("%s takes no argument, but %q was given: leave it out", cmd.CommandPath(), args[0])
		}
		return usagef("%s takes %s, but got %d: write %s", cmd.CommandPath(), counted(len(names)), len(args), cmd.CommandPath()+" "+strings.Join(names, " "))
	}
}

func counted(n int) string {
	if n == 1 {
		return "one argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

// group makes cmd a noun with verbs: alone it prints its help, with an unknown
// verb it says so.
func group(cmd *cobra.Command, verbs ...*cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return cmd.Help()
	}
	cmd.AddCommand(verbs...)
	return cmd
}

func unknownCommand(cmd *cobra.Command, word string) error {
	hint := ""
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		hint = fmt.Sprintf(" did you mean `%s %s`?", cmd.CommandPath(), near[0])
	}
	return usagef("%q is not a command of %s:%s `%s --help` lists them", word, cmd.CommandPath(), hint, cmd.CommandPath())
}
