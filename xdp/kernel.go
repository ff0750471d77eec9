package xdp

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// kernel is the real Backend: a socket of address family AF_XDP.
type kernel struct {
	fd   int
	mode Mode
	umem *UMEM
	maps [][]byte

	mu     sync.Mutex // orders Close against Statistics
	socket *Socket
	closed bool
}

// Socket options newer than x/sys/unix knows.
const (
	soPreferBusyPoll   = 69
	soBusyPollBudget   = 70
	xdpMaxTxSkbBudget  = 9 // XDP_MAX_TX_SKB_BUDGET, kernel 6.17
	bindUseSG          = 1 << 4
	bindTriesForBusy   = 100
	bindPauseWhileBusy = 10 * time.Millisecond
)

// openKernel opens, sizes, maps and binds, in the order the kernel wants.
func openKernel(u *UMEM, o SocketOptions) (_ *kernel, r Rings, err error) {
	doing := fmt.Sprintf("opening an AF_XDP socket on queue %d of interface %d", o.Queue, o.Ifindex)
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, r, fmt.Errorf("%s: this kernel has no AF_XDP: use one built with CONFIG_XDP_SOCKETS, or soft ports: %w", doing, err)
	} else if err != nil {
		return nil, r, explain(doing, err)
	}
	k := &kernel{fd: fd, umem: u}
	defer func() {
		if err != nil {
			k.release()
		}
	}()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.memory == nil {
		return nil, r, fmt.Errorf("%s: its UMEM: %w", doing, errClosed)
	}
	if len(u.bound) == 0 {
		if err = registerUMEM(fd, u); err != nil {
			return nil, r, explain(doing+": registering the UMEM", err)
		}
	}
	if r, err = k.rings(o); err != nil {
		return nil, r, explain(doing+": making its rings", err)
	}
	if err = k.tune(o); err != nil {
		return nil, r, explain(doing, err)
	}
	if err = k.bind(u, o); err != nil {
		return nil, r, explainBind(doing, o, err)
	}
	flags, err := xdpOptions(fd)
	if err != nil {
		return nil, r, explain(doing+": asking for its mode", err)
	}
	k.mode = ModeCopy
	if flags&unix.XDP_OPTIONS_ZEROCOPY != 0 {
		k.mode = ModeZeroCopy
	}
	return k, r, nil
}

// rings sizes the four rings and maps them.
func (k *kernel) rings(o SocketOptions) (r Rings, err error) {
	for _, s := range []struct{ option, size int }{
		{unix.XDP_UMEM_FILL_RING, o.Fill},
		{unix.XDP_UMEM_COMPLETION_RING, o.Completion},
		{unix.XDP_RX_RING, o.Rx},
		{unix.XDP_TX_RING, o.Tx},
	} {
		if s.size < 1 || s.size&(s.size-1) != 0 {
			return r, fmt.Errorf("a ring of %d entries: the size must be a power of two", s.size)
		}
		if err := unix.SetsockoptInt(k.fd, unix.SOL_XDP, s.option, s.size); err != nil {
			return r, err
		}
	}
	at, err := mmapOffsets(k.fd)
	if err != nil {
		return r, err
	}
	keep := func(m []byte, err error) error {
		if err == nil {
			k.maps = append(k.maps, m)
		}
		return err
	}
	var m []byte
	if r.Fill, m, err = mapRing[uint64](k.fd, o.Fill, at.Fr, unix.XDP_UMEM_PGOFF_FILL_RING); keep(m, err) != nil {
		return r, err
	}
	if r.Completion, m, err = mapRing[uint64](k.fd, o.Completion, at.Cr, unix.XDP_UMEM_PGOFF_COMPLETION_RING); keep(m, err) != nil {
		return r, err
	}
	if r.Rx, m, err = mapRing[Desc](k.fd, o.Rx, at.Rx, unix.XDP_PGOFF_RX_RING); keep(m, err) != nil {
		return r, err
	}
	r.Tx, m, err = mapRing[Desc](k.fd, o.Tx, at.Tx, unix.XDP_PGOFF_TX_RING)
	return r, keep(m, err)
}

// tune sets what must be set before traffic; what an older kernel does not know
// of is left out.
func (k *kernel) tune(o SocketOptions) error {
	if o.TxBudget > 0 {
		_ = unix.SetsockoptInt(k.fd, unix.SOL_XDP, xdpMaxTxSkbBudget, o.TxBudget)
	}
	if o.BusyPoll > 0 {
		const microseconds = 20
		for _, s := range []struct{ option, value int }{
			{soPreferBusyPoll, 1}, {unix.SO_BUSY_POLL, microseconds}, {soBusyPollBudget, o.BusyPoll},
		} {
			if err := unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, s.option, s.value); err != nil {
				return fmt.Errorf("asking for busy polling (kernel 5.11): %w", err)
			}
		}
	}
	return nil
}

// bind takes the queue. The kernel may still be busy with a socket that was just
// closed, so EBUSY is believed only after a second.
func (k *kernel) bind(u *UMEM, o SocketOptions) error {
	address := unix.SockaddrXDP{Ifindex: uint32(o.Ifindex), QueueID: uint32(o.Queue)}
	if len(u.bound) > 0 {
		// The other settings are inherited with the UMEM.
		address.Flags = unix.XDP_SHARED_UMEM
		address.SharedUmemFD = uint32(u.bound[0].backend.(*kernel).fd)
	} else {
		if !o.NoNeedWakeup {
			address.Flags |= unix.XDP_USE_NEED_WAKEUP
		}
		if o.MultiBuffer {
			address.Flags |= bindUseSG
		}
		switch o.Mode {
		case ModeCopy:
			address.Flags |= unix.XDP_COPY
		case ModeZeroCopy:
			address.Flags |= unix.XDP_ZEROCOPY
		}
	}
	for try := 1; ; try++ {
		err := unix.Bind(k.fd, &address)
		if !errors.Is(err, unix.EBUSY) || try == bindTriesForBusy {
			return err
		}
		time.Sleep(bindPauseWhileBusy)
	}
}

func explainBind(doing string, o SocketOptions, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%s: another program has taken the queue: find it with `ss --xdp` and stop it, or use another queue: %w", doing, err)
	case errors.Is(err, unix.EOPNOTSUPP) && o.Mode == ModeZeroCopy:
		return fmt.Errorf("%s: its driver has no zero-copy: use copy mode (`dssn doctor nic` tells what the driver can do): %w", doing, err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%s: the device has no such queue, or cannot do what was asked: see its queues with `ethtool -l`: %w", doing, err)
	}
	return explain(doing, err)
}

// adopt tells the UMEM of a socket that stands on it.
func (k *kernel) adopt(s *Socket) {
	k.umem.mu.Lock()
	defer k.umem.mu.Unlock()
	k.socket = s
	k.umem.bound = append(k.umem.bound, s)
}

func (k *kernel) WakeTx() error { return wakeTx(k.fd) }
func (k *kernel) WakeRx() error { return wakeRx(k.fd) }
func (k *kernel) Mode() Mode    { return k.mode }

func (k *kernel) Wait(timeout time.Duration) (bool, error) {
	ms := -1
	if timeout >= 0 {
		ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	fds := []unix.PollFd{{Fd: int32(k.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, ms)
	switch {
	case errors.Is(err, unix.EINTR):
		return false, nil
	case err != nil:
		return false, explain("waiting for packets", err)
	case n > 0 && fds[0].Revents&unix.POLLIN == 0:
		return false, explain("waiting for packets", unix.ENODEV)
	}
	return n > 0, nil
}

func (k *kernel) Statistics() (Statistics, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return Statistics{}, fmt.Errorf("reading a socket's statistics: %w", errClosed)
	}
	st, err := socketStatistics(k.fd)
	if err != nil {
		return st, explain("reading a socket's statistics", err)
	}
	return st, nil
}

func (k *kernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	k.umem.mu.Lock()
	k.umem.bound = slices.DeleteFunc(k.umem.bound, func(s *Socket) bool { return s == k.socket })
	k.umem.mu.Unlock()
	return k.release()
}

// release undoes what was done so far.
func (k *kernel) release() error {
	k.closed = true
	var errs []error
	for _, m := range k.maps {
		errs = append(errs, unix.Munmap(m))
	}
	return errors.Join(append(errs, unix.Close(k.fd))...)
}

var _ Backend = (*kernel)(nil)

// Waiter waits for packets on several sockets of one worker.
type Waiter struct{ fds []unix.PollFd }

// NewWaiter prepares to wait on sockets opened with Open.
func NewWaiter(sockets ...*Socket) (*Waiter, error) {
	w := &Waiter{}
	for _, s := range sockets {
		k, ok := s.backend.(*kernel)
		if !ok {
			return nil, errors.New("waiting on a socket that the kernel does not serve")
		}
		w.fds = append(w.fds, unix.PollFd{Fd: int32(k.fd), Events: unix.POLLIN})
	}
	return w, nil
}

// Also has Wait return when another file can be read, such as an eventfd.
func (w *Waiter) Also(fd int) { w.fds = append(w.fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}) }

// Wait waits until one of the sockets received something, at most timeout
// (negative: for ever), which the kernel keeps to the microsecond where the
// thread's timer slack allows. An interface that vanished is an error.
func (w *Waiter) Wait(timeout time.Duration) (ready bool, err error) {
	var limit *unix.Timespec
	if timeout >= 0 {
		t := unix.NsecToTimespec(int64(timeout))
		limit = &t
	}
	n, err := unix.Ppoll(w.fds, limit, nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false, explain("waiting for packets", err)
	}
	for _, f := range w.fds {
		if f.Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 && f.Revents&unix.POLLIN == 0 {
			return false, explain("waiting for packets", unix.ENODEV)
		}
	}
	return n > 0, nil
}
