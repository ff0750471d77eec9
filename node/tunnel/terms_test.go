package tunnel

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"dssn/dataplane/aead"
	"dssn/dataplane/session"
)

// A rotated pre-shared key, a suite by the controller's word: the ends are told at
// different moments, traffic flows both ways all the time over a network that
// reorders, and every packet arrives once.
func TestNewTermsReplaceTheSessionAndLoseNoPacket(t *testing.T) {
	for name, after := range map[string]Config{
		"another pre-shared key": {PresharedKey: Key{8}},
		"another suite":          {PresharedKey: Key{7}, Suite: aead.AES256GCM},
		"both":                   {PresharedKey: Key{9}, Suite: aead.AES256GCM},
	} {
		for _, late := range []time.Duration{0, 10 * time.Millisecond, 70 * time.Millisecond, 3 * time.Second, 40 * time.Second} {
			t.Run(fmt.Sprintf("%s, %v late", name, late), func(t *testing.T) {
				w := newWorld(t, uint64(late))
				w.reorder = 30 * time.Millisecond
				a, b := w.add(), w.add()
				w.meet(a, b, Key{7}, 0)
				said := 0
				talk := func(d time.Duration) {
					for end := w.now + d; w.now < end; {
						w.say(a, b, said)
						w.say(b, a, said)
						said++
						w.step(10 * time.Millisecond)
					}
				}
				tell := func(h, o *host) {
					c := after
					c.Key, c.Lanes = o.Public(), []Lane{{Handle: h.peers[0]}}
					h.set(w, c)
				}
				talk(2 * time.Second)
				tell(a, b)
				talk(late)
				tell(b, a)
				toldAt := w.now
				talk(time.Second)
				want := after.Suite
				if want == 0 {
					want = aead.ChaCha20Poly1305
				}
				for _, h := range []*host{a, b} {
					o := a
					if h == a {
						o = b
					}
					if l := h.laneOf(o.Public()); l.stale() || l.current.created < toldAt-late {
						t.Errorf("a second after the second end was told, the old session is still in use")
					}
					if s := h.State(o.Public()); s.Suite != want || s.Open != 1 {
						t.Errorf("the state is %+v, want suite %v", s, want)
					}
					if s := h.peers[0].Current; s.Send.Suite() != want {
						t.Errorf("the worker seals with %v, want %v", s.Send.Suite(), want)
					}
				}
				talk(200 * time.Second)
				w.run(time.Second)
				for _, h := range []*host{a, b} {
					seen := map[string]bool{}
					for _, p := range h.inside.Out {
						seen[string(p.Data)] = true
					}
					if len(seen) != said || len(h.inside.Out) != said {
						t.Errorf("%d different packets of %d arrived, in all %d; reasons %v", len(seen), said, len(h.inside.Out), h.reasons)
					}
				}
			})
		}
	}
}

// Two ends that were told different suites must not agree on a session that
// neither can open.
func TestDifferentSuitesAgreeOnNothing(t *testing.T) {
	w := newWorld(t, 21)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{1}, 0)
	a.set(w, Config{Key: b.Public(), PresharedKey: Key{1}, Suite: aead.AES256GCM, Lanes: []Lane{{Handle: a.peers[0]}}})
	w.say(a, b, 1)
	w.run(time.Minute)
	if len(b.inside.Out) != 0 || a.reasons[BadMessage] == 0 || a.State(b.Public()).Open != 0 {
		t.Errorf("%d packets passed; a's reasons %v, state %+v", len(b.inside.Out), a.reasons, a.State(b.Public()))
	}
}

// Both begin in the same instant, again and again, while packets are on their way.
func TestBeginningAtTheSameMomentLosesNoPacket(t *testing.T) {
	w := newWorld(t, 22)
	w.reorder = 25 * time.Millisecond
	a, b := w.add(), w.add()
	w.meet(a, b, Key{1}, 0)
	said := 0
	for i := range 3000 {
		if i%600 == 100 {
			w.apply(a, a.Machine.Want(w.clocks(), b.Public(), 0, nil))
			w.apply(b, b.Machine.Want(w.clocks(), a.Public(), 0, nil))
		}
		w.say(a, b, said)
		w.say(b, a, said)
		said++
		w.step(10 * time.Millisecond)
	}
	w.run(time.Second)
	if len(a.inside.Out) != said || len(b.inside.Out) != said {
		t.Errorf("of %d packets each way, %d and %d arrived", said, len(a.inside.Out), len(b.inside.Out))
	}
}

// Each lane is a handshake and sessions of its own; a message finds its lane by who
// heard it and where it came from.
func TestLanesAreSessionsOfOnePeer(t *testing.T) {
	private, public := keyPair(t, 1)
	otherPrivate, otherPublic := keyPair(t, 2)
	w := newWorld(t, 23)
	us, _ := New(private, w.random)
	them, _ := New(otherPrivate, w.random)
	at := func(host, worker int) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("5f00:d55:%d::1", host)), uint16(51820+4*worker))
	}
	// We have two workers, they have three: three lanes.
	var ours, theirs []Lane
	for k := range 3 {
		ours = append(ours, Lane{Worker: k % 2, Endpoint: at(2, k%3), Handle: &session.Peer{}})
		theirs = append(theirs, Lane{Worker: k % 3, Endpoint: at(1, k%2), Handle: &session.Peer{}})
	}
	us.Set(Config{Key: otherPublic, Lanes: ours}, nil)
	them.Set(Config{Key: public, Lanes: theirs}, nil)
	now := w.clocks()
	for k := range 3 {
		begin := us.Want(now, otherPublic, k, nil)
		if len(begin) != 1 || begin[0].Handle != ours[k].Handle || begin[0].Worker != k%2 {
			t.Fatalf("lane %d: wanting a session gave %+v", k, begin)
		}
		answer, reason := them.Message(now, k%3, at(1, k%2), begin[0].Message, false, nil)
		if reason != Accepted || len(answer) != 2 || answer[0].Handle != theirs[k].Handle || answer[1].Worker != k%3 {
			t.Fatalf("lane %d: the initiation gave %q and %+v", k, reason, answer)
		}
		done, reason := us.Message(now, k%2, at(2, k%3), answer[1].Message, false, nil)
		if reason != Accepted || len(done) != 1 || done[0].Kind != Install || done[0].Handle != ours[k].Handle {
			t.Fatalf("lane %d: the response gave %q and %+v", k, reason, done)
		}
		them.Confirmed(now, answer[0].Local, nil)
	}
	if a, b := us.State(otherPublic), them.State(public); a.Open != 3 || b.Open != 3 {
		t.Fatalf("open lanes: %d and %d, want 3", a.Open, b.Open)
	}

	now.Mono += 6 * time.Second
	begin := us.Want(now, otherPublic, 0, nil)
	if _, reason := them.Message(now, 7, at(1, 0), begin[0].Message, false, nil); reason != UnknownLane {
		t.Errorf("an initiation at a worker without a lane: %q", reason)
	}

	// A lane that goes is erased; the others stay.
	out, err := us.Set(Config{Key: otherPublic, Lanes: ours[:2]}, nil)
	erased := 0
	for _, e := range out {
		if e.Handle != ours[2].Handle {
			t.Errorf("an effect on a lane that stays: %+v", e)
		}
		if e.Kind == Erase {
			erased++
		}
	}
	if err != nil || erased != 1 || us.State(otherPublic).Open != 2 {
		t.Errorf("taking a lane away: %v, %+v, %+v", err, out, us.State(otherPublic))
	}
}
