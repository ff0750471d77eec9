// Package need states, by name, what a test cannot do without. A test skips
// through this package or not at all, so that the list of skipped tests reads
// as a list of missing things.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// Root skips unless the test runs as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// Tool skips unless the named program is installed, and returns its path.
func Tool(t testing.TB, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs the program %s", name)
	}
	return p
}

// Kernel skips when err, the outcome of a probe of the named kernel feature, is
// not nil.
func Kernel(t testing.TB, feature string, err error) {
	t.Helper()
	if err != nil {
		t.Skipf("needs the kernel feature %s: %v", feature, err)
	}
}

// File skips unless path exists; what is a name for people.
func File(t testing.TB, what, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs %s", what)
	}
}

// Long skips in -short mode.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a run without -short")
	}
}

// CPU skips unless the machine's CPU has the named instructions.
func CPU(t testing.TB, instructions string, has bool) {
	t.Helper()
	if !has {
		t.Skipf("needs a CPU with %s", instructions)
	}
}

// Module skips when err, the outcome of building with the named module, is not
// nil: it is neither in the module cache nor to be fetched.
func Module(t testing.TB, name string, err error) {
	t.Helper()
	if err != nil {
		t.Skipf("needs the Go module %s: %v", name, err)
	}
}
