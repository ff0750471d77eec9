package softport

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"dssn/dataplane/packet"
)

// link is a TUN interface as an inside port: packets travel with a
// virtio-net header before them, so that the kernel gives and takes TCP and
// UDP packets of up to 64 KB. Receive and Send belong to the worker.
type link struct {
	fd      int
	control int // a socket in the interface's namespace, for ioctls
	name    string
	udp     bool // large UDP packets too (kernel 6.2)
	header  [packet.OffloadLen]byte
	iov     [130]unix.Iovec
	recv    [2]unix.Iovec
}

// queueLen is how many packets the kernel keeps for us.
const queueLen = 2000

// createTUN makes a TUN interface in the calling thread's namespace and returns
// its file, ready to be handed to a process that continues with it. With several
// queues each further call with the same name adds one.
func createTUN(name string, queues bool) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	r, err := unix.NewIfreq(name)
	if err == nil {
		flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		if queues {
			flags |= unix.IFF_MULTI_QUEUE
		}
		r.SetUint16(flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("create TUN interface %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

// openLink takes over file, a TUN as createTUN made it.
func openLink(file *os.File) (*link, error) {
	defer file.Close()
	l := &link{fd: -1, control: -1}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var ioErr error
	err = raw.Control(func(fd uintptr) { // file.Fd would make it block
		l.fd, ioErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, ioErr); err != nil {
		return nil, fmt.Errorf("take over the TUN: %w", err)
	}
	fail := func(what string, err error) (*link, error) {
		l.close()
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if err := unix.SetNonblock(l.fd, true); err != nil {
		return fail("take over the TUN", err)
	}
	r, _ := unix.NewIfreq("")
	if err := unix.IoctlIfreq(l.fd, unix.TUNGETIFF, r); err != nil {
		return fail("ask the TUN for its name", err)
	}
	l.name = r.Name()
	if r.Uint16()&unix.IFF_VNET_HDR == 0 {
		return fail("use TUN "+l.name, errors.New("it was made without the virtio-net header"))
	}
	if l.control, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return fail("open a control socket", err)
	}
	// The kernel's 500 packets are 11 ms of small ones at 500 Mbit/s, less than
	// this thread may have to wait for its turn on a busy machine. Failing to
	// lengthen the queue costs nothing but that.
	if q, err := unix.NewIfreq(l.name); err == nil {
		q.SetUint32(queueLen)
		unix.IoctlIfreq(l.control, unix.SIOCSIFTXQLEN, q)
	}
	const tcp = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
	l.udp = unix.IoctlSetInt(l.fd, unix.TUNSETOFFLOAD, tcp|unix.TUN_F_USO4|unix.TUN_F_USO6) == nil
	if !l.udp {
		if err := unix.IoctlSetInt(l.fd, unix.TUNSETOFFLOAD, tcp); err != nil {
			return fail("turn on segmentation offload on "+l.name, err)
		}
	}
	return l, nil
}

// Receive implements worker.Inside.
func (l *link) Receive(buf []byte) (int, packet.Offload, error) {
	var o packet.Offload
	l.recv[0] = iovec(l.header[:])
	l.recv[1] = iovec(buf)
	n, errno := rawReadv(l.fd, l.recv[:])
	switch {
	case errno == 0:
	case errno == unix.EBADFD:
		return 0, o, fmt.Errorf("the interface %s was deleted: %w", l.name, errno)
	default: // EAGAIN, EINTR, or a link that is down: nothing now
		return 0, o, nil
	}
	if n <= packet.OffloadLen {
		return 0, o, nil
	}
	o.Decode(l.header[:])
	return n - packet.OffloadLen, o, nil
}

// Send implements worker.Inside.
func (l *link) Send(parts [][]byte, o packet.Offload) error {
	if o.GSO == packet.GSOUDP && !l.udp {
		return l.sendUDPSegments(parts)
	}
	o.Encode(l.header[:])
	l.iov[0] = iovec(l.header[:])
	for i, p := range parts {
		l.iov[i+1] = iovec(p)
	}
	if _, errno := rawWritev(l.fd, l.iov[:len(parts)+1]); errno != 0 {
		return errno
	}
	return nil
}

// sendUDPSegments is for kernels whose TUN does not take large UDP packets.
func (l *link) sendUDPSegments(parts [][]byte) error {
	var whole []byte
	for _, p := range parts {
		whole = append(whole, p...)
	}
	ip := 20
	if whole[0]>>4 == 6 {
		ip = 40
	}
	var c packet.Cut
	if !c.Plan(whole, packet.Offload{NeedsChecksum: true, GSO: packet.GSOUDP, SegmentSize: uint16(len(parts[0]) - ip - 8), ChecksumStart: uint16(ip), ChecksumOffset: 6}) {
		return unix.EINVAL
	}
	for i := range c.Segments {
		b := make([]byte, c.Len(i))
		c.Write(b, i)
		if err := l.Send([][]byte{b}, packet.Offload{}); err != nil {
			return err
		}
	}
	return nil
}

// mtu asks the kernel, in whatever namespace the interface was made.
func (l *link) mtu() (int, error) {
	r, err := unix.NewIfreq(l.name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(l.control, unix.SIOCGIFMTU, r); err != nil {
		return 0, fmt.Errorf("ask %s for its MTU: %w", l.name, err)
	}
	return int(r.Uint32()), nil
}

func (l *link) setMTU(mtu int) error {
	r, err := unix.NewIfreq(l.name)
	if err != nil {
		return err
	}
	r.SetUint32(uint32(mtu))
	err = unix.IoctlIfreq(l.control, unix.SIOCSIFMTU, r)
	if errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("the interface %s was deleted while it was being made: start again, and see which program deletes it", l.name)
	}
	if err != nil {
		return fmt.Errorf("set the MTU of %s to %d: %w", l.name, mtu, err)
	}
	return nil
}

func (l *link) up() error {
	r, err := unix.NewIfreq(l.name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(l.control, unix.SIOCGIFFLAGS, r); err != nil {
		return fmt.Errorf("read the flags of %s: %w", l.name, err)
	}
	r.SetUint16(r.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(l.control, unix.SIOCSIFFLAGS, r); err != nil {
		return fmt.Errorf("bring up %s: %w", l.name, err)
	}
	return nil
}

func (l *link) close() {
	for _, fd := range []int{l.fd, l.control} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func iovec(b []byte) unix.Iovec {
	v := unix.Iovec{Base: unsafe.SliceData(b)}
	v.SetLen(len(b))
	return v
}

// nameOf returns the name of a TUN that is not taken over yet.
func nameOf(file *os.File) (string, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return "", err
	}
	r, _ := unix.NewIfreq("")
	var ioErr error
	err = raw.Control(func(fd uintptr) { ioErr = unix.IoctlIfreq(int(fd), unix.TUNGETIFF, r) })
	return r.Name(), errors.Join(err, ioErr)
}
