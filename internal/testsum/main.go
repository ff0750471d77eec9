// Command testsum runs "go test -json" with its own arguments, prints one line
// per package and everything a failing test said, and at the end names every
// skipped test with what it needs. Its exit code is go test's.
//
//	go run ./internal/testsum [go test flags] [packages]
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// event is a line of go test -json (cmd/test2json).
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// summary collects what events say.
type summary struct {
	out     io.Writer
	said    map[string]*strings.Builder // output by "package test"
	skipped []string                    // "reason\x00package test"
	builds  map[string]*strings.Builder
	passed  int
	failed  int
}

func main() {
	args := append([]string{"test", "-json"}, os.Args[1:]...)
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum: start go test:", err)
		os.Exit(1)
	}
	began := time.Now()
	s := &summary{out: os.Stdout, said: map[string]*strings.Builder{}, builds: map[string]*strings.Builder{}}
	lines := bufio.NewReaderSize(pipe, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			s.line(line)
		}
		if err != nil {
			break
		}
	}
	err = cmd.Wait()
	s.close(time.Since(began))
	if err != nil {
		if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() > 0 {
			os.Exit(cmd.ProcessState.ExitCode())
		}
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
}

func (s *summary) line(text []byte) {
	var e event
	if json.Unmarshal(text, &e) != nil {
		s.out.Write(text) // not an event: whatever it is, show it
		return
	}
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		if s.builds[e.ImportPath] == nil {
			s.builds[e.ImportPath] = &strings.Builder{}
		}
		s.builds[e.ImportPath].WriteString(e.Output)
	case "output":
		if s.said[key] == nil {
			s.said[key] = &strings.Builder{}
		}
		s.said[key].WriteString(e.Output)
	case "skip":
		if e.Test != "" {
			s.skipped = append(s.skipped, reason(s.text(key))+"\x00"+key)
			delete(s.said, key)
		} else {
			s.done(e, "")
		}
	case "pass", "fail":
		if e.Test == "" {
			s.done(e, e.Action)
			return
		}
		if e.Action == "pass" {
			s.passed++
			delete(s.said, key)
		} else {
			s.failed++
			fmt.Fprint(s.out, s.text(key))
		}
	}
}

func (s *summary) text(key string) string {
	if b := s.said[key]; b != nil {
		return b.String()
	}
	return ""
}

// done prints a package's own closing line, as go test words it, after whatever
// else it said outside of tests when it failed.
func (s *summary) done(e event, action string) {
	own := s.text(e.Package + " ")
	delete(s.said, e.Package+" ")
	if action == "fail" {
		if b := s.builds[e.FailedBuild]; b != nil {
			fmt.Fprint(s.out, b.String())
		}
		fmt.Fprint(s.out, own)
		return
	}
	for line := range strings.Lines(own) {
		if strings.HasPrefix(line, "ok ") {
			fmt.Fprint(s.out, line)
		}
	}
}

// reason finds the line that the skipping test wrote.
func reason(said string) string {
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if _, why, ok := strings.Cut(line, ".go:"); ok {
			if _, why, ok = strings.Cut(why, ": "); ok {
				return why
			}
		}
	}
	return "gave no reason"
}

func (s *summary) close(took time.Duration) {
	slices.Sort(s.skipped)
	if len(s.skipped) > 0 {
		fmt.Fprintf(s.out, "\nskipped, by what they need:\n")
	}
	last := ""
	for _, k := range s.skipped {
		why, test, _ := strings.Cut(k, "\x00")
		if why != last {
			fmt.Fprintf(s.out, "  %s\n", why)
			last = why
		}
		fmt.Fprintf(s.out, "    %s\n", test)
	}
	fmt.Fprintf(s.out, "\n%d passed, %d failed, %d skipped\n", s.passed, s.failed, len(s.skipped))
	fmt.Fprintf(s.out, "in %s\n", took.Round(time.Second))
}
