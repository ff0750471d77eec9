package topology

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// FuzzRead checks that whatever is accepted prints back to the same text.
func FuzzRead(f *testing.F) {
	f.Add([]byte(tiny))
	f.Add([]byte(`{"format":"te-topology/1","nodes":[{"name":"\u00e9\ud83d\ude00\n"}],"links":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		g, err := Read(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("the refusal has two lines: %q", err)
			}
			return
		}
		once := g.AppendJSON(nil)
		again, err := Read(once)
		if err != nil {
			t.Fatalf("what was written does not read: %v\n%s", err, once)
		}
		if twice := again.AppendJSON(nil); !bytes.Equal(once, twice) {
			t.Fatalf("written %s\nthen %s", once, twice)
		}
	})
}

const zoo = `<?xml version="1.0" encoding="utf-8"?><graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key attr.name="Latitude" attr.type="double" for="node" id="d29"/><key attr.name="Longitude" attr.type="double" for="node" id="d32"/>
<key attr.name="label" attr.type="string" for="node" id="d33"/><key attr.name="LinkSpeedRaw" attr.type="double" for="edge" id="d36"/>
<key attr.name="Network" attr.type="string" for="graph" id="d1"/>
<graph edgedefault="undirected"><data key="d1">Little</data>
<node id="0"><data key="d29">52.5</data><data key="d32">13.4</data><data key="d33">Berlin &amp; all</data></node>
<node id="1"><data key="d29">48.1</data><data key="d32">11.6</data><data key="d33">Munich</data></node><node id="2"/>
<edge source="0" target="1"><data key="d36">10000000000.0</data></edge><edge source="1" target="0"/><edge source="1" target="2"/>
</graph></graphml>`

func TestGraphMLOfTheZooReads(t *testing.T) {
	g, err := ReadAny([]byte(zoo))
	if err != nil {
		t.Fatal(err)
	}
	if g.Name != "Little" || g.NumNodes() != 3 || g.NumLinks() != 4 {
		t.Fatalf("read %q with %d nodes and %d links, want Little with 3 and 4", g.Name, g.NumNodes(), g.NumLinks())
	}
	// Berlin to Munich is 505 km: times 1.3 at 200 km/ms that is 3.3 ms.
	if l := g.Link(0); l.Capacity != 10_000_000_000+defaultCapacity || l.LatencyMicros < 3200 || l.LatencyMicros > 3400 {
		t.Errorf("link 0 is %+v", l)
	}
	if l := g.Link(2); l.Capacity != defaultCapacity || l.LatencyMicros != minLatencyMicros || g.Node(2).Name != "2" || g.Node(0).Name != "Berlin & all" {
		t.Errorf("link 2 is %+v, node 2 %+v", l, g.Node(2))
	}
	again, err := ReadGraphML(g.AppendGraphML(nil))
	if err != nil || !bytes.Equal(again.AppendJSON(nil)[40:], g.AppendJSON(nil)[40+len("Little"):]) && again.NumLinks() != g.NumLinks() {
		t.Errorf("what was written reads as %+v, %v", again, err)
	}
	for i := range g.NumLinks() {
		if a, b := g.Link(i), again.Link(i); a.Src != b.Src || a.Dst != b.Dst || a.Capacity != b.Capacity || a.LatencyMicros != b.LatencyMicros {
			t.Errorf("link %d was %+v and reads back as %+v", i, a, b)
		}
	}
	dot := string(g.AppendDOT(nil))
	for _, want := range []string{`digraph "Little"`, `n0 -> n1 [label="110G"]`, `pos="13.4,52.5!"`} {
		if !strings.Contains(dot, want) {
			t.Errorf("the drawing lacks %s:\n%s", want, dot)
		}
	}
}

func TestGraphMLWithAnEdgeToItselfIsRefused(t *testing.T) {
	text := strings.Replace(zoo, `<edge source="1" target="2"/>`, `<edge source="1" target="1"/>`, 1)
	_, err := ReadAny([]byte(text))
	if want := `edge 2 leads from node "Munich" to itself`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func FuzzReadGraphML(f *testing.F) {
	f.Add([]byte(zoo))
	f.Fuzz(func(t *testing.T, text []byte) {
		g, err := ReadGraphML(text)
		if err != nil {
			return
		}
		if _, err := ReadGraphML(g.AppendGraphML(nil)); err != nil {
			t.Fatalf("what was written does not read: %v", err)
		}
	})
}

func TestDevelopmentTopologiesWriteBack(t *testing.T) {
	for name, file := range developmentTopologies(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		g, err := Read(text)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Read(g.AppendJSON(nil))
		if err != nil || again.NumLinks() != g.NumLinks() || again.Node(again.NumNodes()-1) != g.Node(g.NumNodes()-1) {
			t.Errorf("%s does not read back: %v", name, err)
		}
	}
}
