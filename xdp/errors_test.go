package xdp

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
)

// TestARefusalNamesTheThingAndTheWayOut: one sentence, with what was being done, the
// kernel's word and what to do; still the kernel's error for who acts on it.
func TestARefusalNamesTheThingAndTheWayOut(t *testing.T) {
	for _, c := range []struct {
		err  error
		hint string
	}{
		{syscall.EPERM, "run as root, or give the program CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW"},
		{syscall.EACCES, "CAP_BPF"},
		{ebpf.ErrNotSupported, "this kernel lacks the feature: use kernel 6.6 or newer"},
		{&ebpf.VerifierError{Cause: syscall.EINVAL}, "verifier refused the program: use kernel 6.6 or newer"},
		{syscall.ENETDOWN, "bring it up with `ip link set DEV up`"},
		{syscall.ENODEV, "look for it with `ip link`"},
		{syscall.ENXIO, "look for it with `ip link`"},
		{syscall.ENOMEM, "raise it with `ulimit -l unlimited`"},
		{syscall.ENOBUFS, "LimitMEMLOCK=infinity"},
		{syscall.EBUSY, "another program holds it: see `ip link` and `ss --xdp`"},
	} {
		got := explain("doing this to eth3", fmt.Errorf("on the way: %w", c.err))
		if text := got.Error(); !strings.HasPrefix(text, "doing this to eth3: ") || !strings.Contains(text, c.hint) || strings.Contains(text, "\n") || !errors.Is(got, c.err) {
			t.Errorf("%v is told as %q", c.err, text)
		}
	}
	if got := explain("doing this", syscall.EXDEV).Error(); got != "doing this: "+syscall.EXDEV.Error() {
		t.Errorf("what has no usual cause is told as %q", got)
	}
}
