// Package xdptest helps to test users of AF_XDP sockets without root, kernel or
// NIC: Kernel is an in-memory other end of a socket's rings, and Conformance is
// one suite that every kind of socket passes.
//
// It is not a model of speed. One goroutine at a time may use a Kernel and its
// socket, unless the caller orders them as the rings do: Deliver and Transmit may
// run beside the socket's methods, as the real kernel does.
package xdptest

import (
	"sync/atomic"
	"syscall"
	"time"

	"dssn/xdp"
	"dssn/xdp/ring"
)

// Kernel stands in for the kernel at the other end of one socket's rings.
type Kernel struct {
	umem *xdp.UMEM

	fill       ring.Consumer[uint64]
	completion ring.Producer[uint64]
	rx         ring.Producer[xdp.Desc]
	tx         ring.Consumer[xdp.Desc]
	rings      xdp.Rings

	// Wire is what was sent, in order.
	Wire [][]byte
	// Wakes counts calls of WakeTx and WakeRx.
	Wakes int
	// PerWake is how many packets one WakeTx sends; 0 means none, so that only
	// Transmit does.
	PerWake int
	// Clock is the NIC's, in nanoseconds: it stamps departures with it, and keeps what
	// is to leave later, and all behind it, until the test has moved it on.
	Clock uint64
	// Discard keeps nothing of what was sent.
	Discard bool

	stats  xdp.Statistics
	closed atomic.Bool
}

// New makes a socket on a stand-in kernel. All indices start at first, so that
// a test can watch them wrap (for example 0xfffffffe).
func New(pool *xdp.Pool, o xdp.SocketOptions, first uint32) (*xdp.Socket, *Kernel, error) {
	r := xdp.Rings{
		Fill:       ring.NewMemory[uint64](o.Fill, first),
		Completion: ring.NewMemory[uint64](o.Completion, first),
		Rx:         ring.NewMemory[xdp.Desc](o.Rx, first),
		Tx:         ring.NewMemory[xdp.Desc](o.Tx, first),
	}
	k := &Kernel{umem: pool.UMEM(), rings: r, PerWake: 32}
	s, err := xdp.NewSocket(pool, o, r, k)
	if err != nil {
		return nil, nil, err
	}
	k.fill, k.completion = ring.NewConsumer(r.Fill), ring.NewProducer(r.Completion)
	k.rx, k.tx = ring.NewProducer(r.Rx), ring.NewConsumer(r.Tx)
	k.NeedWakeup(true)
	return s, k, nil
}

// NeedWakeup sets what the kernel asks for.
func (k *Kernel) NeedWakeup(need bool) {
	var v uint32
	if need {
		v = 1
	}
	atomic.StoreUint32(k.rings.Fill.Flags, v)
	atomic.StoreUint32(k.rings.Tx.Flags, v)
}

// Deliver receives a packet from the wire and reports whether there was a frame
// and a place in the rx ring for it.
func (k *Kernel) Deliver(packet []byte) bool {
	slot := k.rx.Slots(1)
	if len(slot) == 0 {
		k.stats.RxRingFull++
		return false
	}
	for {
		free := k.fill.Peek(1)
		if len(free) == 0 {
			k.stats.FillRingEmpty++
			return false
		}
		addr := free[0]
		k.fill.Release(1)
		d := xdp.Desc{Addr: addr, Len: uint32(len(packet))}
		to := k.umem.Bytes(d)
		if to == nil {
			k.stats.RxInvalidDescs++
			continue
		}
		copy(to, packet)
		slot[0] = d
		k.rx.Submit(1)
		return true
	}
}

// Transmit sends up to n queued packets to Wire and returns how many it could.
func (k *Kernel) Transmit(n int) (sent int) {
	for sent < n {
		done := k.completion.Slots(1)
		queued := k.tx.Peek(1)
		if len(done) == 0 || len(queued) == 0 {
			break
		}
		d := queued[0]
		b := k.umem.Bytes(d)
		if b == nil || d.Len == 0 {
			k.stats.TxInvalidDescs++
			k.tx.Release(1)
			continue
		}
		if later, ok := k.metadata(d, b); !ok {
			k.stats.TxInvalidDescs++
			k.tx.Release(1)
			continue
		} else if later {
			break
		}
		if !k.Discard {
			k.Wire = append(k.Wire, append([]byte(nil), b...))
		}
		k.tx.Release(1)
		done[0] = d.Addr
		k.completion.Submit(1)
		sent++
	}
	return sent
}

// WakeTx implements xdp.Backend: EAGAIN while packets remain, as the kernel's.
func (k *Kernel) WakeTx() error {
	k.Wakes++
	if k.closed.Load() {
		return syscall.ENXIO
	}
	k.Transmit(k.PerWake)
	if k.tx.Pending() > 0 {
		return syscall.EAGAIN
	}
	return nil
}

// WakeRx implements xdp.Backend.
func (k *Kernel) WakeRx() error {
	k.Wakes++
	return nil
}

// Wait implements xdp.Backend; it does not wait, since nothing else can happen.
func (k *Kernel) Wait(time.Duration) (bool, error) {
	return k.rx.Pending() > 0, nil
}

// Mode implements xdp.Backend.
func (k *Kernel) Mode() xdp.Mode { return xdp.ModeZeroCopy }

// Statistics implements xdp.Backend.
func (k *Kernel) Statistics() (xdp.Statistics, error) { return k.stats, nil }

// Close implements xdp.Backend.
func (k *Kernel) Close() error {
	k.closed.Store(true)
	return nil
}
