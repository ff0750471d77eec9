// Package nstest gives tests network namespaces that exist only while the test
// runs: they have no name, so nothing of them can be left behind or be met by
// another test on the same machine.
package nstest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dssn/internal/need"
)

// Namespace is a network namespace of its own, with loopback up and duplicate
// address detection off. It lives until the test ends.
type Namespace struct{ file *os.File }

// New makes a namespace. It skips without root or without namespaces.
func New(t testing.TB) *Namespace {
	t.Helper()
	need.Root(t)
	var f *os.File
	err := onThread(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		f, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		return err
	})
	need.Kernel(t, "network namespaces", err)
	n := &Namespace{f}
	t.Cleanup(func() { f.Close() })
	n.Sysctl(t, "net/ipv6/conf/default/accept_dad", "0")
	n.Sysctl(t, "net/ipv6/conf/all/accept_dad", "0")
	n.IP(t, "link set lo up")
	return n
}

// onThread runs f on a thread that ends with it, so that whatever f did to its
// namespace ends too.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// Do runs f on a thread inside the namespace. Sockets, TUNs and threads that f
// opens or starts stay there.
func (n *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("setns", err)
		}
		return f()
	})
}

// Start starts a program inside the namespace and returns at once; the test's
// end kills it.
func (n *Namespace) Start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if err := n.Do(cmd.Start); err != nil {
		t.Fatalf("start %v: %v", cmd.Args, err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// Run runs a program inside the namespace and returns what it printed.
func (n *Namespace) Run(name string, args ...string) (string, error) {
	var out []byte
	err := n.Do(func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// IP runs the ip program with the words of line and fails the test if it fails.
func (n *Namespace) IP(t testing.TB, line string) {
	t.Helper()
	if _, err := n.Run(need.Tool(t, "ip"), strings.Fields(line)...); err != nil {
		t.Fatal(err)
	}
}

// Sysctl writes a kernel setting of the namespace.
func (n *Namespace) Sysctl(t testing.TB, name, value string) {
	t.Helper()
	err := n.Do(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0) })
	if err != nil {
		t.Fatal(err)
	}
}

// Pair makes two namespaces joined by a veth named wan on both sides, with the
// given addresses (with prefix lengths), up and ready.
func Pair(t testing.TB, addrA, addrB string) (a, b *Namespace) {
	t.Helper()
	a, b = New(t), New(t)
	err := b.Do(func() error {
		out, err := exec.Command(need.Tool(t, "ip"), "link", "add", "wan", "type", "veth", "peer", "name", "wan", "netns",
			fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), a.file.Fd())).CombinedOutput()
		if err != nil {
			return fmt.Errorf("make a veth: %w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n, addr := range map[*Namespace]string{a: addrA, b: addrB} {
		n.IP(t, "link set wan up")
		if strings.Contains(addr, ":") {
			n.IP(t, "addr add "+addr+" dev wan nodad")
		} else {
			n.IP(t, "addr add "+addr+" dev wan")
		}
	}
	return a, b
}
