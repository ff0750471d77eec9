package lab

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"dssn/internal/need"
	"dssn/perf/lab/scenario"
)

func TestAScenarioHappensAndIsUndone(t *testing.T) {
	need.Root(t)
	leavesNothing(t)
	l, err := Up(Options{ID: "play", Topology: []byte(threeInARow)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Down() })
	s, err := l.ReadScenario(scenario.Format + `
at 0s    cut link 2 for 300ms
at 50ms  set a-b loss=2% for 100ms
at 60ms  set b>a delay=3ms
at 400ms end`)
	if err != nil {
		t.Fatal(err)
	}
	// Cut and settings are looked at when the actions after them are told.
	var told []string
	err = l.Play(t.Context(), s, func(a scenario.Action) {
		told = append(told, a.String())
		switch a.Verb {
		case scenario.Set:
			if up := isUp(t, l, "b", "to-c"); up {
				t.Errorf("at %v the link b-c is up", a.At)
			}
		case scenario.Restore, scenario.End:
			if up := isUp(t, l, "b", "to-c"); !up {
				t.Errorf("at %v the link b-c is down", a.At)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"cut b-c for 300ms", "set a-b loss=2% for 100ms", "set b>a delay=3ms", "reset a-b", "restore b-c", "end"}
	if strings.Join(told, "; ") != strings.Join(want, "; ") {
		t.Errorf("told %q, want %q", told, want)
	}
	stats, err := l.ReadWires()
	if err != nil {
		t.Fatal(err)
	}
	// Reset puts back what both directions were when the loss was set.
	v := stats["a-b"].Directions
	if v[0].Settings != "rate=50M queue=50p delay=7ms seed=5" || v[1].Settings != "" {
		t.Errorf("after the scenario the wire does %q and %q", v[0].Settings, v[1].Settings)
	}
	for text, want := range map[string]string{
		"at 0s set b-c loss=1%": "line 2: the link b-c is a plain one",
		"at 0s cut link 3":      "numbered 1 to 2",
		"at 0s kill switch":     "part of the lab itself",
		"at 0s set a-b loss":    "line 2:",
		"at 0s kill z":          "has no node",
	} {
		if _, err := l.ReadScenario(scenario.Format + "\n" + text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	s, _ = l.ReadScenario(scenario.Format + "\nat 0s kill a")
	if err := l.Play(t.Context(), s, func(scenario.Action) {}); err == nil || !strings.Contains(err.Error(), "line 2, at 0s: no program runs at a") {
		t.Errorf("a program that does not run was killed: %v", err)
	}
}

// A killed program is started again as it was.
func TestAKilledProgramStartsAgain(t *testing.T) {
	need.Root(t)
	leavesNothing(t)
	l := up(t, "kill")
	first, err := l.Start("beijing", "beijing", "sleep", "100")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.KillProgram("beijing"); err != nil {
		t.Fatal(err)
	}
	if (instance{first.PID(), 0}).alive() {
		t.Error("the killed program lives")
	}
	if err := l.KillProgram("beijing"); err == nil {
		t.Error("a dead program was killed")
	}
	other, err := Open("kill") // another process would know it by its record
	if err != nil {
		t.Fatal(err)
	}
	other.program = first.cmd.Path // sleep, which never answers: started, and found not to
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := other.StartProgram(ctx, "beijing"); err == nil {
		t.Error("sleep answered as a node")
	}
	r, ok := other.programOf("beijing")
	if !ok || !r.alive() || r.Args[1] != "100" {
		t.Errorf("the program was not started again: %+v", r)
	}
	other.processes["beijing"].Kill()
	other.spawn.close()
}

func isUp(t *testing.T, l *Lab, node, iface string) (up bool) {
	t.Helper()
	n, err := l.Plan.Node(node)
	if err != nil {
		t.Fatal(err)
	}
	err = withHandle(n.Namespace, func(h *netlink.Handle) error {
		link, err := h.LinkByName(iface)
		if err == nil {
			up = link.Attrs().Flags&1 != 0
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return up
}
