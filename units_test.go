package dssn

import (
	"encoding/json"
	"math"
	"math/big"
	"testing"
	"testing/quick"
	"time"
)

func TestBandwidthText(t *testing.T) {
	for s, want := range map[string]Bandwidth{"0": 0, "1": 1, "64k": 64 * Kbps, "64K": 64 * Kbps, "2.5M": 2500 * Kbps,
		"10G": 10 * Gbps, "400Gbps": 400 * Gbps, "1.6T": 1600 * Gbps, "18446744073709551615": math.MaxUint64} {
		if got, err := ParseBandwidth(s); err != nil || got != want {
			t.Errorf("ParseBandwidth(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "G", "-1", "+1", "1e9", "0x10", "1 G", "1.", ".5G", "1.5", "0.0001k", "99999999999T", "1GG", "NaN", "Inf"} {
		if got, err := ParseBandwidth(s); err == nil {
			t.Errorf("ParseBandwidth(%q) = %d, want an error", s, got)
		}
	}
	for b, want := range map[Bandwidth]string{0: "0", 999: "999", 1000: "1k", 2500 * Kbps: "2.5M", 10 * Gbps: "10G",
		1234567: "1.235M", 400 * Gbps: "400G", 5000 * Tbps: "5000T"} {
		if got := b.String(); got != want {
			t.Errorf("Bandwidth(%d) prints %q, want %q", uint64(b), got, want)
		}
	}
}

func TestByteCountText(t *testing.T) {
	for s, want := range map[string]ByteCount{"16KiB": 16 * KiB, "1GiB": GiB, "5GB": 5e9, "1.5MiB": 1536 * KiB, "7": 7, "7B": 7} {
		if got, err := ParseByteCount(s); err != nil || got != want {
			t.Errorf("ParseByteCount(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for n, want := range map[ByteCount]string{0: "0 B", 1023: "1023 B", 16 * KiB: "16 KiB", 1536 * MiB: "1.5 GiB"} {
		if got := n.String(); got != want {
			t.Errorf("ByteCount(%d) prints %q, want %q", uint64(n), got, want)
		}
	}
}

func TestQuantitiesAreIntegersInJSON(t *testing.T) {
	b, err := json.Marshal(struct {
		R Bandwidth `json:"bps"`
		N ByteCount `json:"bytes"`
	}{10 * Gbps, GiB})
	if err != nil || string(b) != `{"bps":10000000000,"bytes":1073741824}` {
		t.Errorf("%s, %v", b, err)
	}
	var r Bandwidth
	if err := json.Unmarshal([]byte(`"2.5M"`), &r); err != nil || r != 2500*Kbps {
		t.Errorf("text: %v, %v", r, err)
	}
	if err := json.Unmarshal([]byte(`-1`), &r); err == nil {
		t.Error("a negative rate was accepted")
	}
}

// Rounding is judged against exact arithmetic: BytesIn and RateOf round down, TimeFor up.
func TestRoundingNeverFavoursTheSender(t *testing.T) {
	eight := big.NewInt(8 * int64(time.Second))
	sat := func(x *big.Int, max uint64) uint64 {
		if !x.IsUint64() || x.Uint64() > max {
			return max
		}
		return x.Uint64()
	}
	check := func(rate, amount uint64, dur int64) bool {
		if dur < 0 {
			dur = -(dur + 1)
		}
		dur++
		rate |= 1
		r, n, d := new(big.Int).SetUint64(rate), new(big.Int).SetUint64(amount), big.NewInt(dur)
		bytes := new(big.Int).Div(new(big.Int).Mul(r, d), eight)
		if got := Bandwidth(rate).BytesIn(time.Duration(dur)); uint64(got) != sat(bytes, math.MaxUint64) {
			t.Errorf("%d bit/s in %d ns = %d, want %v", rate, dur, uint64(got), bytes)
		}
		bitns := new(big.Int).Mul(n, eight)
		up := new(big.Int).Div(new(big.Int).Add(bitns, new(big.Int).Sub(r, big.NewInt(1))), r)
		if got := Bandwidth(rate).TimeFor(ByteCount(amount)); uint64(got) != sat(up, math.MaxInt64) {
			t.Errorf("%d bytes at %d bit/s = %d ns, want %v", amount, rate, int64(got), up)
		}
		if got := RateOf(ByteCount(amount), time.Duration(dur)); uint64(got) != sat(new(big.Int).Div(bitns, d), math.MaxUint64) {
			t.Errorf("%d bytes in %d ns = %d bit/s, want %v", amount, dur, uint64(got), new(big.Int).Div(bitns, d))
		}
		return !t.Failed()
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 5000}); err != nil {
		t.Error(err)
	}
	for _, v := range []uint64{0, 1, 7, 8, 9, 1e9, 4e11, math.MaxUint64} {
		for _, d := range []int64{0, 1, 999, 1e9, math.MaxInt64 - 1} {
			check(v, v, d)
			check(v, math.MaxUint64-v, d)
		}
	}
}

func FuzzBandwidthText(f *testing.F) {
	for _, s := range []string{"10G", "2.5M", "0.001k", "1.6T"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseBandwidth(s)
		if err != nil {
			return
		}
		// The text is rounded to thousandths, so reading it again comes near, and is stable from then on.
		w, err := ParseBandwidth(v.String())
		if err != nil {
			if v > math.MaxUint64-math.MaxUint64/1000 {
				return // rounded up past the largest value
			}
			t.Fatalf("%q → %d → %q: %v", s, uint64(v), v.String(), err)
		}
		if diff := max(v, w) - min(v, w); diff > v/1000+1 {
			t.Fatalf("%q → %d → %d", s, uint64(v), uint64(w))
		}
	})
}
