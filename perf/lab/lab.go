package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dssn/node"
	"dssn/topology"
)

// Options say what lab is wanted.
type Options struct {
	ID string
	// Topology is the te-topology/1 text, which the controller reads too.
	Topology []byte
	// Terminals are attached to backbone nodes; see Farthest for a choice.
	Terminals []Terminal
	// Transit is who forwards on the hubs; with node.TransitXDP the links are made so
	// that programs in their drivers can (see offloads.go). Empty: the kernel.
	Transit node.Transit
	// MTU of every link in bytes; zero means 1500.
	MTU int
	// Wires says how fibres are emulated whose links say nothing themselves, in
	// the words of dssn/perf/wire with two more: rate=from-capacity and
	// delay=from-latency. Empty leaves them plain veth pairs.
	Wires string
	// Keep lets the lab stand after this process has ended; otherwise its
	// programs end with this process and the next run removes the rest.
	Keep bool
	// Program is the path of the dssn program; empty means this one.
	Program string
}

// Lab is a network that stands.
type Lab struct {
	Plan  *Plan
	Graph *topology.Graph

	dir       string // state
	data      string
	program   string
	transit   node.Transit
	owned     bool // ends with this process
	spawn     *spawner
	processes map[string]*Process
}

// Up makes the network: namespaces, links and management addresses, no
// programs. After an error nothing is left.
func Up(o Options) (*Lab, error) {
	g, text, err := distinct(o.Topology)
	if err != nil {
		return nil, err
	}
	o.Topology = text
	if o.MTU == 0 {
		o.MTU = 1500
	}
	plan, err := newPlan(o.ID, g, o.Terminals, o.MTU, o.Wires)
	if err != nil {
		return nil, err
	}
	if err := carries(len(plan.Nodes)); err != nil {
		return nil, err
	}
	program := o.Program
	if program == "" {
		if program, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find the dssn program: %w", err)
		}
	}
	l := &Lab{Plan: plan, Graph: g, dir: stateDir(o.ID), data: dataDir(o.ID), program: program, transit: o.Transit, owned: !o.Keep, processes: map[string]*Process{}}
	if err := l.claim(o); err != nil {
		return nil, err
	}
	err = makeNetwork(plan)
	if err == nil && o.Transit == node.TransitXDP {
		err = driven(plan)
	}
	if err != nil {
		return nil, errors.Join(err, Remove(o.ID))
	}
	if err := l.startWires(); err != nil {
		return nil, errors.Join(err, l.Down())
	}
	return l, nil
}

// Bare makes a network that stands without this process and without programs but
// those of its wires.
func Bare(o Options) (*Lab, error) {
	o.Keep = true
	l, err := Up(o)
	if err != nil {
		return nil, err
	}
	if err := l.release(); err != nil {
		return nil, errors.Join(err, l.Down())
	}
	return l, nil
}

// distinct reads a topology whose nodes shall be known by their names: in the
// text and graph that it returns, nodes whose name is not unique (maps have
// several called "None") carry their index behind it.
func distinct(text []byte) (*topology.Graph, []byte, error) {
	g, err := topology.Read(text)
	if err != nil {
		return nil, nil, err
	}
	nodes := slices.Clone(g.Nodes())
	changed := false
	for i := range nodes {
		if label := g.NodeLabel(i); label != nodes[i].Name {
			nodes[i].Name, changed = label, true
		}
	}
	if !changed {
		return g, text, nil
	}
	d, err := topology.Build(g.Name, nodes, slices.Clone(g.Links()))
	if err != nil {
		return nil, nil, err
	}
	d.Source, d.Licence = g.Source, g.Licence
	return d, d.AppendJSON(nil), nil
}

// claim makes the lab's directories; the first one can be made only once.
func (l *Lab) claim(o Options) error {
	if err := os.MkdirAll(stateRoot, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", stateRoot, err)
	}
	err := os.Mkdir(l.dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("a lab named %s exists already: choose another --lab name or take it down with `dssn lab down %s`", o.ID, o.ID)
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", l.dir, err)
	}
	r := record{Plan: l.Plan, Topology: l.Graph.Name, Data: l.data, Owner: thisProcess()}
	errs := []error{
		writeRecord(filepath.Join(l.dir, "lab.json"), r),
		os.WriteFile(l.TopologyFile(), o.Topology, 0o644),
		os.Mkdir(filepath.Join(l.dir, "processes"), 0o755),
		os.Mkdir(filepath.Join(l.dir, "logs"), 0o755),
		os.Mkdir(filepath.Join(l.dir, "nodes"), 0o755),
	}
	for _, n := range l.Plan.Nodes {
		errs = append(errs, os.Mkdir(l.StateOf(n.Name), 0o700))
	}
	if err := errors.Join(errs...); err != nil {
		return errors.Join(fmt.Errorf("prepare %s: %w", l.dir, err), Remove(o.ID))
	}
	return nil
}

// release lets a kept lab stand without this process. Until then it has an
// owner, so that what a killed `dssn lab up` leaves is an orphan.
func (l *Lab) release() error {
	if l.owned {
		return nil
	}
	if err := writeRecord(filepath.Join(l.dir, "lab.json"), record{Plan: l.Plan, Topology: l.Graph.Name, Data: l.data}); err != nil {
		return fmt.Errorf("let lab %s stand: %w", l.Plan.ID, err)
	}
	return nil
}

// Open finds a lab that stands. An empty id means the only one there is.
func Open(id string) (*Lab, error) {
	if id == "" {
		labs, err := List()
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, s := range labs {
			ids = append(ids, s.ID)
		}
		switch len(labs) {
		case 0:
			return nil, fmt.Errorf("there is no lab: begin one with `dssn lab up`")
		case 1:
			id = labs[0].ID
		default:
			return nil, fmt.Errorf("there are %d labs: name one of %s with --lab", len(labs), strings.Join(ids, ", "))
		}
	}
	if err := CheckID(id); err != nil {
		return nil, err
	}
	var r record
	if err := readRecord(filepath.Join(stateDir(id), "lab.json"), &r); err != nil || r.Plan == nil {
		return nil, fmt.Errorf("there is no lab named %s: `dssn lab list` shows those there are", id)
	}
	text, err := os.ReadFile(filepath.Join(stateDir(id), "topology.json"))
	if err != nil {
		return nil, fmt.Errorf("read the topology of lab %s: %w", id, err)
	}
	g, err := topology.Read(text)
	if err != nil {
		return nil, fmt.Errorf("read the topology of lab %s: %w", id, err)
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the dssn program: %w", err)
	}
	return &Lab{Plan: r.Plan, Graph: g, dir: stateDir(id), data: r.Data, program: program, processes: map[string]*Process{}}, nil
}

// StateOf is the state directory of a node's program.
func (l *Lab) StateOf(node string) string { return filepath.Join(l.dir, "nodes", l.short(node)) }

// LogOf is the log file of the program called name.
func (l *Lab) LogOf(name string) string { return filepath.Join(l.dir, "logs", slug(name)+".log") }

// TopologyFile is the lab's copy of its topology.
func (l *Lab) TopologyFile() string { return filepath.Join(l.dir, "topology.json") }

// short is the last part of a node's namespace: unique, and fit for a path.
func (l *Lab) short(node string) string {
	n, err := l.Plan.Node(node)
	if err != nil {
		return slug(node)
	}
	return strings.TrimPrefix(n.Namespace, namespacePrefix(l.Plan.ID))
}

// Exec becomes the command inside the node's namespace; it returns only an error.
func (l *Lab) Exec(node string, args []string) error {
	n, err := l.Plan.Node(node)
	if err != nil {
		return err
	}
	return l.replaceBy(n, args)
}

// Cut takes a link out as a digger would: both ends go down.
func (l *Lab) Cut(link string) error { return l.set(link, false) }

// Restore brings a cut link back.
func (l *Lab) Restore(link string) error { return l.set(link, true) }

func (l *Lab) set(link string, up bool) error {
	w, err := l.Plan.Wire(link)
	if err != nil {
		return err
	}
	if len(w.Emulated) > 0 && up {
		if err := l.lineDown(w, false); err != nil {
			return err
		}
	}
	if err := setWire(l.Plan, w, up); err != nil {
		return err
	}
	if len(w.Emulated) > 0 && !up {
		return l.lineDown(w, true) // loses what is on its way
	}
	return nil
}

// Down ends the lab's programs, in the reverse order of their start, and removes everything.
func (l *Lab) Down() error {
	err := Remove(l.Plan.ID)
	for _, p := range l.processes {
		<-p.done // Remove has ended it; collect it
	}
	if l.spawn != nil {
		l.spawn.close()
		l.spawn = nil
	}
	return err
}

// Backbone lists the names of the backbone nodes, Terminals those of the
// access terminals, in the order of the plan.
func (l *Lab) Backbone() []string  { return l.withRole(RoleBackbone) }
func (l *Lab) Terminals() []string { return l.withRole(RoleTerminal) }

func (l *Lab) withRole(r Role) (names []string) {
	for _, n := range l.Plan.Nodes {
		if n.Role == r {
			names = append(names, n.Name)
		}
	}
	return slices.Clip(names)
}
