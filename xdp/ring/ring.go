// Package ring is the one ring core that all four AF_XDP rings share: a
// single-producer, single-consumer queue in memory that two parties map, as the
// kernel lays it out (net/xdp/xsk_queue.h).
//
//	          consumer          producer
//	              ▼                 ▼
//	┌───┬───┬───┬───┬───┬───┬───┬───┬───┬───┐   size: a power of two
//	│   │   │   │ a │ b │ c │ d │   │   │   │   slot of index i: i mod size
//	└───┴───┴───┴───┴───┴───┴───┴───┴───┴───┘
//
// Indices are 32-bit, only grow, and wrap; full is producer − consumer = size.
// Who writes what:
//
//	producer index   the producing side alone, after it wrote the entries
//	consumer index   the consuming side alone, after it read the entries
//	entries          the producing side, between consumer+size and producer
//	flags            the kernel alone (need_wakeup)
//
// Each side keeps its own index privately and the other's as it last saw it
// (limit), and looks again only when that is not enough, so that the cache line
// of the other side is touched once a batch and not once an entry.
//
// The atomics are sync/atomic's, which are sequentially consistent: the store of
// an index can neither pass the entries written before it nor, on the other
// side, can entries be read before the load of it.
//
// It is not a general queue: one goroutine at a time may use a Producer, and one
// a Consumer.
package ring

import (
	"fmt"
	"sync/atomic"
)

// Memory is a ring as two parties share it. Flags may be nil.
type Memory[T any] struct {
	Producer, Consumer, Flags *uint32
	Entries                   []T // a power of two
}

// NewMemory makes a ring in ordinary memory, for a peer in the same process. The
// indices start at first, which tests set shortly before the wrap.
func NewMemory[T any](size int, first uint32) Memory[T] {
	return Memory[T]{Producer: &[]uint32{first}[0], Consumer: &[]uint32{first}[0], Flags: new(uint32), Entries: make([]T, size)}
}

// Check says whether m can be a ring.
func (m Memory[T]) Check() error {
	if n := len(m.Entries); n == 0 || n&(n-1) != 0 {
		return fmt.Errorf("a ring of %d entries: the size must be a power of two", n)
	}
	if m.Producer == nil || m.Consumer == nil {
		return fmt.Errorf("a ring without its indices")
	}
	return nil
}

// NeedWakeup reports whether the kernel asks to be called before it goes on.
func (m Memory[T]) NeedWakeup() bool {
	const needWakeup = 1
	return m.Flags != nil && atomic.LoadUint32(m.Flags)&needWakeup != 0
}

// Producer is the filling end.
type Producer[T any] struct {
	Memory[T]
	mask  uint32
	next  uint32 // index of the next entry to submit: ours alone
	limit uint32 // consumer index as last seen, plus the size
}

// NewProducer takes the filling end of m, which must pass Check.
func NewProducer[T any](m Memory[T]) Producer[T] {
	size := uint32(len(m.Entries))
	return Producer[T]{Memory: m, mask: size - 1, next: atomic.LoadUint32(m.Producer), limit: atomic.LoadUint32(m.Consumer) + size}
}

// Slots returns up to max free entries to write in place, fewer where the ring is
// full or wraps, none when it is full. They are the same until Submit.
func (p *Producer[T]) Slots(max int) []T {
	if p.limit-p.next < uint32(max) {
		p.limit = atomic.LoadUint32(p.Consumer) + p.mask + 1
	}
	start := p.next & p.mask
	n := min(p.limit-p.next, uint32(max), p.mask+1-start)
	return p.Entries[start : start+n : start+n]
}

// Submit hands the first n entries of the last Slots to the other side.
func (p *Producer[T]) Submit(n int) {
	p.next += uint32(n)
	atomic.StoreUint32(p.Producer, p.next)
}

// Pending returns how many submitted entries the other side has not taken yet.
func (p *Producer[T]) Pending() int { return int(p.next - atomic.LoadUint32(p.Consumer)) }

// Consumer is the emptying end.
type Consumer[T any] struct {
	Memory[T]
	mask  uint32
	next  uint32 // index of the next entry to release: ours alone
	limit uint32 // producer index as last seen
}

// NewConsumer takes the emptying end of m, which must pass Check.
func NewConsumer[T any](m Memory[T]) Consumer[T] {
	return Consumer[T]{Memory: m, mask: uint32(len(m.Entries)) - 1, next: atomic.LoadUint32(m.Consumer), limit: atomic.LoadUint32(m.Producer)}
}

// Peek returns up to max entries to read in place, fewer where the ring holds
// fewer or wraps. They are the same until Release.
func (c *Consumer[T]) Peek(max int) []T {
	if c.limit-c.next < uint32(max) {
		c.limit = atomic.LoadUint32(c.Memory.Producer)
	}
	start := c.next & c.mask
	n := min(c.limit-c.next, uint32(max), c.mask+1-start)
	return c.Entries[start : start+n : start+n]
}

// Release gives the first n entries of the last Peek back to the other side.
func (c *Consumer[T]) Release(n int) {
	c.next += uint32(n)
	atomic.StoreUint32(c.Memory.Consumer, c.next)
}

// Pending returns how many entries wait to be released.
func (c *Consumer[T]) Pending() int { return int(atomic.LoadUint32(c.Memory.Producer) - c.next) }
