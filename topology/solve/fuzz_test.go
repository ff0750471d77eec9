package solve

import (
	"bytes"
	"testing"
)

const little = `{"format":"te-instance/1","name":"x","nodes":[{"name":"a"},{"name":"b"}],"links":[{"src":0,"dst":1,"bps":10,"latency_us":3}],
"demands":{"src":[0],"dst":[1],"bps":[20],"weight":[1.5],"class":[0],"max_latency_us":[null]}}`

// FuzzReadInstance checks that whatever is accepted can be solved and verified.
func FuzzReadInstance(f *testing.F) {
	f.Add([]byte(little))
	f.Add(bytes.Replace([]byte(little), []byte("null"), []byte("2"), 1))
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := ReadInstance(text)
		if err != nil || in.Graph.NumNodes() > 50 || in.Demands.Len() > 50 {
			return
		}
		for _, o := range []Objective{MaxFlow, MaxLambda, MaxMinFair} {
			a, err := Solve(in, Options{Objective: o})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(in, a); err != nil {
				t.Fatalf("%v: %v\n%s", o, err, text)
			}
		}
	})
}

// FuzzReadAllocation checks that whatever is accepted prints back to the same text.
func FuzzReadAllocation(f *testing.F) {
	f.Add([]byte(`{"format":"te-allocation/1","objective":"flow","flows":[[0,1.5,[0,1]]],"prices":[0,0.5]}`))
	f.Add([]byte(`{"format":"te-allocation/1","objective":"maxmin","flows":[],"levels":[{"rate":1,"prices":[1]}],"seconds":2,"solver":"x"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, name, err := ReadAllocation(text)
		if err != nil {
			return
		}
		once := a.AppendJSON(nil, name)
		b, again, err := ReadAllocation(once)
		if err != nil || again != name {
			t.Fatalf("what was written does not read: %v\n%s", err, once)
		}
		if twice := b.AppendJSON(nil, again); !bytes.Equal(once, twice) {
			t.Fatalf("written %s\nthen %s", once, twice)
		}
	})
}
