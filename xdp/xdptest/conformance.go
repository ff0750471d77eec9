package xdptest

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"dssn/xdp"
)

// Rig is a socket with somebody at the other end of its wire.
type Rig struct {
	Socket *xdp.Socket
	// Inject puts a frame on the wire towards the socket. The frames of one call
	// all arrive, in order, if the socket has room.
	Inject func(frames ...[]byte)
	// Sent returns the next frame that the socket sent, or nil after a while.
	Sent func() []byte
}

// Frame is an Ethernet frame of the given length with a number in it, of an
// experimental type that nobody answers.
func Frame(number uint32, length int) []byte {
	f := make([]byte, length)
	copy(f, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5})
	binary.BigEndian.PutUint32(f[14:], number)
	for i := 18; i < length; i++ {
		f[i] = byte(number) + byte(i)
	}
	return f
}

// Conformance is what every socket does, whoever serves its rings. Each subtest
// asks for a fresh rig, whose pool must have at least 256 frames and whose rings
// 64 entries.
func Conformance(t *testing.T, make func(t *testing.T) Rig) {
	t.Run("receives frames whole and in order", func(t *testing.T) {
		r := make(t)
		prime(t, r.Socket)
		var want [][]byte
		for i := range uint32(50) {
			want = append(want, Frame(i, 60+int(i)*29))
		}
		r.Inject(want...)
		for i, d := range Receive(t, r.Socket, len(want)) {
			if got := r.Socket.Pool().UMEM().Bytes(d); !bytes.Equal(got, want[i]) {
				t.Fatalf("frame %d arrived as %d bytes %x…, want %d bytes", i, len(got), got[:min(len(got), 20)], len(want[i]))
			}
			r.Socket.Pool().Put(d.Addr)
		}
	})
	t.Run("sends frames whole and in order", func(t *testing.T) {
		r := make(t)
		for i := range uint32(50) {
			addr, ok := r.Socket.Pool().Get()
			slot := r.Socket.Slots(1)
			if !ok || len(slot) == 0 {
				t.Fatalf("no room for frame %d", i)
			}
			f := Frame(i, 60+int(i)*29)
			slot[0] = xdp.Desc{Addr: addr, Len: uint32(len(f))}
			copy(r.Socket.Pool().UMEM().Bytes(slot[0]), f)
			r.Socket.Submit(1)
		}
		drain(t, r.Socket)
		for i := range uint32(50) {
			if got, want := r.Sent(), Frame(i, 60+int(i)*29); !bytes.Equal(got, want) {
				t.Fatalf("frame %d left as %d bytes, want %d", i, len(got), len(want))
			}
		}
	})
	t.Run("reflects in place and loses no frame of memory", func(t *testing.T) {
		r := make(t)
		pool := r.Socket.Pool()
		all := pool.Free()
		const rounds, batch = 40, 16
		for round := range uint32(rounds) {
			prime(t, r.Socket)
			var in [][]byte
			for i := range uint32(batch) {
				in = append(in, Frame(round*batch+i, 64))
			}
			r.Inject(in...)
			for _, d := range Receive(t, r.Socket, batch) {
				slot := r.Socket.Slots(1)
				if len(slot) == 0 {
					t.Fatal("no room to send")
				}
				slot[0] = d
				pool.UMEM().Bytes(d)[5] = 9
				r.Socket.Submit(1)
			}
			drain(t, r.Socket)
			for i := range in {
				in[i][5] = 9
				if got := r.Sent(); !bytes.Equal(got, in[i]) {
					t.Fatalf("round %d: frame %d came back as %x, want %x", round, i, got, in[i])
				}
			}
		}
		// What is not in the pool is in the fill ring, from which nothing was lost.
		if left := all - pool.Free(); left > 64*32 || left < 0 {
			t.Errorf("%d frames are out of the pool at rest", left)
		}
		before := pool.Free()
		if r.Socket.Refill(); before-pool.Free() > 2*batch {
			t.Errorf("the fill ring took %d frames after %d were received: some were lost", before-pool.Free(), batch)
		}
	})
	t.Run("an empty socket says so at once", func(t *testing.T) {
		r := make(t)
		if d := r.Socket.Peek(16); len(d) != 0 {
			t.Errorf("received %d frames from a silent wire", len(d))
		}
		if err := r.Socket.Kick(); err != nil {
			t.Errorf("kick with nothing to send: %v", err)
		}
		if n := r.Socket.Reclaim(); n != 0 {
			t.Errorf("reclaimed %d frames that were never sent", n)
		}
		if ready, err := r.Socket.Wait(time.Millisecond); ready || err != nil {
			t.Errorf("wait: %v, %v", ready, err)
		}
	})
	t.Run("runs dry and recovers", func(t *testing.T) {
		r := make(t)
		// No Refill: nothing can be received, which is counted and not fatal.
		r.Inject(Frame(1, 64), Frame(2, 64))
		if d := r.Socket.Peek(4); len(d) != 0 {
			t.Fatalf("received %d frames without memory", len(d))
		}
		prime(t, r.Socket)
		r.Inject(Frame(3, 64))
		// What came meanwhile may have waited in the device, which may have let
		// later frames overtake it.
		seen := map[uint32]bool{}
		for !seen[3] {
			d := Receive(t, r.Socket, 1)[0]
			got := r.Socket.Pool().UMEM().Bytes(d)
			number := binary.BigEndian.Uint32(got[14:])
			if seen[number] || number < 1 || number > 3 || !bytes.Equal(got, Frame(number, 64)) {
				t.Fatalf("after running dry received %x; before it %v", got, seen)
			}
			seen[number] = true
			r.Socket.Pool().Put(d.Addr)
		}
	})
	t.Run("closes twice", func(t *testing.T) {
		r := make(t)
		for range 2 {
			if err := r.Socket.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// Receive collects n descriptors, copied out of the ring and released.
func Receive(t *testing.T, s *xdp.Socket, n int) (got []xdp.Desc) {
	t.Helper()
	for idle := 0; len(got) < n && idle < 500; {
		in := s.Peek(n - len(got))
		if len(in) == 0 {
			idle++
			if err := s.Poke(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Wait(10 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got = append(got, in...)
		s.Release(len(in))
	}
	if len(got) < n {
		st, _ := s.Statistics()
		t.Fatalf("received %d of %d frames: %+v", len(got), n, st)
	}
	return got
}

// prime fills the fill ring and lets the device know: one that reads it by itself
// has to be woken the first time, and takes a moment.
func prime(t *testing.T, s *xdp.Socket) {
	t.Helper()
	if s.Refill(); s.Mode() == xdp.ModeZeroCopy {
		if err := s.Poke(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Wait(5 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

// drain sends all that is queued.
func drain(t *testing.T, s *xdp.Socket) {
	t.Helper()
	for round := 0; s.Sending() > 0; round++ {
		if err := s.Kick(); err != nil {
			t.Fatal(err)
		}
		s.Reclaim()
		// A device that sends by itself is given time.
		if round > 1000 {
			time.Sleep(time.Millisecond)
		}
		if round > 4000 {
			t.Fatalf("%d frames were never sent", s.Sending())
		}
	}
}
