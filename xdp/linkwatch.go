package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// LinkWatcher tells when a link loses or gains its carrier, from two sources: the
// kernel's own announcements (rtnetlink), and asking the drivers named by Ask. The
// kernel gathers announcements in a work queue and tells of a lost carrier up to a
// second late; a driver knows at once. Feed it to Transit.SetLinkUp, and the packet
// after the event takes the backup.
type LinkWatcher struct {
	asked atomic.Pointer[[]AskedLink]
	fd    int      // of announcements
	ask   int      // any socket, to ask drivers through
	wake  *os.File // closed to end Run
	stop  *os.File
	life  lifetime
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
	ask, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(explain("listening for link events", err), unix.Close(fd))
	}
	wake, stop, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(explain("listening for link events", err), unix.Close(fd), unix.Close(ask))
	}
	return &LinkWatcher{fd: fd, ask: ask, wake: wake, stop: stop}, nil
}

// askEvery is how often drivers are asked for their carriers: an ioctl of about a
// microsecond each.
const askEvery = 2 * time.Millisecond

// AskedLink is a link whose driver is asked.
type AskedLink struct {
	Ifindex int
	Name    string
}

// Ask replaces the links whose drivers are asked. Each is told once as it is, and
// then as it changes.
func (w *LinkWatcher) Ask(links []AskedLink) {
	links = slices.Clone(links)
	w.asked.Store(&links)
}

// Run calls changed for each event, until Close. An interface that is deleted is
// down. Events may repeat. When the kernel had to drop events, Run returns an
// error: look at the links and run again.
//
// changed is called on a thread of its own that has real-time priority where the
// process may have it, since the time from the event to the repair is what a cut
// costs: it should flip words and return. One Run at a time.
func (w *LinkWatcher) Run(changed func(ifindex int, up bool)) error {
	if !w.life.begin() {
		return nil
	}
	defer w.life.running.Done()
	result := make(chan error, 1)
	go func() {
		defer realTime()()
		result <- w.listen(changed)
	}()
	return <-result
}

func (w *LinkWatcher) listen(changed func(ifindex int, up bool)) error {
	buf := make([]byte, 1<<16)
	fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}, {Fd: int32(w.wake.Fd()), Events: unix.POLLIN}}
	known := make(map[int]bool) // of links that were told
	tell := func(ifindex int, up bool) {
		known[ifindex] = up
		changed(ifindex, up)
	}
	for {
		patience, wait := 50*time.Millisecond, poll // until somebody asks
		asked := w.asked.Load()
		if asked != nil && len(*asked) > 0 {
			patience, wait = askEvery, pollPunctually
			for _, l := range *asked {
				if up, ok := carrier(w.ask, l.Name); ok {
					if was, told := known[l.Ifindex]; !told || up != was {
						tell(l.Ifindex, up)
					}
				}
			}
		}
		if err := wait(fds, patience); err != nil && err != unix.EINTR {
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
				tell(ifindex, up)
			}
		}
	}
}

// carrier asks a link's driver; ok is false if it does not say.
func carrier(fd int, name string) (up, ok bool) {
	const gLink = 0x0a // ETHTOOL_GLINK
	w := [2]uint32{gLink, 0}
	err := ethtoolWords(fd, name, w[:])
	return w[1] != 0, err == nil
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
	if w.life.close(func() { err = w.stop.Close() }) {
		err = errors.Join(err, w.wake.Close(), unix.Close(w.fd), unix.Close(w.ask))
	}
	return err
}
