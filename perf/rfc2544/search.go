package rfc2544

import "math"

// Search finds the highest load that is forwarded without loss (or with no more
// than a tolerated ratio), to within a relative width. Loads are in any unit. The
// zero value is not ready.
//
//	max ── too much ──▶ what it forwarded, a little less ── good ──▶ a width more ── bad ──▶ done
//	                       │ bad: less, in doubling steps              │ good: more, in doubling steps
//	                       ▼                                           ▼
//	                     bisect between the highest good and the lowest bad
type Search struct {
	max, width, tolerated float64

	good, bad   float64 // highest good load, lowest bad one; 0 and +Inf before
	load        float64 // on trial
	passed      int     // trials at load that were good
	failed      int
	forwarded   float64 // by the last trial that lost, 0 before
	step, climb float64 // doubling, relative: down to find a good load, up from it
	trials      int
	unreachable bool // nothing of use is forwarded
}

// NewSearch searches up to max, to within width (0.005 is half a per cent),
// tolerating a loss ratio, which is 0 for RFC 2544's throughput.
func NewSearch(max, width, tolerated float64) *Search {
	return &Search{max: max, width: width, tolerated: tolerated, bad: math.Inf(1), load: max, step: width, climb: width}
}

// leastPart of the maximum is where the search gives up.
const leastPart = 1e-4

// Next is the load to try; done if the search has ended.
func (s *Search) Next() (load float64, done bool) { return s.load, s.load == 0 }

// Bounds are the highest load that was good and the lowest that was bad: 0 and +Inf
// if there is none.
func (s *Search) Bounds() (good, bad float64) { return s.good, s.bad }

// Trials is how many trials were taken in.
func (s *Search) Trials() int { return s.trials }

// Add takes the outcome of a trial at the load that Next gave: the load that was
// really offered, and the part of it that was lost.
func (s *Search) Add(offered, lossRatio float64) {
	if s.load == 0 {
		return
	}
	s.trials++
	pass := lossRatio <= s.tolerated
	if !pass {
		s.forwarded = offered * (1 - lossRatio)
	}
	// What is clear needs no second trial. A good trial is clear: luck makes no
	// packets. A bad one is if it lost more than the width could explain.
	clear := pass && s.failed == 0 || lossRatio > s.tolerated+2*s.width
	if pass {
		s.passed++
	} else {
		s.failed++
	}
	switch {
	case pass && (clear || s.passed >= 2):
		s.decide(offered, true)
	case !pass && (clear || s.failed >= 3):
		s.decide(offered, false)
	}
}

// decide settles a load and chooses the next.
func (s *Search) decide(load float64, good bool) {
	s.passed, s.failed = 0, 0
	if good {
		s.good = math.Max(s.good, load)
	} else {
		s.bad = math.Min(s.bad, load)
	}
	switch {
	case math.IsInf(s.bad, 1): // even the maximum is good
		s.load = 0
	case s.bad <= s.max*leastPart:
		s.unreachable = true
		s.load = 0
	case s.good > 0 && s.bad-s.good <= s.width*s.bad:
		s.load = 0
	case s.good == 0:
		s.load = s.bad * (1 - s.step)
		if below := s.forwarded * (1 - s.width/3); below > 0 && below < s.load {
			s.load = below
		}
		s.step = math.Min(2*s.step, 0.5)
	default:
		s.load = s.between(good)
	}
}

// between is the next load when both bounds are known: near the bound that was
// just found, as the other is often only a guess, else the middle.
func (s *Search) between(good bool) float64 {
	middle := math.Sqrt(s.good * s.bad)
	if !good {
		s.climb = s.width
		if below := s.forwarded * (1 - s.width/3); below > s.good*(1+s.width/2) && below < s.bad*(1-s.width/4) {
			return below
		}
		return middle
	}
	// The first step up is short, as the guess is usually right; then they double.
	up := s.good * (1 + 0.9*s.climb)
	s.climb *= 2
	if s.forwarded > up {
		up = s.forwarded * (1 + s.width/2)
	}
	if up >= s.bad*(1-s.width/4) {
		return middle
	}
	return up
}
