package liveness

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"dssn"
)

var epoch = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func carrier(t testing.TB, sids ...dssn.SID) dssn.Carrier {
	t.Helper()
	c, err := dssn.NewCarrier(dssn.LabBlock, sids...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pair is two nodes' Neighbours joined by a link that may lose hellos in one or
// the other direction.
type pair struct {
	a, b   *Neighbours
	now    time.Time
	ab, ba bool // whether hellos arrive
}

func newPair() *pair {
	p := &pair{a: NewNeighbours("a", 1), b: NewNeighbours("b", 2), now: epoch, ab: true, ba: true}
	p.a.LinkUp(p.now, "eth")
	p.b.LinkUp(p.now, "eth")
	return p
}

func (p *pair) pass(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); p.now = p.now.Add(10 * time.Millisecond) {
		p.step()
	}
}

func (p *pair) step() {
	exchange := func(from, to *Neighbours, works bool, address string) {
		send, _ := from.Tick(p.now)
		for _, h := range send {
			if works {
				to.Received(p.now, "eth", netip.MustParseAddr(address), h.Hello)
			}
		}
	}
	exchange(p.a, p.b, p.ab, "fe80::a")
	exchange(p.b, p.a, p.ba, "fe80::b")
}

func (p *pair) up() [2]bool { return [2]bool{p.a.List()[0].Up, p.b.List()[0].Up} }

func TestTwoEndsThatMeetAreUpWithinTwoExchanges(t *testing.T) {
	p := newPair()
	p.pass(20 * time.Millisecond)
	if p.up() != [2]bool{true, true} {
		t.Errorf("after two ticks: %v", p.up())
	}
	if n := p.a.List()[0]; n.Name != "b" || n.SID != 2 || n.Address != netip.MustParseAddr("fe80::b") {
		t.Errorf("a sees %+v", n)
	}
}

func TestALinkThatWorksOneWayIsDownAtBothEnds(t *testing.T) {
	p := newPair()
	p.pass(time.Second)
	p.ab = false // b hears nothing any more; a still hears b, which no longer names a
	p.pass(time.Second)
	if p.up() != [2]bool{false, false} {
		t.Errorf("one way only, and the ends say up: %v", p.up())
	}
	p.ab = true
	p.pass(500 * time.Millisecond)
	if p.up() != [2]bool{true, true} {
		t.Errorf("mended: %v", p.up())
	}
}

func TestSilenceIsNoticedAfterThreeMissedHellos(t *testing.T) {
	p := newPair()
	p.pass(time.Second)
	p.ba = false
	began := p.now
	for p.up()[0] {
		p.pass(10 * time.Millisecond)
	}
	if d := p.now.Sub(began); d < 2*HelloEvery || d > 4*HelloEvery+20*time.Millisecond {
		t.Errorf("silence was noticed after %v", d)
	}
	if n := p.a.List()[0]; n.Name != "b" || !n.Address.IsValid() {
		t.Errorf("a silent neighbour is forgotten: %+v", n)
	}
}

func TestASilentNeighbourIsHeldForAWhile(t *testing.T) {
	p := newPair()
	p.pass(time.Second)
	p.ba = false
	p.pass(2 * time.Second)
	if n := p.a.List()[0]; n.Up || !n.Held {
		t.Errorf("after 2 s of silence: %+v, want not up and held", n)
	}
	p.ba = true
	p.pass(time.Second)
	p.ba = false
	p.pass(5 * time.Second)
	if n := p.a.List()[0]; n.Up || n.Held {
		t.Errorf("after 5 s of silence: %+v, want neither up nor held", n)
	}
	p.a.LinkDown("eth")
	p.a.LinkUp(p.now, "eth")
	if n := p.a.List()[0]; n.Held || n.Name != "" {
		t.Errorf("a link that was down remembers %+v", n)
	}
}

func TestOwnSleepIsNotHeldAgainstANeighbour(t *testing.T) {
	p := newPair()
	p.pass(time.Second)
	p.now = p.now.Add(5 * time.Second) // a stopped process, a suspended laptop
	p.step()
	p.step()
	if p.up() != [2]bool{true, true} {
		t.Errorf("after a sleep: %v", p.up())
	}
}

func TestOurOwnHelloIsNobody(t *testing.T) {
	n := NewNeighbours("a", 1)
	n.LinkUp(epoch, "eth")
	if n.Received(epoch, "eth", netip.MustParseAddr("fe80::1"), Hello{Name: "a", SID: 1, Heard: "a"}) || n.List()[0].Name != "" {
		t.Error("a loop on the link made us our own neighbour")
	}
}

// road is a Paths machine whose probes come back after delay on the carriers
// that work.
type road struct {
	p      *Paths
	now    time.Time
	delay  time.Duration
	works  map[dssn.Carrier]bool
	loss   float64
	random *rand.Rand
	flying []struct {
		at time.Time
		a  Probe
	}
	moves []Switch
}

func newRoad(t testing.TB, delay time.Duration) (*road, dssn.Carrier, dssn.Carrier) {
	first, second := carrier(t, 0x11, 0x12, 0x101), carrier(t, 0x11, 0x13, 0x101)
	r := &road{p: NewPaths(0x100, Timing{}), now: epoch, delay: delay, works: map[dssn.Carrier]bool{first: true, second: true}, random: rand.New(rand.NewPCG(1, 2))}
	r.moves = r.p.Set(r.now, []Ways{{Peer: 0x101, Probed: true, Paths: []PathTo{{first, carrier(t, 0x100)}, {second, carrier(t, 0x100)}}}})
	return r, first, second
}

func (r *road) pass(d time.Duration) {
	for end := r.now.Add(d); r.now.Before(end); {
		r.now = r.now.Add(5 * time.Millisecond)
		r.step()
	}
}

func (r *road) step() {
	flying := r.flying
	r.flying = nil
	for _, f := range flying {
		if f.at.After(r.now) {
			r.flying = append(r.flying, f)
		} else {
			r.p.Answered(r.now, f.a)
		}
	}
	send, moved, _ := r.p.Tick(r.now)
	r.moves = append(r.moves, moved...)
	for _, s := range send {
		if r.works[s.Carrier] && r.random.Float64() >= r.loss {
			r.flying = append(r.flying, struct {
				at time.Time
				a  Probe
			}{r.now.Add(r.delay), s.Probe.Reflect(true)})
		}
	}
}

func (r *road) using() dssn.Carrier {
	for _, s := range r.p.Status() {
		if s.InUse {
			return s.Carrier
		}
	}
	return dssn.Carrier{}
}

func TestTrafficLeavesADeadPathWithin150ms(t *testing.T) {
	for _, delay := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond} {
		r, first, second := newRoad(t, delay)
		r.pass(2 * time.Second)
		if r.using() != first || len(r.moves) != 1 {
			t.Fatalf("round trip %v: before the cut on %v after %d moves", delay, r.using(), len(r.moves))
		}
		cut := r.now
		r.works[first] = false
		r.pass(time.Second)
		if r.using() != second || len(r.moves) != 2 {
			t.Fatalf("round trip %v: after the cut on %v after %d moves", delay, r.using(), len(r.moves))
		}
		// An answer that was under way at the cut says nothing yet.
		if took := r.moves[1].At.Sub(cut); took > 150*time.Millisecond+delay {
			t.Errorf("round trip %v: traffic moved %v after the cut", delay, took)
		}
	}
}

func TestTrafficComesBackOnceAndNotAtTheFirstAnswer(t *testing.T) {
	r, first, second := newRoad(t, time.Millisecond)
	r.pass(time.Second)
	r.works[first] = false
	r.pass(time.Second)
	// It flaps: works for 200 ms of every 400.
	for range 10 {
		r.works[first] = true
		r.pass(200 * time.Millisecond)
		r.works[first] = false
		r.pass(200 * time.Millisecond)
	}
	if r.using() != second || len(r.moves) != 2 {
		t.Fatalf("a flapping path was taken: on %v after %d moves", r.using(), len(r.moves))
	}
	r.works[first] = true
	mended := r.now
	r.pass(5 * time.Second)
	if r.using() != first || len(r.moves) != 3 {
		t.Fatalf("on %v after %d moves", r.using(), len(r.moves))
	}
	if d := r.moves[2].At.Sub(mended); d < 3*time.Second {
		t.Errorf("traffic came back after only %v", d)
	}
}

func TestAFewLostProbesMoveNothing(t *testing.T) {
	r, _, _ := newRoad(t, 3*time.Millisecond)
	r.loss = 0.05 // four in a row: once in 160,000 probes
	r.pass(20 * time.Second)
	if len(r.moves) != 1 {
		t.Errorf("%d moves with 5 %% loss", len(r.moves)-1)
	}
}

func TestASleepingEdgeBlamesNoPath(t *testing.T) {
	r, _, _ := newRoad(t, time.Millisecond)
	r.pass(time.Second)
	r.now = r.now.Add(2 * time.Second)
	r.pass(time.Second)
	if len(r.moves) != 1 {
		t.Errorf("%d moves because this edge slept", len(r.moves)-1)
	}
}

func TestWhenAllPathsAreDeadTrafficStays(t *testing.T) {
	r, first, second := newRoad(t, time.Millisecond)
	r.pass(time.Second)
	r.works[first], r.works[second] = false, false
	r.pass(3 * time.Second)
	if r.using() != first || len(r.moves) != 1 {
		t.Errorf("on %v after %d moves, want to stay", r.using(), len(r.moves))
	}
}

func TestANewAssignmentKeepsWhatIsKnown(t *testing.T) {
	r, first, second := newRoad(t, time.Millisecond)
	r.pass(time.Second)
	r.works[first] = false
	r.pass(time.Second)
	// The controller has not heard yet and assigns the dead path first again.
	back := carrier(t, 0x100)
	moved := r.p.Set(r.now, []Ways{{Peer: 0x101, Probed: true, Paths: []PathTo{{first, back}, {second, back}}}})
	if len(moved) != 0 || r.using() != second {
		t.Errorf("the dead path was taken again: %+v", moved)
	}
	third := carrier(t, 0x11, 0x15, 0x101)
	moved = r.p.Set(r.now, []Ways{{Peer: 0x101, Probed: true, Paths: []PathTo{{third, back}}}})
	if len(moved) != 1 || moved[0].From != second || moved[0].To != third || r.using() != third {
		t.Errorf("a new path was not taken: %+v", moved)
	}
	if moved := r.p.Set(r.now, nil); len(moved) != 0 || len(r.p.Status()) != 0 {
		t.Errorf("a peer that left is still there: %+v", r.p.Status())
	}
}

// An assignment reaches the edge before the nodes on its new path have their
// routes: traffic that has a way waits for the new one's first answer.
func TestTrafficDoesNotLeaveAPathThatWorksForOneThatHasNotAnswered(t *testing.T) {
	r, first, second := newRoad(t, 5*time.Millisecond)
	r.pass(time.Second)
	third, back := carrier(t, 0x11, 0x15, 0x101), carrier(t, 0x100)
	r.moves = r.p.Set(r.now, []Ways{{Peer: 0x101, Probed: true, Paths: []PathTo{{third, back}, {first, back}, {second, back}}}})
	r.pass(500 * time.Millisecond)
	if len(r.moves) != 0 || r.using() != first {
		t.Fatalf("traffic moved to a path that does not work yet: %+v", r.moves)
	}
	r.works[third] = true
	r.pass(100 * time.Millisecond)
	if len(r.moves) != 1 || r.using() != third || r.moves[0].Why != WhyAssigned {
		t.Errorf("once the new path works: %+v", r.moves)
	}

	// Where the path in use is gone, one that has answered is taken first.
	fourth := carrier(t, 0x11, 0x16, 0x101)
	r.moves = r.p.Set(r.now, []Ways{{Peer: 0x101, Probed: true, Paths: []PathTo{{fourth, back}, {second, back}}}})
	if len(r.moves) != 1 || r.using() != second {
		t.Fatalf("with the path in use withdrawn: %+v", r.moves)
	}
	r.works[fourth] = true
	r.pass(100 * time.Millisecond)
	if len(r.moves) != 2 || r.using() != fourth || r.moves[1].Why != WhyAssigned {
		t.Errorf("once the assigned path answers: %+v", r.moves)
	}
}

func TestARepeatedAnswerCountsOnce(t *testing.T) {
	r, first, _ := newRoad(t, time.Millisecond)
	send, _, _ := r.p.Tick(r.now)
	a := send[0].Probe.Reflect(true)
	r.works[first] = false
	for range 100 {
		r.p.Answered(r.now, a)
	}
	if s := r.p.Status()[0]; s.Heard != 1 {
		t.Errorf("one answer repeated counts as %d", s.Heard)
	}
	a.Sequence += 1000 // never asked
	r.p.Answered(r.now, a)
	if s := r.p.Status()[0]; s.Heard != 1 {
		t.Error("an answer to a probe that was never sent counts")
	}
}

func testProbe(t testing.TB) (Probe, *ProbeKey) {
	k := NewProbeKey([]byte("a pre-shared key of thirty-two b"))
	return Probe{From: 0x100, To: 0x101, Path: 7, Sequence: 9, Sent: 123456789, Return: carrier(t, 0x14, 0x100)}, &k
}

func TestAProbeIsBelievedOnlyWhole(t *testing.T) {
	p, k := testProbe(t)
	b := p.Append(nil, k)
	if len(b) != ProbeBytes {
		t.Fatalf("a probe has %d bytes, not %d", len(b), ProbeBytes)
	}
	keys := func(s dssn.SID) (*ProbeKey, bool) { return k, s == 0x100 }
	got, err := ParseProbe(b, 0x101, keys)
	if err != nil || got != p {
		t.Fatalf("read %+v, %v; want %+v", got, err, p)
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 1
		if _, err := ParseProbe(c, 0x101, keys); err == nil {
			t.Errorf("byte %d changed and the probe is still believed", i)
		}
	}
	if _, err := ParseProbe(b, 0x102, keys); !errors.Is(err, ErrProbePeer) {
		t.Errorf("a probe for another edge: %v", err)
	}
	other := NewProbeKey([]byte("another key"))
	if _, err := ParseProbe(b, 0x101, func(dssn.SID) (*ProbeKey, bool) { return &other, true }); !errors.Is(err, ErrProbeMAC) {
		t.Errorf("a probe under another key: %v", err)
	}
}

func FuzzProbe(f *testing.F) {
	p, k := testProbe(f)
	f.Add(p.Append(nil, k))
	f.Fuzz(func(t *testing.T, b []byte) {
		// As somebody who has the key would make it: the authenticator fits.
		if len(b) == ProbeBytes {
			b = append(bytes.Clone(b[:probeBody]), probeMAC(b[:probeBody], k)...)
		}
		p, err := ParseProbe(b, 0x101, func(dssn.SID) (*ProbeKey, bool) { return k, true })
		if err != nil {
			return
		}
		if got := p.Append(nil, k); !bytes.Equal(got, b) {
			t.Errorf("%x was read as %+v and prints as %x", b, p, got)
		}
	})
}

func FuzzHello(f *testing.F) {
	h := Hello{Name: "beijing", SID: 0x11, Sequence: 3, EveryMillis: 200, Heard: "gansu"}
	b, err := h.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHello(b)
		if err != nil {
			return
		}
		if got, err := h.Append(nil); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%x was read as %+v and prints as %x (%v)", b, h, got, err)
		}
	})
}
