package gen

import (
	"hash/fnv"
	"os"
	"time"

	"dssn/perf/stamp"

	"golang.org/x/sys/unix"
)

// ClockTag names this host's clock: a digest of the kernel's boot identifier, so
// that it is the same for all processes and namespaces of one running kernel.
func ClockTag() uint16 {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return 0
	}
	h := fnv.New64a()
	h.Write(id)
	v := h.Sum64()
	return uint16(v^v>>16^v>>32^v>>48) | 1
}

// tai reads CLOCK_TAI: the wall clock, which Go reads without a system call, and
// the kernel's count of leap seconds.
type tai struct{ offset int64 }

func newTAI() tai { return tai{TAIOffset()} }

// TAIOffset is what CLOCK_TAI is ahead of the wall clock, in nanoseconds.
func TAIOffset() int64 {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return 0
	}
	return int64(t.Tai) * int64(time.Second)
}

func (c tai) now() uint64 { return uint64(time.Now().UnixNano() + c.offset) }

// Synchronised says whether the kernel's clock follows an external one.
func Synchronised() bool { return stamp.ClockError().Synchronised() }

// ThreadTime is what the calling thread has used of its CPU.
func ThreadTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
