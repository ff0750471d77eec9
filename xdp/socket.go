package xdp

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"dssn/xdp/ring"
)

// Desc names a packet: where it begins in the UMEM and how long it is. It is the
// kernel's struct xdp_desc.
type Desc struct {
	Addr    uint64 // offset of the first byte
	Len     uint32 // bytes
	Options uint32 // Continued, TxRequest
}

// Bits of Desc.Options.
const (
	// Continued: the packet goes on in the next descriptor (MultiBuffer).
	Continued = 1 << 0
	// TxRequest: the bytes before the packet hold a request; see RequestChecksum.
	TxRequest = 1 << 1
)

// Mode says how packets travel between NIC and UMEM.
type Mode uint8

// The modes, as wished for (Auto) and as obtained.
const (
	// ModeAuto takes zero-copy where the driver has it.
	ModeAuto Mode = iota
	// ModeCopy has the kernel copy each packet.
	ModeCopy
	// ModeZeroCopy has the NIC read and write the UMEM itself.
	ModeZeroCopy
)

// String returns "auto", "copy" or "zero-copy".
func (m Mode) String() string { return [...]string{"auto", "copy", "zero-copy"}[m%3] }

// SocketOptions describes a socket. Only Ifindex has no default. Ring sizes are
// entries, each a power of two.
type SocketOptions struct {
	Ifindex int
	Queue   int
	// Fill defaults to 2048, Rx and Tx and Completion to 1024.
	Fill, Rx, Tx, Completion int
	Mode                     Mode
	// NoNeedWakeup has the kernel called for every batch, as before kernel 5.4.
	NoNeedWakeup bool
	// MultiBuffer lets a packet span several frames (jumbo frames, kernel 6.6).
	MultiBuffer bool
	// BusyPoll, if not 0, makes this thread do the NIC's work whenever it calls
	// Poke, Kick or Wait, at most so many packets at a time: the usual choice when
	// interrupt and worker share a core. The device's napi_defer_hard_irqs and
	// gro_flush_timeout must be set too; `dssn doctor nic` says how.
	BusyPoll int
	// TxBudget is how many packets one Kick moves in copy mode; 0 leaves the
	// kernel's 32 (kernel 6.17; older ones ignore it).
	TxBudget int
}

func (o SocketOptions) withDefaults() SocketOptions {
	for _, f := range []struct {
		v *int
		d int
	}{{&o.Fill, 2048}, {&o.Rx, 1024}, {&o.Tx, 1024}, {&o.Completion, 1024}} {
		if *f.v == 0 {
			*f.v = f.d
		}
	}
	return o
}

// Rings are the four rings of a socket.
type Rings struct {
	Fill, Completion ring.Memory[uint64]
	Rx, Tx           ring.Memory[Desc]
}

// Backend is whoever is at the other end of a socket's rings: the kernel, or
// xdptest's stand-in for it.
type Backend interface {
	// WakeTx has queued packets sent. EAGAIN, EBUSY and ENOBUFS mean later.
	WakeTx() error
	// WakeRx has packets received, without waiting.
	WakeRx() error
	// Wait waits until something was received; a negative timeout waits for ever.
	Wait(timeout time.Duration) (ready bool, err error)
	// Mode is what was obtained, never ModeAuto.
	Mode() Mode
	// Statistics are the other end's counters.
	Statistics() (Statistics, error)
	// Close ends it.
	Close() error
}

// Statistics are a socket's counters of packets that went no further, kept by the
// kernel (struct xdp_statistics).
type Statistics struct {
	RxDropped      uint64 // for other reasons, mostly: longer than a frame
	RxInvalidDescs uint64 // fill entries outside the UMEM
	TxInvalidDescs uint64 // tx entries outside the UMEM
	RxRingFull     uint64 // we were too slow to Peek
	FillRingEmpty  uint64 // we were too slow to Refill
	TxRingEmpty    uint64 // the kernel found nothing to send
}

// Socket is an AF_XDP socket: one queue of one device. One goroutine at a time
// may use it, the same as uses its Pool; Statistics may be called from any. Close
// it when its worker has stopped: the rings are unmapped.
//
// A worker's round, with a the port of arrival and b the port of departure:
//
//	a.Refill()
//	in := a.Peek(64)                 // in place, in the ring
//	out := b.Slots(len(in))          // in place, in the ring
//	for i := range out { … pool.UMEM().Bytes(in[i]) …; out[i] = in[i] }
//	b.Submit(len(out))
//	for _, d := range in[len(out):] { pool.Put(d.Addr) }
//	a.Release(len(in))
//	b.Kick()
//	b.Reclaim()
type Socket struct {
	pool    *Pool
	backend Backend

	fill       ring.Producer[uint64]
	completion ring.Consumer[uint64]
	rx         ring.Consumer[Desc]
	tx         ring.Producer[Desc]

	sending   int // submitted and not reclaimed
	wakeup    bool
	busyPoll  bool
	multi     bool
	sendLimit int // completion ring size: never more on their way

	checking
}

// Open binds a socket to a queue and takes its frames from pool. The packets do
// not come by themselves: a program must direct them (Director, Transit). It
// needs CAP_NET_RAW. Errors name the missing thing.
func Open(pool *Pool, o SocketOptions) (*Socket, error) {
	o = o.withDefaults()
	k, rings, err := openKernel(pool.umem, o)
	if err != nil {
		return nil, err
	}
	s, err := NewSocket(pool, o, rings, k)
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	k.adopt(s)
	return s, nil
}

// NewSocket is a socket over rings that somebody else serves.
func NewSocket(pool *Pool, o SocketOptions, r Rings, b Backend) (*Socket, error) {
	for _, err := range []error{r.Fill.Check(), r.Completion.Check(), r.Rx.Check(), r.Tx.Check()} {
		if err != nil {
			return nil, err
		}
	}
	return &Socket{
		pool:       pool,
		backend:    b,
		fill:       ring.NewProducer(r.Fill),
		completion: ring.NewConsumer(r.Completion),
		rx:         ring.NewConsumer(r.Rx),
		tx:         ring.NewProducer(r.Tx),
		wakeup:     !o.NoNeedWakeup,
		busyPoll:   o.BusyPoll > 0,
		multi:      o.MultiBuffer,
		sendLimit:  len(r.Completion.Entries),
	}, nil
}

// Mode says whether packets are copied. It is what was obtained.
func (s *Socket) Mode() Mode { return s.backend.Mode() }

// Pool is where the socket's frames come from.
func (s *Socket) Pool() *Pool { return s.pool }

// Refill gives the kernel free frames to receive into, as many as the pool has
// and the fill ring takes, and returns how many.
func (s *Socket) Refill() (n int) {
	for {
		free := s.pool.free
		slots := s.fill.Slots(len(free))
		if len(slots) == 0 {
			return n
		}
		// The top of the stack as it lies: one copy instead of one move a frame.
		rest := len(free) - len(slots)
		copy(slots, free[rest:])
		s.pool.owner.moveAll(slots, inPool, inFill)
		s.pool.free = free[:rest]
		s.fill.Submit(len(slots))
		n += len(slots)
	}
}

// Peek returns up to max received packets, in place: the slice is the ring's and
// stays valid until Release. It may return fewer than there are (the ring wraps),
// and none. With MultiBuffer the last packet may be cut; its rest comes next.
func (s *Socket) Peek(max int) []Desc {
	descs := s.rx.Peek(max)
	s.peeked(descs)
	return descs
}

// Release ends the use of the first n descriptors of the last Peek. Their frames
// are now the caller's: each must go to Submit (of any socket of the same Pool) or
// to Pool.Put, before or after Release.
func (s *Socket) Release(n int) {
	s.released(n)
	s.rx.Release(n)
}

// Slots returns up to max descriptors to be sent, to be written in place; fewer
// where the ring is full or wraps. Addr may be anywhere within a frame.
func (s *Socket) Slots(max int) []Desc {
	return s.tx.Slots(min(max, s.sendLimit-s.sending))
}

// Submit queues the first n descriptors of the last Slots for sending. Their
// frames are the kernel's until Reclaim brings them back to the pool.
func (s *Socket) Submit(n int) {
	s.submitted(n)
	s.tx.Submit(n)
	s.sending += n
}

// Sending is how many packets were submitted and not yet reclaimed.
func (s *Socket) Sending() int { return s.sending }

// Kick has the kernel send what was submitted, if it must be asked; a batch needs
// one. It returns nil when the kernel is merely busy: kick again.
func (s *Socket) Kick() error {
	if s.sending == 0 || s.wakeup && !s.busyPoll && !s.tx.NeedWakeup() {
		return nil
	}
	switch err := s.backend.WakeTx(); err {
	case nil, syscall.EAGAIN, syscall.EBUSY, syscall.ENOBUFS, syscall.EINTR:
		return nil
	default:
		return explain("sending", err)
	}
}

// Reclaim brings frames that were sent back to the pool and returns how many.
func (s *Socket) Reclaim() (n int) {
	for s.sending > 0 {
		done := s.completion.Peek(s.sending)
		if len(done) == 0 {
			break
		}
		back, frame := s.pool.grow(len(done)), ^(s.pool.umem.frameSize - 1)
		for i := range back {
			back[i] = done[i] & frame
		}
		s.pool.owner.moveAll(back, inTx, inPool)
		s.completion.Release(len(done))
		s.sending -= len(done)
		n += len(done)
	}
	return n
}

// Poke has the kernel receive, if it must be asked (need_wakeup, busy polling);
// otherwise it costs a load. Call it when Peek returned nothing.
func (s *Socket) Poke() error {
	if !s.busyPoll && !s.fill.NeedWakeup() {
		return nil
	}
	switch err := s.backend.WakeRx(); err {
	case nil, syscall.EAGAIN, syscall.EBUSY, syscall.EINTR:
		return nil
	default:
		return explain("receiving", err)
	}
}

// Wait waits until a packet was received, at most timeout (negative: for ever).
func (s *Socket) Wait(timeout time.Duration) (ready bool, err error) {
	if s.rx.Pending() > 0 {
		return true, nil
	}
	return s.backend.Wait(timeout)
}

// Statistics asks the kernel for the socket's counters.
func (s *Socket) Statistics() (Statistics, error) { return s.backend.Statistics() }

// Close gives the queue back. The socket's frames stay lost to the pool, since
// the kernel may have been writing them: make a new UMEM to start afresh.
func (s *Socket) Close() error {
	if err := s.backend.Close(); err != nil {
		return fmt.Errorf("closing an AF_XDP socket: %w", err)
	}
	return nil
}

// Descriptor returns what poll and epoll wait for, readable when a packet was
// received; -1 where no kernel serves the rings. It stays the socket's.
func (s *Socket) Descriptor() int {
	if k, ok := s.backend.(*kernel); ok {
		return k.fd
	}
	return -1
}
