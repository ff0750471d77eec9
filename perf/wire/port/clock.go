package port

import (
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// spin is how long before a frame's time the loop stops sleeping and watches
// the clock: about what waking up takes. Longer burns the core for nothing.
const spin = 40 * time.Microsecond

// priority makes the calling thread a real-time one (SCHED_FIFO, lowest priority)
// if the host allows it, and its timers exact. It returns what was obtained.
func priority() string {
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	a := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	if err := unix.SchedSetAttr(0, &a, 0); err != nil {
		return fmt.Sprintf("ordinary scheduling (real time refused: %v)", err)
	}
	return "SCHED_FIFO"
}

// processors orders changes of GOMAXPROCS.
var processors sync.Mutex

// ownProcessor has the Go runtime run one goroutine more at a time, so that a
// loop that wakes up never waits for an ordinary thread that holds the runtime's
// last place and is itself waiting for the CPU: measured, such waits reach tens
// of milliseconds on a busy machine. The returned function takes it back.
func ownProcessor() func() {
	add := func(n int) {
		processors.Lock()
		defer processors.Unlock()
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
	}
	add(1)
	return func() { add(-1) }
}
