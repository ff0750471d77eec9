package core_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/controller/core"
	"dssn/controller/northbound"
)

// Random lives of a small network. After every step the assignments are those
// computed anew (see twin), nothing is allocated twice, and what is committed
// fits unless its contract says that it is degraded; at the end the journal
// gives the same state.
func TestNothingIsSoldTwiceWhateverHappens(t *testing.T) {
	runs := 25
	if testing.Short() {
		runs = 5
	}
	for seed := range uint64(runs) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { randomLife(t, seed) })
	}
	// Lives in which a pair lost its share to another that had to go over its link
	// after a cut, and still called itself active.
	for _, seed := range []uint64{196, 201, 272} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { randomLife(t, seed) })
	}
}

func randomLife(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	s := newScript(t)
	s.run(world + "hello north-1 - workers=4\nhello south-1 - workers=2\n" + "token south-2 terminal south\njoin south-2\nsee south-2 b\nsee b a c south-2\n" +
		"publish north-1 rain 1000\npublish north-1 wind 1000\npublish south-1 snow 1000\n")
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	for range 60 {
		data := pick("rain", "wind", "snow")
		node := pick("north-1", "south-1", "south-2")
		rate := fmt.Sprintf("%dM", random.IntN(9000))
		line := pick(
			"reserve "+node+" "+data+" committed="+rate+" ceiling=10G priority="+fmt.Sprint(1+random.IntN(100)),
			"reserve "+node+" "+data+" committed="+rate+" class=assured",
			"hold "+node+" "+data+" committed="+rate,
			fmt.Sprintf("reserve %s %s committed=%s from=%d for=%d priority=%d", node, data, rate, random.IntN(200), 1+random.IntN(200), 1+random.IntN(100)),
			fmt.Sprintf("reserve %s %s committed=%s for=%d", node, data, rate, 1+random.IntN(200)),
			fmt.Sprintf("reserve %s %s committed=%s class=assured delay=%dms", node, data, rate, 1+random.IntN(20)),
			fmt.Sprintf("reserve %s %s volume=%dGB class=bulk for=%d", node, data, 1+random.IntN(200), 1+random.IntN(300)),
			fmt.Sprintf("boost %s %s committed=%s from=%d for=%d", node, data, rate, random.IntN(30), 30+random.IntN(60)),
			fmt.Sprintf("boost %s %s committed=%s for=%d", node, data, rate, 1+random.IntN(60)),
			fmt.Sprintf("extend %s %s for=%d", node, data, random.IntN(300)),
			fmt.Sprintf("usage north-1 south-1 rain epoch=1 seq=1 sent=%d", random.IntN(1e9)),
			fmt.Sprintf("usage south-1 north-1 rain epoch=2 seq=1 received=%d", random.IntN(1e9)),
			"commit "+node+" "+data,
			"release "+node+" "+data,
			"modify "+node+" "+data+" committed="+rate,
			"grant operator "+data+" "+pick("south", "north", "south-2")+" "+fmt.Sprint(1+random.IntN(400)),
			"grant operator 3fff:d55:1:1::/64 south 500",
			"grant operator "+data+" south 300 window=/00:00/00:01/UTC,/00:02/00:05/Asia/Shanghai",
			"grant operator "+data+" role:hydrology 400 quota=5000 hubs=b,c", "grant operator "+data+" south 300 transfers=2",
			"roles operator "+pick("south", "south-2")+" hydrology", "roles operator south",
			"usage north-1 south-1 rain epoch=1 seq=1 sent="+fmt.Sprint(random.IntN(9000))+" content=5 end=holder transfer="+fmt.Sprint(random.IntN(4)),
			"revoke operator "+data,
			"freeze operator "+pick("south", "south-2", "rain", "snow")+" because",
			"unfreeze operator", "unfreeze operator", "solve", "solve",
			"hello "+node+" aes workers=2", "hello "+node+" aes workers=1",
			"see b a c south-2", "see b c south-2", "see d a c", "see d a", "see b a c", "see a b d north-1",
			fmt.Sprintf("session %s %d %s for=%d committed=%s sink", node, 1+random.IntN(4), data, 1+random.IntN(90), rate),
			fmt.Sprintf("ready %d", 1+random.IntN(4)), fmt.Sprintf("ready %d", 1+random.IntN(4)),
			fmt.Sprintf("lengthen %s %d %d", node, 1+random.IntN(4), random.IntN(100)),
			fmt.Sprintf("delete %s %d", node, 1+random.IntN(4)),
			fmt.Sprintf("told %d-%d", 1+random.IntN(4), 1+random.IntN(2)),
			fmt.Sprintf("once k%d %d institution i%d", random.IntN(3), random.IntN(2), random.IntN(3)),
			fmt.Sprintf("wait %d", random.IntN(40)),
		)
		if _, err := s.do(line); err != nil {
			if _, ok := err.(*core.Refusal); !ok {
				t.Fatalf("%s: %v", line, err)
			}
		}
		s.checkLaws(line)
	}
	s.checkReplay()
}

func (s *script) checkLaws(line string) {
	s.t.Helper()
	degraded := false
	for _, r := range s.c.Reservations(operator) {
		degraded = degraded || r.State == northbound.StateDegraded || r.State == northbound.StateHeld // a hold says it at its commit
		if r.Allocated > r.Ceiling {
			s.t.Fatalf("after %q: %s is allocated %s above its ceiling %s", line, r.ID, r.Allocated, r.Ceiling)
		}
		if r.State == northbound.StateActive && !r.Implicit && r.Allocated < r.Committed {
			s.t.Fatalf("after %q: %s is active with %s of %s committed", line, r.ID, r.Allocated, r.Committed)
		}
		if r.State == northbound.StateTerminated && r.Allocated != 0 {
			s.t.Fatalf("after %q: %s has ended and is allocated %s", line, r.ID, r.Allocated)
		}
	}
	for _, r := range s.c.Reservations(operator) {
		if len(r.Parts) > 0 && (r.Parts[0]+r.Parts[1] != r.Allocated || len(r.Repairs) == 0) {
			s.t.Fatalf("after %q: %s is allocated %s in parts %v over %v", line, r.ID, r.Allocated, r.Parts, r.Repairs)
		}
	}
	s.checkTags(line)
	s.checkCalendar(line)
	for _, l := range s.c.Status(operator).Links {
		if l.Up && l.Allocated > l.Capacity {
			s.t.Fatalf("after %q: %s of %s are allocated on %s", line, l.Allocated, l.Capacity, l.Name)
		}
		if l.Up && l.Committed > l.Capacity && !degraded {
			s.t.Fatalf("after %q: %s of %s are committed on %s and nobody is degraded", line, l.Committed, l.Capacity, l.Name)
		}
	}
}

// checkCalendar sums up, from what people see of contracts alone, what is held on
// every link at every moment from now on: it never is more than the link has, unless
// somebody is said to be degraded or at risk.
func (s *script) checkCalendar(line string) {
	s.t.Helper()
	type piece struct {
		path        []string
		rate        dssn.Bandwidth
		start, end  time.Time
		reservation dssn.ReservationID
	}
	var pieces []piece
	forever := s.now.Add(1e6 * time.Hour)
	for _, r := range s.c.Reservations(operator) {
		if r.State == northbound.StateTerminated || r.Implicit {
			continue
		}
		if strings.HasPrefix(r.Reason, "at risk") || r.State == northbound.StateDegraded {
			return
		}
		until := r.Until
		if until.IsZero() {
			until = forever
		}
		if r.Volume == 0 {
			pieces = append(pieces, piece{r.Path, r.Committed, r.Start, until, r.ID})
		}
		for _, p := range r.Plan {
			pieces = append(pieces, piece{r.Path, p.Rate, p.From, p.To, r.ID})
		}
		for _, b := range r.Boosts {
			if b.State != northbound.BoostOver {
				pieces = append(pieces, piece{r.Path, b.Extra, b.Start, b.Until, r.ID})
			}
			if b.Until.After(until) || b.Start.Before(r.Start) {
				s.t.Fatalf("after %q: a boost of %s lies outside of its window", line, r.ID)
			}
		}
	}
	instants := []time.Time{s.now}
	for _, p := range pieces {
		instants = append(instants, p.start)
	}
	for _, l := range s.c.Status(operator).Links {
		for _, at := range instants {
			if !l.Up || at.Before(s.now) {
				continue
			}
			var sum dssn.Bandwidth
			var who []dssn.ReservationID
			for _, p := range pieces {
				i := slices.Index(p.path, l.From)
				if i >= 0 && i+1 < len(p.path) && p.path[i+1] == l.To && !p.start.After(at) && at.Before(p.end) {
					sum, who = sum+p.rate, append(who, p.reservation)
				}
			}
			if sum > l.Capacity {
				s.t.Fatalf("after %q: %s of %s are held on %s at %s, by %v", line, sum, l.Capacity, l.Name, at, who)
			}
		}
	}
}
