package xdp

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/cilium/ebpf"
)

// errClosed is what using something after its Close gives.
var errClosed = errors.New("it was closed")

// explain adds to a kernel's refusal what a person can do about it, where the
// refusal has a usual cause.
func explain(doing string, err error) error {
	var hint string
	var verifier *ebpf.VerifierError
	switch {
	case errors.As(err, &verifier):
		hint = "this kernel's verifier refused the program: use kernel 6.6 or newer"
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		hint = "run as root, or give the program CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW"
	case errors.Is(err, ebpf.ErrNotSupported):
		hint = "this kernel lacks the feature: use kernel 6.6 or newer"
	case errors.Is(err, syscall.ENETDOWN):
		hint = "the interface is down: bring it up with `ip link set DEV up`"
	case errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		hint = "the interface is gone: look for it with `ip link`"
	case errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.ENOBUFS):
		hint = "too little memory may be locked: raise it with `ulimit -l unlimited` or LimitMEMLOCK=infinity"
	case errors.Is(err, syscall.EBUSY):
		hint = "another program holds it: see `ip link` and `ss --xdp`, and stop that program"
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fmt.Errorf("%s: %w (%s)", doing, err, hint)
}

// isIPv6 says whether a is a plain IPv6 address: no zone, not IPv4 in disguise.
func isIPv6(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.Zone() == ""
}
