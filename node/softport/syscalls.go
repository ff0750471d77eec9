package softport

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// System calls of the packet path. None of them waits (every descriptor is
// non-blocking), so they are made without telling the scheduler, which would
// cost as much as a small one takes.

func rawReadv(fd int, v []unix.Iovec) (int, unix.Errno) {
	n, _, e := unix.RawSyscall(unix.SYS_READV, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(v))), uintptr(len(v)))
	return int(n), e
}

func rawWritev(fd int, v []unix.Iovec) (int, unix.Errno) {
	n, _, e := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(v))), uintptr(len(v)))
	return int(n), e
}

// message is the kernel's struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

func rawRecvmmsg(fd int, m []message) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(m))), uintptr(len(m)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

func rawSendmmsg(fd int, m []message) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(m))), uintptr(len(m)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

// disconnect forgets where a datagram socket was connected to: connect(2) with
// the unspecified address family.
func (q *asker) disconnect() {
	var nowhere unix.RawSockaddr
	unix.RawSyscall(unix.SYS_CONNECT, uintptr(q.fd), uintptr(unsafe.Pointer(&nowhere)), unsafe.Sizeof(nowhere))
}
