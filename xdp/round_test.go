package xdp

import (
	"sync/atomic"
	"testing"
	"time"

	"dssn/xdp/ring"
)

// nobody is a kernel that does nothing of itself.
type nobody struct{}

func (nobody) WakeTx() error                       { return nil }
func (nobody) WakeRx() error                       { return nil }
func (nobody) Wait(time.Duration) (bool, error)    { return true, nil }
func (nobody) Mode() Mode                          { return ModeCopy }
func (nobody) Statistics() (s Statistics, _ error) { return s, nil }
func (nobody) Close() error                        { return nil }

// BenchmarkRounds is what the library itself costs a packet: rounds of 64 over rings in
// memory, whose other ends only move indices.
func BenchmarkRounds(b *testing.B) {
	const batch = 64
	open := func(b *testing.B) (*Socket, Rings) {
		u, err := NewUMEM(UMEMOptions{Frames: 8192})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { u.Close() })
		p, err := u.NewPool(8192)
		if err != nil {
			b.Fatal(err)
		}
		r := Rings{Fill: ring.NewMemory[uint64](2048, 0), Completion: ring.NewMemory[uint64](1024, 0), Rx: ring.NewMemory[Desc](1024, 0), Tx: ring.NewMemory[Desc](1024, 0)}
		s, err := NewSocket(p, SocketOptions{}, r, nobody{})
		if err != nil {
			b.Fatal(err)
		}
		s.Refill()
		// Every frame that the kernel gives is one that it was given, so that each is in
		// one place.
		for i := range r.Rx.Entries {
			r.Rx.Entries[i] = Desc{Addr: r.Fill.Entries[i] + 256, Len: 60}
		}
		return s, r
	}
	received := func(r Rings) {
		// The next frames of the fill ring, where the kernel would write them.
		from := atomic.LoadUint32(r.Fill.Consumer)
		for i := range uint32(batch) {
			r.Rx.Entries[(from+i)%1024].Addr = r.Fill.Entries[(from+i)%2048] + 256
		}
		atomic.StoreUint32(r.Fill.Consumer, from+batch)
		atomic.StoreUint32(r.Rx.Producer, from+batch)
	}
	b.Run("rings alone", func(b *testing.B) {
		_, r := open(b)
		for n := 0; n < b.N; n += batch {
			received(r)
		}
	})
	b.Run("rxdrop", func(b *testing.B) {
		s, r := open(b)
		for n := 0; n < b.N; n += batch {
			received(r)
			s.Refill()
			in := s.Peek(batch)
			s.pool.PutAll(in)
			s.Release(len(in))
		}
	})
	b.Run("l2fwd", func(b *testing.B) {
		s, r := open(b)
		for n := 0; n < b.N; n += batch {
			received(r)
			s.Reclaim()
			s.Refill()
			in := s.Peek(batch)
			out := s.Slots(len(in))
			copy(out, in)
			s.Submit(len(out))
			s.Release(len(in))
			from := atomic.LoadUint32(r.Tx.Consumer)
			for i := range uint32(batch) {
				r.Completion.Entries[(from+i)%1024] = r.Tx.Entries[(from+i)%1024].Addr
			}
			atomic.StoreUint32(r.Tx.Consumer, from+batch)
			atomic.StoreUint32(r.Completion.Producer, from+batch)
		}
	})
}
