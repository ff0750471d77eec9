package paths

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"dssn"
	"dssn/topology"
)

// randomGraph makes up to six nodes with many equal latencies, so that ties are
// the rule, zero latencies included.
func randomGraph(r *rand.Rand) *topology.Graph {
	n := 2 + r.IntN(5)
	nodes := make([]topology.Node, n)
	for i := range nodes {
		nodes[i] = topology.Node{Name: "n" + strconv.Itoa(i), SID: dssn.SID(0x10 + i)}
	}
	var links []topology.Link
	for u := range n {
		for v := range n {
			if u != v && r.IntN(5) < 3 {
				links = append(links, topology.Link{Src: u, Dst: v, Capacity: dssn.Bandwidth(1 + r.IntN(3)), LatencyMicros: int64(r.IntN(4)),
					SRLGs: []uint32{uint32(r.IntN(6))}, Down: r.IntN(12) == 0, Drained: r.IntN(12) == 0})
			}
		}
	}
	r.Shuffle(len(links), func(i, j int) { links[i], links[j] = links[j], links[i] })
	g, err := topology.Build("random", nodes, links)
	if err != nil {
		panic(err)
	}
	return g
}

// allPaths lists every loop-free path over usable links that passes keep.
func allPaths(g *topology.Graph, src, dst int, keep func(e int32) bool) (all []Path) {
	visited := make([]bool, g.NumNodes())
	var walk func(u int, p Path)
	walk = func(u int, p Path) {
		if u == dst {
			all = append(all, slices.Clone(p))
			return
		}
		visited[u] = true
		for _, e := range g.Out(u) {
			if l := g.Link(int(e)); l.Usable() && !visited[l.Dst] && keep(e) {
				walk(l.Dst, append(p, e))
			}
		}
		visited[u] = false
	}
	walk(src, nil)
	return all
}

func every(int32) bool { return true }

// better is the order of paths that the package documents.
func better(g *topology.Graph, a, b Path) bool {
	if x, y := a.Latency(g), b.Latency(g); x != y {
		return x < y
	}
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return slices.Compare(a, b) < 0
}

func TestShortestIsTheBestOfAllPaths(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	found, refused := 0, 0
	for range 3000 {
		g := randomGraph(r)
		src, dst := 0, g.NumNodes()-1
		c := Constraint{MaxLatency: time.Duration(r.IntN(8)) * time.Microsecond, MinFree: dssn.Bandwidth(r.IntN(3))}
		if r.IntN(2) == 0 && g.NumLinks() > 0 {
			c.AvoidLinks = []int32{int32(r.IntN(g.NumLinks()))}
			c.AvoidSRLGs = []uint32{uint32(r.IntN(8))}
		}
		if r.IntN(3) == 0 && g.NumNodes() > 2 {
			c.AvoidNodes = []int32{1}
		}
		var want Path
		for _, p := range allPaths(g, src, dst, func(e int32) bool {
			l := g.Link(int(e))
			return !slices.Contains(c.AvoidLinks, e) && !sharesRisk(l.SRLGs, c.AvoidSRLGs) && l.Capacity >= c.MinFree &&
				!slices.Contains(c.AvoidNodes, int32(l.Src)) && !slices.Contains(c.AvoidNodes, int32(l.Dst))
		}) {
			if want == nil || better(g, p, want) {
				want = p
			}
		}
		if c.MaxLatency > 0 && want.Latency(g) > c.MaxLatency {
			want = nil
		}
		got, err := Shortest(g, src, dst, c)
		if !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Fatalf("links %+v, constraint %+v: got %v (%v), want %v", g.Links(), c, got, err, want)
		}
		var none *NoPathError
		if err != nil && !errors.As(err, &none) {
			t.Fatalf("the error is %T", err)
		}
		if err == nil {
			found++
		} else {
			refused++
		}
	}
	if found < 500 || refused < 500 {
		t.Errorf("the cases are lopsided: %d found, %d refused", found, refused)
	}
}

func TestNextHopsFollowShortest(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 1000 {
		g := randomGraph(r)
		dst := r.IntN(g.NumNodes())
		next := NextHops(g, dst)
		for src := range g.NumNodes() {
			if src == dst {
				if next[src] != -1 {
					t.Fatalf("the destination has next hop %d", next[src])
				}
				continue
			}
			want, err := Shortest(g, src, dst, Constraint{})
			if err != nil {
				if next[src] != -1 {
					t.Fatalf("no path from %d, but next hop %d", src, next[src])
				}
				continue
			}
			if next[src] != want[0] {
				t.Fatalf("next hop of %d is %d, the shortest path is %v", src, next[src], want)
			}
		}
	}
}

// forward walks hop by hop the way the network would.
func forward(g *topology.Graph, src int, waypoints []int) (p Path) {
	at := src
	for _, w := range waypoints {
		next := NextHops(g, w)
		for at != w {
			if next[at] < 0 || len(p) > 50 {
				return nil
			}
			p = append(p, next[at])
			at = g.Link(int(next[at])).Dst
		}
	}
	return p
}

// fewest finds by trying all lists how few waypoints pin p; 0 if none does.
func fewest(g *topology.Graph, p Path) int {
	nodes := p.Nodes(g)
	for k := 1; k <= len(p); k++ {
		list := make([]int, k)
		list[k-1] = nodes[len(nodes)-1]
		var try func(i int) bool
		try = func(i int) bool {
			if i == k-1 {
				return slices.Equal(forward(g, nodes[0], list), p)
			}
			for _, u := range nodes[1 : len(nodes)-1] {
				list[i] = u
				if try(i + 1) {
					return true
				}
			}
			return false
		}
		if try(0) {
			return k
		}
	}
	return 0
}

func TestSegmentsPinThePathWithTheFewestWaypoints(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	long := 0
	for range 400 {
		g := randomGraph(r)
		for _, p := range allPaths(g, 0, g.NumNodes()-1, every) {
			want := fewest(g, p)
			got, err := Segments(g, p)
			if len(got) != want || (err == nil) != (want > 0) {
				t.Fatalf("links %+v, path %v: got %v (%v), want %d waypoints", g.Links(), p, got, err, want)
			}
			var odd *UnpinnableError
			if err != nil && !errors.As(err, &odd) {
				t.Fatalf("the error is %v", err)
			}
			if err == nil && !slices.Equal(forward(g, 0, got), p) {
				t.Fatalf("waypoints %v lead over %v, not over %v", got, forward(g, 0, got), p)
			}
			if want > 1 {
				long++
			}
		}
	}
	if long < 100 {
		t.Errorf("only %d paths needed more than one waypoint", long)
	}
}

func TestCarrierNamesTheWaypoints(t *testing.T) {
	g, err := topology.Build("line", []topology.Node{{Name: "a", SID: 0x11}, {Name: "b", SID: 0x12}, {Name: "c"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Carrier(g, dssn.LabBlock, []int{1, 0})
	if err != nil || c.String() != "5f00:d55:12:11::" {
		t.Errorf("got %v, %v", c, err)
	}
	if _, err := Carrier(g, dssn.LabBlock, []int{2}); err == nil {
		t.Error("a node without a SID was put into a carrier")
	}
}

func TestDisjointPairIsTheCheapestOfAllPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	found := 0
	for range 1500 {
		g := randomGraph(r)
		src, dst := 0, g.NumNodes()-1
		all := allPaths(g, src, dst, every)
		for _, how := range []Disjointness{LinkDisjoint, NodeDisjoint} {
			best := time.Duration(-1)
			for i, p := range all {
				for _, q := range all[:i] {
					if sum := p.Latency(g) + q.Latency(g); disjoint(g, p, q, how) && (best < 0 || sum < best) {
						best = sum
					}
				}
			}
			a, b, err := DisjointPair(g, src, dst, how, Constraint{})
			if (err == nil) != (best >= 0) {
				t.Fatalf("links %+v: error %v, best sum %v", g.Links(), err, best)
			}
			if err != nil {
				continue
			}
			found++
			for _, p := range []Path{a, b} {
				if err := p.Check(g, src, dst); err != nil {
					t.Fatal(err)
				}
			}
			if !disjoint(g, a, b, how) || a.Latency(g)+b.Latency(g) != best || a.Latency(g) > b.Latency(g) {
				t.Fatalf("links %+v: got %v and %v, best sum %v", g.Links(), a, b, best)
			}
		}
	}
	if found < 300 {
		t.Errorf("only %d pairs existed", found)
	}
}

func disjoint(g *topology.Graph, p, q Path, how Disjointness) bool {
	for _, e := range p {
		if slices.Contains(q, e) {
			return false
		}
	}
	if how == NodeDisjoint {
		inner := p.Nodes(g)
		for _, u := range inner[1 : len(inner)-1] {
			if slices.Contains(q.Nodes(g), u) {
				return false
			}
		}
	}
	return true
}
