package core_test

import (
	"testing"

	"dssn/controller/core"
	"dssn/controller/southbound"
)

// After a backup was restored nodes may have newer assignments than are known
// here. They take only what is above their own, so the next one is.
func TestANodeThatIsAheadOfARestoredStateIsToldAnew(t *testing.T) {
	s := newScript(t)
	s.run(world)
	had := s.c.Assignment("south-1")
	f := southbound.Features{NextCSID: true, CarrierEgress: true}
	if !s.c.Redundant(core.Input{Hello: &core.Hello{Node: "south-1", Features: f, Generation: had.Generation}}) {
		t.Error("a node that has the newest assignment says nothing new")
	}
	if s.c.Redundant(core.Input{Hello: &core.Hello{Node: "south-1", Features: f, Generation: had.Generation + 50}}) {
		t.Error("a node that is ahead was passed over")
	}
	if _, err := s.do("hello south-1 - generation=50"); err != nil {
		t.Fatal(err)
	}
	now := s.c.Assignment("south-1")
	if now.Generation != 51 {
		t.Errorf("the next assignment has generation %d, not 51", now.Generation)
	}
	a, b := *had, *now
	a.Generation, b.Generation = 0, 0
	if describe(&a) != describe(&b) {
		t.Errorf("it says something else:\n%s\n%s", describe(&a), describe(&b))
	}
	if _, err := s.do("hello south-1 - generation=18446744073709551615"); err != nil || s.c.Assignment("south-1").Generation != 51 {
		t.Errorf("a generation that cannot be was believed: %d (%v)", s.c.Assignment("south-1").Generation, err)
	}
	s.checkReplay()
}
