package tunnel

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"dssn/dataplane/porttest"
	"dssn/internal/goal"
)

func TestTheFirstPacketNeedsOneRoundTrip(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{7}, 0)
	w.say(a, b, 1)
	w.step(0)
	w.step(w.delay) // initiation arrives
	w.step(w.delay) // response arrives
	w.step(w.delay) // the packet arrives
	if len(b.inside.Out) != 1 {
		t.Fatalf("after one round trip and a half, %d packets have arrived", len(b.inside.Out))
	}
	w.run(15 * time.Second)
	if w.initiations != 1 {
		t.Errorf("%d initiations for one packet", w.initiations)
	}
	// Initiation, response, packet, and ten seconds later the keepalive that
	// says it arrived.
	if w.all != 4 {
		t.Errorf("%d datagrams in all, want 4", w.all)
	}
	if a.State(b.Public()).LastHandshake.IsZero() || b.State(a.Public()).LastHandshake.IsZero() {
		t.Error("an end knows of no handshake")
	}
}

// An hour over a network that loses, doubles and reorders.
func TestAnHourOnABadNetwork(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld(t, seed)
		w.lose, w.double, w.reorder = 0.05, 0.02, 30*time.Millisecond
		a, b := w.add(), w.add()
		w.meet(a, b, Key{7}, 0)
		const seconds = 3600
		for i := range seconds {
			w.say(a, b, i)
			if i%3 == 0 {
				w.say(b, a, i)
			}
			w.run(time.Second)
		}
		seen := map[string]bool{}
		for _, p := range b.inside.Out {
			if seen[string(p.Data)] {
				t.Fatalf("seed %d: a packet came twice", seed)
			}
			seen[string(p.Data)] = true
		}
		if n := len(seen); n < seconds*94/100 {
			t.Errorf("seed %d: %d of %d packets arrived at 5 %% loss", seed, n, seconds)
		}
		// A session lives two minutes; lost handshake messages cost another try.
		if w.initiations < seconds/130 || w.initiations > seconds/120*2 {
			t.Errorf("seed %d: %d initiations in an hour", seed, w.initiations)
		}
		for _, h := range w.hosts {
			if len(h.index) > 4 {
				t.Errorf("seed %d: %d indices are kept", seed, len(h.index))
			}
		}
	}
}

func TestTwoThatBeginAtOnceBothSucceed(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{}, 0)
	w.say(a, b, 1)
	w.say(b, a, 2)
	w.run(time.Second)
	if len(a.inside.Out) != 1 || len(b.inside.Out) != 1 || w.initiations != 2 {
		t.Errorf("%d and %d packets after %d initiations", len(a.inside.Out), len(b.inside.Out), w.initiations)
	}
}

func TestAPeerThatWasRestartedIsFoundAgain(t *testing.T) {
	w := newWorld(t, 3)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{}, 0)
	w.say(a, b, 1)
	w.run(time.Second)
	b.boot(w)
	w.meet(a, b, Key{}, 0)
	b.inside.Out = nil
	for i := range 60 {
		w.say(a, b, i)
		w.run(time.Second)
	}
	if n := len(b.inside.Out); n < 40 { // fifteen seconds pass before a new try
		t.Errorf("after a restart %d of 60 packets arrived", n)
	}
}

func TestAPeerWithNothingToSayIsNotAskedAgain(t *testing.T) {
	w := newWorld(t, 13)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{}, 0)
	b.boot(w) // b's worker has no route back, so that only the machines talk
	w.meet(a, b, Key{}, 0)
	lost := true // the first session dies unanswered
	w.onTheWire = func(_ *host, d porttest.Datagram) bool { return !lost || d.Data[0] != 4 }
	w.say(a, b, 1)
	w.run(20 * time.Second) // fifteen seconds: a new handshake
	lost = false
	before := w.initiations
	w.say(a, b, 2)
	w.run(9 * time.Second) // b owes a keepalive only after ten
	if w.initiations != before {
		t.Errorf("%d more handshakes with a peer that had answered the last", w.initiations-before)
	}
}

func TestNobodyAnswers(t *testing.T) {
	w := newWorld(t, 4)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{}, 0)
	w.onTheWire = func(*host, porttest.Datagram) bool { return false }
	w.say(a, b, 1)
	w.run(5 * time.Minute)
	if w.initiations < 16 || w.initiations > 19 {
		t.Errorf("%d tries in five minutes, want those of ninety seconds", w.initiations)
	}
	if a.laneOf(b.Public()).wanting || len(a.index) != 0 {
		t.Error("it has not given up")
	}
	drops := map[string]uint64{}
	a.worker.Drops(drops)
	if drops["no_session"] != 1 {
		t.Errorf("the packet that waited: drops are %v", drops)
	}
	before := w.initiations
	w.onTheWire = nil
	w.say(a, b, 2)
	w.run(time.Second)
	if w.initiations != before+1 || len(b.inside.Out) != 1 {
		t.Errorf("a later packet led to %d tries and %d arrived", w.initiations-before, len(b.inside.Out))
	}
}

func TestKeysDoNotOutliveThreeMinutes(t *testing.T) {
	w := newWorld(t, 5)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{}, 0)
	w.say(a, b, 1)
	w.run(200 * time.Second)
	for _, h := range []*host{a, b} {
		if len(h.index) != 0 {
			t.Errorf("%d sessions are kept", len(h.index))
		}
		if h.peers[0].Current != nil {
			t.Error("the worker still has a session")
		}
	}
}

func TestPersistentKeepaliveNeedsNoTraffic(t *testing.T) {
	w := newWorld(t, 6)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{}, 25*time.Second)
	w.run(10 * time.Minute)
	if w.initiations < 3 || w.all < 20 {
		t.Errorf("ten minutes of keepalives: %d initiations, %d datagrams", w.initiations, w.all)
	}
}

func TestAClockThatGoesBackDoesNotStopHandshakes(t *testing.T) {
	w := newWorld(t, 7)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{}, 0)
	w.say(a, b, 1)
	w.run(time.Second)
	w.wall = w.wall.Add(-time.Hour)
	for i := range 300 {
		w.say(a, b, i+2)
		w.run(time.Second)
	}
	if n := len(b.inside.Out); n != 301 {
		t.Errorf("%d of 301 packets arrived after the clock went back", n)
	}
}

func TestUnderLoadACookieOpensTheDoor(t *testing.T) {
	w := newWorld(t, 8)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{}, 0)
	b.busy = true
	w.say(a, b, 1)
	w.run(6 * time.Second)
	if len(b.inside.Out) != 1 || w.initiations != 2 || b.reasons[CookieDemanded] != 1 {
		t.Errorf("%d packets after %d initiations; b's reasons: %v", len(b.inside.Out), w.initiations, b.reasons)
	}
}

// Every kind of bad message is refused by name, has no effect and leaves no trace.
func TestBadMessagesChangeNothing(t *testing.T) {
	w := newWorld(t, 9)
	a, b, c := w.add(), w.add(), w.add()
	w.meet(a, b, Key{}, 0)
	var first []byte
	w.onTheWire = func(from *host, d porttest.Datagram) bool {
		if d.Data[0] == typeInitiation && first == nil {
			first = bytes.Clone(d.Data)
		}
		return true
	}
	w.say(a, b, 1)
	w.run(time.Second)
	change := func(at int) []byte { x := bytes.Clone(first); x[at] ^= 1; return x }
	remac := func(x []byte, to Key) []byte {
		copy(x[116:], NewGate(to).compute(x[:116]))
		return x
	}
	stranger := func() []byte { // c is nobody b knows
		c.set(w, Config{Key: b.Public(), Lanes: []Lane{{}}})
		return c.Machine.Want(w.clocks(), b.Public(), 0, nil)[0].Message
	}
	response := make([]byte, responseLen)
	response[0] = typeResponse
	copy(response[60:], NewGate(b.Public()).compute(response[:60]))
	cookie := make([]byte, cookieLen)
	cookie[0] = typeCookie
	for _, x := range []struct {
		name string
		data []byte
		want Reason
	}{
		{"nothing", nil, BadMessage},
		{"truncated", first[:147], BadMessage},
		{"too long", append(bytes.Clone(first), 0), BadMessage},
		{"unknown type", change(1), BadMessage},
		{"mac1 of somebody else", change(120), BadMAC},
		{"replayed", first, ReplayedHello},
		{"ephemeral key changed", remac(change(10), b.Public()), UnknownPeer},
		{"static key changed", remac(change(60), b.Public()), UnknownPeer},
		{"timestamp changed", remac(change(100), b.Public()), UnknownPeer},
		{"ephemeral of low order", remac(append(append(bytes.Clone(first[:8]), make([]byte, 32)...), first[40:]...), b.Public()), UnknownPeer},
		{"a stranger", stranger(), UnknownPeer},
		{"a response to nothing", response, UnknownIndex},
		{"a cookie for nothing", cookie, UnknownIndex},
	} {
		before := *b.laneOf(a.Public())
		indices := len(b.index)
		out, reason := b.Message(w.clocks(), 0, a.wan, x.data, false, nil)
		after := *b.laneOf(a.Public())
		if reason != x.want || len(out) != 0 || len(b.index) != indices || before.newest != after.newest || before.next != after.next {
			t.Errorf("%s: %q with %d effects, want %q with none", x.name, reason, len(out), x.want)
		}
	}
}

func (h *host) laneOf(k Key) *lane { return h.Machine.peers[k].lanes[0] }

func TestAWrongPresharedKeyAgreesOnNothing(t *testing.T) {
	w := newWorld(t, 10)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{1}, 0)
	a.set(w, Config{Key: b.Public(), PresharedKey: Key{2}, Lanes: []Lane{{Handle: a.peers[0]}}})
	w.say(a, b, 1)
	w.run(time.Minute)
	if len(b.inside.Out) != 0 || a.reasons[BadMessage] == 0 {
		t.Errorf("%d packets passed; a's reasons %v", len(b.inside.Out), a.reasons)
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	w := newWorld(t, 11)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{}, 0)
	w.say(a, b, 1)
	w.run(time.Second)
	p := a.peers[0]
	w.apply(a, a.Remove(b.Public(), nil))
	w.step(0)
	if len(a.index) != 0 || len(a.order) != 0 || p.Current != nil {
		t.Errorf("%d indices, %d peers", len(a.index), len(a.order))
	}
}

// wireguard-go's own cookie code agrees with ours in both directions.
func TestMACsAndCookiesAreWireguardGos(t *testing.T) {
	w := newWorld(t, 12)
	a, b := w.add(), w.add()
	w.meet(a, b, Key{}, 0)
	message := a.Machine.Want(w.clocks(), b.Public(), 0, nil)[0].Message

	var checker device.CookieChecker
	checker.Init(device.NoisePublicKey(b.Public()))
	if !checker.CheckMAC1(message) {
		t.Error("wireguard-go refuses our first MAC")
	}
	source := []byte("where it came from")
	reply, err := checker.CreateReply(message, binary.LittleEndian.Uint32(message[4:]), source)
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, cookieLen)
	binary.LittleEndian.PutUint32(raw, reply.Type)
	binary.LittleEndian.PutUint32(raw[4:], reply.Receiver)
	copy(raw[8:], reply.Nonce[:])
	copy(raw[32:], reply.Cookie[:])
	if _, reason := a.Message(w.clocks(), 0, b.wan, raw, false, nil); reason != Accepted {
		t.Fatalf("we refuse wireguard-go's cookie: %s", reason)
	}
	w.now += 6 * time.Second
	again := a.Tick(w.clocks(), func(any) Activity { return Activity{} }, nil)[0].Message
	if !checker.CheckMAC2(again, source) {
		t.Error("wireguard-go refuses our second MAC")
	}

	// The other way: their message, our cookie.
	var generator device.CookieGenerator
	generator.Init(device.NoisePublicKey(b.Public()))
	theirs := bytes.Clone(message)
	generator.AddMacs(theirs)
	if !NewGate(b.Public()).Admits(theirs) {
		t.Error("we refuse wireguard-go's first MAC")
	}
	out, reason := b.Message(w.clocks(), 0, a.wan, theirs, true, nil)
	if reason != CookieDemanded || len(out) != 1 {
		t.Fatalf("under load: %s", reason)
	}
	m := out[0].Message
	ours := &device.MessageCookieReply{Type: typeCookie, Receiver: binary.LittleEndian.Uint32(m[4:])}
	copy(ours.Nonce[:], m[8:32])
	copy(ours.Cookie[:], m[32:])
	if !generator.ConsumeReply(ours) {
		t.Fatal("wireguard-go refuses our cookie")
	}
	generator.AddMacs(theirs)
	if _, reason := b.Message(w.clocks(), 0, a.wan, theirs, true, nil); reason != Accepted {
		t.Errorf("with our cookie: %s", reason)
	}
}

func TestTheLimiterIsFairAndBounded(t *testing.T) {
	var l limiter
	x := netip.MustParseAddr("3fff:d55::1")
	allowed := 0
	for ms := range 2000 {
		if l.allow(time.Duration(ms)*time.Millisecond, x) {
			allowed++
		}
	}
	if allowed < 40 || allowed > 46 {
		t.Errorf("%d handshakes in two seconds, want five and twenty a second", allowed)
	}
	for i := range 1 << 18 {
		a := [16]byte{0x3f, 0xff}
		binary.BigEndian.PutUint32(a[4:], uint32(i))
		l.allow(time.Duration(i), netip.AddrFrom16(a))
	}
	if len(l.seen) > limiterAddresses {
		t.Errorf("%d addresses are remembered", len(l.seen))
	}
}

func TestTheGateDoesNotAllocate(t *testing.T) {
	_, public := keyPair(t, 3)
	g := NewGate(public)
	b := make([]byte, initiationLen)
	b[0] = typeInitiation
	if n := testing.AllocsPerRun(100, func() { g.Admits(b) }); n != 0 {
		t.Errorf("%v allocations for a forged message", n)
	}
}

func FuzzMessage(f *testing.F) {
	private, public := keyPair(f, 1)
	other, otherPublic := keyPair(f, 2)
	m, _ := New(other, rand.Reader)
	m.Set(Config{Key: public, Lanes: []Lane{{}}}, nil)
	now := Now{Mono: time.Second, Wall: time.Unix(1_700_000_000, 0)}
	f.Add(m.Want(now, public, 0, nil)[0].Message, true)
	f.Add(make([]byte, cookieLen), false)
	f.Fuzz(func(t *testing.T, b []byte, busy bool) {
		m, err := New(private, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		m.Set(Config{Key: otherPublic, Lanes: []Lane{{}}}, nil)
		// Let it through the gate, so that the fuzzer meets what is behind.
		if len(b) == initiationLen || len(b) == responseLen {
			copy(b[len(b)-32:], NewGate(public).compute(b[:len(b)-32]))
		}
		out, reason := m.Message(now, 0, netip.MustParseAddrPort("[::1]:1"), b, busy, nil)
		if reason != Accepted && reason != CookieDemanded && (len(out) != 0 || len(m.index) != 0) {
			t.Fatalf("%s, yet %d effects and %d indices", reason, len(out), len(m.index))
		}
	})
}

// BenchmarkResponder is a whole handshake answered: how many newcomers a core
// can let in.
func BenchmarkResponder(b *testing.B) {
	private, public := keyPair(b, 1)
	other, otherPublic := keyPair(b, 2)
	responder, _ := New(private, rand.Reader)
	initiator, _ := New(other, rand.Reader)
	initiator.Set(Config{Key: public, Lanes: []Lane{{}}}, nil)
	responder.Set(Config{Key: otherPublic, Lanes: []Lane{{}}}, nil)
	now := Now{Mono: time.Second, Wall: time.Unix(1_700_000_000, 0)}
	var messages [][]byte
	for range 200 {
		now.Mono += 6 * time.Second
		initiator.peers[public].lanes[0].wanting = false
		messages = append(messages, initiator.Want(now, public, 0, nil)[0].Message)
	}
	from := netip.MustParseAddrPort("[::1]:1")
	i := 0
	for b.Loop() {
		if i%len(messages) == 0 {
			b.StopTimer()
			responder, _ = New(private, rand.Reader)
			responder.Set(Config{Key: otherPublic, Lanes: []Lane{{}}}, nil)
			b.StartTimer()
		}
		now.Mono += time.Second
		if _, r := responder.Message(now, 0, from, messages[i%len(messages)], false, nil); r != Accepted {
			b.Fatal(r)
		}
		i++
	}
	rate := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "handshakes/s")
	goal.Head(os.Stdout)
	goal.Row(os.Stdout, "handshakes answered by one core", fmt.Sprintf("%.0f a second", rate), "≥ 4,000", rate >= 4000)
}
