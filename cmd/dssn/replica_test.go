package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/internal/need"
	"dssn/perf/lab"
)

// threeHubs stand in a row.
const threeHubs = `{"format":"te-topology/1","name":"three","nodes":[{"name":"a"},{"name":"b"},{"name":"c"}],
"links":[{"src":0,"dst":1,"bps":5000000000,"latency_us":9000},{"src":1,"dst":0,"bps":5000000000,"latency_us":9000},
{"src":1,"dst":2,"bps":5000000000,"latency_us":9000},{"src":2,"dst":1,"bps":5000000000,"latency_us":9000}]}`

// TestTheNearestReplicaServes: a second holder of a dataset is a longer prefix
// at the ingress edge, an address of its own among that of the first; when it
// goes away, the first serves again, also in the middle of a fetch.
func TestTheNearestReplicaServes(t *testing.T) {
	need.Root(t)
	need.Long(t)
	l, err := lab.Boot(t.Context(), lab.BootOptions{ID: "replica", Topology: []byte(threeHubs), Holder: "a", Consumer: "c", Replica: "c", MTU: 1500, Program: program(t)}, logWriter{t})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	v := town{t, l}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	write(t, filepath.Join(data, "big.bin"), 48<<20)
	write(t, filepath.Join(data, "small.txt"), 100)
	publish := func(node string) (id dssn.DataID) {
		t.Helper()
		var r struct {
			ID dssn.DataID `json:"id"`
		}
		mustJSON(t, v.works(node, "dssn", "publish", data, "--name", "forecast", "--grade", "2", "--category", "meteorology", "--json"), &r)
		return r.ID
	}
	nodes := map[string]dssn.NodeID{}
	var s northbound.Status
	mustJSON(t, v.works("controller", "dssn", "status", "--json"), &s)
	for _, n := range s.Nodes {
		nodes[n.Name] = n.Node
	}
	type got struct {
		Holder  dssn.NodeID `json:"holder"`
		Earlier []string    `json:"earlier_transfers"`
	}
	get := func(out string, how ...string) (r got) {
		t.Helper()
		args := append([]string{"dssn", "get", "dssn://[" + publish("a-terminal").String() + "]/", "-o", filepath.Join(dir, out), "--json"}, how...)
		mustJSON(t, v.works("c-terminal", args...), &r)
		same(t, filepath.Join(data, "big.bin"), filepath.Join(dir, out, "big.bin"))
		return r
	}

	id := publish("a-terminal")
	v.works("a-terminal", "dssn", "grant", id.String(), "--to", "c-institute", "--until", "24h")
	if r := get("first"); r.Holder != nodes["a-terminal"] {
		t.Errorf("with one holder %s served, want %s", r.Holder, nodes["a-terminal"])
	}
	if r := get("kcp", "--transport", "kcp"); r.Holder != nodes["a-terminal"] {
		t.Errorf("over KCP %s served, want %s", r.Holder, nodes["a-terminal"])
	}
	if other := publish("c-replica"); other != id {
		t.Fatalf("the same content is %s at the second holder and %s at the first", other, id)
	}
	if r := get("second"); r.Holder != nodes["c-replica"] {
		t.Errorf("with a nearer holder %s served, want %s", r.Holder, nodes["c-replica"])
	}

	// The nearer one is killed in the middle of a fetch.
	v.works("c-terminal", "dssn", "reserve", "--to", id.String(), "--committed", "40M", "--ceiling", "100M")
	done := make(chan lab.Typed, 1)
	go func() {
		r, err := l.Type(t.Context(), "c-terminal", "dssn", "get", id.URI(), "-o", filepath.Join(dir, "third"), "--json")
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	arriving := func() bool {
		var u northbound.Usage
		mustJSON(t, v.works("controller", "dssn", "usage", "--json"), &u)
		for _, x := range u.Transfers {
			if x.Holder == "c-replica" && x.State == northbound.TransferRunning && x.ReceiverBytes > 1<<20 {
				return true
			}
		}
		return false
	}
	for end := time.Now().Add(30 * time.Second); !arriving(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the third fetch did not begin")
		}
	}
	v.works("c-replica", "sh", "-c", `kill -9 $(sed 's/.*"pid": *\([0-9]*\).*/\1/;t;d' /run/dssn-lab/replica/processes/c-replica)`)
	r := <-done
	if r.Code != exitOK {
		t.Fatalf("the fetch whose holder was killed: exit code %d: %s", r.Code, r.Err)
	}
	var third got
	mustJSON(t, r.Out, &third)
	same(t, filepath.Join(data, "big.bin"), filepath.Join(dir, "third", "big.bin"))
	if third.Holder != nodes["a-terminal"] || len(third.Earlier) != 1 {
		t.Errorf("it ended with the holder %s after the transfers %v; want %s after one other", third.Holder, third.Earlier, nodes["a-terminal"])
	}

	// Each holder is accounted for its own, and where both ends agree it is settled.
	var u northbound.Usage
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		mustJSON(t, v.works("controller", "dssn", "usage", "--json"), &u)
		settled := 0
		for _, x := range u.Transfers {
			if x.State == northbound.TransferSettled {
				settled++
			}
		}
		if settled >= 4 {
			break
		}
	}
	for _, x := range u.Transfers {
		if x.State == northbound.TransferSettled && x.HolderBytes != x.ReceiverBytes || x.State == northbound.TransferDisputed {
			t.Errorf("transfer %+v", x)
		}
	}
	if n := len(u.Transfers); n != 5 {
		t.Errorf("%d transfers are known, want 5: %+v", n, u.Transfers)
	}
	if events := v.works("controller", "dssn", "events"); strings.Contains(events, "usage-mismatch") {
		t.Errorf("the ends described a transfer differently:\n%s", events)
	}
}
