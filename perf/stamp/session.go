package stamp

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Session is a session-sender's book-keeping: what was sent, what came back.
type Session struct {
	Key   []byte
	SSID  uint16
	Error ErrorEstimate
	// Stateful is set by who knows that the reflector counts its replies; it is
	// found out by itself once the counts differ.
	Stateful bool

	sent      map[uint32]time.Time // not answered yet
	next      uint32
	highest   uint32 // sequence answered so far
	answered  bool
	reflected uint32 // highest reflector sequence, plus one

	roundTrip, forward, backward *hdrhistogram.Histogram
	last                         time.Duration
	jitter                       float64
	result                       Result
}

// Result is what a session measured. Durations of the histograms are in
// nanoseconds; one-way figures hold only as far as both clocks agree.
type Result struct {
	Sent         uint64 `json:"sent"`
	Received     uint64 `json:"received"`
	Duplicates   uint64 `json:"duplicates"`
	Reordered    uint64 `json:"reordered"`
	Ignored      uint64 `json:"ignored"` // not replies to this session
	LostForward  *int64 `json:"lost_forward,omitempty"`
	LostBackward *int64 `json:"lost_backward,omitempty"`
	// Synchronised is true if both clocks claim to be.
	Synchronised bool          `json:"clocks_synchronised"`
	RoundTrip    Distribution  `json:"round_trip"` // less the reflector's own time
	Forward      *Distribution `json:"forward,omitempty"`
	Backward     *Distribution `json:"backward,omitempty"`
	Jitter       time.Duration `json:"jitter_ns"` // RFC 3550 §6.4.1, of the round trip
	TTL          uint8         `json:"ttl"`       // with which the last probe arrived
}

// Distribution is a histogram in a few numbers.
type Distribution struct {
	Count  int64         `json:"count"`
	Min    time.Duration `json:"min_ns"`
	Mean   time.Duration `json:"mean_ns"`
	P50    time.Duration `json:"p50_ns"`
	P90    time.Duration `json:"p90_ns"`
	P99    time.Duration `json:"p99_ns"`
	P999   time.Duration `json:"p999_ns"`
	Max    time.Duration `json:"max_ns"`
	StdDev time.Duration `json:"stddev_ns"`
}

// Histograms reach a minute with three significant digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(time.Minute), 3)
}

// NewSession begins a session.
func NewSession(key []byte, ssid uint16, e ErrorEstimate) *Session {
	return &Session{Key: key, SSID: ssid, Error: e, sent: map[uint32]time.Time{},
		roundTrip: newHistogram(), forward: newHistogram(), backward: newHistogram()}
}

// Probe appends the next probe, sent at now and padded to at least size bytes.
func (s *Session) Probe(b []byte, now time.Time, size int) []byte {
	at := len(b)
	b = AppendProbe(b, Probe{Sequence: s.next, Sent: now, Error: s.Error, SSID: s.SSID}, s.Key)
	if short := size - (len(b) - at); short > 0 {
		b = AppendPadding(b, max(short, tlvHeaderBytes))
	}
	s.sent[s.next] = now
	s.next++
	s.result.Sent++
	return b
}

// Arrive takes a packet received at now and returns its round trip, less the
// reflector's own time; fresh is false for one that answers no probe under way.
func (s *Session) Arrive(b []byte, now time.Time) (trip time.Duration, fresh bool) {
	r, err := ParseReply(b, s.Key, now)
	if err != nil || r.SSID != s.SSID && r.SSID != 0 || r.Probe.Sequence >= s.next {
		s.result.Ignored++
		return 0, false
	}
	sent, waiting := s.sent[r.Probe.Sequence]
	if !waiting {
		s.result.Duplicates++
		return 0, false
	}
	delete(s.sent, r.Probe.Sequence)
	s.result.Received++
	if s.answered && r.Probe.Sequence < s.highest {
		s.result.Reordered++
	}
	s.highest, s.answered = max(s.highest, r.Probe.Sequence), true
	// A stateless reflector repeats the sender's number. Once one differs, or is
	// behind, the reflector counts by itself.
	if r.Sequence != r.Probe.Sequence {
		s.Stateful = true
	}
	s.reflected = max(s.reflected, r.Sequence+1)
	s.result.TTL = r.TTL
	s.result.Synchronised = s.Error.Synchronised() && r.Error.Synchronised()
	stay := r.Sent.Sub(r.Received)
	trip = now.Sub(sent) - max(stay, 0)
	record(s.roundTrip, trip)
	record(s.forward, r.Received.Sub(sent))
	record(s.backward, now.Sub(r.Sent))
	if s.result.Received > 1 {
		d := trip - s.last
		if d < 0 {
			d = -d
		}
		s.jitter += (float64(d) - s.jitter) / 16
	}
	s.last = trip
	return trip, true
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	h.RecordValue(min(max(int64(d), 1), int64(time.Minute)))
}

// Result returns what has been measured so far. With a stateful reflector that
// was found to be one, loss is split by direction: what never reached it, and
// what it answered in vain.
func (s *Session) Result() Result {
	r := s.result
	r.RoundTrip = distribution(s.roundTrip)
	r.Jitter = time.Duration(s.jitter)
	if s.result.Received > 0 && s.Error.Synchronised() && r.Synchronised {
		f, b := distribution(s.forward), distribution(s.backward)
		r.Forward, r.Backward = &f, &b
	}
	if s.Stateful {
		lostForward := int64(r.Sent) - int64(s.reflected)
		lostBackward := int64(s.reflected) - int64(r.Received)
		r.LostForward, r.LostBackward = &lostForward, &lostBackward
	}
	return r
}

// Lost is how many probes have no answer so far.
func (r *Result) Lost() uint64 { return r.Sent - r.Received }

func distribution(h *hdrhistogram.Histogram) Distribution {
	q := func(p float64) time.Duration { return time.Duration(h.ValueAtQuantile(p)) }
	d := Distribution{Count: h.TotalCount(), P50: q(50), P90: q(90), P99: q(99), P999: q(99.9)}
	if d.Count > 0 {
		d.Min, d.Max = time.Duration(h.Min()), time.Duration(h.Max())
		d.Mean, d.StdDev = time.Duration(h.Mean()), time.Duration(h.StdDev())
	}
	return d
}
