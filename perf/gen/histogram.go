package gen

import (
	"math/bits"
	"time"

	"dssn/perf/report"
	"dssn/xdp"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram counts durations from 1 ns to 68 s with three significant digits. It
// is an HDR histogram as a plain array, the same in Go and in the kernel. The
// zero value is empty.
type Histogram struct{ counts xdp.TrafficHistogram }

const highest = 1<<36 - 1

// Record adds a duration; a negative one is a zero.
func (h *Histogram) Record(d time.Duration) { h.counts[bucket(d)]++ }

func bucket(d time.Duration) int {
	v := uint64(min(max(d, 0), highest))
	shift := max(bits.Len64(v)-11, 0)
	return shift*1024 + int(v>>shift)
}

// hdr is the same as the library knows it.
func (h *Histogram) hdr() *hdrhistogram.Histogram {
	snapshot := hdrhistogram.New(1, int64(time.Minute), 3).Export()
	for i, n := range h.counts {
		if i < len(snapshot.Counts) {
			snapshot.Counts[i] = int64(n)
		}
	}
	return hdrhistogram.Import(snapshot)
}

// Count is how many durations were recorded.
func (h *Histogram) Count() (n uint64) {
	for _, c := range h.counts {
		n += c
	}
	return n
}

// At returns the duration under or at which percent of all are, within a
// thousandth; 0 if there is none.
func (h *Histogram) At(percent float64) time.Duration {
	return time.Duration(h.hdr().ValueAtQuantile(percent))
}

// Mean is the mean duration.
func (h *Histogram) Mean() time.Duration { return time.Duration(h.hdr().Mean()) }

// Max is the longest duration.
func (h *Histogram) Max() time.Duration { return time.Duration(h.hdr().Max()) }

// Distribution is the histogram as a result shows it, in seconds.
func (h *Histogram) Distribution(name string) report.Distribution {
	return report.FromHistogram(name, report.Seconds, h.hdr(), 1e-9)
}

// Sparse lists the buckets that are not empty: index and count.
func (h *Histogram) Sparse() [][2]uint64 {
	out := [][2]uint64{}
	for i, n := range h.counts {
		if n > 0 {
			out = append(out, [2]uint64{uint64(i), n})
		}
	}
	return out
}

// AddSparse adds what Sparse lists; ok is false, and nothing certain, if it lists
// a bucket that there is none of.
func (h *Histogram) AddSparse(list [][2]uint64) (ok bool) {
	for _, b := range list {
		if b[0] >= uint64(len(h.counts)) {
			return false
		}
		h.counts[b[0]] += b[1]
	}
	return true
}

// Add adds another histogram's counts.
func (h *Histogram) Add(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
}
