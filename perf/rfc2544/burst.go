package rfc2544

// BurstSearch finds the longest burst of packets, sent as fast as they go, that
// arrives whole (RFC 2544 §26.4, RFC 9004 §5). The zero value is not ready.
type BurstSearch struct {
	good, bad, limit uint64 // longest that passed, shortest that failed
	length           uint64
	trials           int
}

// NewBurstSearch begins at guess and looks up to limit packets.
func NewBurstSearch(guess, limit uint64) *BurstSearch {
	return &BurstSearch{limit: limit, bad: limit + 1, length: min(max(guess, 1), limit)}
}

// Next is the length to try; done if the search has ended.
func (b *BurstSearch) Next() (length uint64, done bool) { return b.length, b.length == 0 }

// Add takes the outcome of a trial of the length that Next gave.
func (b *BurstSearch) Add(lost uint64) {
	if b.length == 0 {
		return
	}
	b.trials++
	if lost == 0 {
		b.good = max(b.good, b.length)
	} else {
		b.bad = min(b.bad, b.length)
	}
	switch {
	case b.good+1 >= b.bad:
		b.length = 0
	case b.bad > b.limit: // nothing failed yet
		b.length = min(2*b.good, b.limit)
	case b.good == 0:
		b.length = b.bad / 2
	case float64(b.bad-b.good) < 0.005*float64(b.bad): // half a per cent is enough
		b.length = 0
	default:
		b.length = b.good + (b.bad-b.good)/2
	}
	if b.good == 0 && b.bad == 1 {
		b.length = 0
	}
}

// Longest is the longest burst that passed; whole is true if even the limit did.
func (b *BurstSearch) Longest() (packets uint64, whole bool) { return b.good, b.good == b.limit }
