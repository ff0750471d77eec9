package xdptest

import (
	"bytes"
	"fmt"
	"testing"

	"dssn/xdp"
)

func rig(t *testing.T) Rig {
	t.Helper()
	u, err := xdp.NewUMEM(xdp.UMEMOptions{Frames: 256})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	p, err := u.NewPool(256)
	if err != nil {
		t.Fatal(err)
	}
	s, k, err := New(p, xdp.SocketOptions{Fill: 64, Rx: 64, Tx: 64, Completion: 64}, 0xffffffe0)
	if err != nil {
		t.Fatal(err)
	}
	return Rig{
		Socket: s,
		Inject: func(frames ...[]byte) {
			for _, f := range frames {
				k.Deliver(f)
			}
		},
		Sent: func() []byte {
			if len(k.Wire) == 0 {
				return nil
			}
			f := k.Wire[0]
			k.Wire = k.Wire[1:]
			return f
		},
	}
}

func TestFakeKernelConforms(t *testing.T) { Conformance(t, rig) }

// world is a socket, its kernel and what ought to be true of them.
type world struct {
	s       *xdp.Socket
	k       *Kernel
	p       *xdp.Pool
	next    uint32
	hand    []xdp.Desc // received, neither sent nor put back
	expect  [][]byte   // delivered and not yet received, in order
	leaving [][]byte   // submitted and not yet on the wire, in order
	wired   int
}

var moves = []struct {
	name string
	do   func(w *world) error
}{
	{"refill", func(w *world) error { w.s.Refill(); return nil }},
	{"deliver", func(w *world) error {
		w.next++
		f := Frame(w.next, 64)
		if w.k.Deliver(f) {
			w.expect = append(w.expect, f)
		}
		return nil
	}},
	{"receive", func(w *world) error {
		in := w.s.Peek(2)
		for i, d := range in {
			if got := w.p.UMEM().Bytes(d); !bytes.Equal(got, w.expect[i]) {
				return fmt.Errorf("received %x, want %x", got[14:18], w.expect[i][14:18])
			}
			w.hand = append(w.hand, d)
		}
		w.expect = w.expect[len(in):]
		w.s.Release(len(in))
		return nil
	}},
	{"send", func(w *world) error {
		out := w.s.Slots(len(w.hand))
		for i := range out {
			out[i] = w.hand[i]
			w.leaving = append(w.leaving, bytes.Clone(w.p.UMEM().Bytes(w.hand[i])))
		}
		w.hand = w.hand[len(out):]
		w.s.Submit(len(out))
		return nil
	}},
	{"put", func(w *world) error {
		for _, d := range w.hand {
			w.p.Put(d.Addr)
		}
		w.hand = nil
		return nil
	}},
	{"transmit", func(w *world) error { w.k.Transmit(1); return nil }},
	{"reclaim", func(w *world) error { w.s.Reclaim(); return nil }},
}

// check is the law of conservation: every frame is in one place, and what was
// sent left in order.
func (w *world) check(frames int) error {
	inFill := w.k.fill.Pending()
	inRx := len(w.expect)
	if total := w.p.Free() + inFill + inRx + len(w.hand) + w.s.Sending(); total != frames {
		return fmt.Errorf("%d frames: %d free, %d to be filled, %d received, %d in hand, %d being sent; want %d",
			total, w.p.Free(), inFill, inRx, len(w.hand), w.s.Sending(), frames)
	}
	for ; w.wired < len(w.k.Wire); w.wired++ {
		if !bytes.Equal(w.k.Wire[w.wired], w.leaving[w.wired]) {
			return fmt.Errorf("packet %d left changed or out of order", w.wired)
		}
	}
	return nil
}

// TestEveryOrderOfMovesKeepsEveryFrame is the model check of a socket: all
// sequences of moves of application and kernel, with few frames and tiny rings
// whose indices wrap on the way, after each of which no frame is lost or doubled.
func TestEveryOrderOfMovesKeepsEveryFrame(t *testing.T) {
	const frames = 3
	const depth = 5
	// One warm-up makes the sequences start where something is in every place.
	warmUp := []int{0, 1, 1, 2, 3}
	path := make([]int, depth)
	for done := false; !done; {
		w := fresh(t, frames)
		for n, m := range append(append([]int(nil), warmUp...), path...) {
			err := moves[m].do(w)
			if err == nil {
				err = w.check(frames)
			}
			if err != nil {
				t.Fatalf("move %d (%s) of %v after %v: %v", n-len(warmUp), moves[m].name, path, warmUp, err)
			}
		}
		done = true
		for i := range path {
			if path[i]++; path[i] < len(moves) {
				done = false
				break
			}
			path[i] = 0
		}
		w.p.UMEM().Close()
	}
}

func fresh(t *testing.T, frames int) *world {
	u, err := xdp.NewUMEM(xdp.UMEMOptions{Frames: frames})
	if err != nil {
		t.Fatal(err)
	}
	p, err := u.NewPool(frames)
	if err != nil {
		t.Fatal(err)
	}
	s, k, err := New(p, xdp.SocketOptions{Fill: 2, Rx: 2, Tx: 2, Completion: 2}, 0xfffffffe)
	if err != nil {
		t.Fatal(err)
	}
	return &world{s: s, k: k, p: p}
}

func TestASteadyRoundAllocatesNothing(t *testing.T) {
	u, err := xdp.NewUMEM(xdp.UMEMOptions{Frames: 512})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	p, _ := u.NewPool(512)
	s, k, err := New(p, xdp.SocketOptions{Fill: 128, Rx: 128, Tx: 128, Completion: 128}, 0)
	if err != nil {
		t.Fatal(err)
	}
	frame := Frame(1, 64)
	k.Discard = true
	got := testing.AllocsPerRun(1000, func() {
		s.Refill()
		for range 32 {
			k.Deliver(frame)
		}
		in := s.Peek(32)
		out := s.Slots(len(in))
		copy(out, in)
		s.Submit(len(out))
		for _, d := range in[len(out):] {
			p.Put(d.Addr)
		}
		s.Release(len(in))
		s.Kick()
		s.Reclaim()
	})
	if got != 0 {
		t.Errorf("%v allocations a round", got)
	}
}
