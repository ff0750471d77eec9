package tunnel

import (
	"fmt"
	"testing"
	"time"

	"dssn/dataplane/porttest"
	"dssn/dataplane/session"
	"dssn/dataplane/worker"
)

// arrived is how many different packets came out of h's inside, and how many in all.
func (h *host) arrived() (different, all int) {
	seen := map[string]bool{}
	for _, p := range h.inside.Packets() {
		seen[string(p[40:48])] = true
		all++
	}
	return len(seen), all
}

func (h *host) drops() (m map[string]uint64, sum uint64) {
	m = map[string]uint64{}
	h.worker.Drops(m)
	for _, n := range m {
		sum += n
	}
	return m, sum
}

// A session is replaced twice while a packet leaves every 10 ms in both directions: each
// arrives, once.
func TestARekeyUnderLoadLosesNoPacket(t *testing.T) {
	w := newWorld(t, 21)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{5}, 0)
	const n = 25_000
	for i := range n {
		w.say(a, b, i)
		w.say(b, a, i)
		w.step(10 * time.Millisecond)
	}
	w.run(time.Second)
	for _, h := range []*host{a, b} {
		different, all := h.arrived()
		if m, sum := h.drops(); different != n || all != n || sum != 0 {
			t.Errorf("%d different packets of %d arrived, %d in all; drops %v", different, n, all, m)
		}
	}
	if w.initiations < 3 {
		t.Errorf("%d handshakes in 250 s: no session was replaced", w.initiations)
	}
}

// When the last counter is used the session ends: nothing more is sealed with it, what
// comes then waits for the next session, and nothing is lost.
func TestAnExhaustedCounterIsFollowedByAnotherSession(t *testing.T) {
	w := newWorld(t, 22)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{}, 0)
	w.say(a, b, 0)
	w.run(time.Second)
	old := a.peers[0].Current
	old.Counter = session.RejectAfterMessages - 3
	for i := range 50 {
		w.say(a, b, 1+i)
		w.step(10 * time.Millisecond)
	}
	w.run(10 * time.Second)
	if different, all := b.arrived(); different != 51 || all != 51 {
		t.Errorf("%d different packets of 51 arrived, %d in all", different, all)
	}
	if old.Counter > session.RejectAfterMessages {
		t.Errorf("the session sealed with counter %d", old.Counter-1)
	}
	if now := a.peers[0].Current; now == old || now == nil || w.initiations != 2 {
		t.Errorf("the session was not replaced: %d handshakes", w.initiations)
	}
}

// A peer removed while packets flow: those on their way are dropped by name, the other side
// is told nothing and gives up by its own timers, and the two agree again once the peer is
// back. Every packet is accounted for.
func TestAPeerRemovedMidFlowIsForgottenAtOnce(t *testing.T) {
	w := newWorld(t, 23)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{6}, 0)
	said := 0
	flow := func(n int) {
		for range n {
			w.say(a, b, said)
			said++
			w.step(10 * time.Millisecond)
		}
	}
	flow(100)
	w.run(100 * time.Millisecond)
	if got, _ := b.arrived(); got != 100 {
		t.Fatalf("%d of 100 packets arrived", got)
	}
	flow(3) // these are on the wire
	w.apply(b, b.Remove(a.Public(), nil))
	b.worker.Publish(&worker.Tables{MTU: 1420})
	keys := b.peers[0]
	b.peers = nil
	flow(100)
	w.run(100 * time.Millisecond)
	delivered, _ := b.arrived()
	m, sum := b.drops()
	if delivered+int(sum) != said || m["bad_index"] != sum || sum < 100 {
		t.Errorf("of %d packets %d were delivered; drops %v", said, delivered, m)
	}
	if keys.Current != nil || len(b.index) != 0 {
		t.Error("keys of the removed peer are still there")
	}
	if len(b.outside.Out) != 0 {
		t.Errorf("%d messages go to the removed peer", len(b.outside.Out))
	}
	// a notices by the silence, asks, and is nobody to b; after a minute and a half it gives up.
	w.say(a, b, said)
	w.run(2 * time.Minute)
	if b.reasons[UnknownPeer] == 0 || b.reasons[Accepted] != 1 {
		t.Errorf("b's reasons: %v", b.reasons)
	}
	asked := w.initiations
	w.run(5 * time.Minute)
	if w.initiations != asked {
		t.Errorf("a went on asking: %d initiations after %d", w.initiations, asked)
	}
	// Back again: the next packet finds a session.
	b.inside.Out, a.peers = nil, nil
	w.meet(a, b, Key{6}, 0)
	flow(50)
	w.run(10 * time.Second)
	if got, _ := b.arrived(); got != 50 {
		t.Errorf("of 50 packets %d arrived after the peer was back", got)
	}
}

// A wall clock that jumps an hour, back or ahead and back, while sessions are replaced and
// while either side is restarted by it, delays nobody by more than a try.
func TestAClockThatJumpsIsNotNoticed(t *testing.T) {
	for _, jump := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(fmt.Sprint(jump), func(t *testing.T) {
			w := newWorld(t, 24)
			a, b := w.add(), w.add()
			w.meet(a, b, Key{}, 0)
			const n = 4000
			for i := range n {
				switch i {
				case 500, 1500:
					w.wall = w.wall.Add(jump)
				case 1000, 2000:
					w.wall = w.wall.Add(-jump)
				}
				w.say(a, b, i)
				w.say(b, a, i)
				w.run(100 * time.Millisecond)
			}
			w.run(10 * time.Second)
			for _, h := range []*host{a, b} {
				if different, all := h.arrived(); different != n || all != n {
					t.Errorf("%d different packets of %d arrived, %d in all", different, n, all)
				}
			}
			if w.initiations < 3 {
				t.Errorf("%d handshakes in 400 s", w.initiations)
			}
		})
	}
}

// Handshake messages of every length and of random content: refused by name, without an
// answer, an index or a lane that differs.
func TestRandomHandshakesLeaveNoTrace(t *testing.T) {
	w := newWorld(t, 25)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{}, 0)
	w.say(a, b, 1)
	w.run(time.Second)
	indices, before := len(b.index), *b.laneOf(a.Public())
	for n := range 400 {
		for kind := range byte(6) {
			m := make([]byte, n)
			for i := range m {
				m[i] = byte(w.r.Uint32())
			}
			if n > 3 {
				copy(m, []byte{kind, 0, 0, 0})
			}
			b.outside.In = append(b.outside.In, porttest.Datagram{Data: m, Peer: a.wan})
		}
		w.step(time.Millisecond)
	}
	after := *b.laneOf(a.Public())
	if len(b.index) != indices || before.newest != after.newest || before.next != after.next || before.current != after.current {
		t.Error("random messages changed what is known of the peer")
	}
	if b.reasons[Accepted] != 1 || b.reasons[BadMessage] == 0 || b.reasons[BadMAC] == 0 || b.reasons[UnknownIndex] == 0 {
		t.Errorf("b's reasons: %v", b.reasons)
	}
	m, _ := b.drops()
	if m["bad_message"] == 0 || m["bad_index"] == 0 {
		t.Errorf("b's drops: %v", m)
	}
	w.say(a, b, 2)
	w.run(time.Second)
	if got, _ := b.arrived(); got != 2 {
		t.Errorf("afterwards %d of 2 packets arrived", got)
	}
}
