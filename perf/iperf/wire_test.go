package iperf

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"
)

func TestIntegersAsIperfWritesThem(t *testing.T) {
	for text, want := range map[string]Integer{"-1": -1, "18446744073709551615": -1, "0": 0, "1e6": 1e6, "12.7": 12, "9223372036854775807": 1<<63 - 1} {
		var got Integer
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{`"1"`, `{}`, `[1]`} {
		var got Integer
		if err := json.Unmarshal([]byte(text), &got); err == nil {
			t.Errorf("%s was accepted as %d", text, got)
		}
	}
}

func TestStreamNumbersAreIperfs(t *testing.T) {
	for n, want := range []int{1, 3, 4, 5, 6} {
		if got := streamID(n); got != want {
			t.Errorf("stream %d has the number %d, want %d", n, got, want)
		}
	}
}

// slowLoss counts what Sequence.Lost should come to: the numbers up to the
// highest that never arrived.
func slowLoss(arrived []uint64) (lost int64, highest uint64) {
	seen := map[uint64]bool{}
	for _, n := range arrived {
		seen[n], highest = true, max(highest, n)
	}
	return int64(highest) - int64(len(seen)), highest
}

func TestSequenceCountsLossAndReorderingLikeItsSlowTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var numbers []uint64
		for n := uint64(1); n <= 500; n++ {
			if r.IntN(10) != 0 {
				numbers = append(numbers, n)
			}
		}
		swaps := uint64(0)
		for i := 0; i+1 < len(numbers); i += 2 {
			if r.IntN(5) == 0 {
				numbers[i], numbers[i+1] = numbers[i+1], numbers[i]
				swaps++
			}
		}
		var s Sequence
		now := time.Unix(1e9, 0)
		var b [MinUDPLen]byte
		for i, n := range numbers {
			at := now.Add(time.Duration(i) * time.Millisecond)
			putDatagramHeader(b[:], at.Add(-5*time.Millisecond), n, round%2 == 0)
			if !s.Arrive(b[:], at, round%2 == 0) {
				t.Fatal("a datagram was refused")
			}
		}
		lost, highest := slowLoss(numbers)
		if s.Lost != lost || s.Packets != highest || s.OutOfOrder != swaps {
			t.Fatalf("round %d: lost %d of %d, %d out of order; want %d of %d, %d", round, s.Lost, s.Packets, s.OutOfOrder, lost, highest, swaps)
		}
		if s.Jitter > 1e-9 {
			t.Fatalf("a constant delay has a jitter of %g s", s.Jitter)
		}
	}
}

func TestNarrowNumbersGoOnPastTheirEnd(t *testing.T) {
	var s Sequence
	s.Packets = 1<<32 - 2
	var b [MinUDPLen]byte
	for _, n := range []uint64{1<<32 - 1, 1 << 32, 1<<32 + 1, 1<<32 + 3, 1<<32 + 2} {
		putDatagramHeader(b[:], time.Unix(5, 0), n, false)
		s.Arrive(b[:], time.Unix(5, 0), false)
	}
	if s.Packets != 1<<32+3 || s.Lost != 0 || s.OutOfOrder != 1 {
		t.Errorf("after the wrap: %+v", s)
	}
}

func TestPacerKeepsToItsRate(t *testing.T) {
	now := time.Unix(0, 0)
	p := Pacer{Rate: 80e6}
	p.Start(now)
	sent := 0
	for end := now.Add(time.Second); now.Before(end); {
		wait := p.Wait(now, 1400)
		if wait > 0 {
			now = now.Add(wait)
			continue
		}
		p.Sent(1400)
		sent += 1400
	}
	if sent < 10e6-1400 || sent > 10e6+2800 {
		t.Errorf("sent %d bytes in a second at 80 Mbit/s, want 10 MB", sent)
	}
	if free := (Pacer{}); free.Wait(now, 1) != 0 {
		t.Error("the zero pacer waits")
	}
}

func TestBudgetIsSharedToTheByte(t *testing.T) {
	b := &budget{}
	b.left.Store(1000)
	got := 0
	for n := b.take(300); n > 0; n = b.take(300) {
		got += n
	}
	if got != 1000 || !b.empty() {
		t.Errorf("granted %d of 1000", got)
	}
}

func FuzzReadJSON(f *testing.F) {
	for _, v := range []any{Params{TCP: true, Parallel: 1, Len: 1}, Results{Streams: []StreamResult{{ID: 1}}}} {
		var b bytes.Buffer
		writeJSON(&b, v)
		f.Add(b.Bytes())
	}
	f.Add(binary.BigEndian.AppendUint32(nil, 1<<31))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Params
		if readJSON(bytes.NewReader(b), &p) == nil && p.Validate() == nil {
			var again Params
			var out bytes.Buffer
			if err := writeJSON(&out, p); err != nil {
				t.Fatal(err)
			}
			if err := readJSON(&out, &again); err != nil || again != p {
				t.Fatalf("%+v came back as %+v, %v", p, again, err)
			}
		}
		var r Results
		readJSON(bytes.NewReader(b), &r)
	})
}

func FuzzReadState(f *testing.F) {
	f.Add([]byte{9})
	f.Add([]byte{0xfe, 0, 0, 0, 1, 0, 0, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			if _, err := readState(r); err != nil {
				if err.Error() == "" {
					t.Fatal("an error without a sentence")
				}
				return
			}
		}
	})
}

func FuzzArrive(f *testing.F) {
	f.Add(make([]byte, 64), true)
	f.Fuzz(func(t *testing.T, b []byte, wide bool) {
		var s Sequence
		for len(b) > 0 {
			n := min(len(b), 17)
			if s.Arrive(b[:n], time.Unix(1, 0), wide) != (n >= MinUDPLen) {
				t.Fatal("a short datagram was taken or a long one refused")
			}
			b = b[n:]
		}
	})
}
