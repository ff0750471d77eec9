package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"path/filepath"
	"strings"
	"time"

	"dssn/perf/wire"
	"dssn/perf/wire/port"
	"dssn/topology"
)

// This file is the lab's side of its emulated wires: which there are, and asking
// the program that moves their frames (wireserver.go) for what is wanted of them.

// plainWire as a link's "wire" keeps it a veth pair whatever the option says.
const plainWire = "plain"

// emulate decides for every fibre whether it is emulated and how.
func (p *planner) emulate(option string) error {
	any := false
	for i := range p.Wires {
		w := &p.Wires[i]
		if w.Kind != wireFibre {
			continue
		}
		texts, err := p.settings(*w, option)
		if err != nil {
			return err
		}
		if texts != nil {
			w.Emulated, any = texts, true
			w.Ports = []string{fmt.Sprintf("w%da", i), fmt.Sprintf("w%db", i)}
		}
	}
	if !any {
		return nil
	}
	if p.MTU > port.MaxMTU {
		return fmt.Errorf("an MTU of %d bytes does not pass through an emulated wire: choose at most %d, or plain links", p.MTU, port.MaxMTU)
	}
	if p.node(string(RoleWires)) != nil {
		return fmt.Errorf("a node is named %q, a name that a lab with emulated wires needs for itself: rename it", RoleWires)
	}
	p.add(Node{Name: string(RoleWires), Role: RoleWires})
	return nil
}

// settings returns what both directions of a fibre do; nil for a plain one.
func (p *planner) settings(w Wire, option string) (texts []string, err error) {
	a, _ := p.g.NodeByName(w.Ends[0].Node)
	b, _ := p.g.NodeByName(w.Ends[1].Node)
	for direction, way := range [2][2]int{{a, b}, {b, a}} {
		i, ok := p.g.LinkBetween(way[0], way[1])
		if !ok { // a one-way link's way back is like its way there
			i, _ = p.g.LinkBetween(way[1], way[0])
		}
		l := p.g.Link(i)
		if l.Wire == plainWire || l.Wire == "" && option == "" {
			continue
		}
		s := wire.Settings{}
		if err := update(&s, option, l); err != nil {
			return nil, fmt.Errorf("--wire: %w", err)
		}
		// Wires shall not lose the same frames as each other: where the link does
		// not say its seed, it is made of the option's and the wire's name.
		s.Seed = mixed(s.Seed, w.Name)
		if err := update(&s, l.Wire, l); err != nil {
			return nil, fmt.Errorf("the wire of link %s: %w", p.g.LinkName(i), err)
		}
		if texts == nil {
			texts = []string{"", ""}
		}
		texts[direction] = s.String()
	}
	return texts, nil
}

func mixed(seed uint64, name string) uint64 {
	h := fnv.New32a() // 32 bits, so that people can type it
	fmt.Fprintf(h, "%d %s", seed, name)
	return uint64(h.Sum32())
}

// update is Settings.Update with the words that refer to the topology.
func update(s *wire.Settings, text string, l topology.Link) error {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	for i, w := range words {
		switch w {
		case "rate=from-capacity":
			words[i] = fmt.Sprintf("rate=%d", uint64(l.Capacity))
		case "delay=from-latency":
			words[i] = fmt.Sprintf("delay=%dus", l.LatencyMicros)
		}
	}
	return s.Update(strings.Join(words, " "))
}

// CheckWires reports, in one sentence, why the text cannot be Options.Wires.
func CheckWires(text string) error {
	if err := update(&wire.Settings{}, text, topology.Link{Capacity: wire.MinRate}); err != nil {
		return fmt.Errorf("--wire: %w", err)
	}
	return nil
}

// emulated lists the wires that the lab emulates.
func (p *Plan) emulated() (list []Wire) {
	for _, w := range p.Wires {
		if len(w.Emulated) > 0 {
			list = append(list, w)
		}
	}
	return list
}

func wireSocket(id string) string { return filepath.Join(stateDir(id), "wires.sock") }

// startWires starts the program that moves the frames of the emulated wires.
func (l *Lab) startWires() error {
	if len(l.Plan.emulated()) == 0 {
		return nil
	}
	for _, w := range l.Plan.emulated() {
		for _, e := range w.Ends {
			if err := offloads(l.Plan.node(e.Node).Namespace, e.Interface); err != nil {
				return fmt.Errorf("prepare %s of %s for an emulated wire: %w", e.Interface, e.Node, err)
			}
		}
	}
	p, err := l.Start(string(RoleWires), string(RoleWires), l.program, "lab", "wires", l.Plan.ID)
	if err != nil {
		return err
	}
	return l.answers(context.Background(), p, wireSocket(l.Plan.ID))
}

// wireRequest is one line of JSON to the wires' program, wireReply its answer.
type wireRequest struct {
	Do        string `json:"do"` // "stats", "set", "replace", "line-down", "line-up" or "tap"
	Wire      string `json:"wire,omitempty"`
	Direction int    `json:"direction,omitempty"` // 0, 1, or 2 for both
	Settings  string `json:"settings,omitempty"`  // what to change, or all there is
}

type wireReply struct {
	Error string                 `json:"error,omitempty"`
	Stats map[string]WireReading `json:"stats,omitempty"`
	Was   []string               `json:"was,omitempty"` // settings before "set", of both directions
}

// WireReading is what an emulated wire has done since the lab began.
type WireReading struct {
	Modes      port.Modes    `json:"modes"`
	Directions [2]port.Stats `json:"directions"` // as the wire's Ends are ordered
}

// errNoWires explains a lab without emulated wires.
var errNoWires = errors.New("the lab has no emulated wires: make it with `dssn lab up --wire …`")

// askWires does one exchange.
func (l *Lab) askWires(q wireRequest) (a wireReply, err error) {
	c, r, err := l.dialWires(q)
	if err != nil {
		return a, err
	}
	defer c.Close()
	return a, readReply(r, &a)
}

func (l *Lab) dialWires(q wireRequest) (net.Conn, *bufio.Reader, error) {
	if len(l.Plan.emulated()) == 0 {
		return nil, nil, errNoWires
	}
	c, err := net.Dial("unix", wireSocket(l.Plan.ID))
	if err != nil {
		return nil, nil, fmt.Errorf("the program of the lab's wires does not answer (%w): see %s", err, l.LogOf(string(RoleWires)))
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if err := json.NewEncoder(c).Encode(q); err != nil {
		c.Close()
		return nil, nil, fmt.Errorf("ask the lab's wires: %w", err)
	}
	return c, bufio.NewReader(c), nil
}

func readReply(r *bufio.Reader, a *wireReply) error {
	text, err := r.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(text, a)
	}
	if err != nil {
		return fmt.Errorf("read the answer of the lab's wires: %w", err)
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return nil
}

// ReadWires returns what every emulated wire has done, by the wire's name.
func (l *Lab) ReadWires() (map[string]WireReading, error) {
	a, err := l.askWires(wireRequest{Do: "stats"})
	return a.Stats, err
}

// SetWire changes settings of an emulated wire while frames flow: link is "a-b"
// for both directions or "a>b" for one. It returns the settings before, which
// RestoreWire puts back.
func (l *Lab) SetWire(link, settings string) (was []string, err error) {
	w, direction, err := l.Plan.direction(link)
	if err != nil {
		return nil, err
	}
	if len(w.Emulated) == 0 {
		return nil, fmt.Errorf("the link %s is a plain one and cannot change: make the lab with `--wire …`", w.Name)
	}
	a, err := l.askWires(wireRequest{Do: "set", Wire: w.Name, Direction: direction, Settings: settings})
	return a.Was, err
}

// direction finds a wire by "a-b" (direction 2, both) or "a>b" (0 along its ends, 1 back).
func (p *Plan) direction(link string) (Wire, int, error) {
	from, to, one := strings.Cut(link, ">")
	if !one {
		w, err := p.Wire(link)
		return w, 2, err
	}
	w, err := p.Wire(from + "-" + to)
	if err != nil {
		return w, 0, err
	}
	if n, _ := p.Node(from); n.Name == w.Ends[1].Node {
		return w, 1, nil
	}
	return w, 0, nil
}

func (l *Lab) lineDown(w Wire, down bool) error {
	do := "line-up"
	if down {
		do = "line-down"
	}
	_, err := l.askWires(wireRequest{Do: do, Wire: w.Name, Direction: 2})
	return err
}
