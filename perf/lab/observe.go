package lab

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dssn/controller/northbound"
	"dssn/node"
	"dssn/perf/lab/view"
	"dssn/perf/wire/port"
)

// Observer takes pictures of a lab, one after the other: rates and events are
// those since the one before. It belongs to one goroutine.
type Observer struct {
	lab        *Lab
	controller *northbound.Client
	edges      map[string]*northbound.Client
	after      int64 // the controller's last event seen

	at      time.Time
	loads   map[string]uint64 // bytes that have arrived, by "from>to"
	lost    map[string]uint64 // frames that wires dropped, by "from>to"
	up      map[string]bool
	alive   map[string]bool
	using   map[string]string
	events  []view.Event
	started bool // a first picture has been taken
}

// eventsKept is how many events a picture has at most.
const eventsKept = 50

// Observe begins to look at the lab.
func (l *Lab) Observe() *Observer {
	o := &Observer{lab: l, edges: map[string]*northbound.Client{}, up: map[string]bool{}, alive: map[string]bool{}, using: map[string]string{},
		controller: northbound.NewUnixClient(filepath.Join(l.StateOf(string(RoleController)), "controller.sock"))}
	for _, t := range l.Terminals() {
		o.edges[t] = northbound.NewUnixClient(filepath.Join(l.StateOf(t), "node.sock"))
	}
	return o
}

// Close ends it.
func (o *Observer) Close() {
	o.controller.Close()
	for _, c := range o.edges {
		c.Close()
	}
}

// Look takes a picture. What does not answer is named in it; an error is only
// for a lab that is gone.
func (o *Observer) Look(ctx context.Context) (view.Picture, error) {
	now := time.Now()
	p := view.Picture{At: now, Lab: o.lab.Plan.ID, Topology: o.lab.Graph.Name}
	if err := o.links(&p, now); err != nil {
		return p, fmt.Errorf("look at lab %s: %w; `dssn lab list` shows those that stand", o.lab.Plan.ID, err)
	}
	o.programs(&p)
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if len(p.Nodes) > 0 {
		o.paths(ctx, &p)
		o.controllerEvents(ctx, &p)
	}
	o.events = o.events[max(0, len(o.events)-eventsKept):]
	p.Events = slices.Clone(o.events)
	o.at, o.started = now, true
	return p, nil
}

func (o *Observer) say(at time.Time, format string, args ...any) {
	o.events = append(o.events, view.Event{At: at, Text: fmt.Sprintf(format, args...)})
}

func (o *Observer) links(p *view.Picture, now time.Time) error {
	loads, up, err := o.lab.counters()
	if err != nil {
		return err
	}
	var wires map[string]WireReading
	if len(o.lab.Plan.emulated()) > 0 {
		if wires, err = o.lab.ReadWires(); err != nil {
			p.Problem = err.Error()
		}
	}
	lost := map[string]uint64{}
	seconds := now.Sub(o.at).Seconds()
	number := 0
	for _, w := range o.lab.Plan.Wires {
		if w.Kind == wireManagement {
			continue
		}
		l := view.Link{Name: w.Name, Up: up[w.Name], Wire: len(w.Emulated) > 0}
		if w.Kind == wireFibre {
			number++
			l.Number = number
		}
		for d, way := range []*view.Way{&l.There, &l.Back} {
			name := w.Ends[d].Node + ">" + w.Ends[1-d].Node
			if before, ok := o.loads[name]; ok && loads[name] >= before {
				way.BitsPerSecond = float64(loads[name]-before) * 8 / seconds
			}
			if r, ok := wires[w.Name]; ok {
				o.wire(way, r.Directions[d], name, lost, seconds)
			}
		}
		if was, known := o.up[w.Name]; known && was != l.Up {
			o.say(now, "link %s is %s", w.Name, map[bool]string{true: "up", false: "down"}[l.Up])
		}
		o.up[w.Name] = l.Up
		p.Links = append(p.Links, l)
	}
	o.loads, o.lost = loads, lost
	return nil
}

func (o *Observer) wire(way *view.Way, s port.Stats, name string, lost map[string]uint64, seconds float64) {
	way.Settings, way.Held = s.Settings, s.Held
	lost[name] = s.Counters.Lost() + s.Missed
	if before, ok := o.lost[name]; ok && lost[name] >= before {
		way.LostPerSecond = float64(lost[name]-before) / seconds
	}
}

// programs finds which programs run, by the lab's records.
func (o *Observer) programs(p *view.Picture) {
	alive, known := map[string]bool{}, map[string]bool{}
	for _, r := range recordedProcesses(o.lab.Plan.ID) {
		if r.Name == r.Node && r.Name != string(RoleWires) {
			known[r.Name], alive[r.Name] = true, r.alive()
		}
	}
	for name := range o.alive { // killed by its starter, who removes the record
		known[name] = true
	}
	for _, n := range o.lab.Plan.Nodes {
		if !known[n.Name] {
			continue
		}
		p.Nodes = append(p.Nodes, view.Node{Name: n.Name, Role: string(n.Role), Alive: alive[n.Name]})
		if was, seen := o.alive[n.Name]; seen && was != alive[n.Name] {
			o.say(p.At, "the program of %s %s", n.Name, map[bool]string{true: "runs again", false: "has ended"}[alive[n.Name]])
		}
		o.alive[n.Name] = alive[n.Name]
	}
}

// paths asks every edge for the ways that it uses.
func (o *Observer) paths(ctx context.Context, p *view.Picture) {
	for _, edge := range o.lab.Terminals() {
		var peers []node.PeerPaths
		if err := o.edges[edge].Do(ctx, http.MethodGet, "/local/paths", nil, &peers); err != nil {
			continue // its program does not run, which the picture says
		}
		for _, peer := range peers {
			for _, v := range peer.Paths {
				if !v.InUse || len(v.Hops) == 0 {
					continue
				}
				p.Paths = append(p.Paths, view.Path{From: edge, To: peer.Name, Hops: v.Hops, RTT: v.RTT})
				way, key := strings.Join(v.Hops, " → "), edge+">"+peer.Name
				if was, ok := o.using[key]; ok && was != way {
					o.say(p.At, "%s reaches %s over %s", edge, peer.Name, way)
				}
				o.using[key] = way
			}
		}
	}
}

// controllerEvents adds what the controller has noted since the last picture;
// from the first picture on, so that a long history does not fill the screen.
func (o *Observer) controllerEvents(ctx context.Context, p *view.Picture) {
	list, err := o.controller.Events(ctx, o.after)
	if err != nil {
		if o.alive[string(RoleController)] {
			p.Problem = "the controller does not answer"
		}
		return
	}
	if !o.started && len(list) > 5 {
		o.after = list[len(list)-6].Sequence
		list = list[len(list)-5:]
	}
	for _, e := range list {
		o.after = max(o.after, e.Sequence)
		text := e.Detail
		if e.Node != "" && !strings.Contains(text, e.Node) {
			text = e.Node + ": " + text
		}
		o.say(e.At, "%s: %s", e.Kind, text)
	}
	slices.SortStableFunc(o.events, func(a, b view.Event) int { return a.At.Compare(b.At) })
}

// counters reads, at every node, the bytes that have arrived over each of its
// links, by "from>to", and which links are up at both ends.
func (l *Lab) counters() (loads map[string]uint64, up map[string]bool, err error) {
	loads, up = map[string]uint64{}, map[string]bool{}
	for _, w := range l.Plan.Wires {
		up[w.Name] = true
	}
	for _, n := range l.Plan.Nodes {
		if n.Role != RoleBackbone && n.Role != RoleTerminal {
			continue
		}
		var text, flags []byte
		err := inNamespace(n.Namespace, func() (err error) {
			if text, err = os.ReadFile("/proc/thread-self/net/dev"); err == nil {
				flags, err = os.ReadFile("/proc/thread-self/net/if_inet6") // names of interfaces that are up
			}
			return err
		})
		if err != nil {
			return nil, nil, fmt.Errorf("read the counters of %s: %w", n.Name, err)
		}
		alive := map[string]bool{}
		for line := range strings.Lines(string(flags)) {
			if f := strings.Fields(line); len(f) == 6 {
				alive[f[5]] = true
			}
		}
		for _, w := range l.Plan.Wires {
			for i, e := range w.Ends {
				if w.Kind == wireManagement || e.Node != n.Name {
					continue
				}
				v, err := receivedBytes(text, e.Interface)
				if err != nil {
					return nil, nil, fmt.Errorf("read the counters of %s: %w", n.Name, err)
				}
				loads[w.Ends[1-i].Node+">"+n.Name] = v
				up[w.Name] = up[w.Name] && alive[e.Interface]
			}
		}
	}
	return loads, up, nil
}
