package meter

import (
	"time"

	"dssn"
)

// Bucket is a token bucket: depth Burst bytes, refilled at Rate. It polices; it
// never delays. Its methods belong to one goroutine at a time.
//
// Tokens are kept in units of bit-nanoseconds, eight times a byte times 10⁹, so
// that refilling is one multiplication without rounding: at any time the bytes
// taken in an interval d are at most Burst + Rate·d, exactly. A clock that goes
// back refills nothing and costs nothing that was there.
type Bucket struct {
	rate  dssn.Bandwidth
	depth bitNanos // of a full bucket
	level bitNanos // what is there now
	last  time.Duration
	begun bool
}

// bitNanos is an amount of tokens. 64 bits hold 2.3 GB of burst.
type bitNanos = uint64

const (
	bitNanosPerByte = 8 * uint64(time.Second)
	maxBurst        = dssn.ByteCount(1<<63/bitNanosPerByte - 1)
)

// Set gives the bucket its rate and depth. What is in it stays, up to the new
// depth; a new bucket begins full. Bursts above 1.1 GB count as 1.1 GB.
func (b *Bucket) Set(rate dssn.Bandwidth, burst dssn.ByteCount) {
	depth := uint64(min(burst, maxBurst)) * bitNanosPerByte
	if !b.begun {
		b.level = depth
	}
	b.rate, b.depth = rate, depth
	b.level = min(b.level, depth)
}

// Refill brings the bucket to now, a reading of a monotonic clock with any
// beginning. Call it once per batch.
func (b *Bucket) Refill(now time.Duration) {
	if !b.begun {
		b.begun, b.last = true, now
		return
	}
	d := now - b.last
	b.last = now
	if d <= 0 || b.rate == 0 {
		return
	}
	room := b.depth - b.level
	if uint64(d) > room/uint64(b.rate) {
		b.level = b.depth
		return
	}
	b.level += uint64(d) * uint64(b.rate)
}

// Take removes n bytes and reports true, or removes nothing and reports false.
// A rate of zero never allows anything, whatever the burst.
func (b *Bucket) Take(n int) bool {
	need := uint64(n) * bitNanosPerByte
	if b.rate == 0 || need > b.level {
		return false
	}
	b.level -= need
	return true
}
