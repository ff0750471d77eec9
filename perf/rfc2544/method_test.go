package rfc2544

import (
	"context"
	"crypto/ed25519"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dssn/perf/report"
	"dssn/perf/trial"
)

// policed is a simulated path that ends in a token bucket, in virtual time.
type policed struct {
	rate, depth float64 // bits a second, bytes
	slow        float64 // the sender's own limit; 0 for none
	spoil       int     // the next so many trials are disturbed
	now         time.Duration
}

func (p *policed) Trial(_ context.Context, l trial.Load) (*trial.Outcome, error) {
	offered := trial.BitRate(l.Size, l.Interval)
	if offered == 0 {
		offered = 10e9
	}
	o := &trial.Outcome{Load: l, OneWay: true}
	o.Sent.CPU = 0.5
	if p.slow > 0 && offered > p.slow {
		offered, o.Sent.CPU, o.Sent.Worst = p.slow, 1, int64(100*time.Millisecond)
	}
	seconds := float64(l.Millis) / 1000
	packets := uint64(offered * seconds / float64(8*l.Size))
	if l.Count > 0 {
		packets = l.Count
		seconds = float64(packets) * float64(8*l.Size) / offered
	}
	p.now += time.Duration(1e9 * seconds)
	bucket := 8 * p.depth
	if prime := trial.BitRate(l.Size, l.PrimeInterval); l.Prime > 0 && prime > p.rate {
		t := float64(l.Prime) * float64(8*l.Size) / prime
		bucket = math.Max(0, bucket-(prime-p.rate)*t) + p.rate*float64(l.PrimePause)/1e6
	}
	through := math.Min(float64(packets), (bucket+p.rate*seconds)/float64(8*l.Size))
	o.Sent.Packets, o.Sent.Seconds = packets, seconds
	o.Received.Packets = uint64(through)
	if p.spoil > 0 {
		p.spoil--
		o.Received.Packets -= min(o.Received.Packets, 3)
		o.Received.Dropped = 3
	}
	if l.Delays {
		o.Received.Delay = [][2]uint64{{1500, o.Received.Packets}}
	}
	return o, nil
}

func TestFiveRunsFindThePolicersRateWithinOnePerCent(t *testing.T) {
	synctest.Test(t, fiveRuns) // time between trials is virtual too
}

func fiveRuns(t *testing.T) {
	for _, rate := range []float64{4e6, 80e6, 950e6} {
		p := &policed{rate: rate, depth: rate / 8 * 0.05}
		for run := range 5 {
			p.spoil = run
			r, err := Run(t.Context(), p, Config{Sizes: []int{512}, Max: 1.5 * rate, Depth: p.depth, Latency: time.Second, Loss: time.Second, Bursts: 2})
			if err != nil {
				t.Fatal(err)
			}
			s := r.Sizes[0]
			if math.Abs(s.Throughput/rate-1) > 0.01 || s.Unfinished != "" || s.Spoiled > run {
				t.Errorf("policed at %g: found %g, %q, %d spoiled", rate, s.Throughput, s.Unfinished, s.Spoiled)
			}
			if p.now > time.Minute && run == 0 {
				t.Errorf("the tests took %v of virtual time", p.now)
			}
			if _, bytes := s.Buffer(); math.Abs(bytes/p.depth-1) > 0.02 {
				t.Errorf("a depth of %g: buffer of %g", p.depth, bytes)
			}
			if len(s.Loss) < 3 || s.Loss[0].LossRatio() < 0.3 || s.Loss[len(s.Loss)-1].Lost() != 0 || s.Loss[len(s.Loss)-2].Lost() != 0 {
				t.Errorf("the loss test made %d steps", len(s.Loss))
			}
			if d := s.Delays(); d == nil || d.Count() == 0 {
				t.Error("no delays")
			}
			p.now = 0
		}
	}
}

func TestATesterThatIsTheLimitSaysSo(t *testing.T) {
	r, err := Run(t.Context(), &policed{rate: 1e9, slow: 300e6}, Config{Sizes: []int{512}, Max: 2e9})
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Sizes[0]; math.Abs(s.Throughput-300e6) > 1e6 || !strings.Contains(s.Unfinished, "goes no faster") {
		t.Errorf("found %g, %q", s.Throughput, s.Unfinished)
	}
	result := write(t, r)
	if len(result.Distrust()) < 2 {
		t.Errorf("the result does not say that it cannot be trusted: %q", result.Distrust())
	}
}

func TestABusyHostEndsTheSearchWithAReason(t *testing.T) {
	r, err := Run(t.Context(), &policed{rate: 99e6, spoil: 1 << 30}, Config{Sizes: []int{512}, Max: 100e6})
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Sizes[0]; s.Spoiled != maxSpoiled || !strings.Contains(s.Unfinished, "spoiled") {
		t.Errorf("%d spoiled, %q", s.Spoiled, s.Unfinished)
	}
	write(t, r)
}

// write checks that the result is a valid one that can be signed.
func write(t *testing.T, r *Report) *report.Result {
	t.Helper()
	result, err := r.Result([]string{"dssn"}, []report.End{{Role: "tester", Name: "a"}, {Role: "responder", Name: "b"}}, 80e6)
	if err != nil {
		t.Fatal(err)
	}
	if err := result.Check(); err != nil {
		t.Fatal(err)
	}
	if err := result.Sign(report.Signer{Role: "tester", Key: ed25519.NewKeyFromSeed(make([]byte, 32))}); err != nil {
		t.Fatal(err)
	}
	return result
}

func TestAbsurdConfigurationsAreRefused(t *testing.T) {
	good := Config{Sizes: []int{512}, Max: 1e6}
	for what, change := range map[string]func(*Config){
		"packet sizes": func(c *Config) { c.Sizes = nil }, "packets of 3": func(c *Config) { c.Sizes = []int{3} }, "highest rate": func(c *Config) { c.Max = math.NaN() },
		"width": func(c *Config) { c.Width = -1 }, "tolerated": func(c *Config) { c.Tolerated = 2 }, "length": func(c *Config) { c.Trial = -1 }, "repetitions": func(c *Config) { c.Bursts = -1 },
	} {
		c := good
		change(&c)
		if _, err := Run(t.Context(), &policed{rate: 1e6}, c); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
