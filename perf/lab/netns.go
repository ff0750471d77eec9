package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netns"
)

// namespaceDir is where iproute2 looks for named namespaces.
const namespaceDir = "/run/netns"

// inNamespace runs f on a thread that is inside the named namespace. f must not
// start goroutines that need to be there too.
func inNamespace(name string, f func() error) error {
	ns, err := netns.GetFromName(name)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", name, err)
	}
	defer ns.Close()
	return inHandle(ns, f)
}

func inHandle(ns netns.NsHandle, f func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open own namespace: %w", err)
	}
	defer home.Close()
	if err := netns.Set(ns); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace: %w", err)
	}
	defer func() {
		// A thread that cannot return stays locked, so that the runtime ends it
		// with its goroutine instead of lending it to others.
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}

// makeNamespace creates the named namespace and lets f work inside it.
func makeNamespace(name string, f func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open own namespace: %w", err)
	}
	defer home.Close()
	defer func() {
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
	}()
	ns, err := netns.NewNamed(name)
	if err != nil {
		return fmt.Errorf("make namespace %s: %w", name, err)
	}
	defer ns.Close()
	return f()
}

// sysctl sets one value under /proc/sys/net/ipv6/conf for the namespace of the
// calling thread.
func sysctl(key, value string) error {
	p := filepath.Join("/proc/sys/net/ipv6/conf", key)
	if err := os.WriteFile(p, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set %s to %s: %w", p, value, err)
	}
	return nil
}

// namespaces lists the named namespaces that begin with prefix.
func namespaces(prefix string) ([]string, error) {
	list, err := os.ReadDir(namespaceDir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var out []string
	for _, e := range list {
		if strings.HasPrefix(e.Name(), prefix) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}
