package transfer

import (
	"testing"

	"pgregory.net/rapid"
)

// slowRanges is the obvious twin: one bool for each byte.
type slowRanges [200]bool

func (r *slowRanges) add(s span) (fresh int64) {
	for i := s.from; i < s.to; i++ {
		if !r[i] {
			r[i] = true
			fresh++
		}
	}
	return fresh
}

func (r *slowRanges) spans(want bool, size int64) (out []span) {
	for i := int64(0); i < size; i++ {
		if r[i] != want {
			continue
		}
		if n := len(out); n > 0 && out[n-1].to == i {
			out[n-1].to++
		} else {
			out = append(out, span{i, i + 1})
		}
	}
	return out
}

func TestRangesEqualTheirSlowTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var fast ranges
		var slow slowRanges
		for range rapid.IntRange(1, 40).Draw(t, "n") {
			s := span{rapid.Int64Range(0, 200).Draw(t, "from"), rapid.Int64Range(0, 200).Draw(t, "to")}
			if got, want := fast.add(s), slow.add(s); got != want {
				t.Fatalf("add %v: %d fresh, want %d", s, got, want)
			}
			same(t, "spans", fast.spans, slow.spans(true, 200))
			size := rapid.Int64Range(0, 200).Draw(t, "size")
			same(t, "missing", fast.missing(size), slow.spans(false, size))
			if got, want := fast.total(), int64(len(slow)); got > want {
				t.Fatalf("total %d", got)
			}
		}
	})
}

func same(t *rapid.T, what string, got, want []span) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}
}
