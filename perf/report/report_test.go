package report

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// full is a result that uses every part of the format.
func full() *Result {
	r := &Result{Format: Format, Kind: "test", Title: "all parts <&>", Program: "v1", Command: []string{"dssn", "perf", "x"},
		At: time.Date(2026, 11, 25, 8, 0, 0, 5e8, time.UTC), Seconds: 10.25}
	r.Ends = []End{{Role: "tester", CPU: "some CPU", Cores: 2, Memory: 1 << 34, Kernel: "6.18", Load: 0.5,
		NICs: []Interface{{Name: "eth0", Driver: "veth", MTU: 1500, Speed: 1e10, Queues: 1}}, Modes: []Setting{{"XDP", "native, copy"}}}, {Role: "reflector"}}
	r.Settings = []Setting{{"frame", "64 B"}}
	r.Verdict = &Verdict{Pass: false, Why: "loss was 1 %"}
	r.Metrics = []Metric{{"throughput", BitsPerSecond, Higher, []float64{1e9, 1.1e9, 9.5e8}}}
	r.Counts = []Count{{"lost", Lower, 3, 1000}}
	r.Series = []Series{{"rate", BitsPerSecond, [][2]float64{{0, 1e9}, {1, 1.2e9}}}}
	h := hdrhistogram.New(1, 1e9, 3)
	for i := range int64(1000) {
		h.RecordValue(1000 + i*i)
	}
	r.Distributions = []Distribution{FromHistogram("latency", Seconds, h, 1e-9)}
	r.Curves = []Curve{{"loss", Axis{"offered", PacketsPerSecond}, Axis{"loss", Ratio}, [][2]float64{{1e5, 0}, {2e5, 0.01}}}}
	r.Tables = []Table{{"services", []string{"name", "pass"}, [][]string{{"voice", "yes"}}}}
	r.Limits = []Limit{{"sender's CPU", 0.97, Ratio, false, "the sender was bound by its CPU"}, {"drops here", 0, Packets, true, ""}}
	r.Warn("the clocks are not synchronised")
	r.Detail = []byte(`{"a":[1,2.5,"x\u2028"]}`)
	return r
}

func written(t testing.TB, r *Result) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAWrittenResultIsReadBackTheSame(t *testing.T) {
	r := full()
	text := written(t, r)
	back, err := Read(text)
	if err != nil {
		t.Fatal(err)
	}
	again := written(t, back)
	if !bytes.Equal(text, again) {
		t.Errorf("written again:\n%s\nfirst:\n%s", again, text)
	}
	back.Detail, r.Detail = nil, nil // the same value, spaced otherwise
	if !reflect.DeepEqual(r, back) {
		t.Errorf("got %+v\nwant %+v", back, r)
	}
	if got := r.Distrust(); len(got) != 2 {
		t.Errorf("reasons not to trust: %q, want the warning and the CPU", got)
	}
}

func TestReadRefusesInOneSentence(t *testing.T) {
	good := string(written(t, full()))
	for _, c := range []struct{ old, new, want string }{
		{`"dssn-perf-result/1"`, `"dssn-perf-result/9"`, "its format is"},
		{`"kind": "test"`, `"kind": ""`, "what kind"},
		{`"kind": "test"`, `"kind": "test", "kind": "test"`, "stands twice"},
		{`"kind": "test"`, `"Kind": "test"`, "/Kind"},
		{`"kind": "test"`, `"kind": "test", "colour": 1`, "colour"},
		{`"seconds": 10.25`, `"seconds": -1`, "-1 seconds"},
		{`"unit": "bps"`, `"unit": "furlongs"`, "furlongs"},
		{`"count": 3,`, `"count": 3000,`, "3000 of 1000"},
		{`"better": "higher"`, `"better": "taller"`, "taller"},
		{`"why": "loss was 1 %"`, `"why": ""`, "without a reason"},
		{`"why": "the sender was bound by its CPU"`, `"why": ""`, "without saying why"},
		{`"yes"`, `"yes", "no"`, "3 cells"},
		{`"count": 1000`, `"count": 1001`, "buckets"},
		{`1000000000`, `1e999`, "out of range"},
		{`10.25`, `99999999999999999999`, "2^53"},
		{`"warnings": [`, `"signatures": [], "warnings": [`, "/signatures"},
		{`{`, ``, "follows the end"}, {`"command"`, `command`, "not JSON"},
	} {
		bad := strings.Replace(good, c.old, c.new, 1)
		if bad == good {
			t.Fatalf("%q is not in the example", c.old)
		}
		_, err := Read([]byte(bad))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s → %s: error %v, want one sentence with %q", c.old, c.new, err, c.want)
		}
	}
	for _, bad := range []string{"", "[]", "null", `{"kind":1}`, "{}x", strings.Repeat("[", 100), "\xff"} {
		if _, err := Read([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// The numbers are those of RFC 8785 appendix B, the strings those of section 3.2.2.
func TestCanonicalFormIsThatOfRFC8785(t *testing.T) {
	for in, want := range map[string]string{
		`{"b":1,"a":{"d":null,"c":[true,false]}}`:                                     `{"a":{"c":[true,false],"d":null},"b":1}`,
		`[56.0, 0.00, -0.0, 1E30, 4.50, 2e-3, 1e-27, 1e21, 1e20]`:                     `[56,0,0,1e+30,4.5,0.002,1e-27,1e+21,100000000000000000000]`,
		`[5e-324, 1.7976931348623157e308, 333333333.33333329, 1e-6, 1e-7]`:            `[5e-324,1.7976931348623157e+308,333333333.3333333,0.000001,1e-7]`,
		"\"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\"":                "\"\u20ac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"",
		`{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}`: "{\"\\r\":2,\"1\":4,\"\u0080\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\ufb33\":3}",
		`" \u2028<&>"`: "\" \u2028<&>\"",
	} {
		got, err := Canonical([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%s\n got %s, %v\nwant %s", in, got, err, want)
		}
	}
}

func keyOf(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func TestBothEndsSignAndAnyChangeIsFound(t *testing.T) {
	r := full()
	if err := r.Verify(); !errors.Is(err, ErrUnsigned) {
		t.Fatalf("before signing: %v", err)
	}
	at := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	if err := r.Sign(Signer{Role: "tester", Name: "a", At: at, Key: keyOf(1)}); err != nil {
		t.Fatal(err)
	}
	// The other end reads it, signs its copy and sends its signature back.
	other, err := Read(written(t, r))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Sign(Signer{Role: "reflector", At: at, Key: keyOf(2)}); err != nil {
		t.Fatal(err)
	}
	if err := r.AddSignature(other.Signatures[1]); err != nil {
		t.Fatal(err)
	}
	if err := r.AddSignature(other.Signatures[1]); err == nil {
		t.Error("a role signed twice")
	}
	text := written(t, r)
	back, err := Read(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := back.Verify(); err != nil {
		t.Fatal(err)
	}

	// No change of a single byte of the file passes both reading and verifying,
	// unless the value is the same.
	want, _ := Canonical(text)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		bad := bytes.Clone(text)
		i := rng.IntN(len(bad))
		bad[i] ^= 1 << rng.IntN(7)
		changed, err := Read(bad)
		if err != nil || changed.Verify() != nil {
			continue
		}
		if got, _ := Canonical(bad); !bytes.Equal(got, want) {
			t.Fatalf("byte %d changed to %q went unnoticed: …%s…", i, bad[i], bad[max(0, i-30):min(len(bad), i+30)])
		}
	}
	// A signature of another result, or with another claim, does not fit.
	alien := full()
	alien.Seconds++
	if err := alien.AddSignature(r.Signatures[0]); !errors.Is(err, ErrForged) {
		t.Errorf("a signature was moved to another result: %v", err)
	}
	moved := r.Signatures[0]
	moved.Role = "customer"
	if err := full().AddSignature(moved); !errors.Is(err, ErrForged) {
		t.Errorf("a signature was moved to another role: %v", err)
	}
}

// The slow twin of a distribution's percentiles: the sorted list.
func TestDistributionsAgreeWithSortedValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	h := hdrhistogram.New(1, 1e9, 3)
	var list []float64
	for range 5000 {
		v := int64(math.Exp(rng.NormFloat64()*2+9)) + 1
		h.RecordValue(v)
		list = append(list, float64(v)*1e-9)
	}
	d := FromHistogram("x", Seconds, h, 1e-9)
	sortFloats(list)
	for _, p := range []float64{1, 10, 50, 90, 99, 99.9} {
		got, ok := d.At(p)
		want := list[int(math.Ceil(p/100*5000))-1]
		if !ok || math.Abs(got/want-1) > 0.001 {
			t.Errorf("p%g: got %g, sorted values say %g", p, got, want)
		}
	}
	if d.Percentiles[0][1] > list[0]*1.001 || d.Max < list[4999]*0.999 {
		t.Errorf("range %g to %g, want %g to %g", d.Percentiles[0][1], d.Max, list[0], list[4999])
	}
}

func sortFloats(l []float64) {
	for i := range l { // insertion: obvious
		for j := i; j > 0 && l[j] < l[j-1]; j-- {
			l[j], l[j-1] = l[j-1], l[j]
		}
	}
}

func TestUnitsShowTheMultipleThatSuits(t *testing.T) {
	for _, c := range []struct {
		u    Unit
		v    float64
		want string
	}{
		{BitsPerSecond, 2.3456e9, "2.346 Gbit/s"}, {BitsPerSecond, 0, "0 bit/s"}, {Seconds, 0.000123, "123 µs"}, {Seconds, 12, "12 s"},
		{Seconds, 7e-9, "7 ns"}, {Ratio, 0.00123, "0.123 %"}, {PacketsPerSecond, 5.1e6, "5.1 Mpps"}, {Packets, 3, "3 packets"}, {Bytes, 64, "64 B"},
		{Plain, 17, "17"}, {Ratio, 1, "100 %"}, {Ratio, 1e-9, "1e-07 %"},
	} {
		if got := c.u.Show(c.v); got != c.want {
			t.Errorf("%s %g: got %q, want %q", c.u, c.v, got, c.want)
		}
	}
}

func TestThisEndKnowsTheMachine(t *testing.T) {
	e := ThisEnd("tester", "lo", "none-such")
	if e.Role != "tester" || e.Cores < 1 || e.Kernel == "" || e.Go == "" || len(e.NICs) != 2 || e.NICs[0].MTU == 0 || e.NICs[1].MTU != 0 {
		t.Errorf("got %+v", e)
	}
	r := New("test", "", []string{"x"})
	r.Ends = append(r.Ends, e)
	if _, err := Read(written(t, r)); err != nil {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(written(f, full()))
	f.Add([]byte(`{"format":"dssn-perf-result/1","kind":"a","command":["b"],"at":"2026-01-02T03:04:05Z"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Read(text)
		if err != nil {
			return
		}
		r.Verify()
		r.Distrust()
		again, err := Read(written(t, r))
		if err != nil {
			t.Fatalf("accepted, but not when written again: %v", err)
		}
		a, _ := canonicalOf(r)
		b, _ := canonicalOf(again)
		if !bytes.Equal(a, b) {
			t.Fatalf("changed by writing:\n%s\n%s", a, b)
		}
	})
}
