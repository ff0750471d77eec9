package xdp_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"

	"golang.org/x/sys/unix"
)

// TestZeroCopyOnVirtioInAGuestConforms runs the conformance suite on a virtio-net
// device in an emulated guest: for function, not for speed. DSSN_GUEST_KERNEL names
// a folder in which a Debian kernel of at least 6.13 was unpacked (.ci/guest-kernel).
func TestZeroCopyOnVirtioInAGuestConforms(t *testing.T) {
	need.Long(t)
	qemu := need.Tool(t, "qemu-system-x86_64")
	need.Tool(t, "xz")
	root := os.Getenv("DSSN_GUEST_KERNEL")
	need.File(t, "an unpacked kernel for a guest (DSSN_GUEST_KERNEL)", filepath.Join(root, "usr/lib/modules"))
	kernel := findFile(root, "vmlinuz")
	if kernel == "" {
		t.Fatalf("no kernel image under %s", root)
	}
	dir := t.TempDir()
	files := map[string][]byte{}
	// The guest's only program is this test, built without the C library.
	program := filepath.Join(dir, "init")
	c := exec.Command("go", "test", "-c", "-o", program, ".")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("building the guest's program: %v\n%s", err, out)
	}
	files["init"], _ = os.ReadFile(program)
	for i, module := range []string{"failover", "net_failover", "virtio_net"} {
		path := findFile(root, module+".ko.xz")
		out, err := exec.Command("xz", "-dc", path).Output()
		if err != nil {
			t.Fatalf("unpacking the module %s: %v", module, err)
		}
		files[fmt.Sprintf("modules/%d-%s.ko", i, module)] = out
	}
	initrd := filepath.Join(dir, "initrd")
	if err := os.WriteFile(initrd, cpio(files), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	// Two NICs on one hub; the offloads off that XDP cannot live with.
	nic := "virtio-net-pci,netdev=%s,iommu_platform=on,disable-legacy=on,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off"
	args := []string{"-M", "q35", "-cpu", "max", "-smp", "1", "-m", "768", "-nographic", "-no-reboot", "-nodefaults",
		"-serial", "stdio", "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1",
		"-netdev", "hubport,id=a,hubid=0", "-device", fmt.Sprintf(nic, "a"),
		"-netdev", "hubport,id=b,hubid=0", "-device", fmt.Sprintf(nic, "b")}
	out, err := exec.CommandContext(ctx, qemu, args...).CombinedOutput()
	if !strings.Contains(string(out), "guest: all passed") {
		t.Fatalf("the guest did not pass (%v):\n%s", err, tail(out, 6000))
	}
	t.Logf("%s", tail(out, 2000))
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

func findFile(root, name string) (found string) {
	filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && (d.Name() == name || strings.HasPrefix(d.Name(), name+"-")) && d.Type().IsRegular() {
			found = path
			return fs.SkipAll
		}
		return nil
	})
	return found
}

// cpio packs files as the kernel unpacks an initial file system ("newc").
func cpio(files map[string][]byte) []byte {
	var b bytes.Buffer
	inode := 0
	add := func(name string, mode uint32, content []byte) {
		inode++
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.Write(make([]byte, (4-b.Len()%4)%4))
		b.Write(content)
		b.Write(make([]byte, (4-b.Len()%4)%4))
	}
	for _, d := range []string{"dev", "proc", "sys", "tmp", "modules"} {
		add(d, 0o040755, nil)
	}
	for name, content := range files {
		add(name, 0o100755, content)
	}
	add("TRAILER!!!", 0, nil)
	return b.Bytes()
}

// guestInit is the life of process 1 in the guest.
func guestInit(m *testing.M) {
	defer unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	for _, f := range [][3]string{{"proc", "/proc", "proc"}, {"sysfs", "/sys", "sysfs"}, {"devtmpfs", "/dev", "devtmpfs"}} {
		unix.Mount(f[0], f[1], f[2], 0, "")
	}
	modules, _ := filepath.Glob("/modules/*.ko")
	for _, path := range modules {
		f, err := os.Open(path)
		if err == nil {
			err = unix.FinitModule(int(f.Fd()), "", 0)
		}
		if err != nil {
			fmt.Println("guest: module", path, err)
		}
	}
	time.Sleep(time.Second)
	for _, name := range []string{"lo", "eth0", "eth1"} {
		os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
		if err := setLink(name, true); err != nil {
			fmt.Println("guest: link", name, err)
		}
	}
	os.Args = []string{"init", "-test.v", "-test.run=^TestInTheGuest$"}
	if m.Run() == 0 {
		fmt.Println("guest: all passed")
	}
	time.Sleep(time.Second)
}

// TestInTheGuest is what the guest runs; elsewhere there is nothing to do for it.
func TestInTheGuest(t *testing.T) {
	if os.Getpid() != 1 {
		t.Skip("needs to be process 1 of a guest")
	}
	here := xdptest.Here(t)
	modes := map[xdp.Mode]int{}
	for _, mode := range []xdp.Mode{xdp.ModeZeroCopy, xdp.ModeCopy} {
		t.Run(mode.String(), func(t *testing.T) {
			xdptest.Conformance(t, func(t *testing.T) xdptest.Rig {
				w := newWire(t, here, "eth1")
				o := small
				o.Ifindex, o.Mode = here.Ifindex(t, "eth0"), mode
				s := openSocket(t, here, newPool(t, xdp.UMEMOptions{Frames: 256}), o)
				if modes[s.Mode()]++; s.Mode() != mode {
					t.Errorf("asked for %s, got %s", mode, s.Mode())
				}
				direct(t, here, xdp.DirectorOptions{Ifindex: o.Ifindex, All: true}, s)
				time.Sleep(50 * time.Millisecond)
				return xdptest.Rig{Socket: s, Inject: func(f ...[]byte) { w.send(t, f...) }, Sent: w.next}
			})
		})
	}
	t.Logf("sockets obtained: %v", modes)
}
