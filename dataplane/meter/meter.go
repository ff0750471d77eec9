// Package meter says to which reservation a packet belongs, polices it and
// counts it.
//
// A Registry lives as long as its engine and remembers counts and tokens by
// reservation; a Set is what one Tables compiles to, immutable, and read
// without a lock. Each worker has a Share of every meter: counters that nobody
// else writes, and tokens from the meter's Pool. The package parses no packets
// and reads no clock.
package meter

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dssn"
	"dssn/dataplane"
	"dssn/dataplane/fib"
)

// Counter counts one reservation's packets at one worker. Its fields only grow.
// The worker adds to it, anybody reads it.
type Counter struct {
	SentPackets, SentBytes         atomic.Uint64
	PolicedPackets, PolicedBytes   atomic.Uint64
	ReceivedPackets, ReceivedBytes atomic.Uint64
}

// Meter is one compiled dataplane.Meter.
type Meter struct {
	// Shares are the workers', by part and worker; there is one part unless the
	// meter is divided. They are the same in earlier and later tables.
	Shares [][]*Share
	// Rate and Burst are this generation's, for people to see.
	Rate  dssn.Bandwidth
	Burst dssn.ByteCount
	// Mark is for the outer headers of what it sends.
	Mark dataplane.Mark

	from, to netip.Prefix
}

// Registry remembers counters and tokens across generations.
type Registry struct {
	workers int
	place   func(dssn.ReservationID, int) *Counter

	mu       sync.Mutex                        // guards what follows
	counters map[dssn.ReservationID][]*Counter // by worker
	order    []dssn.ReservationID              // as first seen
	tokens   map[meterKey]*tokens
}

// tokens are a meter's, across generations.
type tokens struct {
	pool   Pool
	shares []*Share
}

// lonely is a counter on the heap that shares its cache line with no other.
type lonely struct {
	Counter
	_ [128 - 6*8]byte
}

type meterKey struct {
	reservation dssn.ReservationID
	from, to    netip.Prefix
	part        int
}

// Share returns a worker's share for packets of a part; a part that the meter does
// not have is its first.
func (m *Meter) Share(worker, part int) *Share {
	if part >= len(m.Shares) {
		part = 0
	}
	return m.Shares[part][worker]
}

// NewRegistry returns an empty registry for so many workers.
func NewRegistry(workers int) *Registry {
	return &Registry{workers: workers, counters: map[dssn.ReservationID][]*Counter{}, tokens: map[meterKey]*tokens{}}
}

// KeepIn makes place say where a worker's counter of a reservation lives: in memory
// that outlives the process, for example, with what it counted before. place is
// called once for each; nil from it, or a nil place, means on the heap. Call KeepIn
// before the first Compile.
func (r *Registry) KeepIn(place func(dssn.ReservationID, int) *Counter) { r.place = place }

// Counts appends one Count per reservation ever metered.
func (r *Registry) Counts(dst []dataplane.Count) []dataplane.Count {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.order {
		sum := dataplane.Count{Reservation: id}
		for _, c := range r.counters[id] {
			sum.SentPackets += c.SentPackets.Load()
			sum.SentBytes += c.SentBytes.Load()
			sum.PolicedPackets += c.PolicedPackets.Load()
			sum.PolicedBytes += c.PolicedBytes.Load()
			sum.ReceivedPackets += c.ReceivedPackets.Load()
			sum.ReceivedBytes += c.ReceivedBytes.Load()
		}
		dst = append(dst, sum)
	}
	return dst
}

// Set finds the meter of a packet. The zero Set finds none.
type Set struct {
	// All are the meters of this generation.
	All []*Meter
	// byTo leads from the longest To that holds a destination to every meter
	// whose To holds it, best first: the longest To, then the longest From.
	byTo *fib.Table[*candidates]
}

// candidates are the meters of a destination, best first.
type candidates struct{ list []*Meter }

// Compile builds the set of one generation and puts its rates in force from now on.
// Tokens of meters that left are forgotten; counters never are. The tables must
// have passed Check. Now is a reading of the clock that the workers draw by.
func (r *Registry) Compile(now time.Duration, meters []dataplane.Meter) *Set {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &Set{All: make([]*Meter, 0, len(meters))}
	own := make(map[netip.Prefix][]*Meter)
	kept := make(map[meterKey]*tokens, len(meters))
	for _, m := range meters {
		compiled := &Meter{Rate: m.Rate, Burst: m.Burst, Mark: m.Mark, from: m.From.Masked(), to: m.To.Masked()}
		parts := m.Parts
		if len(parts) == 0 {
			parts = []dssn.Bandwidth{m.Rate}
		}
		for i, rate := range parts {
			key := meterKey{m.Reservation, compiled.from, compiled.to, i}
			k := r.tokens[key]
			if k == nil {
				k = new(tokens)
				for _, c := range r.countersLocked(m.Reservation) {
					k.shares = append(k.shares, &Share{Counter: c, pool: &k.pool})
				}
			}
			kept[key] = k
			k.pool.set(now, rate, partOf(m.Burst, rate, m.Rate), r.workers)
			compiled.Shares = append(compiled.Shares, k.shares)
		}
		s.All = append(s.All, compiled)
		own[compiled.to] = append(own[compiled.to], compiled)
	}
	r.tokens = kept

	entries := make([]fib.Entry[[]*Meter], 0, len(own))
	for to, list := range own {
		slices.SortStableFunc(list, func(a, b *Meter) int { return cmp.Compare(b.from.Bits(), a.from.Bits()) })
		entries = append(entries, fib.Entry[[]*Meter]{Prefix: to, Value: list})
	}
	tree := fib.NewTree(entries)
	compiled := make([]fib.Entry[*candidates], len(entries))
	for i, e := range entries {
		c := new(candidates)
		for _, above := range tree.Supernets(e.Prefix) {
			c.list = append(c.list, above.Value...)
		}
		compiled[i] = fib.Entry[*candidates]{Prefix: e.Prefix, Value: c}
	}
	s.byTo = fib.New(compiled)
	return s
}

// partOf is burst × part / whole, rounded down.
func partOf(burst dssn.ByteCount, part, whole dssn.Bandwidth) dssn.ByteCount {
	if part >= whole {
		return burst
	}
	hi, lo := bits.Mul64(uint64(burst), uint64(part))
	n, _ := bits.Div64(hi, lo, uint64(whole)) // part < whole, so it fits
	return dssn.ByteCount(n)
}

// countersLocked returns a reservation's counters, by worker.
func (r *Registry) countersLocked(id dssn.ReservationID) []*Counter {
	if r.counters[id] == nil {
		for w := range r.workers {
			var c *Counter
			if r.place != nil {
				c = r.place(id, w)
			}
			if c == nil {
				c = &new(lonely).Counter
			}
			r.counters[id] = append(r.counters[id], c)
		}
		r.order = append(r.order, id)
	}
	return r.counters[id]
}

// Find returns the meter of a packet from src to dst, nil if it belongs to none.
func (s *Set) Find(src, dst netip.Addr) *Meter {
	if s.byTo == nil {
		return nil
	}
	c, ok := s.byTo.Lookup(dst)
	if !ok {
		return nil
	}
	for _, m := range c.list {
		if m.from.Contains(src) {
			return m
		}
	}
	return nil
}
