package softport

import (
	"errors"
	"fmt"
	"runtime"

	"dssn/dataplane/worker"
)

// thread is one worker with all it needs: an OS thread, a queue of the TUN, a UDP
// socket, and a way to wait for both. Threads share immutable tables and nothing
// else.
type thread struct {
	number   int
	link     *link
	socket   *socket // the worker's, once it runs; nil: it has no port of its own
	shared   *socket // at the first worker's port; nil if that is its own
	waiter   *waiter
	worker   *worker.Worker
	front    *front
	stopping bool // the worker's
}

// open opens the ports of one more thread.
func (e *Engine) openThread(number int, port uint16) (err error) {
	t := &thread{number: number}
	e.threads = append(e.threads, t)
	file := e.options.TUN
	if number > 0 {
		if file, err = createTUN(e.Name(), true); err != nil {
			return fmt.Errorf("one more queue for worker %d: %w", number, err)
		}
	}
	if t.link, err = openLink(file); err != nil {
		return err
	}
	if number == 0 || port != 0 {
		if t.socket, err = openSocket(port, 0); err != nil {
			return err
		}
	}
	if number == 0 && len(e.options.Ports) > 0 {
		if err = t.socket.admit(); err != nil {
			return err
		}
	}
	if number > 0 {
		if t.shared, err = bindSocket(e.threads[0].socket.port, 0, true); err != nil {
			return err
		}
	}
	fds := []int{t.link.fd}
	for _, s := range t.sockets() {
		if fds = append(fds, s.fd); !e.options.Plain {
			s.neverFragment()
		}
	}
	if t.waiter, err = newWaiter(fds...); err != nil {
		return fmt.Errorf("prepare to wait for packets: %w", err)
	}
	t.front = newFront(e.control, t)
	t.worker = worker.New(worker.Options{Number: number, Inside: t.link, Outside: t.outside(), Control: t.front, Wake: t.waiter.wake})
	return nil
}

func (t *thread) close() {
	if t.link != nil {
		t.link.close()
	}
	for _, s := range t.sockets() {
		s.close()
	}
	if t.waiter != nil {
		t.waiter.close()
	}
}

var errStopped = errors.New("stopped")

// run is a worker's thread: poll while there is work, sleep while there is none,
// until the inside port ends or stop is called.
func (e *Engine) run(t *thread) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		busy, err := t.worker.Poll(e.now())
		if t.stopping {
			err = errStopped
		}
		if err != nil {
			e.ended(t, err)
			return
		}
		if !busy {
			t.waiter.wait()
		}
	}
}

// stop ends the thread after its present batch.
func (t *thread) stop() { t.worker.Do(func() { t.stopping = true }) }

// ended is called by a thread as its last act. The first says why; with the last
// the engine has ended.
func (e *Engine) ended(t *thread, why error) {
	t.worker.Stop()
	e.endMu.Lock()
	first := e.why == nil
	if first {
		e.why = why
	}
	e.alive--
	last := e.alive == 0
	e.endMu.Unlock()
	if first {
		for _, o := range e.threads {
			if o != t {
				o.stop()
			}
		}
	}
	if last {
		close(e.done)
	}
}

var _ worker.Outside = (*socket)(nil)
var _ worker.Inside = (*link)(nil)
