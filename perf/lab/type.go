package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
)

// Typed is what a command that was typed at a node did.
type Typed struct {
	Out, Err string
	Code     int // its exit code; -1 if a signal ended it
}

// Type runs a command inside a node, as its user would, and waits for it. The
// word dssn stands for the lab's own program. A cancelled ctx ends it by
// SIGTERM. The error is about starting it, not about how it ended.
func (l *Lab) Type(ctx context.Context, node string, args ...string) (Typed, error) {
	n, err := l.Plan.Node(node)
	if err != nil {
		return Typed{}, err
	}
	if args[0] == "dssn" {
		args = append([]string{l.program}, args[1:]...)
	}
	var out, errs bytes.Buffer
	cmd := l.command(n, args)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := l.startIn(n.Namespace, cmd); err != nil {
		return Typed{}, fmt.Errorf("type %q at %s: %w", args, node, err)
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Typed{}, fmt.Errorf("type %q at %s: %w", args, node, err)
	}
	return Typed{out.String(), errs.String(), cmd.ProcessState.ExitCode()}, nil
}
