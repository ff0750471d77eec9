package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// JSONFileVariable names the file into which a dssn command also writes its
// values, so that the lab can show a person's output and still know the values.
const JSONFileVariable = "DSSN_JSON_FILE"

// shell types commands at the nodes and shows them.
type shell struct {
	lab  *Lab
	out  io.Writer
	mu   sync.Mutex // guards out: joins run side by side
	seen int        // commands typed, for the names of JSON files
	// live is the terminal that out is; nil if it is none.
	live *os.File
}

// line is one command to be typed.
type line struct {
	node string
	args []string
	// shown replaces the arguments on the screen, where they are too long to read.
	shown []string
	// value, if not nil, receives the command's JSON.
	value any
	// fails says that the command is expected to exit 1; anything else is an error.
	fails bool
	// quiet shows neither the command nor what it printed.
	quiet bool
}

// typed is what a command did.
type typed struct {
	out string // both streams, as they came
	err error  // not nil if it ended otherwise than expected
}

// run types one command and waits for it. After an error the output is in the
// error's text too.
func (s *shell) run(ctx context.Context, l line) (string, error) {
	t := <-s.begin(ctx, l)
	return t.out, t.err
}

// begin types one command; the channel delivers its end.
func (s *shell) begin(ctx context.Context, l line) <-chan typed {
	done := make(chan typed, 1)
	fail := func(err error) <-chan typed { done <- typed{err: err}; return done }
	n, err := s.lab.Plan.Node(l.node)
	if err != nil {
		return fail(err)
	}
	s.mu.Lock()
	s.seen++
	values := filepath.Join(s.lab.dir, fmt.Sprintf("value-%d.json", s.seen))
	if !l.quiet {
		fmt.Fprintf(s.out, "%s\n", s.prompt(l))
	}
	s.mu.Unlock()

	args := l.args
	if args[0] == "dssn" {
		args = append([]string{s.lab.program}, args[1:]...)
	}
	cmd := s.lab.command(n, args)
	if l.value != nil {
		cmd.Env = append(cmd.Env, JSONFileVariable+"="+values)
	}
	var out bytes.Buffer
	switch {
	case l.quiet:
		cmd.Stdout, cmd.Stderr = &out, &out
	default:
		w := &indented{to: s, copy: &out}
		cmd.Stdout, cmd.Stderr = w, w
	}
	if err := s.lab.startIn(n.Namespace, cmd); err != nil {
		return fail(fmt.Errorf("type %q at %s: %w", strings.Join(l.args, " "), l.node, err))
	}
	go func() {
		ended := make(chan struct{})
		go func() {
			select {
			case <-ctx.Done():
				cmd.Process.Signal(syscall.SIGTERM)
			case <-ended:
			}
		}()
		err := cmd.Wait()
		close(ended)
		done <- s.judge(ctx, l, out.String(), err, values)
	}()
	return done
}

// judge compares how a command ended with what was expected.
func (s *shell) judge(ctx context.Context, l line, out string, err error, values string) typed {
	defer os.Remove(values)
	what := fmt.Sprintf("`%s` at %s", strings.Join(l.display(), " "), l.node)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return typed{out, context.Cause(ctx)}
	case err != nil && !errors.As(err, &exit):
		return typed{out, fmt.Errorf("%s: %w", what, err)}
	case l.fails && err == nil:
		return typed{out, fmt.Errorf("%s was expected to be refused and was not", what)}
	case l.fails && exit.ExitCode() != 1:
		return typed{out, fmt.Errorf("%s was expected to be refused but ended with %w: %s", what, err, strings.TrimSpace(out))}
	case !l.fails && err != nil:
		return typed{out, fmt.Errorf("%s did not work (%w): %s", what, err, strings.TrimSpace(out))}
	}
	if l.value != nil && !l.fails {
		text, err := os.ReadFile(values)
		if err == nil {
			err = json.Unmarshal(text, l.value)
		}
		if err != nil {
			return typed{out, fmt.Errorf("%s gave no values: %w", what, err)}
		}
	}
	return typed{out: out}
}

func (l line) display() []string {
	if l.shown != nil {
		return l.shown
	}
	return l.args
}

func (s *shell) prompt(l line) string {
	words := make([]string, 0, len(l.args))
	for _, a := range l.display() {
		words = append(words, quote(a))
	}
	return s.paint("1", l.node+"#") + " " + strings.Join(words, " ")
}

// paint colours text on a terminal.
func (s *shell) paint(code, text string) string {
	if s.live == nil {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// quote writes an argument as a shell would need it.
func quote(a string) string {
	if a != "" && !strings.ContainsAny(a, " \t\n'\"\\$`*?[](){}<>|&;#~!") {
		return a
	}
	return "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
}

// indented passes whole lines on to the shell's output, two spaces in.
type indented struct {
	to   *shell
	copy *bytes.Buffer
	part []byte
}

// Write is called by one goroutine at a time: exec gives both streams one pipe.
func (w *indented) Write(p []byte) (int, error) {
	w.copy.Write(p)
	w.part = append(w.part, p...)
	for {
		i := bytes.IndexByte(w.part, '\n')
		if i < 0 {
			return len(p), nil
		}
		w.to.mu.Lock()
		fmt.Fprintf(w.to.out, "  %s\n", w.part[:i])
		w.to.mu.Unlock()
		w.part = w.part[i+1:]
	}
}
