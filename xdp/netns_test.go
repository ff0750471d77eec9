package xdp

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// netns is an unnamed network namespace: it exists while its file is open, so
// nothing of it can outlive the test.
type netns struct{ file *os.File }

func newNetns(t testing.TB) *netns {
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
	n := &netns{f}
	t.Cleanup(func() { f.Close() })
	n.sysctl(t, "net/ipv6/conf/default/accept_dad", "0")
	n.ip(t, "link", "set", "lo", "up")
	return n
}

// do runs f on a thread inside the namespace; sockets it opens stay there.
func (n *netns) do(t testing.TB, f func() error) {
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

// try runs a program inside the namespace.
func (n *netns) try(name string, args ...string) (err error) {
	out, err := n.output(name, args...)
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

func (n *netns) output(name string, args ...string) (out []byte, err error) {
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

func (n *netns) ip(t testing.TB, args ...string) {
	t.Helper()
	if err := n.try("ip", append([]string{"-6"}, args...)...); err != nil {
		t.Fatal(err)
	}
}

// sysctl writes a setting under /proc/sys of the namespace.
func (n *netns) sysctl(t testing.TB, name, value string) {
	t.Helper()
	n.do(t, func() error { return os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0) })
}

// snmp returns the lines of the namespace's IPv6 counters that contain word.
func (n *netns) snmp(t testing.TB, word string) (found string) {
	n.do(t, func() error {
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

func (n *netns) ifindex(t testing.TB, name string) (index int) {
	t.Helper()
	n.do(t, func() error {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
		index = i.Index
		return nil
	})
	return index
}

// veth joins two namespaces by a pair of interfaces, up and with no
// duplicate-address detection.
func veth(t testing.TB, a *netns, nameA string, b *netns, nameB string, options ...string) {
	t.Helper()
	// The other end is named by a descriptor that the child process inherits:
	// there is no name in /run/netns to leave behind.
	b2 := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), b.file.Fd())
	args := append([]string{"link", "add", nameA}, options...)
	args = append(args, "type", "veth", "peer", "name", nameB)
	a.ip(t, args...)
	a.ip(t, "link", "set", nameB, "netns", b2)
	a.ip(t, "link", "set", nameA, "up")
	b.ip(t, "link", "set", nameB, "up")
}
