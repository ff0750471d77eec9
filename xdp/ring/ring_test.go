package ring

import (
	"fmt"
	"sync"
	"testing"
)

// The slow twin of a ring: a slice.
type twin struct {
	size          int
	queue         []int
	handed, taken int
}

// TestEveryOrderOfStepsIsAQueue is the model check: from every ring of two and
// four entries, with indices that start at zero and just before the wrap, every
// sequence of producer and consumer steps of a given length behaves as a slice.
func TestEveryOrderOfStepsIsAQueue(t *testing.T) {
	type step struct {
		name string
		do   func(p *Producer[int], c *Consumer[int], w *twin) error
	}
	var steps []step
	for k := 1; k <= 2; k++ {
		steps = append(steps, step{fmt.Sprintf("produce %d", k), func(p *Producer[int], c *Consumer[int], w *twin) error {
			slots := p.Slots(k)
			room := w.size - len(w.queue)
			if len(slots) > min(k, room) || room > 0 && len(slots) == 0 {
				return fmt.Errorf("%d slots of %d free", len(slots), room)
			}
			for i := range slots {
				slots[i] = w.handed
				w.queue = append(w.queue, w.handed)
				w.handed++
			}
			p.Submit(len(slots))
			if p.Pending() != len(w.queue) {
				return fmt.Errorf("pending %d, want %d", p.Pending(), len(w.queue))
			}
			return nil
		}}, step{fmt.Sprintf("consume %d", k), func(p *Producer[int], c *Consumer[int], w *twin) error {
			got := c.Peek(k)
			if len(got) > min(k, len(w.queue)) || len(w.queue) > 0 && len(got) == 0 {
				return fmt.Errorf("peeked %d of %d", len(got), len(w.queue))
			}
			for i, v := range got {
				if v != w.queue[i] {
					return fmt.Errorf("got %d, want %d", v, w.queue[i])
				}
			}
			c.Release(len(got))
			w.queue = w.queue[len(got):]
			return nil
		}})
	}
	// Looking without taking must change nothing.
	steps = append(steps, step{"look", func(p *Producer[int], c *Consumer[int], w *twin) error {
		if a, b := len(c.Peek(w.size)), len(c.Peek(w.size)); a != b {
			return fmt.Errorf("two looks saw %d and %d", a, b)
		}
		if a, b := len(p.Slots(w.size)), len(p.Slots(w.size)); a != b {
			return fmt.Errorf("two looks found room for %d and %d", a, b)
		}
		return nil
	}})
	const depth = 8
	checked := 0
	for _, size := range []int{2, 4} {
		for _, first := range []uint32{0, 0xfffffffe, 0xffffffff} {
			path := make([]int, depth)
			for done := false; !done; {
				m := NewMemory[int](size, first)
				p, c, w := NewProducer(m), NewConsumer(m), &twin{size: size}
				for n, s := range path {
					if err := steps[s].do(&p, &c, w); err != nil {
						t.Fatalf("ring of %d from %#x, step %d (%s) of %v: %v", size, first, n, steps[s].name, path, err)
					}
				}
				checked++
				done = true
				for i := range path {
					if path[i]++; path[i] < len(steps) {
						done = false
						break
					}
					path[i] = 0
				}
			}
		}
	}
	if want := 2 * 3 * 390625; checked != want {
		t.Errorf("checked %d sequences, want %d", checked, want)
	}
}

func TestBothEndsAtOnceKeepTheOrder(t *testing.T) {
	const total = 200000
	m := NewMemory[uint64](64, 0xfffffff0)
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		p := NewProducer(m)
		for next := uint64(0); next < total; {
			slots := p.Slots(int(min(7, total-next)))
			for i := range slots {
				slots[i] = next
				next++
			}
			p.Submit(len(slots))
		}
	}()
	c := NewConsumer(m)
	for next := uint64(0); next < total; {
		got := c.Peek(5)
		for _, v := range got {
			if v != next {
				t.Fatalf("got %d, want %d", v, next)
			}
			next++
		}
		c.Release(len(got))
	}
	wg.Wait()
	if c.Pending() != 0 {
		t.Errorf("%d entries left over", c.Pending())
	}
}

func TestACheckRefusesWhatIsNoRing(t *testing.T) {
	for _, size := range []int{0, 3, 6} {
		if NewMemory[int](size, 0).Check() == nil {
			t.Errorf("a ring of %d entries passed", size)
		}
	}
	if (Memory[int]{Entries: make([]int, 4)}).Check() == nil {
		t.Error("a ring without indices passed")
	}
	m := NewMemory[int](4, 0)
	if m.NeedWakeup() {
		t.Error("a fresh ring asks to be woken")
	}
	if *m.Flags = 1; !m.NeedWakeup() {
		t.Error("the flag is not seen")
	}
}

func BenchmarkBatch(b *testing.B) {
	m := NewMemory[uint64](1024, 0)
	p, c := NewProducer(m), NewConsumer(m)
	for b.Loop() {
		p.Submit(len(p.Slots(64)))
		c.Release(len(c.Peek(64)))
	}
}
