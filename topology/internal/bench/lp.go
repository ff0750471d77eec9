package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"dssn/topology/solve"
)

// baseline is a plain linear program solved by somebody else: the arc formulation,
// commodities gathered by source, given to the program clp (COIN-OR) where it is
// installed and done in time.
type baseline struct {
	program string
	limit   time.Duration
}

var optimal = regexp.MustCompile(`(?m)^Optimal objective\s+(\S+)`)

// solve returns the optimum and the time that clp took for it, reading the text included.
func (b baseline) solve(in *solve.Instance, o solve.Objective) (value float64, took time.Duration, err error) {
	dir, err := os.MkdirTemp("", "dssn-lp-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "model.lp")
	f, err := os.Create(file)
	if err != nil {
		return 0, 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	writeLP(w, in, o)
	if err := w.Flush(); err != nil {
		return 0, 0, err
	}
	if err := f.Close(); err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), b.limit)
	defer cancel()
	begin := time.Now()
	out, err := exec.CommandContext(ctx, b.program, file, "-solve").CombinedOutput()
	took = time.Since(begin)
	if ctx.Err() != nil {
		return 0, took, ctx.Err()
	}
	m := optimal.FindSubmatch(out)
	if err != nil || m == nil {
		return 0, took, fmt.Errorf("clp found no optimum: %v: %s", err, bytes.TrimSpace(out))
	}
	value, err = strconv.ParseFloat(string(m[1]), 64)
	if value < 0 {
		value = -value
	}
	return value, took, err
}

// writeLP writes the program in the CPLEX LP format, in Gbit/s. For the greatest flow
// variable r<d> is a demand's rate; for λ it is the one variable l. f<s>_<e> is what
// the demands from node s have on link e.
func writeLP(w *bufio.Writer, in *solve.Instance, o solve.Objective) {
	d, g := &in.Demands, in.Graph
	const unit = 1e9
	bySource := map[int][]int{}
	for i := range d.Len() {
		bySource[int(d.Src[i])] = append(bySource[int(d.Src[i])], i)
	}
	var sources []int
	for s := range g.NumNodes() {
		if bySource[s] != nil {
			sources = append(sources, s)
		}
	}
	fmt.Fprint(w, "Minimize\n obj:")
	if o == solve.MaxLambda {
		fmt.Fprint(w, " - l")
	} else {
		for i := range d.Len() {
			fmt.Fprintf(w, " - r%d\n", i)
		}
	}
	fmt.Fprint(w, "\nSubject To\n")
	for _, s := range sources {
		// What arrives at a node and does not leave it is what its demand gets.
		at := map[int][]int{}
		for _, i := range bySource[s] {
			at[int(d.Dst[i])] = append(at[int(d.Dst[i])], i)
		}
		for v := range g.NumNodes() {
			if v == s {
				continue
			}
			fmt.Fprintf(w, " n%d_%d:", s, v)
			for _, e := range g.In(v) {
				if l := g.Link(int(e)); l.Usable() && l.Src != v {
					fmt.Fprintf(w, " + f%d_%d", s, e)
				}
			}
			for _, e := range g.Out(v) {
				if l := g.Link(int(e)); l.Usable() && l.Dst != s {
					fmt.Fprintf(w, " - f%d_%d", s, e)
				}
			}
			for _, i := range at[v] {
				if o == solve.MaxLambda {
					fmt.Fprintf(w, " - %.17g l", float64(d.Rate[i])/unit)
				} else {
					fmt.Fprintf(w, " - r%d", i)
				}
			}
			fmt.Fprint(w, " = 0\n")
		}
	}
	for e, l := range g.Links() {
		if !l.Usable() {
			continue
		}
		terms := 0
		for _, s := range sources {
			if l.Dst != s {
				if terms == 0 {
					fmt.Fprintf(w, " c%d:", e)
				}
				fmt.Fprintf(w, " + f%d_%d\n", s, e)
				terms++
			}
		}
		if terms > 0 {
			fmt.Fprintf(w, " <= %.17g\n", float64(l.Capacity)/unit)
		}
	}
	fmt.Fprint(w, "Bounds\n")
	if o == solve.MaxLambda {
		fmt.Fprint(w, " l <= 1\n")
	} else {
		for i := range d.Len() {
			fmt.Fprintf(w, " r%d <= %.17g\n", i, float64(d.Rate[i])/unit)
		}
	}
	fmt.Fprint(w, "End\n")
}
