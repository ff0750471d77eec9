package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// LinkWatcher tells when a link loses or gains its carrier, from the kernel's own
// announcements (rtnetlink). Feed it to Transit.SetLinkUp, and the packet after
// the event takes the backup.
type LinkWatcher struct {
	fd   int
	wake *os.File // closed to end Run
	stop *os.File
	done sync.WaitGroup
	once sync.Once
}

// WatchLinks begins to listen in the caller's network namespace.
func WatchLinks() (*LinkWatcher, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, explain("listening for link events", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		return nil, errors.Join(explain("listening for link events", err), unix.Close(fd))
	}
	wake, stop, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(explain("listening for link events", err), unix.Close(fd))
	}
	return &LinkWatcher{fd: fd, wake: wake, stop: stop}, nil
}

// Run calls changed for each event, until Close. An interface that is deleted is
// down. Events may repeat. When the kernel had to drop events, Run returns an
// error: look at the links and run again.
//
// changed is called on a thread of its own that has real-time priority where the
// process may have it, since the time from the event to the repair is what a cut
// costs: it should flip words and return. One Run at a time.
func (w *LinkWatcher) Run(changed func(ifindex int, up bool)) error {
	w.done.Add(1)
	defer w.done.Done()
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and its priority too.
		runtime.LockOSThread()
		_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
		result <- w.listen(changed)
	}()
	return <-result
}

func (w *LinkWatcher) listen(changed func(ifindex int, up bool)) error {
	buf := make([]byte, 1<<16)
	fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}, {Fd: int32(w.wake.Fd()), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return fmt.Errorf("listening for link events: %w", err)
		}
		if fds[1].Revents != 0 {
			return nil
		}
		n, _, err := unix.Recvfrom(w.fd, buf, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		} else if err != nil {
			return fmt.Errorf("listening for link events: %w", err)
		}
		for b := buf[:n]; ; {
			var ifindex int
			var up, is bool
			if ifindex, up, is, b = nextLink(b); b == nil {
				break
			}
			if is {
				changed(ifindex, up)
			}
		}
	}
}

// nextLink reads one netlink message and returns the rest, or nil if there is no
// whole one. is says whether it was about a link.
//
//	┌────────┬───────┬───────┬─────┬─────┐┌────────┬──────┬────────┬───────┬───
//	│ length │ type  │ flags │ seq │ pid ││ family │ type │ index  │ flags │ …
//	└────────┴───────┴───────┴─────┴─────┘└────────┴──────┴────────┴───────┴───
//	0        4       6       8     12     16       18     20       24
func nextLink(b []byte) (ifindex int, up, is bool, rest []byte) {
	if len(b) < 16 {
		return 0, false, false, nil
	}
	length := int(binary.NativeEndian.Uint32(b))
	if length < 16 || length > len(b) {
		return 0, false, false, nil
	}
	rest = b[min((length+3)&^3, len(b)):]
	kind := binary.NativeEndian.Uint16(b[4:])
	if length < 32 || kind != unix.RTM_NEWLINK && kind != unix.RTM_DELLINK {
		return 0, false, false, rest
	}
	ifindex = int(int32(binary.NativeEndian.Uint32(b[20:])))
	flags := binary.NativeEndian.Uint32(b[24:])
	up = kind == unix.RTM_NEWLINK && flags&unix.IFF_UP != 0 && flags&unix.IFF_LOWER_UP != 0
	return ifindex, up, true, rest
}

// Close ends Run and waits for it. Calling it again is harmless.
func (w *LinkWatcher) Close() (err error) {
	w.once.Do(func() {
		err = w.stop.Close()
		w.done.Wait()
		err = errors.Join(err, w.wake.Close(), unix.Close(w.fd))
	})
	return err
}
