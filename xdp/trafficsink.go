package xdp

import (
	"errors"
	"fmt"
	"time"

	"dssn/xdp/bpf"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// TrafficBuckets is the number of buckets of a TrafficHistogram.
const TrafficBuckets = 27648

// TrafficHistogram counts values in nanoseconds in HDR's buckets of three
// significant digits: value v, at most 2³⁶−1, is in bucket
//
//	shift×1024 + v>>shift, with shift the smallest for which v>>shift < 2048
//
// which is the order of hdrhistogram.New(1, 60e9, 3).
type TrafficHistogram [TrafficBuckets]uint64

// TrafficReceived is what a sink knows of a stream. Duplicates and frames that
// came too late to tell are in no other count.
type TrafficReceived struct {
	Frames, Bytes uint64
	Duplicates    uint64
	Reordered     uint64 // came after a higher number (RFC 4737)
	Late          uint64 // more than TrafficWindow numbers behind
	Negative      uint64 // frames with a delay under zero, recorded as zero
	OtherClock    uint64 // frames stamped by a clock other than ours
	Next          uint64 // the number after the highest seen
	First, Last   uint64 // arrival of the first and the last frame, nanoseconds of CLOCK_TAI
	Jitter        time.Duration
}

// TrafficSink takes test traffic out of what arrives on an interface, in the
// driver where it can, and accounts for each stream; all else goes on to the
// kernel. Methods may be called concurrently, Close last.
type TrafficSink struct {
	objects struct {
		Count      *ebpf.Program `ebpf:"count"`
		Counts     *ebpf.Map     `ebpf:"traffic_counts"`
		Histograms *ebpf.Map     `ebpf:"traffic_histograms"`
	}
	link link.Link
	mode AttachMode
}

// NewTrafficSink attaches a sink for that many streams; clock is the tag of this
// host's clock in signatures.
func NewTrafficSink(ifindex, streams int, clock uint16) (*TrafficSink, error) {
	s, err := loadTrafficSink(streams, clock)
	if err != nil {
		return nil, err
	}
	if s.link, s.mode, err = attachXDP(s.objects.Count, ifindex, AttachAuto); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func loadTrafficSink(streams int, clock uint16) (*TrafficSink, error) {
	if streams < 1 || streams > TrafficStreams {
		return nil, fmt.Errorf("counting %d streams: use 1 to %d", streams, TrafficStreams)
	}
	spec, err := bpf.LoadTraffic()
	if err != nil {
		return nil, fmt.Errorf("reading the counting program: %w", err)
	}
	if err := spec.Variables["own_clock"].Set(uint32(clock)); err != nil {
		return nil, fmt.Errorf("setting up the counting program: %w", err)
	}
	spec.Maps["traffic_counts"].MaxEntries = uint32(streams)
	spec.Maps["traffic_histograms"].MaxEntries = uint32(2 * streams)
	s := &TrafficSink{}
	if err := spec.LoadAndAssign(&s.objects, nil); err != nil {
		return nil, explain("loading the counting program", err)
	}
	return s, nil
}

// Attached says where the program runs: native or generic.
func (s *TrafficSink) Attached() AttachMode { return s.mode }

// Received is what is known of a stream so far.
func (s *TrafficSink) Received(stream int) (TrafficReceived, error) {
	var c bpf.TrafficTrafficCount
	if err := s.objects.Counts.Lookup(uint32(stream), &c); err != nil {
		return TrafficReceived{}, fmt.Errorf("reading the counters of stream %d: %w", stream, err)
	}
	return TrafficReceived{Frames: c.Received, Bytes: c.Bytes, Duplicates: c.Duplicates, Reordered: c.Reordered, Late: c.Late, Negative: c.Negative,
		OtherClock: uint64(c.Clocks), Next: c.Next, First: c.First, Last: c.Last, Jitter: time.Duration(c.Jitter >> 4)}, nil
}

// Delay fills in the histogram of a stream's delays.
func (s *TrafficSink) Delay(stream int, h *TrafficHistogram) error { return s.histogram(2*stream, h) }

// Variation fills in the histogram of the differences between a stream's
// consecutive delays, without sign (RFC 3393).
func (s *TrafficSink) Variation(stream int, h *TrafficHistogram) error {
	return s.histogram(2*stream+1, h)
}

func (s *TrafficSink) histogram(which int, h *TrafficHistogram) error {
	if err := s.objects.Histograms.Lookup(uint32(which), (*[TrafficBuckets]uint64)(h)); err != nil {
		return fmt.Errorf("reading histogram %d: %w", which, err)
	}
	return nil
}

// Close detaches the sink.
func (s *TrafficSink) Close() error {
	var errs []error
	if s.link != nil {
		errs = append(errs, s.link.Close())
	}
	if s.objects.Count != nil {
		errs = append(errs, s.objects.Count.Close(), s.objects.Counts.Close(), s.objects.Histograms.Close())
	}
	return errors.Join(errs...)
}
