package protect

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"dssn"
	"dssn/topology"
	"dssn/topology/paths"
)

// randomGraph makes 4 to 8 nodes joined by fibres of two directions each.
func randomGraph(r *rand.Rand) *topology.Graph {
	n := 4 + r.IntN(5)
	nodes := make([]topology.Node, n)
	for i := range nodes {
		nodes[i].Name = "n" + strconv.Itoa(i)
	}
	var links []topology.Link
	for u := range n {
		for v := range u {
			if r.IntN(2) == 0 {
				group := []uint32{uint32(r.IntN(8))}
				l := topology.Link{Src: u, Dst: v, Capacity: 100, LatencyMicros: int64(1 + r.IntN(5)), SRLGs: group}
				back := l
				back.Src, back.Dst = v, u
				links = append(links, l, back)
			}
		}
	}
	g, err := topology.Build("random", nodes, links)
	if err != nil {
		panic(err)
	}
	return g
}

// reachable reports whether any path leads from src to dst without the given
// links and nodes; it is the twin of the planner's searches.
func reachable(g *topology.Graph, src, dst int, link func(int32) bool, node func(int) bool) bool {
	seen, queue := map[int]bool{src: true}, []int{src}
	for len(queue) > 0 {
		u := queue[0]
		queue = queue[1:]
		if u == dst {
			return true
		}
		for _, e := range g.Out(u) {
			if v := g.Link(int(e)).Dst; link(e) && node(v) && !seen[v] {
				seen[v] = true
				queue = append(queue, v)
			}
		}
	}
	return false
}

// pinnable reports whether node segments can steer onto e.
func pinnable(g *topology.Graph, e int32) bool {
	l := g.Link(int(e))
	return paths.NextHops(g, l.Dst)[l.Src] == e
}

func TestNoFailureLeavesARepairThatCrossesIt(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	protected, bare, shared := 0, 0, 0
	for range 500 {
		g := randomGraph(r)
		primary, err := paths.Shortest(g, 0, g.NumNodes()-1, paths.Constraint{})
		if err != nil {
			continue
		}
		p, err := NewPlanner(g).Plan(primary)
		if err != nil {
			t.Fatal(err)
		}
		nodes := primary.Nodes(g)
		inner := nodes[1 : len(nodes)-1]
		if p.Backup != nil {
			protected++
			if err := p.Backup.Check(g, nodes[0], nodes[len(nodes)-1]); err != nil {
				t.Fatal(err)
			}
			for _, e := range p.Backup {
				if slices.Contains(primary, e) {
					t.Fatalf("backup %v shares link %d with %v", p.Backup, e, primary)
				}
				for _, group := range g.Link(int(e)).SRLGs {
					for _, f := range primary {
						if p.Separation == Disjoint && slices.Contains(g.Link(int(f)).SRLGs, group) {
							t.Fatalf("disjoint backup %v shares risk group %d with %v", p.Backup, group, primary)
						}
					}
				}
			}
			for _, u := range p.Backup.Nodes(g) {
				if p.Separation < LinkDisjoint && slices.Contains(inner, u) {
					t.Fatalf("%v backup %v crosses node %d of %v", p.Separation, p.Backup, u, primary)
				}
			}
		} else {
			bare++
			reverse := NewPlanner(g).withReverse(primary)
			if reachable(g, nodes[0], nodes[len(nodes)-1], func(e int32) bool { return !slices.Contains(reverse, e) && pinnable(g, e) }, func(int) bool { return true }) {
				t.Fatalf("no backup for %v although a link-disjoint path exists", primary)
			}
		}
		for _, d := range p.Detours {
			if d.Path == nil {
				// Nothing is left: not even with a shared risk is there a way.
				both := NewPlanner(g).withReverse(primary[d.Hop : d.Hop+1])
				if reachable(g, nodes[d.Hop], nodes[len(nodes)-1], func(e int32) bool { return !slices.Contains(both, e) && pinnable(g, e) },
					func(u int) bool { return !slices.Contains(nodes[:d.Hop], u) }) {
					t.Fatalf("no detour for hop %d of %v although there is a way", d.Hop, primary)
				}
				continue
			}
			if err := d.Path.Check(g, nodes[d.Hop], nodes[len(nodes)-1]); err != nil {
				t.Fatal(err)
			}
			if slices.Contains(d.Path, primary[d.Hop]) || d.PastNode && slices.Contains(d.Path.Nodes(g), nodes[d.Hop+1]) {
				t.Fatalf("detour %+v crosses what it goes round on %v", d, primary)
			}
			crosses := false
			for _, e := range d.Path {
				for _, group := range g.Link(int(e)).SRLGs {
					crosses = crosses || slices.Contains(g.Link(int(primary[d.Hop])).SRLGs, group)
				}
			}
			if crosses != d.SharesRisk {
				t.Fatalf("detour %+v of hop %v shares a risk: %v", d, primary[d.Hop], crosses)
			}
			if d.SharesRisk {
				shared++
			}
			for _, u := range nodes[:d.Hop] {
				if slices.Contains(d.Path.Nodes(g), u) {
					t.Fatalf("detour %+v returns to node %d of %v", d, u, primary)
				}
			}
			if want, err := paths.Segments(g, d.Path); err != nil || !slices.Equal(want, d.Segments) {
				t.Fatalf("segments %v, want %v (%v)", d.Segments, want, err)
			}
		}
	}
	if protected < 100 || bare < 30 || shared < 30 {
		t.Errorf("the cases are lopsided: %d protected, %d bare, %d detours that share a risk", protected, bare, shared)
	}
}

func TestSurveyCountsEveryBitOfTraffic(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	lost := 0
	for range 60 {
		g := randomGraph(r)
		planner := NewPlanner(g)
		var traffic []Traffic
		for dst := 1; dst < g.NumNodes(); dst++ {
			primary, err := paths.Shortest(g, 0, dst, paths.Constraint{})
			if err != nil {
				continue
			}
			p, err := planner.Plan(primary)
			if err != nil {
				t.Fatal(err)
			}
			traffic = append(traffic, Traffic{p, dssn.Bandwidth(1 + r.IntN(60))})
		}
		risks := Risks(g)
		out := Survey(g, traffic, risks, true)
		if want := len(risks) * (len(risks) + 1) / 2; len(out) != want {
			t.Fatalf("%d outcomes of %d risks, want %d", len(out), len(risks), want)
		}
		for i, o := range out {
			if o.Hit != o.Repaired+o.Lost+o.Ended {
				t.Fatalf("traffic is not conserved: %+v", o)
			}
			if i > 0 && o.Lost > out[i-1].Lost {
				t.Fatalf("the worst do not come first: %+v after %+v", o, out[i-1])
			}
			lost += int(o.Lost)
		}
		for _, risk := range risks {
			i := slices.IndexFunc(out, func(o Outcome) bool { return o.Failure == risk.Name })
			var hit, gone dssn.Bandwidth
			for _, x := range traffic {
				cut := func(p paths.Path) bool {
					return slices.ContainsFunc(p, func(e int32) bool { return slices.Contains(risk.Links, e) })
				}
				nodes := x.Primary.Nodes(g)
				ends := risk.Node >= 0 && (risk.Node == nodes[0] || risk.Node == nodes[len(nodes)-1])
				if cut(x.Primary) {
					hit += x.Rate
					if !ends && (x.Backup == nil || cut(x.Backup)) {
						gone += x.Rate
					}
				}
			}
			if out[i].Hit != hit || out[i].Lost != gone {
				t.Fatalf("%s: got %+v, want hit %d lost %d", risk.Name, out[i], hit, gone)
			}
		}
	}
	if lost == 0 {
		t.Error("nothing was ever lost")
	}
}
