package stamp

import (
	"bytes"
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	epoch = time.Date(2026, 11, 24, 12, 0, 0, 123456789, time.UTC)
	from  = netip.MustParseAddrPort("[2001:db8::1]:4000")
)

func TestPacketsStandWhereTheRFCPutsThem(t *testing.T) {
	p := AppendProbe(nil, Probe{Sequence: 0x01020304, Sent: epoch, Error: NewErrorEstimate(true, time.Millisecond), SSID: 0xbeef}, nil)
	// RFC 8762 figure 2 with RFC 8972 figure 1; 4004510400 s after 1900, an error of 132 × 2^(15-32) s.
	want := "01020304" + "eeaffac0" + "1f9add38" + "8f84" + "beef" + strings.Repeat("00", 28)
	if got := hex.EncodeToString(p); got != want {
		t.Errorf("probe\n got %s\nwant %s", got, want)
	}
	back, err := ParseProbe(p, nil, epoch)
	if err != nil || !back.Sent.Equal(epoch) || back.SSID != 0xbeef || back.Sequence != 0x01020304 {
		t.Errorf("probe came back as %+v, %v", back, err)
	}
	if !back.Error.Synchronised() || back.Error.PTP() || back.Error.Bound() < time.Millisecond || back.Error.Bound() > 1010*time.Microsecond {
		t.Errorf("error estimate %x admits %v, want about 1 ms", back.Error, back.Error.Bound())
	}
}

func TestTimesSurviveTheWireToTheNanosecond(t *testing.T) {
	var b [8]byte
	for _, now := range []time.Time{epoch, time.Unix(0, 1), time.Unix(2085978495, 999999999), time.Unix(2085978496, 0).Add(time.Nanosecond), time.Unix(4e9, 5)} {
		putTime(b[:], now)
		if got := getTime(b[:], false, now.Add(3*time.Hour)); !got.Equal(now) {
			t.Errorf("%v came back as %v", now.UTC(), got.UTC())
		}
	}
	copy(b[:], []byte{0x65, 0x53, 0xf1, 0x00, 0x00, 0x00, 0x00, 0x07})
	if got := getTime(b[:], true, epoch); got.Unix() != 0x6553f100 || got.Nanosecond() != 7 {
		t.Errorf("a PTP time came back as %v", got)
	}
}

func TestReflectorAnswersBothModesAndOldSenders(t *testing.T) {
	for _, key := range [][]byte{nil, []byte("a shared secret of some length")} {
		r := Reflector{Key: key, Stateful: true}
		s := NewSession(key, 7, NewErrorEstimate(true, time.Microsecond))
		for range 3 {
			probe := s.Probe(nil, epoch, 200)
			if len(probe) != 200 {
				t.Fatalf("probe of %d bytes, want 200", len(probe))
			}
			reply, ok := r.Reflect(nil, probe, from, 61, epoch.Add(time.Millisecond), epoch.Add(3*time.Millisecond))
			if !ok || len(reply) != len(probe) {
				t.Fatalf("answered %v with %d bytes", ok, len(reply))
			}
			s.Arrive(reply, epoch.Add(5*time.Millisecond))
			s.Arrive(reply, epoch.Add(6*time.Millisecond))
		}
		got := s.Result()
		if got.Sent != 3 || got.Received != 3 || got.Duplicates != 3 || got.TTL != 61 || got.Lost() != 0 {
			t.Errorf("result %+v", got)
		}
		if d := got.RoundTrip.P50 - 3*time.Millisecond; d < -3*time.Microsecond || d > 3*time.Microsecond {
			t.Errorf("round trip %v, want 3 ms: 5 less the reflector's 2", got.RoundTrip.P50)
		}
	}
	r := Reflector{}
	if reply, ok := r.Reflect(nil, AppendProbe(nil, Probe{Sequence: 9}, nil)[:MinProbeBytes], from, 1, epoch, epoch); !ok || len(reply) != BaseBytes {
		t.Errorf("a TWAMP Light probe of %d bytes got %d bytes, %v", MinProbeBytes, len(reply), ok)
	}
	if _, ok := r.Reflect(nil, make([]byte, MinProbeBytes-1), from, 1, epoch, epoch); ok || r.Counts.Short != 1 {
		t.Error("a packet that is too short was answered")
	}
	r.Key = []byte("k")
	forged := AppendProbe(nil, Probe{}, []byte("another key"))
	if _, ok := r.Reflect(nil, forged, from, 1, epoch, epoch); ok || r.Counts.BadMAC != 1 {
		t.Error("a forged packet was answered")
	}
}

func TestLossIsSplitByDirection(t *testing.T) {
	r := Reflector{Stateful: true}
	s := NewSession(nil, 1, 0)
	now := epoch
	for i := range 100 {
		now = now.Add(10 * time.Millisecond)
		probe := s.Probe(nil, now, 0)
		if i%10 == 3 { // lost on the way there
			continue
		}
		reply, _ := r.Reflect(nil, probe, from, 64, now, now)
		if i%20 == 5 { // lost on the way back
			continue
		}
		s.Arrive(reply, now.Add(time.Millisecond))
	}
	got := s.Result()
	if got.LostForward == nil || *got.LostForward != 10 || *got.LostBackward != 5 || got.Lost() != 15 {
		t.Errorf("lost %d: forward %v, backward %v; want 10 and 5", got.Lost(), got.LostForward, got.LostBackward)
	}
}

func TestReorderingIsCountedOnce(t *testing.T) {
	r := Reflector{}
	s := NewSession(nil, 1, 0)
	var replies [][]byte
	for range 5 {
		reply, _ := r.Reflect(nil, s.Probe(nil, epoch, 0), from, 64, epoch, epoch)
		replies = append(replies, reply)
	}
	for _, i := range []int{0, 2, 1, 4, 3} {
		s.Arrive(replies[i], epoch.Add(time.Millisecond))
	}
	if got := s.Result(); got.Reordered != 2 || got.Received != 5 {
		t.Errorf("%d reordered of %d, want 2 of 5", got.Reordered, got.Received)
	}
}

func TestReflectorForgetsTheSilentSessionFirst(t *testing.T) {
	r := Reflector{Stateful: true, MaxSessions: 3}
	ask := func(ssid uint16, at time.Time) uint32 {
		b, _ := r.Reflect(nil, AppendProbe(nil, Probe{SSID: ssid}, nil), from, 1, at, at)
		reply, err := ParseReply(b, nil, at)
		if err != nil {
			t.Fatal(err)
		}
		return reply.Sequence
	}
	for i := range 3 {
		ask(uint16(i+1), epoch.Add(time.Duration(i)*time.Second))
	}
	ask(1, epoch.Add(4*time.Second))
	ask(4, epoch.Add(5*time.Second)) // displaces 2
	if r.Counts.Displaced != 1 || len(r.sessions) != 3 {
		t.Errorf("%d displaced, %d kept; want 1 and 3", r.Counts.Displaced, len(r.sessions))
	}
	if got := ask(1, epoch.Add(6*time.Second)); got != 2 {
		t.Errorf("session 1 is at %d, want 2", got)
	}
	if got := ask(2, epoch.Add(time.Hour)); got != 0 || len(r.sessions) != 1 {
		t.Errorf("after an hour session 2 is at %d among %d, want 0 alone", got, len(r.sessions))
	}
}

func TestTLVs(t *testing.T) {
	r := Reflector{}
	base := AppendProbe(nil, Probe{}, nil)
	for name, c := range map[string]struct {
		tlvs, want        []byte
		malformed, unseen int
	}{
		"padding":          {AppendPadding(nil, 8), []byte{0, 1, 0, 4, 0, 0, 0, 0}, 0, 0},
		"unknown":          {[]byte{0x80, 99, 0, 1, 7}, []byte{0x80, 99, 0, 1, 7}, 0, 1},
		"too long":         {[]byte{0x80, 1, 0, 9, 1}, []byte{0x40, 1, 0, 9, 1}, 1, 0},
		"timestamps":       {[]byte{0x80, 3, 0, 4, 0, 0, 0, 0}, []byte{0, 3, 0, 4, 5, 3, 5, 3}, 0, 0},
		"short timestamps": {[]byte{0x80, 3, 0, 1, 0}, []byte{0x40, 3, 0, 1, 0}, 1, 0},
		"a bare remainder": {[]byte{1, 2, 3}, []byte{1, 2, 3}, 0, 0},
	} {
		reply, ok := r.Reflect(nil, slices.Concat(base, c.tlvs), from, 1, epoch, epoch)
		if !ok || !bytes.Equal(reply[BaseBytes:], c.want) {
			t.Errorf("%s: got % x, want % x", name, reply[BaseBytes:], c.want)
		}
		if m, u := Malformed(reply[BaseBytes:]); m != c.malformed || u != c.unseen {
			t.Errorf("%s: %d malformed, %d unrecognised", name, m, u)
		}
	}
}

func TestMeasureOverLoopback(t *testing.T) {
	for _, bind := range []string{"127.0.0.1", "::1"} {
		key := []byte("loopback")
		ctx, cancel := context.WithCancel(t.Context())
		port := make(chan int, 1)
		done := make(chan ReflectorCounts, 1)
		go func() {
			c, err := Serve(ctx, ReflectorOptions{Bind: bind, Stateful: true, Key: key, OnListen: func(a net.Addr) { port <- a.(*net.UDPAddr).Port }})
			if err != nil {
				t.Error(err)
			}
			done <- c
		}()
		at := <-port
		m, err := Measure(t.Context(), SenderOptions{Host: bind, Port: at, Count: 50, Interval: 200 * time.Microsecond, Size: 300, Key: key, Stateful: true})
		if err != nil {
			t.Fatal(err)
		}
		if m.Received != 50 || m.RoundTrip.Count != 50 || *m.LostForward != 0 || *m.LostBackward != 0 || m.TTL != 255 || m.Timestamps != "kernel" {
			t.Errorf("%s: %+v", bind, m)
		}
		if _, err := Measure(t.Context(), SenderOptions{Host: bind, Port: at, Count: 1, Key: []byte("wrong"), Wait: 100 * time.Millisecond}); err == nil || !strings.Contains(err.Error(), "same key") {
			t.Errorf("with a wrong key: %v", err)
		}
		cancel()
		if c := <-done; c.Reflected != 50 || c.BadMAC != 1 {
			t.Errorf("the reflector counted %+v", c)
		}
	}
}

func FuzzReflect(f *testing.F) {
	f.Add(AppendProbe(nil, Probe{Sequence: 1, Sent: epoch}, nil), false)
	f.Add(AppendPadding(AppendProbe(nil, Probe{Sequence: 1, Sent: epoch}, []byte("k")), 40), true)
	f.Fuzz(func(t *testing.T, b []byte, authenticated bool) {
		r := Reflector{Stateful: true}
		if authenticated {
			r.Key = []byte("k")
		}
		reply, ok := r.Reflect(nil, b, from, 3, epoch, epoch)
		if !ok {
			return
		}
		if len(reply) > max(len(b), BaseBytes) {
			t.Fatalf("%d bytes were answered with %d", len(b), len(reply))
		}
		got, err := ParseReply(reply, r.Key, epoch)
		if err != nil {
			t.Fatal(err)
		}
		if again := AppendReply(nil, got, r.Key); !bytes.Equal(again[:4], reply[:4]) {
			t.Fatal("a reply does not survive its own codec")
		}
		NewSession(r.Key, 0, 0).Arrive(b, epoch)
	})
}
