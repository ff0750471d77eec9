// Package enclose lets a test program run in a network and mount namespace of
// its own, with an empty /run and a temp folder of its own: what other programs
// on the machine do meanwhile is not seen, nothing can be left behind, and a
// test may look at everything there is (namespaces, links, routes, files).
package enclose

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

const insideVariable = "DSSN_TEST_ENCLOSED"

// Main is called by TestMain with what it would otherwise do; tests returns an
// exit code or exits. As root the test program is run once more, enclosed, and
// tests runs there; otherwise it runs here, where what needs root skips.
func Main(tests func() int) int {
	if os.Geteuid() != 0 {
		return tests()
	}
	if os.Getenv(insideVariable) == "" {
		code, err := again()
		if err != nil {
			fmt.Fprintln(os.Stderr, "run the tests in namespaces of their own:", err)
		}
		return code
	}
	if err := emptyRun(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return tests()
}

func again() (int, error) {
	tmp, err := os.MkdirTemp("", "dssn-test-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideVariable+"=1", "TMPDIR="+tmp)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// emptyRun gives the process a /run of its own.
func emptyRun() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount an empty /run: %w", err)
	}
	return nil
}
