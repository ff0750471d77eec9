package wire

import "math"

// purpose separates the chances of one frame from each other.
type purpose uint8

const (
	forLoss purpose = iota
	forBurst
	forBurstLoss
	forJitter
	forReorder
	forDuplicate
	forCorrupt
	forBit
	purposes
)

// chance gives every frame of one direction its random numbers. Number i of a
// purpose is the i-th of a SplitMix64 sequence (Steele, Lea, Flood: Fast
// Splittable Pseudorandom Number Generators, OOPSLA 2014) of its own, which can
// be computed without those before it.
type chance [purposes]uint64

const golden = 0x9e3779b97f4a7c15

func newChance(seed uint64, direction uint8) (c chance) {
	for p := range c {
		c[p] = mix(seed + mix(uint64(direction)<<8|uint64(p)+golden))
	}
	return c
}

// at returns 64 random bits.
func (c *chance) at(p purpose, index uint64) uint64 { return mix(c[p] + (index+1)*golden) }

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// threshold turns a probability into the number below which a draw means yes;
// certain is a flag of its own because 2^64 does not fit.
type threshold struct {
	below   uint64
	certain bool
}

func thresholdOf(p float64) threshold {
	if p >= 1 {
		return threshold{certain: true}
	}
	return threshold{below: uint64(p * (1 << 63) * 2)}
}

func (t threshold) hit(draw uint64) bool { return draw < t.below || t.certain }

// unit turns 64 random bits into a number strictly between 0 and 1.
func unit(draw uint64) float64 { return (float64(draw>>11) + 0.5) / (1 << 53) }

// deviation turns 64 random bits into what a law adds to the delay, in
// nanoseconds, for a jitter of j nanoseconds.
func (l Law) deviation(draw uint64, j float64) float64 {
	u := unit(draw)
	switch l {
	case Normal:
		return j * math.Sqrt2 * math.Erfinv(2*u-1)
	case Exponential:
		return -j * math.Log(u)
	case Pareto:
		return math.Min(j*(paretoShape-1)*(math.Pow(u, -1/paretoShape)-1), paretoLimit*j)
	}
	return j * (2*u - 1)
}

// The Pareto law is Lomax's, with this shape, cut off at this many times its mean.
const (
	paretoShape = 3.0
	paretoLimit = 100
)
