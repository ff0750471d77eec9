package rfc2544

import (
	"context"
	"fmt"
	"math"
	"time"

	"dssn/perf/gen"
	"dssn/perf/trial"
)

// Path is what is tested: something that makes trials, of which it returns also
// those that the tester itself spoiled (Outcome.Doubt).
type Path interface {
	Trial(ctx context.Context, l trial.Load) (*trial.Outcome, error)
}

// Config says what to test. Rates are bits a second of whole IP packets.
type Config struct {
	Sizes      []int         // of packets
	Max        float64       // highest rate to try
	Width      float64       // of the throughput's bounds; 0 means 0.005
	Tolerated  float64       // loss ratio that still counts as none; RFC 2544: 0
	Trial      time.Duration // of the search; 0 means 2 s
	Budget     time.Duration // of one search; 0 means 60 s
	Depth      float64       // of the policer on the way, bytes; 0 if there is none
	Settle     time.Duration // how long packets may be on their way; 0 means 200 ms
	Latency    time.Duration // of the latency test; 0 leaves it out
	Loss       time.Duration // of each step of the loss test; 0 leaves it out
	Bursts     int           // repetitions of the back-to-back test; 0 leaves it out
	OnProgress func(string)  // hears a sentence after each trial; may be nil
}

func (c *Config) defaults() {
	if c.Width == 0 {
		c.Width = 0.005
	}
	if c.Trial == 0 {
		c.Trial = 2 * time.Second
	}
	if c.Budget == 0 {
		c.Budget = time.Minute
	}
	if c.Settle == 0 {
		c.Settle = 200 * time.Millisecond
	}
}

// Check says in one sentence what is wrong with c.
func (c *Config) Check() error {
	switch {
	case len(c.Sizes) == 0 || len(c.Sizes) > 20:
		return fmt.Errorf("%d packet sizes: give 1 to 20", len(c.Sizes))
	case !(c.Max >= 1e3 && c.Max <= 1e13):
		return fmt.Errorf("a highest rate of %g bit/s is out of range: use 1k to 10T", c.Max)
	case c.Width < 0 || c.Width > 0.2:
		return fmt.Errorf("a width of %g is out of range: use 0.0005 to 0.2", c.Width)
	case c.Tolerated < 0 || c.Tolerated > 0.1:
		return fmt.Errorf("a tolerated loss of %g is out of range: use 0 to 0.1", c.Tolerated)
	case c.Trial < 0 || c.Trial > time.Hour || c.Latency < 0 || c.Latency > time.Hour || c.Loss < 0 || c.Loss > time.Hour:
		return fmt.Errorf("a trial's length is out of range: use at most 1h")
	case c.Bursts < 0 || c.Bursts > 1000:
		return fmt.Errorf("%d repetitions of the burst test are out of range: use 0 to 1000", c.Bursts)
	}
	for _, n := range c.Sizes {
		if n < trial.MinSize || n > trial.MaxSize {
			return fmt.Errorf("packets of %d bytes: use %d to %d", n, trial.MinSize, trial.MaxSize)
		}
	}
	return nil
}

// Report is what was found.
type Report struct {
	Config Config
	Began  time.Time
	Took   time.Duration
	Sizes  []SizeReport
	Trials []*trial.Outcome // all, in order
}

// SizeReport is what was found with one size of packets.
type SizeReport struct {
	Size       int
	Throughput float64 // highest rate that was forwarded
	Bad        float64 // lowest that was not; +Inf if the highest tried was forwarded
	Searched   time.Duration
	Trials     int
	Spoiled    int    // trials that said nothing, for the tester's own doing
	Unfinished string // why the search ended before its bounds were close; "" if they are
	// Fastest is the highest rate that the sender reached.
	Fastest float64
	Latency *trial.Outcome
	Loss    []*trial.Outcome // falling rates
	Bursts  []uint64         // longest burst of each repetition, packets
	// BurstRate is the mean rate of the bursts that passed.
	BurstRate float64
}

// busyCPU is from when on a sender that falls behind is too slow, and not
// disturbed.
const busyCPU = 0.9

// maxSpoiled ends a search that the tester keeps spoiling.
const maxSpoiled = 25

// clearLoss is a loss that shows that the highest rate is too high, whatever else
// happened.
const clearLoss = 0.1

// Run makes the tests, all of one size before the next.
func Run(ctx context.Context, p Path, c Config) (*Report, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c.defaults()
	r := &Report{Config: c, Began: time.Now()}
	m := &method{Config: c, path: p, report: r}
	for _, size := range c.Sizes {
		if err := m.size(ctx, size); err != nil {
			return nil, err
		}
	}
	r.Took = time.Since(r.Began)
	return r, nil
}

type method struct {
	Config
	path   Path
	report *Report
}

func (m *method) say(format string, args ...any) {
	if m.OnProgress != nil {
		m.OnProgress(fmt.Sprintf(format, args...))
	}
}

func (m *method) run(ctx context.Context, l trial.Load) (*trial.Outcome, error) {
	o, err := m.path.Trial(ctx, l)
	if err == nil {
		m.report.Trials = append(m.report.Trials, o)
	}
	return o, err
}

// load is a trial at a rate, behind as many packets as use up the policer's depth.
func (m *method) load(size int, rate float64, d time.Duration) trial.Load {
	l := trial.Load{Size: size, Interval: trial.Interval(size, rate), Burst: 1, Millis: max(int(d.Milliseconds()), 1), Settle: int(m.Settle.Milliseconds())}
	if m.Depth > 0 {
		// At the highest rate the depth goes down by what is sent too much. Twice the
		// depth is enough from one and a half times the policer's rate on.
		l.Prime = min(uint64(3*m.Depth/float64(size))+1, trial.MaxPrime)
		l.PrimeInterval = trial.Interval(size, m.Max)
		l.PrimePause = 3000
	}
	return l
}

func (m *method) size(ctx context.Context, size int) error {
	s := SizeReport{Size: size}
	if err := m.throughput(ctx, &s); err != nil {
		return err
	}
	at := s.Throughput
	if m.Latency > 0 && at > 0 {
		l := m.load(size, at, m.Latency)
		l.Delays = true
		o, err := m.run(ctx, l)
		if err != nil {
			return err
		}
		s.Latency = o
		m.say("%d B: delay at %s p50 %v, p99 %v", size, show(at), o.Delay().At(50), o.Delay().At(99))
	}
	if m.Loss > 0 {
		if err := m.loss(ctx, &s); err != nil {
			return err
		}
	}
	for range m.Bursts {
		if at == 0 {
			break
		}
		if err := m.burst(ctx, &s); err != nil {
			return err
		}
	}
	m.report.Sizes = append(m.report.Sizes, s)
	return nil
}

// throughput is RFC 2544 §26.1.
func (m *method) throughput(ctx context.Context, s *SizeReport) error {
	search := NewSearch(m.Max, m.Width, m.Tolerated)
	began := time.Now()
	for {
		rate, done := search.Next()
		if done {
			break
		}
		if time.Since(began)+m.Trial > m.Budget {
			s.Unfinished = fmt.Sprintf("the time of %v was used up", m.Budget)
			break
		}
		if s.Spoiled >= maxSpoiled {
			s.Unfinished = fmt.Sprintf("the tester itself spoiled %d trials", s.Spoiled)
			break
		}
		o, err := m.run(ctx, m.load(s.Size, rate, m.Trial))
		if err != nil {
			return err
		}
		s.Fastest = math.Max(s.Fastest, o.Offered())
		lost, offered, doubt := o.LossRatio(), o.Offered(), o.Doubt()
		m.say("%d B at %s: %d of %d lost (%.3g %%)%s", s.Size, show(offered), o.Lost(), o.Sent.Packets, 100*lost, behind(doubt))
		switch {
		case doubt != "" && lost > m.Tolerated && (lost < clearLoss || search.Trials() > 0):
			s.Spoiled++ // the loss may be the tester's doing
			continue
		case doubt != "" && lost <= m.Tolerated && offered < rate*(1-2*m.Width):
			// Something else had the CPU, or the sender cannot go as fast; then what it
			// did was forwarded.
			if o.Sent.CPU < busyCPU {
				s.Spoiled++
				continue
			}
			s.Unfinished = "the sending host goes no faster"
			s.Throughput = math.Max(s.Throughput, offered)
		}
		if s.Unfinished != "" {
			break
		}
		if offered > rate || doubt == "" {
			offered = rate // the clock's rounding
		}
		search.Add(offered, lost)
	}
	good, bad := search.Bounds()
	s.Throughput, s.Bad = math.Max(good, s.Throughput), bad
	s.Trials, s.Searched = search.Trials(), time.Since(began)
	m.say("%d B: throughput %s", s.Size, show(s.Throughput))
	return nil
}

// loss is RFC 2544 §26.3: from the highest rate down by a tenth of it, until two
// rates one after the other lose nothing.
func (m *method) loss(ctx context.Context, s *SizeReport) error {
	clean := 0
	for tenths := 10; tenths > 0 && clean < 2; tenths-- {
		o, err := m.run(ctx, m.load(s.Size, m.Max*float64(tenths)/10, m.Loss))
		if err != nil {
			return err
		}
		s.Loss = append(s.Loss, o)
		m.say("%d B at %s: loss %.3g %%", s.Size, show(o.Offered()), 100*o.LossRatio())
		if clean++; o.Lost() > 0 {
			clean = 0
		}
	}
	return nil
}

// longestBurst bounds the burst test: two seconds of what the sender can do.
const longestBurst = 2 * time.Second

// burst is RFC 2544 §26.4: the longest burst, as fast as the sender goes, of which
// nothing is lost. Between trials the path gets time to recover.
func (m *method) burst(ctx context.Context, s *SizeReport) error {
	fastest := math.Max(s.Fastest, s.Throughput)
	limit := uint64(fastest * longestBurst.Seconds() / float64(8*s.Size))
	guess := limit / 16
	if m.Depth > 0 && fastest > s.Throughput {
		guess = uint64(m.Depth / float64(s.Size) / (1 - s.Throughput/fastest))
	}
	recover := 200 * time.Millisecond
	if m.Depth > 0 {
		recover += time.Duration(16e9 * m.Depth / s.Throughput)
	}
	b := NewBurstSearch(max(guess, 1), max(limit, 1))
	rates, passed := 0.0, 0.0
	for {
		n, done := b.Next()
		if done {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(recover):
		}
		l := trial.Load{Size: s.Size, Count: n, Burst: 1, Millis: 60_000, Settle: int(m.Settle.Milliseconds())}
		o, err := m.run(ctx, l)
		if err != nil {
			return err
		}
		m.say("%d B: a burst of %d at %s: %d lost", s.Size, n, show(o.Offered()), o.Lost())
		b.Add(o.Lost())
		if o.Lost() == 0 {
			rates, passed = rates+o.Offered(), passed+1
		}
	}
	n, _ := b.Longest()
	if passed > 0 {
		s.BurstRate = (s.BurstRate*float64(len(s.Bursts)) + rates/passed) / float64(len(s.Bursts)+1)
	}
	s.Bursts = append(s.Bursts, n)
	return nil
}

// Buffer is RFC 9004's corrected buffer time, from the mean longest burst: what
// the path held back, less what it forwarded meanwhile; and the same as bytes. Zero
// if it cannot be told.
func (s *SizeReport) Buffer() (held time.Duration, bytes float64) {
	if len(s.Bursts) == 0 || s.BurstRate <= s.Throughput {
		return 0, 0
	}
	sum := 0.0
	for _, n := range s.Bursts {
		sum += float64(n)
	}
	bytes = sum / float64(len(s.Bursts)) * float64(s.Size) * (1 - s.Throughput/s.BurstRate)
	return time.Duration(8e9 * bytes / s.BurstRate), bytes
}

// Delays are the latency test's, nil if it was not made or the clocks do not agree.
func (s *SizeReport) Delays() *gen.Histogram {
	if s.Latency == nil || !s.Latency.OneWay {
		return nil
	}
	return s.Latency.Delay()
}

func behind(doubt string) string {
	if doubt == "" {
		return ""
	}
	return "; " + doubt
}
