package bgp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"dssn/controller/northbound"
)

// SupervisorOptions say how the speaker's process is kept.
type SupervisorOptions struct {
	Config *Config
	// Command makes the process that calls Serve; its standard input and output
	// are the supervisor's.
	Command func() *exec.Cmd
	// Marker is a file whose time of change says until when a speaker spoke, so
	// that one started soon after knows that it is expected.
	Marker string
	Log    *slog.Logger
}

// Waiting before the process is started again doubles from the first to the last;
// one that has run for calm begins anew.
const (
	firstAgain = 100 * time.Millisecond
	lastAgain  = 30 * time.Second
	calm       = time.Minute
)

// Supervisor keeps a speaker's process running and knows what it last said.
type Supervisor struct {
	options SupervisorOptions

	mu    sync.Mutex // guards what follows
	state northbound.BGP
	want  []netip.Prefix
	wake  chan struct{} // one slot: want changed
}

// NewSupervisor returns a supervisor that has started nothing yet.
func NewSupervisor(o SupervisorOptions) *Supervisor {
	c := o.Config
	s := &Supervisor{options: o, want: c.Announce, wake: make(chan struct{}, 1), state: northbound.BGP{AS: c.AS, RouterID: c.RouterID,
		Announced: []netip.Prefix{}, Routes: []northbound.BGPRoute{}, Refused: []northbound.BGPRefusal{}}}
	for _, n := range c.Neighbours {
		s.state.Neighbours = append(s.state.Neighbours, northbound.BGPNeighbour{Name: n.Name, Address: n.Address, AS: n.AS, State: "idle", Allow: n.Allow, MaxPrefixes: n.MaxPrefixes})
	}
	return s
}

// Announce says which regions are the domain's own now. A configuration that
// lists them itself has the last word.
func (s *Supervisor) Announce(regions []netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.options.Config.Announce) > 0 || slices.Equal(s.want, regions) {
		return
	}
	s.want = slices.Clone(regions)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// State returns what the process last said; the routes of one that has died stay,
// as they do at the neighbours.
func (s *Supervisor) State() northbound.BGP {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Run keeps the process until ctx ends. The neighbours then keep the routes for as
// long as they agreed to.
func (s *Supervisor) Run(ctx context.Context) {
	wait := firstAgain
	for {
		began := time.Now()
		fault := s.once(ctx)
		s.mu.Lock()
		s.state.Running = false
		if ctx.Err() == nil {
			s.state.Restarts++
			s.state.Fault = fault
		}
		s.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > calm {
			wait = firstAgain
		}
		s.options.Log.Error("the BGP speaker ended and is started again", "fault", fault, "in", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, lastAgain)
	}
}

// once runs one process to its end and returns its last words.
func (s *Supervisor) once(ctx context.Context) string {
	cmd := s.options.Command()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a key pressed in our terminal is not for it
	in, err := cmd.StdinPipe()
	if err != nil {
		return err.Error()
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err.Error()
	}
	words := &lastWords{log: s.options.Log}
	cmd.Stderr = words
	restarting := s.expected()
	if err := cmd.Start(); err != nil {
		return fmt.Sprintf("the BGP speaker could not be started: %v", err)
	}
	ended := make(chan struct{})
	var hands sync.WaitGroup
	hands.Go(func() { s.instruct(in, restarting, ended) })
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	s.listen(out)
	err = cmd.Wait()
	close(ended)
	hands.Wait()
	if fault := words.fault(); fault != "" {
		return fault
	}
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return err.Error()
}

// expected reports whether a speaker spoke until so short a time ago that the
// neighbours still keep its routes.
func (s *Supervisor) expected() bool {
	fi, err := os.Stat(s.options.Marker)
	return err == nil && time.Since(fi.ModTime()) < time.Duration(s.options.Config.RestartSeconds)*time.Second
}

// instruct writes the first instruction, and another whenever what is to be
// announced has changed.
func (s *Supervisor) instruct(in io.WriteCloser, restarting bool, ended <-chan struct{}) {
	defer in.Close()
	e := json.NewEncoder(in)
	i := instruction{Config: s.options.Config, Restarting: restarting}
	for {
		s.mu.Lock()
		i.Announce = s.want
		s.mu.Unlock()
		if e.Encode(i) != nil {
			return // the process is gone, and listen notices
		}
		i.Config, i.Restarting = nil, false
		select {
		case <-ended:
			return
		case <-s.wake:
		}
	}
}

// listen takes what the process says, to its end.
func (s *Supervisor) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var v northbound.BGP
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			s.options.Log.Warn("the BGP speaker was not understood", "error", err)
			continue
		}
		s.mu.Lock()
		v.Restarts, v.Fault = s.state.Restarts, s.state.Fault
		s.report(&v)
		s.state = v
		s.mu.Unlock()
		if slices.ContainsFunc(v.Neighbours, func(n northbound.BGPNeighbour) bool { return n.State == "established" }) {
			if err := os.WriteFile(s.options.Marker, nil, 0o600); err != nil {
				s.options.Log.Warn("what is needed for a graceful restart cannot be kept", "error", err)
			}
		}
	}
}

// report logs what changed in the neighbours' states.
func (s *Supervisor) report(v *northbound.BGP) {
	before := map[string]string{}
	for _, n := range s.state.Neighbours {
		before[n.Name] = n.State
	}
	for _, n := range v.Neighbours {
		if (n.State == "established") != (before[n.Name] == "established") {
			s.options.Log.Info("BGP neighbour", "neighbour", n.Name, "state", n.State, "was", before[n.Name])
		}
	}
}

// lastWords passes a process's standard error on to the log, line by line, and
// remembers why a Go program panicked.
type lastWords struct {
	log   *slog.Logger
	mu    sync.Mutex // guards what follows
	part  []byte
	panic string
}

// Write implements io.Writer.
func (w *lastWords) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.part = append(w.part, p...)
	for {
		line, rest, whole := strings.Cut(string(w.part), "\n")
		if !whole {
			if len(w.part) > 64<<10 {
				w.part = nil
			}
			return len(p), nil
		}
		w.part = []byte(rest)
		switch {
		case w.panic != "": // its stack
			w.log.Debug("BGP speaker", "says", line)
		case strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: "):
			w.panic = line
		case strings.HasPrefix(line, "dssn: "):
			w.panic = strings.TrimPrefix(line, "dssn: ")
		default:
			w.log.Info("BGP speaker", "says", line)
		}
	}
}

func (w *lastWords) fault() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.panic
}
