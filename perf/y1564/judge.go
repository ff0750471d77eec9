package y1564

import (
	"fmt"
	"time"

	"dssn/perf/report"
	"dssn/perf/trial"
)

// Service is what was sold: a reservation, or figures given by hand. Rates are
// bits a second of whole IP packets.
type Service struct {
	Name      string
	Size      int     // of packets
	Committed float64 // CIR
	Ceiling   float64 // CIR + EIR; 0 means Committed
	Burst     float64 // depth of the policer, bytes
	// MaxDelay bounds the 99.9th percentile of the one-way delay, MaxVariation that
	// of the difference between consecutive delays; 0 is no bound.
	MaxDelay, MaxVariation time.Duration
	MaxLoss                float64 // ratio
}

// Check says in one sentence what is wrong with s.
func (s *Service) Check() error {
	switch {
	case s.Size < trial.MinSize || s.Size > trial.MaxSize:
		return fmt.Errorf("service %q: packets of %d bytes: use %d to %d", s.Name, s.Size, trial.MinSize, trial.MaxSize)
	case !(s.Committed >= 0 && s.Committed <= 1e13 && s.ceiling() >= 1e3 && s.ceiling() <= 1e13):
		return fmt.Errorf("service %q: a committed rate of %g and a ceiling of %g bit/s are out of range", s.Name, s.Committed, s.Ceiling)
	case s.ceiling() < s.Committed:
		return fmt.Errorf("service %q: the ceiling is under the committed rate", s.Name)
	case s.MaxLoss < 0 || s.MaxLoss >= 1 || s.MaxDelay < 0 || s.MaxVariation < 0 || s.Burst < 0:
		return fmt.Errorf("service %q: a bound is negative, or a loss of 1", s.Name)
	}
	return nil
}

func (s *Service) ceiling() float64 {
	if s.Ceiling == 0 {
		return s.Committed
	}
	return s.Ceiling
}

// Kind is what a step is judged by.
type Kind string

// The kinds of steps.
const (
	KindCommitted Kind = "committed" // loss, delay, variation as sold
	KindExcess    Kind = "excess"    // at least the committed rate arrives
	KindPolicing  Kind = "policing"  // no more than the ceiling arrives, no less than committed
	KindService   Kind = "service"   // as committed, for long, beside the other services
)

// Step is one rate of the configuration test, or the service test.
type Step struct {
	Name string
	Kind Kind
	Rate float64
}

// Steps are those of the configuration test.
func (s *Service) Steps() []Step {
	var out []Step
	if s.Committed > 0 {
		for _, percent := range []int{25, 50, 75, 100} {
			out = append(out, Step{fmt.Sprintf("%d %% of committed", percent), KindCommitted, s.Committed * float64(percent) / 100})
		}
	}
	excess := s.ceiling() - s.Committed
	if excess > 0 {
		out = append(out, Step{"committed and excess", KindExcess, s.ceiling()})
	}
	beyond := s.ceiling() + 0.25*excess
	if excess <= 0 {
		beyond = 1.25 * s.Committed
	}
	return append(out, Step{"policing", KindPolicing, beyond})
}

// Tolerance is what rates may be off by: packets do not divide seconds.
const Tolerance = 0.01

// Judgement is the verdict on one step of one service.
type Judgement struct {
	Service string
	Step    Step
	Outcome *trial.Outcome
	Pass    bool
	Why     string // a sentence, if it did not pass
}

// Judge compares an outcome with what was sold. An outcome that the tester itself
// spoiled passes nothing.
func (s *Service) Judge(step Step, o *trial.Outcome) Judgement {
	j := Judgement{Service: s.Name, Step: step, Outcome: o}
	if o.Sent.Packets == 0 {
		j.Why = "nothing was sent"
		return j
	}
	switch step.Kind {
	case KindCommitted, KindService:
		j.Why = s.committed(o)
	case KindExcess:
		j.Why = s.atLeast(o, s.Committed)
	case KindPolicing:
		j.Why = s.policed(o)
	}
	if j.Why == "" && step.Kind != KindPolicing && step.Kind != KindExcess && o.Offered() < step.Rate*(1-Tolerance) {
		j.Why = fmt.Sprintf("the tester sent only %s of %s", show(o.Offered()), show(step.Rate))
	}
	if doubt := o.Doubt(); doubt != "" && j.Why != "" {
		j.Why += "; but that may be the tester's own doing: " + doubt
	}
	j.Pass = j.Why == ""
	return j
}

func (s *Service) committed(o *trial.Outcome) string {
	if loss := o.LossRatio(); loss > s.MaxLoss {
		return fmt.Sprintf("%d of %d packets were lost (%s), where %s is allowed", o.Lost(), o.Sent.Packets, report.Ratio.Show(loss), report.Ratio.Show(s.MaxLoss))
	}
	if (s.MaxDelay > 0 || s.MaxVariation > 0) && !o.OneWay {
		return "delays cannot be judged: the two clocks are not known to agree"
	}
	if d := o.Delay().At(99.9); s.MaxDelay > 0 && d > s.MaxDelay {
		return fmt.Sprintf("the delay reached %v (99.9 %%), where %v is allowed", d, s.MaxDelay)
	}
	if d := o.Variation().At(99.9); s.MaxVariation > 0 && d > s.MaxVariation {
		return fmt.Sprintf("the delay varied by %v (99.9 %%), where %v is allowed", d, s.MaxVariation)
	}
	return ""
}

func (s *Service) atLeast(o *trial.Outcome, rate float64) string {
	if got := o.Forwarded(); got < rate*(1-s.MaxLoss)*(1-Tolerance) {
		return fmt.Sprintf("%s arrived, where %s is committed", show(got), show(rate))
	}
	return ""
}

// policed allows, beyond the ceiling, what the policer's depth holds, unless that
// was used up before.
func (s *Service) policed(o *trial.Outcome) string {
	allowed := s.ceiling() * (1 + Tolerance)
	if o.Load.Prime == 0 {
		allowed += 8 * s.Burst / o.Sent.Seconds
	}
	if got := o.Forwarded(); got > allowed {
		return fmt.Sprintf("%s arrived, where the ceiling is %s: nothing polices the service", show(got), show(s.ceiling()))
	}
	return s.atLeast(o, s.Committed)
}

func show(rate float64) string { return report.BitsPerSecond.Show(rate) }
