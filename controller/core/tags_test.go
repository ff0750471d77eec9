package core_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/controller/core"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// checkTags: every contract that runs has a tag of its own, which it keeps; its edge and
// the backbone nodes of all its paths are told the same, and nobody else is.
func (s *script) checkTags(line string) {
	s.t.Helper()
	owner := map[uint32]dssn.ReservationID{}
	for id, tag := range s.c.Tags() {
		if owner[tag] != 0 || tag < 1 || tag > southbound.MaxTag {
			s.t.Fatalf("after %q: %s and %s have the tag %d", line, id, owner[tag], tag)
		}
		owner[tag] = id
		if was := s.tags[id]; was != 0 && was != tag {
			s.t.Fatalf("after %q: the tag of %s is %d and was %d", line, id, tag, was)
		}
	}
	s.tags = maps.Clone(s.c.Tags())
	told := map[string][]southbound.TransitMeter{}
	for _, r := range s.c.Reservations(operator) {
		runs := r.State == northbound.StateActive || r.State == northbound.StateDegraded
		if tag := s.tags[r.ID]; (tag != 0) != (runs && !r.Implicit) {
			s.t.Fatalf("after %q: %s is %s, implicit %v, and has the tag %d", line, r.ID, r.State, r.Implicit, tag)
		} else if tag == 0 {
			continue
		}
		for _, name := range []string{r.Ingress, r.Egress} {
			for _, m := range s.c.Assignment(name).Meters {
				if want := s.tags[r.ID]; m.Reservation == r.ID && (m.Ingress && m.Tag != want || !m.Ingress && m.Tag != 0) {
					s.t.Fatalf("after %q: %s is told the tag %d of %s, which has %d", line, name, m.Tag, r.ID, want)
				}
			}
		}
		seen := map[string]bool{r.Ingress: true, r.Egress: true}
		for _, name := range slices.Concat(append([][]string{r.Path}, r.Repairs...)...) {
			if !seen[name] {
				seen[name] = true
				told[name] = append(told[name], southbound.TransitMeter{Reservation: r.ID, Tag: s.tags[r.ID], Class: r.Class, Committed: owed(r, s.now), Ceiling: r.Ceiling})
			}
		}
	}
	for _, n := range s.c.Status(operator).Nodes {
		got := slices.Clone(s.c.Assignment(n.Name).Transit)
		for i := range got {
			if got[i].Source == 0 || got[i].Burst == 0 {
				s.t.Fatalf("after %q: %s is told %+v", line, n.Name, got[i])
			}
			got[i].Source, got[i].Burst = 0, 0
		}
		want := told[n.Name]
		slices.SortFunc(want, func(a, b southbound.TransitMeter) int { return int(int64(a.Reservation) - int64(b.Reservation)) })
		if !slices.Equal(got, want) {
			s.t.Fatalf("after %q: %s is told\n%+v, want\n%+v", line, n.Name, got, want)
		}
	}
}

func tagged(t *testing.T) *script {
	s := newScript(t)
	s.run(world + "publish north-1 rain 1000\npublish north-1 wind 1000\ngrant operator rain south 86400\ngrant operator wind south 86400\n")
	return s
}

func TestATagIsTheLastToBeUsedAgain(t *testing.T) {
	s := tagged(t)
	for want := uint32(1); want < 6; want++ {
		s.run("reserve south-1 rain committed=1G")
		if got := slices.Collect(maps.Values(s.c.Tags())); !slices.Equal(got, []uint32{want}) {
			t.Fatalf("tags %v, want %d", got, want)
		}
		s.run("release south-1 rain")
	}
	if len(s.c.Tags()) != 0 {
		t.Errorf("%v after the end of all contracts", s.c.Tags())
	}
	s.checkReplay()
}

func TestWhoFindsNoTagSaysSoAndHasTheNextThatIsFree(t *testing.T) {
	s := tagged(t)
	s.c.TakeTags(7, true)
	s.alone = true // the state does not say who took them
	s.run("reserve south-1 rain committed=1G\nreserve south-1 wind committed=1G")
	first, second := s.res["south-1/rain"], s.res["south-1/wind"]
	if tags := s.c.Tags(); tags[first] != 7 || tags[second] != 0 {
		t.Fatalf("tags %v", tags)
	}
	if !strings.Contains(s.out.String(), "untagged: all 4095 tags are taken: the reservation is policed where it enters and not on its way") {
		t.Error("nobody said that there was no tag")
	}
	s.run("modify south-1 wind committed=2G") // is not said twice
	if n := strings.Count(s.out.String(), "untagged:"); n != 1 {
		t.Errorf("said %d times", n)
	}
	s.run("release south-1 rain")
	if tags := s.c.Tags(); tags[second] != 7 {
		t.Errorf("tags %v after one was given back", tags)
	}
	s.c.TakeTags(7, false)
	s.alone = false
	s.run("modify south-1 wind committed=3G")
	s.checkTags("modify")
}

// TestASnapshotFromBeforeTagsIsContinued takes the tags out of a snapshot: the restored
// core says what was issued, and gives tags with the next step.
func TestASnapshotFromBeforeTagsIsContinued(t *testing.T) {
	s := tagged(t)
	s.run("reserve south-1 rain committed=1G\nreserve south-1 wind committed=1G")
	snap, err := s.c.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var state map[string]json.RawMessage
	if err := json.Unmarshal(snap, &state); err != nil {
		t.Fatal(err)
	}
	delete(state, "tags")
	delete(state, "last_tag")
	if snap, err = json.Marshal(state); err != nil {
		t.Fatal(err)
	}
	old, err := core.Restore(snap)
	if err != nil {
		t.Fatal(err)
	}
	if a := old.Assignment("b"); len(a.Transit) != 0 || len(old.Tags()) != 0 {
		t.Fatalf("before any step: tags %v, told %+v", old.Tags(), a.Transit)
	}
	before := old.Assignment("b").Generation
	s.c = old
	s.run("modify south-1 rain committed=2G")
	s.checkTags("modify")
	if len(s.c.Tags()) != 2 || s.c.Assignment("b").Generation != before+1 {
		t.Errorf("tags %v, generation %d after %d", s.c.Tags(), s.c.Assignment("b").Generation, before)
	}
}

// owed is a contract's committed rate at a moment, its boosts and plan counted.
func owed(r northbound.Reservation, now time.Time) (rate dssn.Bandwidth) {
	rate = r.Committed
	for _, b := range r.Boosts {
		if b.State == northbound.BoostRunning {
			rate += b.Extra
		}
	}
	for _, p := range r.Plan {
		if !now.Before(p.From) && now.Before(p.To) {
			rate += p.Rate
		}
	}
	return rate
}
