package xdptest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Netns is an unnamed network namespace: it exists while its file is open, so
// nothing of it can outlive the test.
type Netns struct{ file *os.File }

// NewNetns makes an empty namespace with its loopback up and no
// duplicate-address detection; it skips where that is not allowed.
func NewNetns(t testing.TB) *Netns {
	t.Helper()
	done := make(chan *os.File)
	var err error
	go func() {
		// The thread is not unlocked, so it ends with the goroutine and takes its
		// changed namespace with it.
		runtime.LockOSThread()
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- nil
			return
		}
		var f *os.File
		f, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		done <- f
	}()
	f := <-done
	if err != nil {
		t.Skipf("needs network namespaces: %v", err)
	}
	n := &Netns{f}
	t.Cleanup(func() { f.Close() })
	n.Sysctl(t, "net/ipv6/conf/default/accept_dad", "0")
	n.IP(t, "link", "set", "lo", "up")
	return n
}

// Do runs f on a thread inside the namespace; sockets it opens stay there.
func (n *Netns) Do(t testing.TB, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Try runs a program inside the namespace.
func (n *Netns) Try(name string, args ...string) (err error) {
	out, err := n.Output(name, args...)
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// Output is Try with what the program printed.
func (n *Netns) Output(name string, args ...string) (out []byte, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err = unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err == nil {
			out, err = exec.Command(name, args...).CombinedOutput()
		}
	}()
	<-done
	return out, err
}

// IP runs ip -6 inside the namespace. Behind "addr add" it waits until the
// address is local: the kernel installs that route from a work queue, even
// without duplicate address detection.
func (n *Netns) IP(t testing.TB, args ...string) {
	t.Helper()
	if err := n.Try("ip", append([]string{"-6"}, args...)...); err != nil {
		t.Fatal(err)
	}
	if len(args) < 3 || args[0] != "addr" || args[1] != "add" {
		return
	}
	address, _, _ := strings.Cut(args[2], "/")
	for range 500 {
		if out, err := n.Output("ip", "-6", "route", "show", "table", "local", address); err == nil && len(out) > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s did not become local", address)
}

// Sysctl writes a setting under /proc/sys of the namespace.
func (n *Netns) Sysctl(t testing.TB, name, value string) {
	t.Helper()
	n.Do(t, func() error { return os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0) })
}

// SNMP returns the lines of the namespace's IPv6 counters that contain word.
func (n *Netns) SNMP(t testing.TB, word string) (found string) {
	n.Do(t, func() error {
		// /proc/net is the main thread's; this thread's is its own.
		b, err := os.ReadFile("/proc/thread-self/net/snmp6")
		for _, l := range strings.Split(string(b), "\n") {
			if strings.Contains(l, word) {
				found += l + "\n"
			}
		}
		return err
	})
	return found
}

// Ifindex finds an interface of the namespace.
func (n *Netns) Ifindex(t testing.TB, name string) (index int) {
	t.Helper()
	n.Do(t, func() error {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
		index = i.Index
		return nil
	})
	return index
}

// Veth joins two namespaces by a pair of interfaces, up and with no
// duplicate-address detection.
func Veth(t testing.TB, a *Netns, nameA string, b *Netns, nameB string, options ...string) {
	t.Helper()
	veth(t, a, nameA, b, nameB, options, nil)
}

// VethQueues is Veth with so many queues at both ends: what leaves one end by a queue
// arrives at the other by the queue of that number.
func VethQueues(t testing.TB, a *Netns, nameA string, b *Netns, nameB string, queues int) {
	t.Helper()
	n := []string{"numtxqueues", fmt.Sprint(queues), "numrxqueues", fmt.Sprint(queues)}
	veth(t, a, nameA, b, nameB, n, n)
}

func veth(t testing.TB, a *Netns, nameA string, b *Netns, nameB string, options, far []string) {
	t.Helper()
	// The other end is named by a descriptor that the child process inherits:
	// there is no name in /run/netns to leave behind.
	b2 := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), b.file.Fd())
	args := append([]string{"link", "add", nameA}, options...)
	args = append(append(args, "type", "veth", "peer", "name", nameB), far...)
	a.IP(t, args...)
	a.IP(t, "link", "set", nameB, "netns", b2)
	a.IP(t, "link", "set", nameA, "up")
	b.IP(t, "link", "set", nameB, "up")
}

// Quiet keeps the kernel from sending anything by itself on interfaces made
// later in the namespace.
func (n *Netns) Quiet(t testing.TB) *Netns {
	n.Sysctl(t, "net/ipv6/conf/default/disable_ipv6", "1")
	return n
}

// MAC is the Ethernet address of an interface of the namespace.
func (n *Netns) MAC(t testing.TB, name string) (mac [6]byte) {
	t.Helper()
	n.Do(t, func() error {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
		copy(mac[:], i.HardwareAddr)
		return nil
	})
	return mac
}

// Start starts a program inside the namespace and leaves it running.
func (n *Netns) Start(t testing.TB, c *exec.Cmd) {
	t.Helper()
	n.Do(t, c.Start)
}

// Here is the namespace that the test runs in.
func Here(t testing.TB) *Netns {
	t.Helper()
	f, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &Netns{f}
}
