package xdp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"syscall"
	"time"

	"dssn/xdp/bpf"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Generator sends frames out of an interface from inside the kernel, with
// BPF_PROG_RUN on live frames: several million a second from one CPU, without a
// packet buffer. The frames have one body and up to 1024 heads in turn.
//
// Run may be called by one goroutine at a time; Sent by any.
type Generator struct {
	objects struct {
		Generate *ebpf.Program `ebpf:"generate"`
		Heads    *ebpf.Map     `ebpf:"heads"`
		Out      *ebpf.Map     `ebpf:"out"`
		Pace     *ebpf.Map     `ebpf:"pace"`
	}
	frame []byte
}

const (
	headBytes   = 72 // of a frame, rewritten each time
	maxVariants = 1024
	liveBatch   = 64      // frames at a time
	turnFrames  = 1 << 20 // frames a turn in the kernel, paced: 0.1 to 0.3 seconds
	turnFlood   = 1 << 23 // unpaced: 1 to 2 seconds
	liveFrames  = 1 << 1  // BPF_F_TEST_XDP_LIVE_FRAMES
)

// NewGenerator prepares to send frames out of an interface of the caller's
// namespace: copies of frames[0], whose first 72 bytes are those of each of frames
// in turn. How many there are must be a power of two. The peer of a veth only
// receives them while XDP or GRO is on there.
func NewGenerator(ifindex int, frames ...[]byte) (*Generator, error) {
	if n := len(frames); n == 0 || n > maxVariants || bits.OnesCount(uint(n)) != 1 {
		return nil, fmt.Errorf("generating %d kinds of frames: use a power of two up to %d", n, maxVariants)
	}
	spec, err := bpf.LoadPerf()
	if err != nil {
		return nil, fmt.Errorf("reading the generating program: %w", err)
	}
	if err := spec.Variables["variants"].Set(uint32(len(frames))); err != nil {
		return nil, fmt.Errorf("setting up the generating program: %w", err)
	}
	g := &Generator{frame: frames[0]}
	if err := spec.LoadAndAssign(&g.objects, nil); err != nil {
		return nil, explain("loading the generating program", err)
	}
	for i, f := range frames {
		if len(f) < headBytes-8 || len(f) != len(frames[0]) {
			return nil, errors.Join(fmt.Errorf("generating frames of %d bytes: use equal lengths of at least %d", len(f), headBytes-8), g.Close())
		}
		var head bpf.PerfPerfHead
		var b [headBytes]byte
		copy(b[:], f)
		for w := range head.Words {
			head.Words[w] = binary.NativeEndian.Uint64(b[8*w:])
		}
		if err := g.objects.Heads.Put(uint32(i), &head); err != nil {
			return nil, errors.Join(fmt.Errorf("writing frame %d: %w", i, err), g.Close())
		}
	}
	if err := g.Aim(ifindex); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Aim lets the frames leave by another interface from now on, also during Run.
func (g *Generator) Aim(ifindex int) error {
	if err := g.objects.Out.Put(uint32(0), uint32(ifindex)); err != nil {
		return explain(fmt.Sprintf("generating out of interface %d", ifindex), err)
	}
	return nil
}

// Run sends count frames, or fewer if the context ends first (looked at every
// second or two). With a rate, in frames a second, it sends no faster; 0 is
// as fast as it goes. Either way it occupies the CPU it is called on.
func (g *Generator) Run(ctx context.Context, count, rate uint64) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pace, err := g.pace()
	if err != nil {
		return err
	}
	limit := pace.Sent + count
	pace.Limit, pace.Interval, pace.Due = limit, 0, 0
	if rate > 0 {
		pace.Interval = uint64(time.Second) << 10 / rate
	}
	if err := g.objects.Pace.Put(uint32(0), &pace); err != nil {
		return fmt.Errorf("pacing the generator: %w", err)
	}
	for ctx.Err() == nil {
		if pace, err = g.pace(); err != nil {
			return err
		}
		if pace.Sent >= limit {
			return nil
		}
		turn := uint64(turnFrames)
		if rate == 0 {
			turn = min(turnFlood, limit-pace.Sent)
		}
		_, err := g.objects.Generate.Run(&ebpf.RunOptions{
			Data: g.frame, Repeat: uint32(turn), BatchSize: uint32(min(turn, liveBatch)), Flags: liveFrames,
		})
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return explain("sending live frames", err)
		}
	}
	return nil
}

func (g *Generator) pace() (p bpf.PerfPerfPace, err error) {
	if err := g.objects.Pace.Lookup(uint32(0), &p); err != nil {
		return p, fmt.Errorf("reading the generator's counter: %w", err)
	}
	return p, nil
}

// Sent is how many frames were sent by all runs, exactly.
func (g *Generator) Sent() (uint64, error) {
	p, err := g.pace()
	return p.Sent, err
}

// Close frees the program.
func (g *Generator) Close() error {
	var errs []error
	for _, m := range []*ebpf.Map{g.objects.Heads, g.objects.Out, g.objects.Pace} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	if g.objects.Generate != nil {
		errs = append(errs, g.objects.Generate.Close())
	}
	return errors.Join(errs...)
}

// Bare redirects every frame that arrives on one interface to another, unread: the
// most that forwarding in the driver can be compared with.
type Bare struct {
	program *ebpf.Program
	out     *ebpf.Map
	link    link.Link
}

// BareOptions describe a Bare.
type BareOptions struct {
	From, To int // interface indices
	// Addressed swaps the Ethernet addresses, the least that a forwarder must do;
	// without, no byte of a frame is touched.
	Addressed bool
	// Routed looks the way up by the second SID of the destination, the least that a
	// router must do.
	Routed bool
}

// NewBare attaches it.
func NewBare(o BareOptions) (*Bare, error) {
	spec, err := bpf.LoadPerf()
	if err != nil {
		return nil, fmt.Errorf("reading the redirecting program: %w", err)
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, explain("loading the redirecting program", err)
	}
	defer c.Close()
	name := "bare"
	if o.Addressed {
		name = "bare_addressed"
	}
	if o.Routed {
		name = "bare_routed"
	}
	b := &Bare{program: c.DetachProgram(name), out: c.DetachMap("out")}
	if err := b.Aim(o.To); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if b.link, _, err = attachXDP(b.program, o.From, AttachAuto); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Aim redirects to another interface from now on.
func (b *Bare) Aim(to int) error {
	if err := b.out.Put(uint32(0), uint32(to)); err != nil {
		return explain(fmt.Sprintf("redirecting to interface %d", to), err)
	}
	return nil
}

// Close detaches it.
func (b *Bare) Close() error {
	var err error
	if b.link != nil {
		err = b.link.Close()
	}
	return errors.Join(err, b.program.Close(), b.out.Close())
}

// Sink counts and drops what arrives on an interface.
type Sink struct {
	program *ebpf.Program
	sunk    *ebpf.Map
	link    link.Link
	mode    AttachMode
}

// SinkOptions chooses what a Sink takes.
type SinkOptions struct {
	Ifindex int
	// IPv6Only leaves all else to the kernel.
	IPv6Only bool
	// Prefix64, if not 0, with Mask64: only IPv6 destinations whose first eight
	// bytes, as a big-endian number, are these under the mask.
	Prefix64, Mask64 uint64
	// PacketBuffers takes frames as the kernel's packet buffers (tc ingress), for
	// senders that make those; otherwise before (XDP).
	PacketBuffers bool
}

// NewSink attaches a sink.
func NewSink(o SinkOptions) (*Sink, error) {
	spec, err := bpf.LoadPerf()
	if err != nil {
		return nil, fmt.Errorf("reading the sink program: %w", err)
	}
	if o.IPv6Only || o.Mask64 != 0 {
		errs := []error{spec.Variables["only_ipv6"].Set(uint32(1)),
			spec.Variables["match_first"].Set(bits.ReverseBytes64(o.Prefix64)), spec.Variables["match_mask"].Set(bits.ReverseBytes64(o.Mask64))}
		if err := errors.Join(errs...); err != nil {
			return nil, fmt.Errorf("setting up the sink program: %w", err)
		}
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, explain("loading the sink program", err)
	}
	defer c.Close()
	s := &Sink{program: c.DetachProgram("sink"), sunk: c.DetachMap("sunk")}
	if o.PacketBuffers {
		s.program.Close()
		s.program = c.DetachProgram("sink_skb")
		s.link, err = link.AttachTCX(link.TCXOptions{Interface: o.Ifindex, Program: s.program, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
		err = explainNil(fmt.Sprintf("attaching a sink to interface %d", o.Ifindex), err)
	} else {
		s.link, s.mode, err = attachXDP(s.program, o.Ifindex, AttachAuto)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func explainNil(doing string, err error) error {
	if err == nil {
		return nil
	}
	return explain(doing, err)
}

// Count is what was taken so far.
func (s *Sink) Count() (t Tally, err error) {
	var each []bpf.PerfPerfTally
	if err := s.sunk.Lookup(uint32(0), &each); err != nil {
		return t, fmt.Errorf("reading the sink's counters: %w", err)
	}
	for _, v := range each {
		t.Packets += v.Packets
		t.Bytes += v.Bytes
	}
	return t, nil
}

// Close detaches the sink.
func (s *Sink) Close() error {
	var err error
	if s.link != nil {
		err = s.link.Close()
	}
	return errors.Join(err, s.program.Close(), s.sunk.Close())
}
