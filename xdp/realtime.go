package xdp

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A repair must not be late. A thread with real-time priority is not enough for that: a
// goroutine that returns from an ordinary blocking call has often lost its processor
// (the runtime's P) and waits until some other thread, of ordinary priority and behind
// whatever else the machine does, hands it one. On a busy machine that was seen to take
// up to a quarter of a second. So the few goroutines that repair keep their processor
// while they wait (pollPunctually), and the runtime gets one more for each of them. The
// collector still stops them at once: its signal ends the wait.

// realTime gives the calling goroutine a thread of its own, with real-time priority
// where the process may have it, and a processor of its own, until end is called as the
// goroutine's last act.
func realTime() (end func()) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its priority too
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	processors(+1)
	return func() { processors(-1) }
}

var processorsMu sync.Mutex

func processors(n int) {
	processorsMu.Lock()
	defer processorsMu.Unlock()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
}

// poll waits for one of fds, and lets others have the processor meanwhile.
func poll(fds []unix.PollFd, patience time.Duration) error {
	t := unix.NsecToTimespec(int64(patience))
	_, err := unix.Ppoll(fds, &t, nil)
	return err
}
