package gen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"dssn/xdp"

	"golang.org/x/sys/unix"
)

// Engine is how frames get in and out of the port.
type Engine string

// The engines. Auto takes afxdp up to autoRate frames a second, as it leaves the
// CPU alone between frames, and kernel above.
const (
	EngineAuto   Engine = "auto"
	EngineKernel Engine = "kernel"
	EngineAFXDP  Engine = "afxdp"
)

const autoRate = 100_000

// Options say what to send and what to count. Device, Sink or both are needed.
type Options struct {
	Streams []Compiled // to be sent, or expected
	Device  string     // to send from; "" to count only
	Sink    string     // to count on; "" to send only
	Engine  Engine     // of sending
	// SinkEngine counts: kernel unless it is afxdp.
	SinkEngine Engine
	Time       time.Duration // of sending; 0 until every stream's count or the context's end
	// Settle is how long frames may be on their way when sending has ended; 0 means 1 s.
	Settle time.Duration
	// OnProgress hears the state every second.
	OnProgress func(Outcome)
}

// Outcome is what was sent and what arrived.
type Outcome struct {
	Began   time.Time
	Seconds float64 // of sending, or of counting if nothing was sent
	Engine  Engine  // of sending, as obtained; "" if nothing was sent
	Mode    string  // of sending: "live frames", "AF_XDP copy", …
	Sinking string  // of counting; "" if nothing was counted
	Streams []StreamOutcome
	// Refused is how many frames the sending port itself did not take, known if
	// RefusedKnown. They were never on the network.
	Refused      uint64
	RefusedKnown bool
	// SinkDropped is how many frames the counting port or socket had no room for.
	SinkDropped uint64
	// CPU is what the sending thread used of its CPU, 0 to 1.
	CPU float64
	// SameClock is true if every frame that arrived was stamped by this host's
	// own clock, Synchronised if the clock follows an external one.
	SameClock, Synchronised bool
}

// StreamOutcome is one stream's part.
type StreamOutcome struct {
	Name      string
	MeanBytes float64
	Asked     float64 // frames a second; 0: as fast as it goes
	Sent      xdp.TrafficSent
	Received  xdp.TrafficReceived
	Delay     *Histogram // nil if nothing was counted
	Variation *Histogram
}

// sender is an engine's sending half.
type sender interface {
	Run(context.Context) error
	Sent(stream int) (xdp.TrafficSent, error)
	Refused() (n uint64, known bool)
	Close() error
	mode() string
}

// counter is an engine's counting half.
type counter interface {
	collect(stream int, o *StreamOutcome) error
	dropped() uint64
	mode() string
	Close() error
}

// Run sends, counts, or both, in the caller's network namespace. What it returns
// is complete also if the context ends early.
func Run(ctx context.Context, o Options) (*Outcome, error) {
	if o.Settle == 0 {
		o.Settle = time.Second
	}
	r := &Outcome{Synchronised: Synchronised()}
	var c counter
	var err error
	if o.Sink != "" {
		if c, err = newCounter(o); err != nil {
			return nil, err
		}
		defer c.Close()
		r.Sinking = c.mode()
	}
	r.Began = time.Now()
	if o.Device == "" {
		return r, o.count(ctx, c, r)
	}
	s, err := o.newSender(r)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	sinkDrops := deviceDrops(o.Sink, true)
	running := ctx
	if o.Time > 0 {
		var cancel context.CancelFunc
		running, cancel = context.WithTimeout(ctx, o.Time)
		defer cancel()
	}
	began, cpu := time.Now(), time.Duration(0)
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		before := ThreadTime()
		err := s.Run(running)
		cpu = ThreadTime() - before
		ended <- err
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case err := <-ended:
			if err != nil {
				return nil, err
			}
			waiting = false
		case <-tick.C:
			if o.OnProgress != nil {
				r.Seconds = time.Since(began).Seconds()
				if err := o.gather(s, c, r); err == nil {
					o.OnProgress(*r)
				}
			}
		}
	}
	r.Seconds = time.Since(began).Seconds()
	if o.Time > 0 {
		r.Seconds = min(r.Seconds, o.Time.Seconds())
	}
	r.CPU = cpu.Seconds() / time.Since(began).Seconds()
	if c != nil {
		if err := o.settle(ctx, s, c, r); err != nil {
			return nil, err
		}
	}
	err = o.gather(s, c, r)
	r.SinkDropped += deviceDrops(o.Sink, true) - sinkDrops
	return r, err
}

// settle waits until nothing more arrives, at most o.Settle.
func (o *Options) settle(ctx context.Context, s sender, c counter, r *Outcome) error {
	last, quiet := uint64(0), 0
	for end := time.Now().Add(o.Settle); time.Now().Before(end) && quiet < 5; time.Sleep(20 * time.Millisecond) {
		if err := o.gather(s, c, r); err != nil {
			return err
		}
		n, sent := uint64(0), uint64(0)
		for _, x := range r.Streams {
			n += x.Received.Frames
			sent += x.Sent.Frames
		}
		if n+r.Refused >= sent {
			return nil
		}
		if quiet++; n != last {
			quiet = 0
		}
		last = n
	}
	return nil
}

func (o *Options) count(ctx context.Context, c counter, r *Outcome) error {
	if c == nil {
		return errors.New("nothing to do: name an interface to send from or to count on")
	}
	drops := deviceDrops(o.Sink, true)
	if o.Time > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Time)
		defer cancel()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			if o.OnProgress != nil {
				r.Seconds = time.Since(r.Began).Seconds()
				if err := o.gather(nil, c, r); err == nil {
					o.OnProgress(*r)
				}
			}
		}
	}
	r.Seconds = time.Since(r.Began).Seconds()
	err := o.gather(nil, c, r)
	r.SinkDropped += deviceDrops(o.Sink, true) - drops
	return err
}

// gather reads all counters.
func (o *Options) gather(s sender, c counter, r *Outcome) error {
	streams := make([]StreamOutcome, len(o.Streams))
	r.SameClock = c != nil
	for i, d := range o.Streams {
		x := &streams[i]
		x.Name, x.MeanBytes, x.Asked = d.Name, d.MeanBytes, d.Asked
		if s != nil {
			var err error
			if x.Sent, err = s.Sent(i); err != nil {
				return err
			}
		}
		if c != nil {
			if err := c.collect(i, x); err != nil {
				return err
			}
			r.SameClock = r.SameClock && x.Received.OtherClock == 0
		}
	}
	r.Streams = streams
	if s != nil {
		r.Refused, r.RefusedKnown = s.Refused()
	}
	if c != nil {
		r.SinkDropped = c.dropped()
	}
	return nil
}

func (o *Options) newSender(r *Outcome) (sender, error) {
	nic, err := net.InterfaceByName(o.Device)
	if err != nil {
		return nil, fmt.Errorf("there is no interface %q here: `ip link` lists them", o.Device)
	}
	streams := make([]xdp.TrafficStream, len(o.Streams))
	rate, flood := 0.0, false
	for i, s := range o.Streams {
		streams[i] = s.TrafficStream
		rate += s.Asked
		flood = flood || s.Asked == 0
	}
	if o.Engine == EngineAuto || o.Engine == "" {
		o.Engine = EngineKernel
		if !flood && rate <= autoRate {
			o.Engine = EngineAFXDP
		}
	}
	r.Engine = o.Engine
	var s sender
	if o.Engine == EngineKernel {
		t, e := xdp.NewTraffic(nic.Index, streams)
		s, err = kernelSender{t}, e
	} else {
		s, err = newAFSender(nic.Index, o.Device, streams)
	}
	if err != nil {
		return nil, err
	}
	r.Mode = s.mode()
	return s, nil
}

func newCounter(o Options) (counter, error) {
	nic, err := net.InterfaceByName(o.Sink)
	if err != nil {
		return nil, fmt.Errorf("there is no interface %q here: `ip link` lists them", o.Sink)
	}
	if o.SinkEngine == EngineAFXDP {
		return newAFCounter(nic.Index, o.Sink, len(o.Streams))
	}
	s, err := xdp.NewTrafficSink(nic.Index, len(o.Streams), ClockTag())
	if err != nil {
		return nil, err
	}
	return kernelCounter{s}, nil
}

type kernelSender struct{ *xdp.Traffic }

func (kernelSender) mode() string { return "live frames (BPF_PROG_RUN)" }

type kernelCounter struct{ *xdp.TrafficSink }

func (k kernelCounter) mode() string { return "XDP program, " + k.Attached().String() }

func (kernelCounter) dropped() uint64 { return 0 }

func (k kernelCounter) collect(i int, o *StreamOutcome) (err error) {
	if o.Received, err = k.Received(i); err != nil {
		return err
	}
	o.Delay, o.Variation = &Histogram{}, &Histogram{}
	if err := k.Delay(i, &o.Delay.counts); err != nil {
		return err
	}
	return k.TrafficSink.Variation(i, &o.Variation.counts)
}

// deviceDrops is what an interface of the thread's namespace counts as dropped on
// arrival, or on departure; 0 without an interface.
func deviceDrops(name string, arriving bool) uint64 {
	if name == "" {
		return 0
	}
	text, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		n, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		f := strings.Fields(rest)
		if !ok || n != name || len(f) < 16 {
			continue
		}
		at := 11
		if arriving {
			at = 3
		}
		v, _ := strconv.ParseUint(f[at], 10, 64)
		return v
	}
	return 0
}

// afSender sends on queue 0's AF_XDP socket. One goroutine runs it; the counters
// that others read are copies.
type afSender struct {
	socket  *xdp.Socket
	umem    *xdp.UMEM
	pool    *xdp.Pool
	streams []xdp.TrafficStream
	device  string
	drops   uint64
	sent    []struct{ frames, behind, worst atomic.Uint64 }
}

const afBatch = 64

func newAFSender(ifindex int, device string, streams []xdp.TrafficStream) (*afSender, error) {
	o := xdp.SocketOptions{Ifindex: ifindex, TxBudget: afBatch}
	s := &afSender{streams: streams, device: device, drops: deviceDrops(device, false)}
	s.sent = make([]struct{ frames, behind, worst atomic.Uint64 }, len(streams))
	var err error
	if s.umem, err = xdp.NewUMEM(xdp.UMEMOptions{Frames: 2048}); err != nil {
		return nil, err
	}
	if s.pool, err = s.umem.NewPool(2048); err != nil {
		return nil, errors.Join(err, s.umem.Close())
	}
	if s.socket, err = xdp.Open(s.pool, o); err != nil {
		return nil, errors.Join(err, s.umem.Close())
	}
	return s, nil
}

func (s *afSender) mode() string { return "AF_XDP, " + s.socket.Mode().String() }

func (s *afSender) Refused() (uint64, bool) {
	return deviceDrops(s.device, false) - s.drops, true
}

func (s *afSender) Sent(i int) (xdp.TrafficSent, error) {
	return xdp.TrafficSent{Frames: s.sent[i].frames.Load(), Behind: time.Duration(s.sent[i].behind.Load()), Worst: time.Duration(s.sent[i].worst.Load())}, nil
}

// Close gives the kernel a moment to send what is queued.
func (s *afSender) Close() error {
	for end := time.Now().Add(100 * time.Millisecond); s.socket.Sending() > 0 && time.Now().Before(end); {
		if s.socket.Kick() != nil {
			break
		}
		s.socket.Reclaim()
	}
	return errors.Join(s.socket.Close(), s.umem.Close())
}

// Run sends what is due, a batch at a time, and sleeps while nothing is. Frames
// that are due at the same time get one reading of the clock.
func (s *afSender) Run(ctx context.Context) error {
	clock := newTAI()
	began := time.Now()
	now := func() uint64 { return uint64(time.Since(began)) << 10 }
	plan := NewSchedule(0, s.streams)
	next := make([]int, len(s.streams))
	for i := uint(0); ; i++ {
		if i&63 == 0 && ctx.Err() != nil {
			break
		}
		s.socket.Reclaim()
		slots := s.socket.Slots(afBatch)
		n, at, time := 0, now(), clock.now()
		for n < len(slots) {
			which, ok := plan.Next(at)
			if !ok {
				break
			}
			addr, ok := s.pool.Get()
			if !ok {
				break
			}
			t := &s.streams[which]
			h := &t.Heads[next[which]]
			if next[which]++; next[which] == len(t.Heads) {
				next[which] = 0
			}
			slots[n] = xdp.Desc{Addr: addr, Len: uint32(h.Len)}
			b := s.umem.Bytes(xdp.Desc{Addr: addr, Len: xdp.TrafficHeadBytes})
			copy(b, h.Bytes[:])
			Sign(b, h, plan.streams[which].sent-1, time)
			n++
		}
		if n > 0 {
			s.socket.Submit(n)
			for i := range s.sent {
				v := plan.Sent(i)
				s.sent[i].frames.Store(v.Frames)
				s.sent[i].behind.Store(uint64(v.Behind))
				s.sent[i].worst.Store(uint64(v.Worst))
			}
		}
		if err := s.socket.Kick(); err != nil {
			return err
		}
		if n == 0 && len(slots) > 0 {
			if done := s.pause(ctx, plan, now); done {
				break
			}
		}
	}
	return s.drain()
}

// spinFor is how long before a frame is due the sender stops sleeping: what a
// sleep may be late.
const spinFor = 150 * time.Microsecond

// pause sleeps until shortly before the next frame; done if there is none.
func (s *afSender) pause(ctx context.Context, plan *Schedule, now func() uint64) (done bool) {
	due, done := plan.Due()
	if done {
		return true
	}
	if wait := time.Duration((due - min(now(), due)) >> 10); wait > spinFor && s.socket.Sending() == 0 {
		select {
		case <-ctx.Done():
		case <-time.After(wait - spinFor):
		}
	}
	return false
}

func (s *afSender) drain() error {
	for end := time.Now().Add(time.Second); s.socket.Sending() > 0 && time.Now().Before(end); {
		if err := s.socket.Kick(); err != nil {
			return err
		}
		s.socket.Reclaim()
	}
	return nil
}

// queues is how many receive queues an interface has.
func queues(name string) int {
	n := 0
	entries, _ := os.ReadDir("/sys/class/net/" + name + "/queues")
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "rx-") {
			n++
		}
	}
	return max(n, 1)
}

// waitReadable waits for any of the sockets, at most a millisecond.
func waitReadable(sockets []*xdp.Socket) {
	if len(sockets) == 1 {
		sockets[0].Wait(time.Millisecond)
		return
	}
	unix.Nanosleep(&unix.Timespec{Nsec: 50_000}, nil)
}
