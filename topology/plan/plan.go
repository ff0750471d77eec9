// Package plan is what `dssn plan` does: it puts an instance together from what a
// person wrote, solves and verifies it, and says what came out in words, a table
// and one HTML page.
//
// It reads and writes byte slices and io.Writers only; files, flags and the clock
// are the command's. Safe from any goroutine, each call on its own.
package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dssn"
	"dssn/topology"
	"dssn/topology/solve"
)

// Question is what a person asks. Instance stands alone; otherwise Topology and
// Demands are both needed.
type Question struct {
	Topology  []byte // te-topology/1 or GraphML
	Demands   []byte // the "demands" object of te-instance/1
	Instance  []byte // te-instance/1
	Objective solve.Objective
	Gap       float64
	ByClass   bool     // max-min serves class before class
	Down      []string // links by name, A>B, or by index: failed, in that direction
	WhatIf    []string // drain:NODE, cut:LINK or add:SRC>DST=RATE
	Stop      func() bool
	Progress  func(solve.Progress)
}

// InputError says that the question, not the answer, is at fault: one sentence that
// names the element.
type InputError struct{ error }

func (e InputError) Unwrap() error { return e.error }

func inputf(format string, a ...any) error { return InputError{fmt.Errorf(format, a...)} }

// Answer is a verified allocation.
type Answer struct {
	Instance   *solve.Instance
	Allocation *solve.Allocation
	Verdict    *solve.Verdict
	// Change is what the what-ifs would make of it, nil where none was asked.
	Change *Answer
	What   string // of a change, its description
}

// Ask answers q. An InputError means that nothing was computed.
func Ask(q Question) (*Answer, error) {
	in, err := read(q)
	if err != nil {
		return nil, err
	}
	for _, s := range q.Down {
		e, err := FindLink(in.Graph, s)
		if err != nil {
			return nil, InputError{err}
		}
		in.Graph.SetDown(e, true)
	}
	changed := in
	for _, s := range q.WhatIf {
		if changed, err = apply(changed, s); err != nil {
			return nil, err
		}
	}
	a, err := answer(in, q, nil)
	if err != nil || len(q.WhatIf) == 0 {
		return a, err
	}
	a.Change, err = answer(changed, q, a.Allocation)
	if err == nil {
		a.Change.What = strings.Join(q.WhatIf, ", ")
	}
	return a, err
}

func answer(in *solve.Instance, q Question, warm *solve.Allocation) (*Answer, error) {
	a, err := solve.Solve(in, solve.Options{Objective: q.Objective, Gap: q.Gap, ByClass: q.ByClass, Stop: q.Stop, Progress: q.Progress, Warm: warm})
	if err != nil {
		return nil, InputError{err}
	}
	v, err := solve.Verify(in, a)
	if err != nil {
		return nil, fmt.Errorf("the answer does not stand up to verification: %w", err)
	}
	return &Answer{Instance: in, Allocation: a, Verdict: v}, nil
}

func read(q Question) (*solve.Instance, error) {
	switch {
	case q.Instance != nil && (q.Topology != nil || q.Demands != nil):
		return nil, inputf("an instance has its own topology and demands: give either the instance or the other two")
	case q.Instance != nil:
		in, err := solve.ReadInstance(q.Instance)
		if err != nil {
			return nil, InputError{fmt.Errorf("instance: %w", err)}
		}
		return in, nil
	case q.Topology == nil || q.Demands == nil:
		return nil, inputf("nothing to plan: give an instance, or a topology and demands")
	}
	g, err := topology.ReadAny(q.Topology)
	if err != nil {
		return nil, InputError{fmt.Errorf("topology: %w", err)}
	}
	in, err := solve.ReadDemands(q.Demands, g)
	if err != nil {
		return nil, InputError{fmt.Errorf("demands: %w", err)}
	}
	return in, nil
}

// FindLink finds a link by what a person wrote: its index, or A>B by the nodes'
// names or #indexes.
func FindLink(g *topology.Graph, s string) (int, error) {
	if i, err := strconv.Atoi(s); err == nil {
		if i < 0 || i >= g.NumLinks() {
			return 0, fmt.Errorf("there is no link %d: indexes run from 0 to %d", i, g.NumLinks()-1)
		}
		return i, nil
	}
	a, b, ok := strings.Cut(s, ">")
	if !ok {
		return 0, fmt.Errorf("%q is not a link: write its index, or the names of its ends as A>B", s)
	}
	u, err := g.FindNode(a)
	if err != nil {
		return 0, fmt.Errorf("link %q: %w", s, err)
	}
	v, err := g.FindNode(b)
	if err != nil {
		return 0, fmt.Errorf("link %q: %w", s, err)
	}
	e, ok := g.LinkBetween(u, v)
	if !ok {
		return 0, fmt.Errorf("no link leads from %q to %q", g.NodeLabel(u), g.NodeLabel(v))
	}
	return e, nil
}

// apply returns the instance with one what-if carried out.
func apply(in *solve.Instance, s string) (*solve.Instance, error) {
	verb, rest, ok := strings.Cut(s, ":")
	out := &solve.Instance{Name: in.Name, Graph: in.Graph.Clone(), Demands: in.Demands}
	switch {
	case ok && verb == "drain":
		u, err := in.Graph.FindNode(rest)
		if err != nil {
			return nil, InputError{err}
		}
		out.Graph.DrainNode(u, true)
	case ok && verb == "cut":
		e, err := FindLink(in.Graph, rest)
		if err != nil {
			return nil, InputError{err}
		}
		l := in.Graph.Link(e)
		out.Graph.SetDown(e, true)
		if back, ok := in.Graph.LinkBetween(l.Dst, l.Src); ok {
			out.Graph.SetDown(back, true) // a fibre is cut in both directions
		}
	case ok && verb == "add":
		return addDemand(out, rest)
	default:
		return nil, inputf("%q is not a what-if: write drain:NODE, cut:A>B or add:A>B=10G", s)
	}
	return out, nil
}

func addDemand(in *solve.Instance, s string) (*solve.Instance, error) {
	ends, amount, ok := strings.Cut(s, "=")
	a, b, ok2 := strings.Cut(ends, ">")
	if !ok || !ok2 {
		return nil, inputf("%q is not a demand: write add:A>B=10G", s)
	}
	u, err := in.Graph.FindNode(a)
	if err != nil {
		return nil, InputError{err}
	}
	v, err := in.Graph.FindNode(b)
	if err != nil {
		return nil, InputError{err}
	}
	rate, err := dssn.ParseBandwidth(amount)
	if err != nil {
		return nil, InputError{err}
	}
	d := &in.Demands
	// The columns are shared with the instance before the change: copy, then add.
	in.Demands = solve.Demands{Src: slices.Clone(d.Src), Dst: slices.Clone(d.Dst), Rate: slices.Clone(d.Rate),
		Weight: slices.Clone(d.Weight), Class: slices.Clone(d.Class), Committed: slices.Clone(d.Committed), MaxLatencyMicros: slices.Clone(d.MaxLatencyMicros)}
	in.Demands.Add(u, v, rate, 1, 0)
	if err := in.Check(); err != nil {
		return nil, InputError{err}
	}
	return in, nil
}
