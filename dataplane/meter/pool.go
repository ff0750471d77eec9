package meter

import (
	"math/bits"
	"sync/atomic"
	"time"

	"dssn"
)

// Pool holds the tokens of one meter for all workers: a token bucket as two
// positions on one line of bytes, and no clock of its own.
//
//	          spent                     earned = base + rate × (now − since)
//	------------|==========================|-------------> bytes
//	             what may be drawn, at most depth
//
// Drawing moves spent up with one atomic operation. Refilling is arithmetic:
// earned is computed from the time, rounded down, always from the same beginning,
// so no rounding adds up and nobody has to refill. What is earned beyond depth is
// lost: spent counts as never further behind than depth.
//
// In any interval d at most depth + rate × d is drawn, rounded up to a byte. DESIGN.md says what follows for
// workers that draw more than they use at once. Any goroutine may call its methods.
type Pool struct {
	spent  atomic.Uint64
	latest atomic.Int64 // time at which any worker has drawn
	terms  atomic.Pointer[terms]
}

// terms are what a generation gives a pool.
type terms struct {
	rate  dssn.Bandwidth
	depth uint64 // bytes
	lease uint64 // bytes a worker may hold
	since time.Duration
	base  uint64 // earned at since
}

// A lease is what a worker draws at least, so that it comes to the pool once for a
// dozen packets; only where all workers' leases together are a small part of the
// burst, because what may lie with them is taken off the pool's depth.
const (
	leaseBytes = 16 << 10
	leasePart  = 16 // leases together are at most burst / leasePart
	maxDepth   = 1 << 40
)

// set puts a rate and a burst in force from now on, for so many workers. What is in
// the pool stays, up to the new depth; a new pool begins full. One goroutine at
// a time calls it.
func (p *Pool) set(now time.Duration, rate dssn.Bandwidth, burst dssn.ByteCount, workers int) {
	t := &terms{rate: rate, depth: uint64(min(burst, maxDepth)), since: now}
	if held := uint64(workers) * leaseBytes; held <= t.depth/leasePart {
		t.lease = leaseBytes
		t.depth -= held
	}
	if old := p.terms.Load(); old != nil {
		if old.rate == rate && old.depth == t.depth && old.lease == t.lease {
			return
		}
		t.base = old.earned(now)
	} else {
		t.base = t.depth
	}
	p.terms.Store(t)
}

// earned is how many bytes there have ever been by now.
func (t *terms) earned(now time.Duration) uint64 {
	if now <= t.since {
		return t.base
	}
	hi, lo := bits.Mul64(uint64(t.rate), uint64(now-t.since))
	const bitNanos = 8 * uint64(time.Second)
	if hi >= bitNanos {
		return 1<<64 - 1
	}
	n, _ := bits.Div64(hi, lo, bitNanos)
	return t.base + n
}

// draw takes up to n bytes and returns how many it got.
func (p *Pool) draw(now time.Duration, n uint64) uint64 {
	t := p.terms.Load()
	if t.rate == 0 { // never allows anything, whatever the burst
		return 0
	}
	earned := t.earned(p.atLeast(now))
	for {
		spent := p.spent.Load()
		from := spent
		if earned > t.depth {
			from = max(from, earned-t.depth)
		}
		if from >= earned {
			return 0
		}
		n = min(n, earned-from)
		if p.spent.CompareAndSwap(spent, from+n) {
			return n
		}
	}
}

// atLeast is now, or the latest time that any worker has drawn at. Each reads its clock once
// a batch; one that then had to wait for a processor would find what was earned meanwhile
// already drawn against, up to the whole burst.
func (p *Pool) atLeast(now time.Duration) time.Duration {
	latest := time.Duration(p.latest.Load())
	if latest >= now {
		return latest
	}
	p.latest.CompareAndSwap(int64(latest), int64(now)) // another's is as good
	return now
}

// giveBack returns bytes that were drawn and not used.
func (p *Pool) giveBack(n uint64) { p.spent.Add(-n) }
