package trial

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"dssn/perf/report"
)

const secret = "a shared secret"

func identity(t testing.TB, name, secret string) Identity {
	t.Helper()
	id, err := NewIdentity(name, secret)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// respond runs a responder on loopback for the length of the test.
func respond(t *testing.T, bind string) (port int) {
	t.Helper()
	at := make(chan int, 1)
	r := &Responder{Own: identity(t, "there", secret), Bind: bind, OnListen: func(a net.Addr) { at <- a.(*net.TCPAddr).Port }}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return <-at
}

func TestBothEndsCountTheSameBothWays(t *testing.T) {
	for _, bind := range []string{"127.0.0.1", "::1"} {
		port := respond(t, bind)
		s, err := Dial(t.Context(), bind, port, "", identity(t, "here", secret))
		if err != nil {
			t.Fatal(err)
		}
		if s.Peer.Name != "there" || !s.OneWay || s.Remote.Role != "responder" {
			t.Errorf("the peer is %+v, %+v", s.Peer, s.Remote)
		}
		var trials []*Outcome
		for _, reverse := range []bool{false, true} {
			l := Load{Size: 300, Interval: Interval(300, 20e6), Count: 2000, Millis: 20_000, Settle: 300, Delays: true, Prime: 50, PrimeInterval: Interval(300, 20e6)}
			o, err := s.Run(t.Context(), l, reverse)
			if err != nil {
				t.Fatal(err)
			}
			if o.Sent.Packets != 2000 || o.Received.Packets+o.Received.Dropped != 2000 || o.Received.Bytes != 300*o.Received.Packets || o.Lost() != o.Received.Dropped {
				t.Errorf("%s, reverse %v: sent %+v, received %d packets of %d bytes, dropped %d", bind, reverse, o.Sent, o.Received.Packets, o.Received.Bytes, o.Received.Dropped)
			}
			if n := o.Delay().Count(); n != o.Received.Packets || o.Received.Negative != 0 || o.Delay().Max() <= 0 {
				t.Errorf("%s: %d delays up to %v, %d negative", bind, n, o.Delay().Max(), o.Received.Negative)
			}
			trials = append(trials, o)
		}
		sign(t, s, trials)
		s.Close()
	}
}

// sign has a result signed by both ends, and then some that must not be.
func sign(t *testing.T, s *Session, trials []*Outcome) {
	make := func(change func(*Detail)) *report.Result {
		r := report.New("rfc2544", "a test", []string{"test"})
		r.Ends = []report.End{report.ThisEnd("tester"), s.Remote}
		text, _ := json.Marshal(Detail{trials})
		var d Detail
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		change(&d)
		r.Detail, _ = json.Marshal(d)
		return r
	}
	r := make(func(*Detail) {})
	if err := s.Sign(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(); err != nil || len(r.Signatures) != 2 || !ed25519.PublicKey(r.Signatures[0].Key).Equal(s.Peer.Key) {
		t.Errorf("signatures %+v, %v", r.Signatures, err)
	}
	for what, change := range map[string]func(*Detail){
		"received": func(d *Detail) { d.Trials[0].Received.Packets++ },
		"sent":     func(d *Detail) { d.Trials[1].Sent.Packets-- },
		"nothing":  func(d *Detail) { d.Trials = nil },
		"foreign":  func(d *Detail) { d.Trials[0].Sent.ID ^= 1 << 31 },
	} {
		if err := s.Sign(t.Context(), make(change)); err == nil || !strings.Contains(err.Error(), "cannot be signed") {
			t.Errorf("%s changed: %v, want a refusal", what, err)
		}
	}
	if _, err := s.Run(t.Context(), Load{Size: 100, Count: 10, Millis: 1000, Settle: 20}, false); err != nil {
		t.Errorf("after the refusals: %v", err)
	}
}

func TestStrangersAreRefusedAndTheResponderGoesOn(t *testing.T) {
	port := respond(t, "127.0.0.1")
	dial := func(s string) (*Session, error) {
		return Dial(t.Context(), "127.0.0.1", port, "", identity(t, "here", s))
	}
	if _, err := dial("another secret"); err == nil || !strings.Contains(err.Error(), "knows") && !strings.Contains(err.Error(), "know the secret") {
		t.Errorf("with a wrong secret: %v", err)
	}
	if _, err := Dial(t.Context(), "127.0.0.1", port, "", identity(t, "here", "")); err == nil || !strings.Contains(err.Error(), "--secret") {
		t.Errorf("without any secret: %v", err)
	}
	if _, err := dial("short"); err == nil || !strings.Contains(err.Error(), "at least 8") {
		t.Errorf("with a short secret: %v", err)
	}
	for _, garbage := range [][]byte{{0}, bytes.Repeat([]byte{0xff}, 300), []byte("GET / HTTP/1.0\r\n\r\n")} {
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		c.Write(garbage)
		c.Close()
	}
	first, err := dial(secret)
	if err != nil {
		t.Fatal(err)
	}
	var busy *Error
	if _, err := dial(secret); err == nil || !errors.As(err, &busy) || !busy.Busy {
		t.Errorf("a second tester: %v, want busy", err)
	}
	second, err := Dial(t.Context(), "127.0.0.1", port, "", first.Own)
	if err != nil {
		t.Errorf("a second session of the same tester: %v", err)
	} else {
		second.Close()
	}
	for _, l := range []Load{{Size: 3, Millis: 100}, {Size: 100}, {Size: 100, Millis: -4}, {Size: 100, Millis: 100, Settle: 1 << 30}} {
		if _, err := first.Run(t.Context(), l, false); err == nil {
			t.Errorf("%+v was accepted", l)
		}
	}
	// The responder judges for itself.
	if err := first.ask(Message{Trial: &Request{ID: 1, Load: Load{Size: 1 << 30, Millis: 1}}}, time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(first.conn); err == nil || !strings.Contains(err.Error(), "packets of") {
		t.Errorf("an absurd load: %v", err)
	}
	if _, err := first.Run(t.Context(), Load{Size: 100, Count: 5, Millis: 500, Settle: 10}, true); err != nil {
		t.Error(err)
	}
	// A tester that stops in the middle of a trial.
	if err := first.ask(Message{Trial: &Request{ID: 2, Load: Load{Size: 100, Millis: 60_000}}}, time.Second); err != nil {
		t.Fatal(err)
	}
	first.Close()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		third, err := dial(secret)
		if err == nil {
			third.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("the responder did not recover:", err)
		}
	}
}

func TestACancelledTestEndsAtOnce(t *testing.T) {
	port := respond(t, "127.0.0.1")
	for _, reverse := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		var s *Session
		for { // the responder has to notice that the one before has left
			var busy *Error
			var err error
			if s, err = Dial(ctx, "127.0.0.1", port, "", identity(t, "here", secret)); err == nil {
				break
			} else if !errors.As(err, &busy) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := s.Run(ctx, Load{Size: 100, Interval: Interval(100, 1e6), Millis: 600_000}, reverse); err != context.Canceled {
			t.Errorf("reverse %v: %v, want %v", reverse, err, context.Canceled)
		}
		s.Close()
	}
}

func FuzzRead(f *testing.F) {
	for _, m := range []Message{
		{Hello: &Hello{Version: 1, Name: "x", Proof: []byte{1}}}, {Trial: &Request{ID: 3, Load: Load{Size: 100, Millis: 5}}}, {Ready: &Ready{1}},
		{Received: &Received{Delay: [][2]uint64{{1, 2}}}}, {Sent: &Sent{}}, {Sign: &Sign{Result: []byte(`{}`)}}, {Error: &Error{Text: "no"}},
	} {
		var b bytes.Buffer
		if err := Write(&b, m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add(binary.BigEndian.AppendUint32(nil, 1<<31))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := Write(&out, m); err != nil {
			t.Fatal(err)
		}
		again, err := Read(bytes.NewReader(out.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		x, _ := json.Marshal(m)
		y, _ := json.Marshal(again)
		if !bytes.Equal(x, y) {
			t.Fatalf("%s came back as %s", x, y)
		}
		if m.Received != nil {
			histogram(m.Received.Delay).Count()
		}
		if m.Trial != nil {
			m.Trial.Load.Check()
		}
	})
}

func FuzzControl(f *testing.F) {
	f.Add(make([]byte, 64))
	f.Fuzz(func(t *testing.T, b []byte) { control(b, time.Unix(1, 0)) })
}
