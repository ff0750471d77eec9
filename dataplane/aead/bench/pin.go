//go:build linux

package main

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"
)

// pin keeps the calling goroutine on one core, and only it: the runtime's own
// threads would otherwise take turns with what is measured.
func pin(core int) error {
	if core < 0 || core >= 1024 {
		return fmt.Errorf("pin to core %d: no such core", core)
	}
	runtime.LockOSThread()
	var set [1024 / 64]uint64
	set[core/64] = 1 << (core % 64)
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	if errno != 0 {
		return fmt.Errorf("pin to core %d: %w", core, errno)
	}
	return nil
}
