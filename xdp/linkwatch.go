package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// LinkWatcher tells when a link loses or gains its carrier, from the kernel's own
// announcements (rtnetlink). Feed it to Transit.SetLinkUp, and the packet after
// the event takes the backup.
type LinkWatcher struct{ file *os.File }

// WatchLinks begins to listen in the caller's network namespace.
func WatchLinks() (*LinkWatcher, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, explain("listening for link events", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		return nil, errors.Join(explain("listening for link events", err), unix.Close(fd))
	}
	return &LinkWatcher{os.NewFile(uintptr(fd), "rtnetlink")}, nil
}

// Run calls changed for each event, until Close. An interface that is deleted is
// down. Events may repeat. When the kernel had to drop events, Run returns an
// error: look at the links and run again.
func (w *LinkWatcher) Run(changed func(ifindex int, up bool)) error {
	buf := make([]byte, 1<<16)
	for {
		n, err := w.file.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return nil
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

// Close ends Run.
func (w *LinkWatcher) Close() error { return w.file.Close() }
