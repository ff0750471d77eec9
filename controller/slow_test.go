package controller

import (
	"testing"

	"dssn/controller/southbound"
)

// A node that reads slowly costs its newest assignment and acknowledgement, however
// much has changed since it read last.
func TestASlowReaderIsOwedOneAssignment(t *testing.T) {
	s := &session{wake: make(chan struct{}, 1), deltas: true}
	s.put(&southbound.Assignment{Generation: 1}, nil)
	if out := s.next(); len(out) != 1 || out[0].Assignment == nil {
		t.Fatalf("the stream begins with %+v, want a whole assignment", out)
	}
	var last *southbound.Assignment
	for g := range uint64(10_000) {
		last = &southbound.Assignment{Generation: g + 2, Meters: []southbound.Meter{{Allocated: 1}}}
		s.put(last, &southbound.UsageAck{Epoch: "e", Sequence: g})
	}
	out := s.next()
	if len(out) != 2 || out[0].UsageAck == nil || out[0].UsageAck.Sequence != 9_999 || out[1].Delta == nil {
		t.Fatalf("after 10,000 changes %d messages wait, want the newest acknowledgement and one change", len(out))
	}
	got, err := out[1].Delta.Apply(&southbound.Assignment{Generation: 1})
	if err != nil || got.Generation != last.Generation || len(got.Meters) != 1 {
		t.Errorf("the change gives %+v (error %v), want generation %d", got, err, last.Generation)
	}
	if out := s.next(); len(out) != 0 {
		t.Errorf("%d messages wait twice", len(out))
	}
}
