package gen

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"dssn/xdp"
)

// afCounter counts on AF_XDP sockets, one on each queue, by one goroutine. It
// takes every frame that arrives: those without a signature are dropped.
type afCounter struct {
	umem     *xdp.UMEM
	sockets  []*xdp.Socket
	director *xdp.Director
	cancel   context.CancelFunc
	done     chan error

	mu       sync.Mutex // guards trackers and lost
	trackers []Tracker
	lost     uint64
}

func newAFCounter(ifindex int, device string, streams int) (c *afCounter, err error) {
	n := queues(device)
	o := xdp.SocketOptions{Ifindex: ifindex}
	frames := xdp.FramesFor(o, n, 1, afBatch)
	c = &afCounter{trackers: make([]Tracker, streams), done: make(chan error, 1)}
	if c.umem, err = xdp.NewUMEM(xdp.UMEMOptions{Frames: frames}); err != nil {
		return nil, err
	}
	open := func() error {
		pool, err := c.umem.NewPool(frames)
		if err != nil {
			return err
		}
		if c.director, err = xdp.NewDirector(xdp.DirectorOptions{Ifindex: ifindex, All: true}); err != nil {
			return err
		}
		for q := range n {
			o.Queue = q
			s, err := xdp.Open(pool, o)
			if err != nil {
				return fmt.Errorf("queue %d of %s: %w", q, device, err)
			}
			c.sockets = append(c.sockets, s)
			if err := c.director.Add(q, s); err != nil {
				return err
			}
			s.Refill()
			if err := s.Poke(); err != nil {
				return err
			}
		}
		return nil
	}
	if err := open(); err != nil {
		c.done <- nil
		return nil, errors.Join(err, c.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go func() { c.done <- c.run(ctx) }()
	return c, nil
}

func (c *afCounter) mode() string {
	return "AF_XDP, " + c.sockets[0].Mode().String() + ", XDP " + c.director.Attached().String()
}

func (c *afCounter) run(ctx context.Context) error {
	clock, tag := newTAI(), ClockTag()
	for i := uint(0); ; i++ {
		if i&63 == 0 && ctx.Err() != nil {
			return nil
		}
		idle := true
		for _, s := range c.sockets {
			s.Refill()
			in := s.Peek(afBatch)
			if len(in) == 0 {
				if err := s.Poke(); err != nil {
					return err
				}
				continue
			}
			idle = false
			now := clock.now()
			c.mu.Lock()
			for _, d := range in {
				b := c.umem.Bytes(d)
				if sig, ok := Find(b); ok && int(sig.Stream) < len(c.trackers) {
					c.trackers[sig.Stream].Arrive(sig, len(b), now, tag)
				}
				s.Pool().Put(d.Addr)
			}
			c.mu.Unlock()
			s.Release(len(in))
		}
		if idle {
			waitReadable(c.sockets)
		}
	}
}

func (c *afCounter) collect(i int, o *StreamOutcome) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.trackers[i]
	o.Received, o.Delay, o.Variation = t.TrafficReceived, &t.Delay, &t.Variation
	return nil
}

func (c *afCounter) dropped() (n uint64) {
	for _, s := range c.sockets {
		if v, err := s.Statistics(); err == nil {
			n += v.RxDropped + v.RxRingFull // an empty fill ring is in RxDropped
		}
	}
	return n
}

// Close ends the goroutine and frees the sockets.
func (c *afCounter) Close() error {
	if c.cancel != nil {
		c.cancel()
	}
	errs := []error{<-c.done}
	if c.director != nil {
		errs = append(errs, c.director.Close())
	}
	for _, s := range c.sockets {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.umem.Close())...)
}
