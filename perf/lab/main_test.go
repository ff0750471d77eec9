package lab

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The tests of this package look at everything a machine has (namespaces,
// links, routes, /run, the temp folder), so they run in a network and mount
// namespace of their own: what other programs do meanwhile is not seen, and
// nothing can be left behind.
const insideVariable = "DSSN_LAB_TEST_INSIDE"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(helperVariable) != "":
		os.Exit(helper(os.Getenv(helperVariable)))
	case os.Geteuid() != 0:
		os.Exit(m.Run()) // what needs root skips
	case os.Getenv(insideVariable) == "":
		os.Exit(again())
	}
	if err := enclose(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// again runs this test program in fresh namespaces.
func again() int {
	tmp, err := os.MkdirTemp("", "dssn-lab-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"=1", "TMPDIR="+tmp)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if exit, ok := err.(*exec.ExitError); ok && exit.Exited() {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// enclose gives the process a /run of its own.
func enclose() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount an empty /run: %w", err)
	}
	return nil
}
