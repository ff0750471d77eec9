package xdp

// All of the room's unsafe code: memory that the kernel maps for us, seen as
// rings, and the few structures handed to it by address.

import (
	"fmt"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"dssn/xdp/ring"

	"golang.org/x/sys/unix"
)

// mapRing maps one ring of an AF_XDP socket. The mapping is returned for unmapping.
func mapRing[T any](fd, entries int, at unix.XDPRingOffset, page int64) (ring.Memory[T], []byte, error) {
	var entry T
	size := int(at.Desc) + entries*int(unsafe.Sizeof(entry))
	m, err := unix.Mmap(fd, page, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return ring.Memory[T]{}, nil, err
	}
	return ring.Memory[T]{
		Producer: (*uint32)(unsafe.Pointer(&m[at.Producer])),
		Consumer: (*uint32)(unsafe.Pointer(&m[at.Consumer])),
		Flags:    (*uint32)(unsafe.Pointer(&m[at.Flags])),
		Entries:  unsafe.Slice((*T)(unsafe.Pointer(&m[at.Desc])), entries),
	}, m, nil
}

// umemReg is struct xdp_umem_reg of kernel 6.8.
type umemReg struct {
	addr, len                                uint64
	chunk, headroom, flags, txMetadataLength uint32
}

// registerUMEM makes fd the socket that owns u's registration.
func registerUMEM(fd int, u *UMEM) error {
	const flagSwCsum, flagMetadataLen = 1 << 1, 1 << 2
	reg := umemReg{
		addr:     uint64(uintptr(unsafe.Pointer(&u.memory[0]))),
		len:      uint64(len(u.memory)),
		chunk:    uint32(u.frameSize),
		headroom: u.headroom,
	}
	if u.metadata != 0 {
		reg.flags |= flagMetadataLen
		reg.txMetadataLength = u.metadata
	}
	if u.swCsum {
		reg.flags |= flagSwCsum
	}
	return setsockopt(fd, unix.SOL_XDP, unix.XDP_UMEM_REG, unsafe.Pointer(&reg), unsafe.Sizeof(reg))
}

// mmapOffsets asks where the rings lie in their mappings.
func mmapOffsets(fd int) (o unix.XDPMmapOffsets, err error) {
	return o, getsockopt(fd, unix.SOL_XDP, unix.XDP_MMAP_OFFSETS, unsafe.Pointer(&o), unsafe.Sizeof(o))
}

// xdpOptions asks for the flags of struct xdp_options.
func xdpOptions(fd int) (flags uint32, err error) {
	return flags, getsockopt(fd, unix.SOL_XDP, unix.XDP_OPTIONS, unsafe.Pointer(&flags), unsafe.Sizeof(flags))
}

func socketStatistics(fd int) (st Statistics, err error) {
	return st, getsockopt(fd, unix.SOL_XDP, unix.XDP_STATISTICS, unsafe.Pointer(&st), unsafe.Sizeof(st))
}

func setsockopt(fd, level, name int, p unsafe.Pointer, size uintptr) error {
	if _, _, e := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(p), size, 0); e != 0 {
		return e
	}
	return nil
}

func getsockopt(fd, level, name int, p unsafe.Pointer, size uintptr) error {
	n := uint32(size)
	if _, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(p), uintptr(unsafe.Pointer(&n)), 0); e != 0 {
		return e
	}
	if uintptr(n) > size {
		return fmt.Errorf("the kernel's answer to socket option %d has %d bytes, more than %d", name, n, size)
	}
	return nil
}

// wakeTx and wakeRx are sendto and recvfrom with nothing to carry and no waiting.
// pollPunctually waits for one of fds and keeps the processor; see realTime.
func pollPunctually(fds []unix.PollFd, patience time.Duration) error {
	t := unix.NsecToTimespec(int64(patience))
	if _, _, e := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)), uintptr(unsafe.Pointer(&t)), 0, 0, 0); e != 0 {
		return e
	}
	return nil
}

// They bypass the scheduler's bookkeeping: they do not block.
func wakeTx(fd int) error {
	if _, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0); e != 0 {
		return e
	}
	return nil
}

func wakeRx(fd int) error {
	if _, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0); e != 0 {
		return e
	}
	return nil
}

// bindMemory asks for m to lie on a NUMA node (mbind, MPOL_BIND).
func bindMemory(m []byte, node int) error {
	const mpolBind = 2
	var mask [16]uint64
	if node >= len(mask)*64 {
		return syscall.EINVAL
	}
	mask[node/64] = 1 << (node % 64)
	if _, _, e := unix.Syscall6(unix.SYS_MBIND, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), mpolBind,
		uintptr(unsafe.Pointer(&mask[0])), uintptr(len(mask)*64), 0); e != 0 {
		return e
	}
	return nil
}

// ethtoolWords asks the driver one of the ethtool ioctl's questions whose structure
// is a row of 32-bit words, the first being the question.
func ethtoolWords(fd int, name string, words []uint32) error {
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	request.data = unsafe.Pointer(&words[0])
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); e != 0 {
		return e
	}
	return nil
}

// runLive is BPF_PROG_RUN of an XDP program on live frames: repeat copies of
// frame, batch at a time. Unlike the library's it comes back with EINTR when a
// signal interrupts it.
func runLive(fd int, frame []byte, repeat, batch uint32) error {
	attr := struct { // union bpf_attr, member test
		fd, retval, dataSizeIn, dataSizeOut uint32
		dataIn, dataOut                     uint64
		repeat, duration                    uint32
		ctxSizeIn, ctxSizeOut               uint32
		ctxIn, ctxOut                       uint64
		flags, cpu, batch, _                uint32
	}{fd: uint32(fd), dataSizeIn: uint32(len(frame)), dataIn: uint64(uintptr(unsafe.Pointer(&frame[0]))), repeat: repeat, flags: liveFrames, batch: batch}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_TEST_RUN, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(frame)
	if errno != 0 {
		return errno
	}
	return nil
}
