package y1564

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"dssn/perf/trial"
)

// Path makes trials of one service.
type Path interface {
	Trial(ctx context.Context, l trial.Load) (*trial.Outcome, error)
}

// Config says how to test.
type Config struct {
	Step    time.Duration // of each step of the configuration test; 0 means 3 s
	Service time.Duration // of the service test; 0 means 15 min, negative leaves it out
	Settle  time.Duration // how long packets may be on their way; 0 means 200 ms
	// OnJudgement hears each verdict; may be nil.
	OnJudgement func(Judgement)
}

// Report is what was found.
type Report struct {
	Config        Config
	Services      []Service
	Began         time.Time
	Took          time.Duration
	Configuration []Judgement
	Service       []Judgement
}

// Pass is true if every step of every service passed.
func (r *Report) Pass() bool { return len(r.failed()) == 0 }

func (r *Report) failed() (out []Judgement) {
	for _, list := range [][]Judgement{r.Configuration, r.Service} {
		for _, j := range list {
			if !j.Pass {
				out = append(out, j)
			}
		}
	}
	return out
}

// Run tests the services, each over its path. The configuration of each is tested
// alone; the service test is made only if all configurations are right.
func Run(ctx context.Context, services []Service, paths []Path, c Config) (*Report, error) {
	if len(services) == 0 || len(services) != len(paths) || len(services) > 16 {
		return nil, fmt.Errorf("%d services: give 1 to 16", len(services))
	}
	for i := range services {
		if err := services[i].Check(); err != nil {
			return nil, err
		}
	}
	if c.Step < 0 || c.Step > time.Hour || c.Service > 24*time.Hour {
		return nil, errors.New("the length of a test is out of range: use steps of at most 1h and a service test of at most 24h")
	}
	if c.Step == 0 {
		c.Step = 3 * time.Second
	}
	if c.Service == 0 {
		c.Service = 15 * time.Minute
	}
	if c.Settle == 0 {
		c.Settle = 200 * time.Millisecond
	}
	r := &Report{Config: c, Services: services, Began: time.Now()}
	for i := range services {
		if err := r.configure(ctx, &services[i], paths[i]); err != nil {
			return nil, err
		}
	}
	if c.Service > 0 && r.Pass() {
		if err := r.serve(ctx, paths); err != nil {
			return nil, err
		}
	}
	r.Took = time.Since(r.Began)
	return r, nil
}

// retries is how often a step is made again that the tester itself spoiled.
const retries = 2

func (r *Report) configure(ctx context.Context, s *Service, p Path) error {
	for _, step := range s.Steps() {
		var j Judgement
		for try := 0; ; try++ {
			l := r.load(s, step.Rate, r.Config.Step)
			if step.Kind == KindPolicing && s.Burst > 0 {
				// Use up the policer's depth, or it forgives a short step everything.
				l.Prime = min(uint64(3*s.Burst/float64(s.Size))+1, trial.MaxPrime)
				l.PrimeInterval, l.PrimePause = trial.Interval(s.Size, 1.5*step.Rate), 3000
			}
			o, err := p.Trial(ctx, l)
			if err != nil {
				return err
			}
			if j = s.Judge(step, o); j.Pass || o.Doubt() == "" || try == retries {
				break
			}
		}
		r.Configuration = append(r.Configuration, j)
		if r.Config.OnJudgement != nil {
			r.Config.OnJudgement(j)
		}
	}
	return nil
}

func (r *Report) load(s *Service, rate float64, d time.Duration) trial.Load {
	return trial.Load{Size: s.Size, Interval: trial.Interval(s.Size, rate), Burst: 1, Millis: int(d.Milliseconds()), Settle: int(r.Config.Settle.Milliseconds()), Delays: true}
}

// serve sends all services at once.
func (r *Report) serve(ctx context.Context, paths []Path) error {
	r.Service = make([]Judgement, len(r.Services))
	errs := make([]error, len(r.Services))
	var all sync.WaitGroup
	for i := range r.Services {
		all.Add(1)
		go func() {
			defer all.Done()
			s := &r.Services[i]
			rate := s.Committed
			if rate == 0 {
				rate = s.ceiling() // nothing is committed: what there is, is judged by its loss
			}
			o, err := paths[i].Trial(ctx, r.load(s, rate, r.Config.Service))
			if err != nil {
				errs[i] = err
				return
			}
			r.Service[i] = s.Judge(Step{"service", KindService, rate}, o)
		}()
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if r.Config.OnJudgement != nil {
		for _, j := range r.Service {
			r.Config.OnJudgement(j)
		}
	}
	return nil
}
