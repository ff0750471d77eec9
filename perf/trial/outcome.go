package trial

import (
	"fmt"
	"time"

	"dssn/perf/gen"
	"dssn/perf/report"
)

// Outcome is what a trial found.
type Outcome struct {
	Load     Load     `json:"load"`
	Reverse  bool     `json:"reverse,omitempty"` // the responder sent
	Sent     Sent     `json:"sent"`
	Received Received `json:"received"`
	// OneWay is true if both ends have one clock, or claim synchronised ones: only
	// then delays mean something.
	OneWay bool `json:"one_way"`
}

// Detail is what a result that two ends sign holds in its detail: every trial,
// with both ends' accounts. An end signs only if its own stand there unchanged.
type Detail struct {
	Trials []*Outcome `json:"trials"`
}

// Tolerances within which a trial is the network's and not the tester's doing.
const (
	rateTolerance = 0.01
	lateTolerance = 20 * time.Millisecond
)

// Offered is the rate that was really sent, in bits a second.
func (o *Outcome) Offered() float64 {
	if o.Sent.Seconds <= 0 {
		return 0
	}
	return float64(o.Sent.Packets) * float64(8*o.Load.Size) / o.Sent.Seconds
}

// Asked is the rate that was to be sent; 0: as fast as it goes.
func (o *Outcome) Asked() float64 { return BitRate(o.Load.Size, o.Load.Interval) }

// Forwarded is the rate at which packets arrived: those that did, over the time
// of sending.
func (o *Outcome) Forwarded() float64 { return o.Offered() * (1 - o.LossRatio()) }

// Lost is how many packets did not arrive.
func (o *Outcome) Lost() uint64 {
	return o.Sent.Packets - min(o.Sent.Packets, o.Received.Packets+o.Received.Late)
}

// LossRatio is the part of packets that did not arrive.
func (o *Outcome) LossRatio() float64 {
	if o.Sent.Packets == 0 {
		return 0
	}
	return float64(o.Lost()) / float64(o.Sent.Packets)
}

// Delay and Variation are the histograms.
func (o *Outcome) Delay() *gen.Histogram { return histogram(o.Received.Delay) }

// Variation is of the differences between consecutive delays.
func (o *Outcome) Variation() *gen.Histogram { return histogram(o.Received.Variation) }

func histogram(list [][2]uint64) *gen.Histogram {
	h := &gen.Histogram{}
	h.AddSparse(list)
	return h
}

// Doubt says why the trial cannot be trusted, "" if it can: the tester itself
// bent it.
func (o *Outcome) Doubt() string {
	asked := o.Asked()
	switch {
	case o.Received.Dropped > 0:
		return fmt.Sprintf("the receiving host's own socket had no room for %d packets", o.Received.Dropped)
	case asked > 0 && o.Sent.Packets > 100 && o.Load.Count == 0 && o.Offered() < asked*(1-rateTolerance):
		return fmt.Sprintf("the sending host reached only %s of the asked %s", report.BitsPerSecond.Show(o.Offered()), report.BitsPerSecond.Show(asked))
	case asked > 0 && time.Duration(o.Sent.Worst) > lateTolerance:
		return fmt.Sprintf("the sending host lost its CPU for %v and sent a burst afterwards", time.Duration(o.Sent.Worst).Round(time.Millisecond))
	}
	return ""
}

// Interval is the time between packets of size bytes at a rate of bits a second,
// in 1/1024 ns.
func Interval(size int, rate float64) uint64 {
	if rate <= 0 {
		return 0
	}
	return max(uint64(float64(8*size)*1e9*1024/rate), 1)
}

// BitRate is the inverse of Interval.
func BitRate(size int, interval uint64) float64 {
	if interval == 0 {
		return 0
	}
	return float64(8*size) * 1e9 * 1024 / float64(interval)
}
