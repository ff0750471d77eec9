package topology

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dssn"
)

const tiny = `{"format":"te-topology/1","name":"tiny","nodes":[{"name":"a","lat":1.5,"lon":2,"sid":"11"},{"name":"b"}],
"links":[{"src":0,"dst":1,"bps":1000,"latency_us":5,"srlg":[7],"drained":true},{"src":1,"dst":0,"bps":2000,"latency_us":0}]}`

func TestReadKeepsEveryField(t *testing.T) {
	g, err := Read([]byte(tiny))
	if err != nil {
		t.Fatal(err)
	}
	if g.NumNodes() != 2 || g.NumLinks() != 2 || g.Name != "tiny" {
		t.Fatalf("got %d nodes, %d links, name %q", g.NumNodes(), g.NumLinks(), g.Name)
	}
	if n := g.Node(0); n.SID != 0x11 || !n.Located || n.Lat != 1.5 || n.Lon != 2 || g.Node(1).Located {
		t.Errorf("node 0 is %+v, node 1 is %+v", n, g.Node(1))
	}
	if l := g.Link(0); l.Capacity != 1000 || l.LatencyMicros != 5 || len(l.SRLGs) != 1 || l.SRLGs[0] != 7 || !l.Drained || l.Usable() {
		t.Errorf("link 0 is %+v", l)
	}
	if i, ok := g.NodeByName("b"); !ok || i != 1 {
		t.Errorf("node b is at %d, %v", i, ok)
	}
	if i, ok := g.NodeBySID(0x11); !ok || i != 0 {
		t.Errorf("SID 11 is at %d, %v", i, ok)
	}
	if i, ok := g.LinkBetween(1, 0); !ok || i != 1 {
		t.Errorf("link b>a is at %d, %v", i, ok)
	}
}

func TestReadRefusesInOneSentenceNamingTheElement(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`"name":"b"`, `"name":""`, "node 1 has no name"},
		{`"name":"b"`, `"name":"b","sid":"11"`, "both have SID 11"},
		{`"sid":"11"`, `"sid":"0"`, "node 0"},
		{`"sid":"11"`, `"colour":"red"`, `node 0 has an unknown field "colour"`},
		{`"lat":1.5,`, ``, "node 0 has only one of lat and lon"},
		{`"lat":1.5`, `"lat":91`, "not on Earth"},
		{`"lat":1.5`, `"lat":NaN`, "node 0: lat is not a number"},
		{`"lat":1.5`, `"lat":1e999`, "not a finite number"},
		{`"src":1,"dst":0`, `"src":0,"dst":1`, "link 0 and link 1 both lead"},
		{`"src":1,"dst":0`, `"src":1,"dst":1`, `link 1 leads from node "b" to itself`},
		{`"src":1,"dst":0`, `"src":1,"dst":9`, "link 1 ends at node 9"},
		{`"src":1,"dst":0`, `"src":1,"dst":4294967296`, "link 1 ends at node -1"},
		{`"src":1,`, ``, "link 1 lacks"},
		{`"bps":2000`, `"bps":0`, "link 1 has capacity 0"},
		{`"bps":2000`, `"bps":-4`, "link 1 has capacity -4"},
		{`"bps":2000`, `"bps":2e3`, "link 1: bps is not an integer"},
		{`"bps":2000`, `"bps":20000000000000000000`, "link 1: bps is too large"},
		{`"bps":2000`, `"bps":9000000000000000000`, "link 1 has capacity"},
		{`"latency_us":0`, `"latency_us":-1`, "link 1 has latency -1"},
		{`"latency_us":0`, `"latency_us":0,"latency_us":1`, `link 1 has key "latency_us" twice`},
		{`te-topology/1`, `te-topology/9`, "the format is"},
		{`"name":"tiny"`, `"nom":"tiny"`, `unknown field "nom"`},
		{`}]}`, `}]} x`, "more text follows"},
		{`}]}`, `}`, "missing"},
	} {
		text := strings.Replace(tiny, c.old, c.new, 1)
		if text == tiny {
			t.Fatalf("%q does not occur in the example", c.old)
		}
		if _, err := Read([]byte(text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("with %s: got %v, want a sentence with %q", c.new, err, c.want)
		}
	}
	if _, err := Read([]byte(`{"format":"te-topology/1","nodes":[],"links":[]}`)); err == nil {
		t.Error("a topology without nodes was accepted")
	}
}

func TestCloneIsIndependentOfItsOriginal(t *testing.T) {
	g, err := Read([]byte(tiny))
	if err != nil {
		t.Fatal(err)
	}
	c := g.Clone()
	c.SetDown(1, true)
	c.SetDrained(0, false)
	if err := c.SetCapacity(1, 5*dssn.Gbps); err != nil {
		t.Fatal(err)
	}
	if l := g.Link(1); l.Down || l.Capacity != 2000 || !g.Link(0).Drained {
		t.Errorf("changing the clone changed the original to %+v", l)
	}
	if err := c.SetCapacity(1, 0); err == nil || c.Link(1).Capacity != 5*dssn.Gbps {
		t.Errorf("capacity 0: error %v, capacity now %v", err, c.Link(1).Capacity)
	}
	if err := c.SetLatency(0, -1); err == nil || c.Link(0).LatencyMicros != 5 {
		t.Errorf("latency -1: error %v, latency now %v", err, c.Link(0).LatencyMicros)
	}
}

func TestARepeatedNameIsFoundOnlyByIndex(t *testing.T) {
	g, err := Read([]byte(strings.Replace(tiny, `"name":"b"`, `"name":"a"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if i, ok := g.NodeByName("a"); ok {
		t.Errorf("the repeated name was found as node %d", i)
	}
	if _, err := g.FindNode("a"); err == nil || !strings.Contains(err.Error(), "#0, #1") {
		t.Errorf("got %v, want both indexes named", err)
	}
	if i, err := g.FindNode("#1"); i != 1 || err != nil {
		t.Errorf("#1 was found as %d, %v", i, err)
	}
	if _, err := g.FindNode("#2"); err == nil {
		t.Error("#2 was found")
	}
	if l := g.LinkName(0); l != "a#0>a#1" {
		t.Errorf("link 0 prints as %s", l)
	}
}

// developmentTopologies returns the real topologies that lie beside the
// repository, or nothing where they do not.
func developmentTopologies(t testing.TB) map[string]string {
	files, err := filepath.Glob("../../shared/topologies/*.json")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, f := range files {
		m[strings.TrimSuffix(filepath.Base(f), ".json")] = f
	}
	return m
}

func TestEveryDevelopmentTopologyReads(t *testing.T) {
	for name, file := range developmentTopologies(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		g, err := Read(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if g.Name != name || g.NumLinks()%2 != 0 {
			t.Errorf("%s: read as %q with %d links", name, g.Name, g.NumLinks())
		}
	}
}
