// Package guest runs a test program in an emulated machine with a kernel of its
// own, for what the host's kernel lacks: for function, never for speed.
//
// The guest's file system is made anew for each run and holds the test program as
// process 1, the kernel modules it asks for, and programs of the host with
// their libraries. Where nothing is to be done the guest's clock jumps to the next
// timer (icount without sleep), so that minutes of waiting cost it nothing.
package guest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"dssn/internal/need"
)

// Machine describes a guest.
type Machine struct {
	// Modules of the kernel, by name; those they depend on are found.
	Modules []string
	// Programs of this host that the guest has in /bin, by name or by path.
	Programs []string
	// Devices are further arguments of qemu-system-x86_64.
	Devices []string
	// Jumps lets the guest's clock jump over idle time. The guest then waits for
	// nothing but its own timers, so no device may answer in the host's time.
	Jumps bool
	// MiB of memory.
	MiB int
	// Limit is when the run is given up.
	Limit time.Duration
}

// passed is what the guest prints when its tests have passed.
const passed = "guest: all passed"

// inGuest in the environment of process 1 says that this is a guest: the kernel hands
// on what it does not know of its command line.
const inGuest = "DSSN_IN_GUEST"

// Run builds the test program of the present folder, runs it as the guest's
// only program (see Init), and fails t unless its tests pass. DSSN_GUEST_KERNEL
// names a folder in which a Debian kernel was unpacked (.ci/guest-kernel); t skips
// without it.
func (m Machine) Run(t *testing.T) {
	t.Helper()
	need.Long(t)
	qemu := need.Tool(t, "qemu-system-x86_64")
	need.Tool(t, "xz")
	root := os.Getenv("DSSN_GUEST_KERNEL")
	need.File(t, "an unpacked kernel for a guest (DSSN_GUEST_KERNEL)", filepath.Join(root, "usr/lib/modules"))
	kernel := find(root, func(name string) bool { return name == "vmlinuz" || strings.HasPrefix(name, "vmlinuz-") })
	if kernel == "" {
		t.Fatalf("no kernel image under %s", root)
	}
	dir := t.TempDir()
	// The guest has no C library of its own.
	program := filepath.Join(dir, "init")
	c := exec.Command(need.Tool(t, "go"), "test", "-c", "-o", program, ".")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("building the guest's program: %v\n%s", err, out)
	}
	a := &archive{}
	a.copy(t, "init", program)
	for i, module := range modules(t, root, m.Modules) {
		a.add(fmt.Sprintf("modules/%03d-%s.ko", i, module.name), module.content)
	}
	for _, p := range m.Programs {
		a.program(t, need.Tool(t, p))
	}
	initrd := filepath.Join(dir, "initrd")
	if err := os.WriteFile(initrd, a.cpio(), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-M", "q35", "-cpu", "max", "-smp", "1", "-m", fmt.Sprint(m.MiB), "-nographic", "-no-reboot", "-nodefaults",
		"-serial", "stdio", "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on " + inGuest + "=1"}, m.Devices...)
	if m.Jumps {
		args = append(args, "-icount", "shift=1,sleep=off")
	}
	ctx, cancel := context.WithTimeout(t.Context(), m.Limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, qemu, args...).CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("given up after %v", m.Limit)
	}
	text := plain(out)
	if !strings.Contains(text, passed) {
		t.Fatalf("the guest did not pass (%v):\n%s", err, text[max(0, len(text)-8000):])
	}
	t.Logf("%s", text[max(0, len(text)-4000):])
}

// escapes are what firmware writes to a terminal.
var escapes = regexp.MustCompile("\x1b(\\[[0-9;?]*[a-zA-Z]|[a-z])|\r")

func plain(out []byte) string { return escapes.ReplaceAllString(string(out), "") }
