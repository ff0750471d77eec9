package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dssn/perf/lab/scenario"
	"dssn/perf/wire"
)

// ReadScenario reads a dssn-scenario/1 text for this lab; an error is one sentence
// with the line's number.
func (l *Lab) ReadScenario(text string) (scenario.Scenario, error) {
	return scenario.Parse(text, names{l.Plan})
}

// Fibres lists the lab's fibres in the order in which people number them from 1.
func (p *Plan) Fibres() (list []Wire) {
	for _, w := range p.Wires {
		if w.Kind == wireFibre {
			list = append(list, w)
		}
	}
	return list
}

// names tells a scenario's parser what the plan has.
type names struct{ *Plan }

func (n names) Link(name string) (string, error) {
	if number, ok := strings.CutPrefix(name, "link "); ok {
		list := n.Fibres()
		i, err := strconv.Atoi(number)
		if err != nil || i < 1 || i > len(list) {
			return "", fmt.Errorf("there is no link %s: they are numbered 1 to %d, as `dssn lab` shows them", number, len(list))
		}
		return list[i-1].Name, nil
	}
	w, err := n.Wire(name)
	return w.Name, err
}

func (n names) Way(name string) (string, error) {
	if strings.HasPrefix(name, "link ") {
		var err error
		if name, err = n.Link(name); err != nil {
			return "", err
		}
	}
	w, direction, err := n.direction(name)
	switch {
	case err != nil:
		return "", err
	case len(w.Emulated) == 0:
		return "", fmt.Errorf("the link %s is a plain one and has no settings: make the lab with `--wire …`, or give the link a \"wire\" in the topology", w.Name)
	case direction == 2:
		return w.Name, nil
	}
	return w.Ends[direction].Node + ">" + w.Ends[1-direction].Node, nil
}

func (n names) Node(name string) (string, error) {
	v, err := n.Plan.Node(name)
	if err == nil && (v.Role == RoleSwitch || v.Role == RoleWires) {
		err = fmt.Errorf("%s is a part of the lab itself: name a node of the topology, a terminal or the controller", name)
	}
	return v.Name, err
}

// Settings lets a change pass that makes sense together with some settings.
func (names) Settings(text string) error {
	s := wire.Settings{Rate: wire.MinRate, QueuePackets: 1, Leave: 1, ReorderBy: 1}
	return s.Update(text)
}

// Play carries out a scenario, its times counted from now, and tells of each
// action as it is done. It returns at the scenario's end, at the first action
// that does not work, or when ctx ends; what was done stays done.
func (l *Lab) Play(ctx context.Context, s scenario.Scenario, tell func(scenario.Action)) error {
	began := time.Now()
	was := map[int]func() error{} // how to reset settings, by the line that set them
	for _, a := range s.Actions {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Until(began.Add(a.At))):
		}
		if err := l.act(ctx, a, was); err != nil {
			return fmt.Errorf("scenario, line %d, at %v: %w", a.Line, a.At, err)
		}
		tell(a)
	}
	return nil
}

func (l *Lab) act(ctx context.Context, a scenario.Action, was map[int]func() error) error {
	switch a.Verb {
	case scenario.Cut:
		return l.Cut(a.Subject)
	case scenario.Restore:
		return l.Restore(a.Subject)
	case scenario.Set:
		before, err := l.SetWire(a.Subject, a.Words)
		if err != nil {
			return err
		}
		was[a.Line] = func() error { return l.putBack(a.Subject, before) }
		return nil
	case scenario.Reset:
		return was[a.Line]()
	case scenario.Kill:
		return l.KillProgram(a.Subject)
	case scenario.Start:
		return l.StartProgram(ctx, a.Subject)
	}
	return nil // say, end
}

// putBack has a wire behave as settings of both directions say.
func (l *Lab) putBack(link string, before []string) error {
	w, direction, err := l.Plan.direction(link)
	if err != nil {
		return err
	}
	for d, text := range before {
		if direction == d || direction == 2 {
			if _, err := l.askWires(wireRequest{Do: "replace", Wire: w.Name, Direction: d, Settings: text}); err != nil {
				return err
			}
		}
	}
	return nil
}

// programOf finds the record of the program that runs at a node: the controller's
// or the node's own, which are named as their node.
func (l *Lab) programOf(node string) (r processRecord, ok bool) {
	for _, r := range recordedProcesses(l.Plan.ID) {
		if r.Node == node && r.Name == node {
			return r, true
		}
	}
	return r, false
}

// KillProgram ends the program of a node or of the controller at once (SIGKILL).
func (l *Lab) KillProgram(node string) error {
	if p := l.processes[node]; p != nil {
		select {
		case <-p.Done():
			return fmt.Errorf("no program runs at %s", node)
		default:
		}
		p.Kill()
		return l.remember(node)
	}
	r, ok := l.programOf(node)
	if !ok || !r.alive() {
		return fmt.Errorf("no program runs at %s", node)
	}
	if err := syscall.Kill(r.PID, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill the program of %s: %w", node, err)
	}
	return until(context.Background(), patience, func() error {
		if r.alive() {
			return fmt.Errorf("the program of %s does not end", node)
		}
		return nil
	})
}

// remember keeps the record of a killed program of ours, so that it can be
// started again.
func (l *Lab) remember(node string) error {
	p := l.processes[node]
	return writeRecord(p.file, processRecord{p.Name, p.Node, p.cmd.Args, p.log, instance{}})
}

// StartProgram starts the program of a node or of the controller again, as it
// ran before it was killed; a node goes on from its state and joins no more.
func (l *Lab) StartProgram(ctx context.Context, node string) error {
	r, ok := l.programOf(node)
	if !ok {
		return fmt.Errorf("no program ever ran at %s", node)
	}
	if r.alive() {
		return fmt.Errorf("the program of %s runs", node)
	}
	args := append([]string{l.program}, r.Args[1:]...)
	if len(r.Args) > 2 && slices.Equal(r.Args[1:3], []string{"node", "join"}) {
		args = []string{l.program, "node", "run"}
	}
	if err := os.Remove(filepath.Join(l.dir, "processes", slug(node))); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	p, err := l.Start(node, node, args...)
	if err != nil {
		return err
	}
	socket := "node.sock"
	if node == string(RoleController) {
		socket = "controller.sock"
	}
	return l.answers(ctx, p, filepath.Join(l.StateOf(node), socket))
}

// CheckScenario reports, before anything is made, why a scenario cannot be
// played in the lab that the options describe.
func CheckScenario(o BootOptions, text string) error {
	g, _, err := distinct(o.Topology)
	if err != nil {
		return err
	}
	if err := o.place(g); err != nil {
		return err
	}
	mtu := o.MTU
	if mtu == 0 {
		mtu = 1500
	}
	p, err := newPlan(o.ID, g, o.terminals(), mtu, o.Wires)
	if err != nil {
		return err
	}
	_, err = scenario.Parse(text, names{p})
	return err
}
