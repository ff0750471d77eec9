package path

import (
	"dssn/perf/stat"
)

// Loss is what was sent to a node and did not arrive.
type Loss struct{ Sent, Lost uint64 }

// Share is the part that was lost.
func (l Loss) Share() float64 {
	if l.Sent == 0 {
		return 0
	}
	return float64(l.Lost) / float64(l.Sent)
}

// Segment is the way from one node of a path to the next.
type Segment struct {
	// Loss is the share that is lost on it, with its interval of confidence; under
	// zero is chance.
	Loss float64
	stat.Interval
	// Loses is true if the interval lies above zero: loss begins or grows here.
	Loses bool
}

// Confidence of Locate's intervals, of each segment.
const Confidence = 0.999

// Locate says what each segment loses, from the losses on the way to the node at
// the end of each. A packet that comes to a node has survived all segments before:
// survival multiplies, so segment k's is that to node k over that to node k−1.
func Locate(to []Loss) []Segment {
	out := make([]Segment, len(to))
	var before Loss
	for i, l := range to {
		s := &out[i]
		if i == 0 {
			before = Loss{Sent: l.Sent}
		}
		if l.Sent == 0 || before.Sent == 0 {
			continue
		}
		reached := 1 - before.Share()
		s.Interval = stat.Newcombe(before.Lost, before.Sent, l.Lost, l.Sent, Confidence)
		s.Loss = l.Share() - before.Share()
		if reached > 0 {
			s.Loss, s.Low, s.High = s.Loss/reached, s.Low/reached, s.High/reached
		}
		s.Loses = s.Low > 0
		before = l
	}
	return out
}
