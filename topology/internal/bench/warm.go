package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"dssn"
	"dssn/topology/calendar"
	"dssn/topology/internal/replay"
	"dssn/topology/solve"
)

// sample is the times of one task, many times over.
type sample struct{ clock, processor []time.Duration }

func (s *sample) add(clock, processor time.Duration) {
	s.clock, s.processor = append(s.clock, clock), append(s.processor, processor)
}

// print prints the middle one and the worst.
func (s *sample) print(name string, demands int, task string, gap float64, note string) {
	slices.Sort(s.clock)
	slices.Sort(s.processor)
	for _, x := range []struct {
		what string
		at   int
	}{{"typical", len(s.clock) / 2}, {"worst", len(s.clock) - 1}} {
		fmt.Printf("%-12s %8d %-8s %10s %10s %13s %9.5f %13s %6s %9s  %s\n", name, demands, task, round(s.clock[x.at]), round(s.processor[x.at]), x.what, 100*gap, "-", "-", "-", note)
	}
}

// failure solves after one link has failed, from the answer before.
func (b *bench) failure(name string, in *solve.Instance) error {
	before, err := solve.Solve(in, solve.Options{Objective: solve.MaxFlow, Gap: b.gap})
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 1))
	var times sample
	worst := 0.0
	for range b.failures {
		after := &solve.Instance{Name: in.Name, Graph: in.Graph.Clone(), Demands: in.Demands}
		after.Graph.SetDown(r.IntN(in.Graph.NumLinks()), true)
		gap, err := b.warm(after, before, &times)
		if err != nil {
			return err
		}
		worst = max(worst, gap)
	}
	times.print(name, in.Demands.Len(), "failure", worst, fmt.Sprintf("%d links, one at a time", b.failures))
	return nil
}

// change solves after 5 % of the demands have changed.
func (b *bench) change(name string, in *solve.Instance) error {
	before, err := solve.Solve(in, solve.Options{Objective: solve.MaxFlow, Gap: b.gap})
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(2, 1))
	var times sample
	worst := 0.0
	for range max(3, b.failures/4) {
		after := &solve.Instance{Name: in.Name, Graph: in.Graph, Demands: in.Demands}
		after.Demands.Rate = changed(in.Demands.Rate, r)
		gap, err := b.warm(after, before, &times)
		if err != nil {
			return err
		}
		worst = max(worst, gap)
	}
	times.print(name, in.Demands.Len(), "change", worst, "5 % of the demands")
	return nil
}

// warm solves in from the answer before and returns the gap that verification proves.
func (b *bench) warm(in *solve.Instance, before *solve.Allocation, times *sample) (float64, error) {
	a, clock, processor, err := b.solve(in, solve.Options{Objective: solve.MaxFlow, Gap: b.warmGap, Warm: before})
	if err != nil {
		return 0, err
	}
	times.add(clock, processor)
	v, err := solve.Verify(in, a)
	if err != nil {
		return 0, err
	}
	return v.Gap, nil
}

// fair solves max-min after a failure, a drain and a change of 5 % of the demands in turn,
// from the answer before and, beside it, from nothing.
func (b *bench) fair(name string, in *solve.Instance) error {
	before, err := solve.Solve(in, solve.Options{Objective: solve.MaxMinFair})
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(4, 1))
	var times [2]sample
	unproved := [2]int{}
	for i := range b.failures {
		after := &solve.Instance{Name: in.Name, Graph: in.Graph.Clone(), Demands: in.Demands}
		link := r.IntN(in.Graph.NumLinks())
		switch i % 3 {
		case 0:
			after.Graph.SetDown(link, true)
		case 1:
			after.Graph.SetDrained(link, true)
		case 2:
			after.Demands.Rate = changed(in.Demands.Rate, r)
		}
		for k, warm := range []*solve.Allocation{before, nil} {
			a, clock, processor, err := b.solve(after, solve.Options{Objective: solve.MaxMinFair, Warm: warm})
			if err != nil {
				return err
			}
			v, err := solve.Verify(after, a)
			if err != nil {
				return err
			}
			times[k].add(clock, processor)
			unproved[k] += v.Unproved
		}
	}
	for k, what := range []string{"from the answer before", "from nothing"} {
		times[k].print(name, in.Demands.Len(), "fair", 0, fmt.Sprintf("max-min after %d failures, drains and changes, %s, %d rates unproved", b.failures, what, unproved[k]))
	}
	return nil
}

// changed gives one demand in twenty another rate, half to twice what it was.
func changed(rates []dssn.Bandwidth, r *rand.Rand) []dssn.Bandwidth {
	rates = slices.Clone(rates)
	for i, x := range rates {
		if r.IntN(20) == 0 {
			rates[i] = max(1, dssn.Bandwidth(float64(x)*(0.5+1.5*r.Float64())))
		}
	}
	return rates
}

// day replays a day of failures and changes, and verifies the answer after each.
func (b *bench) day(name string, in *solve.Instance, events int) error {
	d := replay.New(in, 1)
	last, err := solve.Solve(in, solve.Options{Objective: solve.MaxFlow, Gap: b.warmGap})
	if err != nil {
		return err
	}
	var times sample
	worst := 0.0
	for i := range events {
		what := d.Next()
		a, clock, processor, err := b.solve(d.In, solve.Options{Objective: solve.MaxFlow, Gap: b.warmGap, Warm: last})
		if err != nil {
			return fmt.Errorf("event %d, %s: %w", i, what, err)
		}
		v, err := solve.Verify(d.In, a)
		if err != nil {
			return fmt.Errorf("event %d, %s: %w", i, what, err)
		}
		times.add(clock, processor)
		worst = max(worst, v.Gap)
		last = a
	}
	times.print(name, in.Demands.Len(), "day", worst, fmt.Sprintf("%d events, every answer verified", events))
	return nil
}

// admit books and releases one reservation in a calendar of ten thousand.
func (b *bench) admit(name string, in *solve.Instance) error {
	g := in.Graph
	r := rand.New(rand.NewPCG(3, 3))
	c := calendar.New(g)
	ask := func(id int) calendar.Request {
		src := r.IntN(g.NumNodes())
		start := int64(r.IntN(7 * 86400))
		return calendar.Request{ID: dssn.ReservationID(id), Src: src, Dst: (src + 1 + r.IntN(g.NumNodes()-1)) % g.NumNodes(),
			Rate: dssn.Bandwidth(1+r.IntN(1000)) * dssn.Mbps, Start: time.Unix(start, 0), End: time.Unix(start+600+int64(r.IntN(6*3600)), 0)}
	}
	for id := 1; c.Len() < 10000; id++ {
		_, _ = c.Admit(ask(id)) // a refusal is an answer too; the next one is asked
	}
	var times sample
	for id := range 1000 {
		q := ask(1<<30 + id)
		begin, used := time.Now(), processorTime()
		booked, err := c.Admit(q)
		times.add(time.Since(begin), processorTime()-used)
		if err == nil {
			if err := c.Release(booked.ID, time.Unix(0, 0)); err != nil {
				return err
			}
		}
	}
	times.print(name, c.Len(), "admit", 0, "1,000 requests, refusals included")
	return nil
}
