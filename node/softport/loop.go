package softport

import (
	"time"

	"golang.org/x/sys/unix"
)

// waiter lets one thread sleep until a port has something or somebody calls.
type waiter struct {
	epoll, event int
	events       [8]unix.EpollEvent
	drain        [8]byte
}

func newWaiter(fds ...int) (*waiter, error) {
	w := &waiter{epoll: -1, event: -1}
	var err error
	if w.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if w.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		w.close()
		return nil, err
	}
	for _, fd := range append(fds, w.event) {
		if err := w.add(fd); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

func (w *waiter) add(fd int) error {
	return unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// wake ends a wait; any goroutine may call it.
func (w *waiter) wake() {
	one := [8]byte{1}
	unix.Write(w.event, one[:]) // a full counter means that a wake-up is pending
}

// wait sleeps until something is there.
func (w *waiter) wait() {
	n, _ := unix.EpollWait(w.epoll, w.events[:], -1)
	for i := range max(n, 0) {
		if int(w.events[i].Fd) == w.event {
			unix.Read(w.event, w.drain[:])
		}
	}
}

func (w *waiter) close() {
	for _, fd := range []int{w.epoll, w.event} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// now is the engine's clock: time since a second before it was opened, so that
// zero can mean never.
func (e *Engine) now() time.Duration { return time.Since(e.begun) + time.Second }
