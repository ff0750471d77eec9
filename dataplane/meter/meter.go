// Package meter says to which reservation a packet belongs, polices it and
// counts it.
//
// A Registry lives as long as its engine and remembers counts and buckets by
// reservation; a Set is what one Tables compiles to, immutable, and read
// without a lock. The package parses no packets and reads no clock.
package meter

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"dssn"
	"dssn/dataplane"
	"dssn/dataplane/fib"
)

// Counter counts one reservation's packets. Its fields only grow. Any goroutine
// may add to it and read it.
type Counter struct {
	SentPackets, SentBytes         atomic.Uint64
	PolicedPackets, PolicedBytes   atomic.Uint64
	ReceivedPackets, ReceivedBytes atomic.Uint64
}

// Meter is one compiled dataplane.Meter.
type Meter struct {
	// Counter is shared by all meters of the reservation.
	Counter *Counter
	// Bucket belongs to the goroutine that sends. It is shared with the same
	// meter of earlier and later tables.
	Bucket *Bucket
	// Rate and Burst are what this generation gives the bucket; the sender
	// calls Bucket.Set with them when it first sees this generation.
	Rate  dssn.Bandwidth
	Burst dssn.ByteCount

	from, to netip.Prefix
}

// Registry remembers counters and buckets across generations.
type Registry struct {
	mu       sync.Mutex
	counters map[dssn.ReservationID]*Counter
	order    []dssn.ReservationID // as first seen
	buckets  map[bucketKey]*Bucket
	place    func(dssn.ReservationID) *Counter
}

type bucketKey struct {
	reservation dssn.ReservationID
	from, to    netip.Prefix
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{counters: map[dssn.ReservationID]*Counter{}, buckets: map[bucketKey]*Bucket{}}
}

// KeepIn makes place say where the counter of a reservation lives: in memory that
// outlives the process, for example, with what it counted before. place is called
// once for each reservation; nil from it, or a nil place, means on the heap. Call
// KeepIn before the first Compile.
func (r *Registry) KeepIn(place func(dssn.ReservationID) *Counter) { r.place = place }

// Counts appends one Count per reservation ever metered.
func (r *Registry) Counts(dst []dataplane.Count) []dataplane.Count {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.order {
		c := r.counters[id]
		dst = append(dst, dataplane.Count{
			Reservation:     id,
			SentPackets:     c.SentPackets.Load(),
			SentBytes:       c.SentBytes.Load(),
			PolicedPackets:  c.PolicedPackets.Load(),
			PolicedBytes:    c.PolicedBytes.Load(),
			ReceivedPackets: c.ReceivedPackets.Load(),
			ReceivedBytes:   c.ReceivedBytes.Load(),
		})
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

// Compile builds the set of one generation. Buckets of meters that left are
// forgotten; counters never are. The tables must have passed Check.
func (r *Registry) Compile(meters []dataplane.Meter) *Set {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &Set{All: make([]*Meter, 0, len(meters))}
	own := make(map[netip.Prefix][]*Meter)
	buckets := make(map[bucketKey]*Bucket, len(meters))
	for _, m := range meters {
		key := bucketKey{m.Reservation, m.From.Masked(), m.To.Masked()}
		b := r.buckets[key]
		if b == nil {
			b = new(Bucket)
		}
		buckets[key] = b
		c := r.counters[m.Reservation]
		if c == nil {
			if r.place != nil {
				c = r.place(m.Reservation)
			}
			if c == nil {
				c = new(Counter)
			}
			r.counters[m.Reservation] = c
			r.order = append(r.order, m.Reservation)
		}
		compiled := &Meter{Counter: c, Bucket: b, Rate: m.Rate, Burst: m.Burst, from: key.from, to: key.to}
		s.All = append(s.All, compiled)
		own[key.to] = append(own[key.to], compiled)
	}
	r.buckets = buckets

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
