package y1564

import (
	"context"
	"crypto/ed25519"
	"math"
	"strings"
	"testing"
	"time"

	"dssn/perf/report"
	"dssn/perf/trial"
)

// policed is a simulated path: it forwards up to a rate, behind a depth, with a delay.
type policed struct {
	rate, depth float64
	loss        float64 // of everything
	delay       uint64  // bucket
	spoil       int
	apart       bool // the clocks are
}

func (p *policed) Trial(_ context.Context, l trial.Load) (*trial.Outcome, error) {
	o := &trial.Outcome{Load: l, OneWay: !p.apart}
	offered, seconds := trial.BitRate(l.Size, l.Interval), float64(l.Millis)/1000
	o.Sent.Packets, o.Sent.Seconds = uint64(offered*seconds/float64(8*l.Size)), seconds
	bucket := 8 * p.depth
	if prime := trial.BitRate(l.Size, l.PrimeInterval); l.Prime > 0 {
		bucket -= math.Max(0, prime-p.rate) * float64(l.Prime) * float64(8*l.Size) / prime
		bucket = math.Max(0, bucket) + p.rate*float64(l.PrimePause)/1e6
	}
	through := math.Min(float64(o.Sent.Packets), (bucket+p.rate*seconds)/float64(8*l.Size)) * (1 - p.loss)
	o.Received.Packets = uint64(through)
	if p.spoil > 0 {
		p.spoil--
		o.Received.Packets, o.Received.Dropped = o.Received.Packets-5, 5
	}
	o.Received.Delay, o.Received.Variation = [][2]uint64{{p.delay, o.Received.Packets}}, [][2]uint64{{100, max(o.Received.Packets, 1) - 1}}
	return o, nil
}

func service() Service {
	return Service{Name: "gold", Size: 512, Committed: 40e6, Ceiling: 80e6, Burst: 500e3, MaxDelay: 5 * time.Millisecond, MaxVariation: time.Millisecond}
}

func TestServicesPassOrFailForTheRightReason(t *testing.T) {
	ok := policed{rate: 80e6, depth: 500e3, delay: 1900}
	for name, c := range map[string]struct {
		path policed
		sold func(*Service)
		want string // in the verdict's reason; "" passes
	}{
		"as sold":          {path: ok},
		"committed only":   {path: policed{rate: 40e6, depth: 500e3, delay: 1900}},
		"less":             {path: policed{rate: 30e6, delay: 1900}, want: "100 % of committed: "},
		"not policed":      {path: policed{rate: 1e9, delay: 1900}, want: "nothing polices"},
		"deep":             {path: policed{rate: 1e9, delay: 1900}, sold: func(s *Service) { s.Burst = 5e6 }, want: "nothing polices"},
		"lossy":            {path: policed{rate: 80e6, depth: 500e3, delay: 1900, loss: 0.001}, want: "packets were lost"},
		"lossy as allowed": {path: policed{rate: 80e6, depth: 500e3, delay: 1900, loss: 0.001}, sold: func(s *Service) { s.MaxLoss = 0.002 }},
		"slow":             {path: policed{rate: 80e6, depth: 500e3, delay: 20 * 1024}, want: "the delay reached"},
		"varying":          {path: ok, sold: func(s *Service) { s.MaxVariation = 50 }, want: "the delay varied"},
		"clocks apart":     {path: policed{rate: 80e6, depth: 500e3, delay: 1900, apart: true}, want: "clocks are not known to agree"},
		"disturbed":        {path: policed{rate: 80e6, depth: 500e3, delay: 1900, spoil: 2}},
		"much disturbed":   {path: policed{rate: 80e6, depth: 500e3, delay: 1900, spoil: 9}, want: "tester's own doing"},
		"no excess":        {path: policed{rate: 40e6, depth: 500e3, delay: 1900}, sold: func(s *Service) { s.Ceiling = 0 }},
		"best effort":      {path: ok, sold: func(s *Service) { s.Committed = 0 }},
	} {
		s := service()
		if c.sold != nil {
			c.sold(&s)
		}
		heard := 0
		r, err := Run(t.Context(), []Service{s}, []Path{&c.path}, Config{Service: 10 * time.Second, OnJudgement: func(Judgement) { heard++ }})
		if err != nil {
			t.Fatal(err)
		}
		result, err := r.Result([]string{"dssn"}, []report.End{{Role: "tester", Name: "a"}, {Role: "responder", Name: "b"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := result.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := result.Sign(report.Signer{Role: "tester", Key: ed25519.NewKeyFromSeed(make([]byte, 32))}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if v := result.Verdict; v.Pass != (c.want == "") || !strings.Contains(v.Why, c.want) || v.Pass != r.Pass() {
			t.Errorf("%s: verdict %+v, want a reason with %q", name, v, c.want)
		}
		if steps := len(r.Configuration) + len(r.Service); heard != steps || r.Pass() && len(r.Service) != 1 || !r.Pass() && c.path.rate > 0 && len(r.Configuration) == 0 {
			t.Errorf("%s: %d steps, %d heard", name, steps, heard)
		}
	}
}

func TestAllServicesRunAtOnce(t *testing.T) {
	a, b := service(), service()
	b.Name, b.Committed = "silver", 20e6
	r, err := Run(t.Context(), []Service{a, b}, []Path{&policed{rate: 80e6, delay: 1}, &policed{rate: 80e6, delay: 1}}, Config{Service: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Pass() || len(r.Service) != 2 || r.Service[1].Step.Rate != 20e6 {
		t.Errorf("%+v", r.Service)
	}
}

func TestAbsurdServicesAreRefused(t *testing.T) {
	for what, change := range map[string]func(*Service){
		"packets of": func(s *Service) { s.Size = 1 }, "out of range": func(s *Service) { s.Committed = -1 }, "under the committed": func(s *Service) { s.Ceiling = 1e6 }, "negative": func(s *Service) { s.MaxLoss = 1 },
	} {
		s := service()
		change(&s)
		if _, err := Run(t.Context(), []Service{s}, []Path{&policed{}}, Config{}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
