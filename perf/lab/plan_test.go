package lab

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"dssn/topology"
	"dssn/topology/paths"
)

func eightHubs(t testing.TB) *topology.Graph {
	t.Helper()
	g, err := topology.Read(EightHubs)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestAnyTwoOfTheEightHubsHaveDisjointRoutesBothWays(t *testing.T) {
	g := eightHubs(t)
	if g.NumNodes() != 8 || g.NumLinks()%2 != 0 {
		t.Fatalf("%d nodes and %d links: want 8 and an even number", g.NumNodes(), g.NumLinks())
	}
	for a := range g.NumNodes() {
		if g.Node(a).SID == 0 || !g.Node(a).Located {
			t.Errorf("%s has no SID or no place", g.Node(a).Name)
		}
		for b := range g.NumNodes() {
			if a == b {
				continue
			}
			if _, _, err := paths.DisjointPair(g, a, b, paths.NodeDisjoint, paths.Constraint{}); err != nil {
				t.Errorf("%s to %s: %v", g.Node(a).Name, g.Node(b).Name, err)
			}
		}
	}
	for i, l := range g.Links() {
		j, ok := g.LinkBetween(l.Dst, l.Src)
		if !ok || g.Link(j).Capacity != l.Capacity || g.Link(j).LatencyMicros != l.LatencyMicros {
			t.Errorf("%s has no equal link back", g.LinkName(i))
		}
	}
}

func TestPlanNamesAreUniqueAndFitTheKernel(t *testing.T) {
	var nodes, links strings.Builder
	for i := range 40 {
		fmt.Fprintf(&nodes, `{"name":"The very long name of a café № %d"},`, i)
		if i > 0 {
			fmt.Fprintf(&links, `{"src":0,"dst":%d,"bps":1,"latency_us":1},{"src":%d,"dst":0,"bps":1,"latency_us":1},`, i, i)
		}
	}
	text := fmt.Sprintf(`{"format":"te-topology/1","name":"x","nodes":[%s],"links":[%s]}`,
		strings.TrimSuffix(nodes.String(), ","), strings.TrimSuffix(links.String(), ","))
	g, err := topology.Read([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlan("x", g, []Terminal{{Name: "一", At: g.Node(0).Name}, {Name: "二", At: g.Node(1).Name}}, 1500)
	if err != nil {
		t.Fatal(err)
	}
	spaces, ifaces := map[string]bool{}, map[string]bool{}
	for _, n := range p.Nodes {
		if spaces[n.Namespace] || !strings.HasPrefix(n.Namespace, "dssn-x-") {
			t.Errorf("namespace %q of %q is taken or has another lab's name", n.Namespace, n.Name)
		}
		spaces[n.Namespace] = true
	}
	fibres := 0
	for _, w := range p.Wires {
		if w.Kind == wireFibre {
			fibres++
		}
		for _, e := range w.Ends {
			key := e.Node + " " + e.Interface
			if ifaces[key] || len(e.Interface) > 15 || e.Interface == "" {
				t.Errorf("interface %q of %q is taken or does not fit 15 bytes", e.Interface, e.Node)
			}
			ifaces[key] = true
		}
	}
	if fibres != 39 {
		t.Errorf("%d fibres, want 39: two directions are one fibre", fibres)
	}
}

func TestNamesThatDifferOnlyInCaseAreTwoNodes(t *testing.T) {
	g, err := topology.Read([]byte(`{"format":"te-topology/1","name":"x","nodes":[{"name":"Ji-nan"},{"name":"ji-nan"}],"links":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlan("x", g, nil, 1500)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Ji-nan", "ji-nan"} {
		if n, err := p.Node(name); err != nil || n.Name != name {
			t.Errorf("Node(%q) = %q, %v", name, n.Name, err)
		}
	}
	if n, err := p.Node("ji-nan-2"); err != nil || n.Name != "ji-nan" { // by its namespace
		t.Errorf("Node(ji-nan-2) = %q, %v", n.Name, err)
	}
}

func TestNodesOfOneNameAreToldApartByTheirIndex(t *testing.T) {
	g, text, err := distinct([]byte(`{"format":"te-topology/1","name":"x","nodes":[{"name":"None"},{"name":"b"},{"name":"None","sid":"7"}],"links":[{"src":0,"dst":2,"bps":5,"latency_us":1}]}`))
	if err != nil {
		t.Fatal(err)
	}
	again, err := topology.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"None#0", "b", "None#2"} {
		if g.Node(i).Name != want || again.Node(i) != g.Node(i) {
			t.Errorf("node %d is %+v, written as %+v, want %q", i, g.Node(i), again.Node(i), want)
		}
	}
	if again.NumLinks() != 1 || again.Link(0).Capacity != 5 {
		t.Errorf("the links became %+v", again.Links())
	}
}

func TestBadPlansAreRefusedInOneSentence(t *testing.T) {
	g := eightHubs(t)
	for _, c := range []struct {
		id    string
		terms []Terminal
		mtu   int
		want  string
	}{
		{"Lab One", nil, 1500, "cannot name a lab"},
		{"", nil, 1500, "cannot name a lab"},
		{"x", nil, 576, "MTU of 576"},
		{"x", []Terminal{{Name: "t", At: "atlantis"}}, 1500, `no node "atlantis" for a terminal: its nodes are beijing,`},
		{"x", []Terminal{{Name: "gansu", At: "gansu"}}, 1500, `cannot be named "gansu"`},
	} {
		_, err := NewPlan(c.id, g, c.terms, c.mtu)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("NewPlan(%q, %v, %d): %v, want one sentence with %q", c.id, c.terms, c.mtu, err, c.want)
		}
	}
}

func TestFarthestIsFarthest(t *testing.T) {
	g := eightHubs(t)
	a, b, err := Farthest(g)
	if err != nil {
		t.Fatal(err)
	}
	far := func(a, b int) int64 {
		p, err := paths.Shortest(g, a, b, paths.Constraint{})
		if err != nil {
			t.Fatal(err)
		}
		return p.Latency(g).Microseconds()
	}
	i, _ := g.NodeByName(a)
	j, _ := g.NodeByName(b)
	for x := range g.NumNodes() {
		for y := range x {
			if far(x, y) > far(i, j) {
				t.Errorf("%s and %s are farther apart than %s and %s", g.Node(x).Name, g.Node(y).Name, a, b)
			}
		}
	}
}

func TestLargeTopologyIsRefusedBeforeAnythingIsMade(t *testing.T) {
	if os.Geteuid() != 0 {
		if err := carries(1); err == nil || !strings.Contains(err.Error(), "root") {
			t.Errorf("without root: %v", err)
		}
		return
	}
	if err := carries(100000); err == nil || !strings.Contains(err.Error(), "100000 nodes") {
		t.Errorf("a hundred thousand nodes: %v", err)
	}
	if err := carries(3); err != nil {
		t.Errorf("three nodes: %v", err)
	}
}
