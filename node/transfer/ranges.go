package transfer

import "slices"

// span is a half-open range of bytes, [from, to).
type span struct{ from, to int64 }

func (s span) len() int64 { return s.to - s.from }

// ranges is a set of bytes as ascending spans that neither overlap nor touch.
// The zero value is the empty set.
type ranges struct{ spans []span }

// add puts s into the set and returns how many of its bytes were not there
// before. Fetches mostly extend the span before them, so the cost is a binary
// search and, seldom, moving the tail.
func (r *ranges) add(s span) (fresh int64) {
	if s.from >= s.to {
		return 0
	}
	// The spans from i up to j overlap or touch s and become one with it.
	i, _ := slices.BinarySearchFunc(r.spans, s.from, func(e span, from int64) int {
		if e.to < from {
			return -1
		}
		return 1
	})
	fresh = s.len()
	merged := s
	j := i
	for ; j < len(r.spans) && r.spans[j].from <= s.to; j++ {
		e := r.spans[j]
		fresh -= max(0, min(e.to, s.to)-max(e.from, s.from))
		merged = span{min(merged.from, e.from), max(merged.to, e.to)}
	}
	if i == j {
		r.spans = slices.Insert(r.spans, i, merged)
		return fresh
	}
	r.spans[i] = merged
	r.spans = slices.Delete(r.spans, i+1, j)
	return fresh
}

// total returns the number of bytes in the set.
func (r *ranges) total() (n int64) {
	for _, s := range r.spans {
		n += s.len()
	}
	return n
}

// missing returns what the set lacks of [0, size), ascending.
func (r *ranges) missing(size int64) (out []span) {
	at := int64(0)
	for _, s := range r.spans {
		if s.from >= size {
			break
		}
		if s.from > at {
			out = append(out, span{at, s.from})
		}
		at = s.to
	}
	if at < size {
		out = append(out, span{at, size})
	}
	return out
}
