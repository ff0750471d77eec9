package xdp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"dssn/xdp/bpf"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Limits of test traffic.
const (
	TrafficHeadBytes = 128     // of a frame that can differ; what follows is zeros
	TrafficStreams   = 16      // in one Traffic or TrafficSink
	TrafficHeads     = 1 << 16 // of all streams together
	// TrafficWindow is how many numbers a sink remembers to tell a duplicate from
	// a frame that is merely late.
	TrafficWindow = 1<<16 - 64
)

// TrafficHead is one kind of frame of a stream.
type TrafficHead struct {
	Bytes [TrafficHeadBytes]byte
	Len   int // of the whole frame, without its check sequence
	// Sign is the offset of the signature, which holds all but number and time;
	// 0: frames are not numbered. Check is the offset of a UDP or TCP checksum, 0
	// if there is none, and Sum the sum of the 16-bit words that it covers,
	// number and time left out.
	Sign, Check int
	Sum         uint32
}

// TrafficStream is a sequence of frames. Their heads are taken in turn.
type TrafficStream struct {
	Heads []TrafficHead
	// Interval is the mean time between frames in 1/1024 ns; 0 is as fast as it goes.
	Interval uint64
	// Burst is how many frames go back to back, then a pause; 0 means 1.
	Burst int
	// Count ends the stream.
	Count uint64
}

// TrafficSent is how far a stream is.
type TrafficSent struct {
	Frames uint64
	// Behind is the time that was given up because the sending CPU was late by
	// more than 100 ms: the rate was not kept for so long. Less is made up for, at
	// no more than twice the rate.
	Behind time.Duration
	// Worst is how late a frame left at most.
	Worst time.Duration
}

// Traffic sends streams out of an interface from inside the kernel, as live
// frames, each with a number and the time (CLOCK_TAI) if it has a signature. One
// goroutine may be in Run at a time; the counters may be read by any.
type Traffic struct {
	objects struct {
		Stream  *ebpf.Program `ebpf:"stream"`
		Heads   *ebpf.Map     `ebpf:"traffic_heads"`
		Streams *ebpf.Map     `ebpf:"traffic_streams"`
		Port    *ebpf.Map     `ebpf:"traffic_port"`
		Out     *ebpf.Map     `ebpf:"traffic_out"`
		Refused *ebpf.Program `ebpf:"refused"`
	}
	refused link.Link // nil if the kernel does not let us see
	frame   []byte
	streams int
}

// NewTraffic prepares to send out of an interface of the caller's namespace. The
// peer of a veth receives the frames only while XDP or GRO is on there.
func NewTraffic(ifindex int, streams []TrafficStream) (*Traffic, error) {
	if len(streams) == 0 || len(streams) > TrafficStreams {
		return nil, fmt.Errorf("sending %d streams: use 1 to %d", len(streams), TrafficStreams)
	}
	spec, err := bpf.LoadTraffic()
	if err != nil {
		return nil, fmt.Errorf("reading the sending program: %w", err)
	}
	if err := spec.Variables["streams"].Set(uint32(len(streams))); err != nil {
		return nil, fmt.Errorf("setting up the sending program: %w", err)
	}
	heads, longest, paced := 0, TrafficHeadBytes, uint32(0)
	for _, s := range streams {
		if s.Interval > 0 {
			paced = 1
		}
		heads += len(s.Heads)
		for i := range s.Heads {
			longest = max(longest, s.Heads[i].Len)
		}
		if len(s.Heads) == 0 || heads > TrafficHeads {
			return nil, fmt.Errorf("sending %d kinds of frames: use 1 to %d", heads, TrafficHeads)
		}
	}
	if err := spec.Variables["paced"].Set(paced); err != nil {
		return nil, fmt.Errorf("setting up the sending program: %w", err)
	}
	if longest > 3498 {
		return nil, fmt.Errorf("sending frames of %d bytes: the kernel makes live frames of up to 3498", longest)
	}
	spec.Maps["traffic_heads"].MaxEntries = uint32(heads)
	// The sink's part is not needed here.
	for _, name := range []string{"traffic_counts", "traffic_histograms"} {
		spec.Maps[name].MaxEntries = 1
	}
	t := &Traffic{frame: make([]byte, longest), streams: len(streams)}
	if err := spec.LoadAndAssign(&t.objects, nil); err != nil {
		return nil, explain("loading the sending program", err)
	}
	if err := t.fill(ifindex, streams); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.refused, _ = link.AttachRawTracepoint(link.RawTracepointOptions{Name: "xdp_devmap_xmit", Program: t.objects.Refused})
	return t, nil
}

func (t *Traffic) fill(ifindex int, streams []TrafficStream) error {
	at := uint32(0)
	for i, s := range streams {
		first := at
		for j := range s.Heads {
			h := &s.Heads[j]
			v := bpf.TrafficTrafficHead{Len: uint32(h.Len), Sum: h.Sum, Sign: uint16(h.Sign), Check: uint16(h.Check)}
			for w := range v.Words {
				v.Words[w] = binary.NativeEndian.Uint64(h.Bytes[8*w:])
			}
			if err := t.objects.Heads.Put(at, &v); err != nil {
				return fmt.Errorf("writing frame %d: %w", at, err)
			}
			at++
		}
		v := bpf.TrafficTrafficStream{Limit: s.Count, Interval: s.Interval, First: first, Heads: at - first, Burst: uint32(max(s.Burst, 1))}
		if err := t.objects.Streams.Put(uint32(i), &v); err != nil {
			return fmt.Errorf("writing stream %d: %w", i, err)
		}
	}
	if err := t.objects.Out.Put(uint32(0), uint32(ifindex)); err != nil {
		return explain(fmt.Sprintf("sending live frames out of interface %d", ifindex), err)
	}
	return nil
}

// Run sends until every stream has reached its count or the context ends. It
// occupies the CPU it is called on throughout.
func (t *Traffic) Run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	now := monotonic() << 10
	for i := range t.streams {
		s, err := t.stream(i)
		if err != nil {
			return err
		}
		s.Due, s.Soonest = now, now
		if err := t.objects.Streams.Put(uint32(i), &s); err != nil {
			return fmt.Errorf("pacing stream %d: %w", i, err)
		}
	}
	if err := t.setStop(false); err != nil {
		return err
	}
	// A run ends by a signal to its thread. SIGURG is what the Go runtime itself
	// interrupts threads with, and harmless.
	var ended atomic.Bool
	pid, tid := unix.Getpid(), unix.Gettid()
	watching := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(watching)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if ctx.Err() == nil && !t.finished() {
				continue
			}
			ended.Store(true)
			t.setStop(true)
			unix.Tgkill(pid, tid, unix.SIGURG)
		}
	}()
	var err error
	for err == nil && !ended.Load() {
		err = runLive(t.objects.Stream.FD(), t.frame, 1<<31, liveBatch)
		if err == unix.EINTR {
			err = nil
		}
	}
	close(done)
	<-watching
	if err != nil {
		return explain("sending live frames", err)
	}
	return nil
}

// monotonic is bpf_ktime_get_ns.
func monotonic() uint64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return uint64(ts.Nano())
}

func (t *Traffic) setStop(on bool) error {
	var p bpf.TrafficTrafficPort
	if err := t.objects.Port.Lookup(uint32(0), &p); err != nil {
		return fmt.Errorf("reading the port's counters: %w", err)
	}
	p.Stop, p.Task = 0, 0
	if on {
		p.Stop = 1
	}
	return t.objects.Port.Put(uint32(0), &p)
}

func (t *Traffic) finished() bool {
	for i := range t.streams {
		if s, err := t.stream(i); err == nil && s.Sent < s.Limit {
			return false
		}
	}
	return true
}

func (t *Traffic) stream(i int) (s bpf.TrafficTrafficStream, err error) {
	if err := t.objects.Streams.Lookup(uint32(i), &s); err != nil {
		return s, fmt.Errorf("reading the counters of stream %d: %w", i, err)
	}
	return s, nil
}

// Sent is how far a stream is.
func (t *Traffic) Sent(stream int) (TrafficSent, error) {
	s, err := t.stream(stream)
	return TrafficSent{s.Sent, time.Duration(s.Behind >> 10), time.Duration(s.Worst >> 10)}, err
}

// Refused is how many frames the port itself did not take, of all streams; known
// is false if this kernel does not say.
func (t *Traffic) Refused() (n uint64, known bool) {
	var p bpf.TrafficTrafficPort
	err := t.objects.Port.Lookup(uint32(0), &p)
	return p.Refused, err == nil && t.refused != nil
}

// Close frees the programs.
func (t *Traffic) Close() error {
	var errs []error
	if t.refused != nil {
		errs = append(errs, t.refused.Close())
	}
	for _, m := range []*ebpf.Map{t.objects.Heads, t.objects.Streams, t.objects.Port, t.objects.Out} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	for _, p := range []*ebpf.Program{t.objects.Stream, t.objects.Refused} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}
