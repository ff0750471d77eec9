package port

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"dssn/perf/wire"
	"dssn/xdp"
)

// MaxMTU is the longest packet that a port takes: AF_XDP without fragments.
const MaxMTU = 3492

const (
	defaultRing = 2048
	batch       = 64
)

// Options say between which interfaces of the calling thread's network namespace
// a wire is, and what it does. Direction 0 leads from the first interface to the
// second.
type Options struct {
	Interfaces [2]string
	Settings   [2]wire.Settings
	// MTU of the interfaces in bytes; zero means 1500.
	MTU int
	// Ring is how many frames wait at each port, a power of two; zero means 2048.
	// Memory is about 12 kB for each.
	Ring int
	// Ordinary leaves the loop's thread without real-time scheduling.
	Ordinary bool
}

// Wire is a wire that moves frames while Run runs. Run's thread owns all but
// what the mutex guards; the methods may be called from any goroutine.
type Wire struct {
	sockets   [2]*xdp.Socket
	directors [2]*xdp.Director
	umem      *xdp.UMEM
	pool      *xdp.Pool
	waiter    *xdp.Waiter
	bell      int // eventfd: wakes the loop

	lines [2]*wire.Line
	slab  *slab
	late  [2]*hdrhistogram.Histogram
	tap   func(Seen)
	base  time.Time
	modes Modes
	want  bool // real-time scheduling

	ringing atomic.Bool
	mu      sync.Mutex
	jobs    []func() // guarded by mu: to be done by the loop
	stopped bool     // guarded by mu
	done    chan struct{}
}

// Modes are what was obtained.
type Modes struct {
	Sockets    string `json:"sockets"` // "copy" or "zero-copy"
	XDP        string `json:"xdp"`     // "native" or "generic"
	Scheduling string `json:"scheduling"`
}

// Seen is a frame as a tap sees it, when it arrives: Frame is valid during the
// call only.
type Seen struct {
	At        time.Time
	Direction int
	Number    uint64 // of the frame in its direction, from 0
	Frame     []byte
	Verdict   wire.Verdict
	Delay     time.Duration // until it comes out, if it is kept
}

// Stats are the figures of one direction.
type Stats struct {
	Settings string        `json:"settings"`
	Counters wire.Counters `json:"counters"`
	Held     int           `json:"held"`
	// Missed frames never reached the wire: its loop was too slow for them.
	Missed uint64 `json:"missed"`
	// Lateness is how much later than decided frames came out.
	LateP50 time.Duration `json:"late_p50_ns"`
	LateP99 time.Duration `json:"late_p99_ns"`
	LateMax time.Duration `json:"late_max_ns"`
	// CPU is what the loop has used, both directions together.
	CPU time.Duration `json:"cpu_ns"`
}

// Open binds both interfaces. The caller then calls Run, and Close at the end
// whether or not it did.
func Open(o Options) (w *Wire, err error) {
	if o.MTU == 0 {
		o.MTU = 1500
	}
	if o.MTU > MaxMTU {
		return nil, fmt.Errorf("a wire carries packets of at most %d bytes, not %d: choose a smaller MTU, or a plain link", MaxMTU, o.MTU)
	}
	for _, s := range o.Settings {
		if err := s.Check(); err != nil {
			return nil, err
		}
	}
	size := 2048
	if o.MTU+14 > size-256 {
		size = 4096
	}
	w = &Wire{slab: newSlab(o.MTU + 64), base: time.Now(), want: !o.Ordinary, bell: -1, done: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if o.Ring == 0 {
		o.Ring = defaultRing
	}
	so := xdp.SocketOptions{Fill: o.Ring, Rx: o.Ring, Tx: o.Ring / 2, Completion: o.Ring / 2, TxBudget: batch}
	frames := xdp.FramesFor(so, 2, 1, batch)
	if w.umem, err = xdp.NewUMEM(xdp.UMEMOptions{Frames: frames, FrameSize: size}); err != nil {
		return w, err
	}
	if w.pool, err = w.umem.NewPool(frames); err != nil {
		return w, err
	}
	for d := range 2 {
		if err := w.open(d, o.Interfaces[d], so); err != nil {
			return w, err
		}
		w.lines[d] = wire.NewLine(uint8(d), o.Settings[d])
		w.late[d] = hdrhistogram.New(1, int64(time.Minute), 2)
	}
	if w.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return w, fmt.Errorf("open an eventfd: %w", err)
	}
	if w.waiter, err = xdp.NewWaiter(w.sockets[:]...); err != nil {
		return w, err
	}
	w.waiter.Also(w.bell)
	return w, nil
}

func (w *Wire) open(d int, name string, so xdp.SocketOptions) error {
	nic, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	so.Ifindex = nic.Index
	if w.sockets[d], err = xdp.Open(w.pool, so); err != nil {
		return err
	}
	if w.directors[d], err = xdp.NewDirector(xdp.DirectorOptions{Ifindex: nic.Index, All: true}); err != nil {
		return err
	}
	w.modes.Sockets, w.modes.XDP = w.sockets[d].Mode().String(), w.directors[d].Attached().String()
	w.sockets[d].Refill()
	return w.directors[d].Add(0, w.sockets[d])
}

// Run moves frames until Close, on a thread of its own. It returns an error when
// an interface is gone.
func (w *Wire) Run() error {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its priority with it
	defer close(w.done)
	defer ownProcessor()()
	w.modes.Scheduling = "ordinary scheduling"
	if w.want {
		w.modes.Scheduling = priority()
	}
	for {
		if w.ringing.Load() && !w.work() {
			return nil
		}
		busy := false
		for d := range 2 {
			n, err := w.receive(d)
			if err != nil {
				return err
			}
			busy = busy || n > 0
		}
		for d := range 2 {
			n, err := w.send(d)
			if err != nil {
				return err
			}
			busy = busy || n > 0
		}
		if !busy {
			if err := w.rest(); err != nil {
				return err
			}
		}
	}
}

func (w *Wire) now() int64 { return int64(time.Since(w.base)) }

// receive takes in one batch of direction d.
func (w *Wire) receive(d int) (int, error) {
	in, line := w.sockets[d], w.lines[d]
	in.Refill()
	got := in.Peek(batch)
	if len(got) == 0 {
		return 0, nil
	}
	now := w.now()
	for _, desc := range got {
		frame := w.umem.Bytes(desc)
		v := line.Arrive(now, len(frame))
		if w.tap != nil {
			c, _ := line.Counters()
			w.tap(Seen{w.base.Add(time.Duration(now)), d, c.In - 1, frame, v, time.Duration(v.At - now)})
		}
		if v.Flip >= 0 {
			frame[v.Flip/8] ^= 0x80 >> (v.Flip % 8)
		}
		if v.Copies == 1 && v.At <= now && w.pass(d, desc) {
			continue
		}
		for range v.Copies {
			line.Hold(v.At, w.slab.put(frame), len(frame))
		}
		w.pool.Put(desc.Addr)
	}
	in.Release(len(got))
	return len(got), nil
}

// pass hands a frame that waits for nothing straight to the other socket.
func (w *Wire) pass(d int, desc xdp.Desc) bool {
	out := w.sockets[1-d]
	slots := out.Slots(1)
	if len(slots) == 0 {
		return false
	}
	if !w.lines[d].Direct(wire.Verdict{Copies: 1}, int(desc.Len)) {
		return false
	}
	slots[0] = xdp.Desc{Addr: desc.Addr, Len: desc.Len}
	out.Submit(1)
	return true
}

// send puts out what is due in direction d. What finds no room stays held.
func (w *Wire) send(d int) (n int, err error) {
	out, line := w.sockets[1-d], w.lines[d]
	if out.Sending() > 0 {
		out.Reclaim()
	}
	now := w.now()
	for n < batch {
		at, ok := line.Next()
		if !ok || at > now {
			break
		}
		slots := out.Slots(1)
		if len(slots) == 0 {
			break
		}
		addr, ok := w.pool.Get()
		if !ok {
			break
		}
		slot, _, _ := line.Due(now)
		frame := w.slab.frame(slot)
		slots[0] = xdp.Desc{Addr: addr, Len: uint32(copy(w.umem.Frame(addr), frame))}
		out.Submit(1)
		w.slab.release(slot)
		w.late[d].RecordValue(max(1, now-at))
		n++
	}
	if out.Sending() > 0 {
		err = out.Kick()
	}
	return n, err
}

// rest sleeps until a frame arrives or is almost due, then watches the clock.
func (w *Wire) rest() error {
	next, some := int64(0), false
	for d := range 2 {
		if at, ok := w.lines[d].Next(); ok && (!some || at < next) {
			next, some = at, true
		}
	}
	switch left := next - w.now(); {
	case !some:
		if w.sockets[0].Sending()+w.sockets[1].Sending() > 0 {
			_, err := w.waiter.Wait(time.Millisecond) // completions come without a bell
			return err
		}
		_, err := w.waiter.Wait(-1)
		return err
	case left > int64(spin):
		_, err := w.waiter.Wait(time.Duration(left - int64(spin)))
		return err
	}
	return nil
}
