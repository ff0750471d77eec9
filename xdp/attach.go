package xdp

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// AttachMode says where on the way in an XDP program runs.
type AttachMode uint8

// The places. Auto takes native where the driver has it.
const (
	AttachAuto AttachMode = iota
	// AttachNative runs the program in the driver, before any packet buffer.
	AttachNative
	// AttachGeneric runs it in the kernel's receive path: for function, not speed.
	AttachGeneric
)

// String returns "auto", "native" or "generic".
func (m AttachMode) String() string { return [...]string{"auto", "native", "generic"}[m%3] }

// attachXDP attaches and says what was obtained.
func attachXDP(p *ebpf.Program, ifindex int, mode AttachMode) (link.Link, AttachMode, error) {
	doing := fmt.Sprintf("attaching an XDP program to interface %d", ifindex)
	if mode != AttachGeneric {
		l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: ifindex, Flags: link.XDPDriverMode})
		if err == nil {
			return l, AttachNative, nil
		}
		if mode == AttachNative || errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.EPERM) {
			return nil, 0, explain(doing+", in its driver", err)
		}
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: ifindex, Flags: link.XDPGenericMode})
	if err != nil {
		return nil, 0, explain(doing+", generic mode", err)
	}
	return l, AttachGeneric, nil
}
