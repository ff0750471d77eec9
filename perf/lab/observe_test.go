package lab

import (
	"strings"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/perf/lab/view"
)

func TestAnObserverSeesRatesCutsAndPrograms(t *testing.T) {
	need.Root(t)
	need.Tool(t, "ping")
	leavesNothing(t)
	l, err := Up(Options{ID: "seen", Topology: []byte(threeInARow)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Down() })
	if _, err := l.Start("a", "a", "sleep", "100"); err != nil {
		t.Fatal(err)
	}
	o := l.Observe()
	defer o.Close()
	look := func() view.Picture {
		t.Helper()
		p, err := o.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := look()
	if len(first.Links) != 2 || first.Links[0].Number != 1 || !first.Links[0].Wire || first.Links[1].Wire || !first.Links[1].Up || len(first.Nodes) != 1 || !first.Nodes[0].Alive {
		t.Fatalf("the first picture: %+v", first)
	}
	w, _ := l.Plan.Wire("a-b")
	ping(t, l, w, "20")
	if err := l.Cut("b-c"); err != nil {
		t.Fatal(err)
	}
	if err := l.KillProgram("a"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	p := look()
	if r := p.Links[0].There.BitsPerSecond; r < 1000 {
		t.Errorf("twenty pings make %g bit/s", r)
	}
	if p.Links[1].Up || p.Nodes[0].Alive {
		t.Errorf("a cut link or a killed program is shown as well: %+v %+v", p.Links[1], p.Nodes)
	}
	var said []string
	for _, e := range p.Events {
		said = append(said, e.Text)
	}
	if got := strings.Join(said, "; "); got != "link b-c is down; the program of a has ended" {
		t.Errorf("events: %q", got)
	}
	if !strings.Contains(p.Links[0].There.Settings, "delay=7ms") {
		t.Errorf("the wire's settings are %q", p.Links[0].There.Settings)
	}
}
