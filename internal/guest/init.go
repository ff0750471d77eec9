package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Here reports whether this is process 1 of a guest: TestMain is then to call Init.
func Here() bool { return os.Getpid() == 1 && os.Getenv(inGuest) != "" }

// Need skips unless t runs in a guest.
func Need(t *testing.T) {
	t.Helper()
	if !Here() {
		t.Skip("needs to be process 1 of a guest")
	}
}

// Init is the life of process 1 in the guest: it mounts what a Linux has, loads the
// modules, calls prepare, if there is one, runs the named test and powers off.
func Init(m *testing.M, test string, prepare func()) {
	defer unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	for _, f := range [][3]string{{"proc", "/proc", "proc"}, {"sysfs", "/sys", "sysfs"}, {"devtmpfs", "/dev", "devtmpfs"}} {
		if err := unix.Mount(f[0], f[1], f[2], 0, ""); err != nil {
			fmt.Println("guest: mount", f[1], err)
		}
	}
	os.Setenv("PATH", "/bin")
	modules, _ := filepath.Glob("/modules/*.ko")
	for _, path := range modules {
		f, err := os.Open(path)
		if err == nil {
			err = unix.FinitModule(int(f.Fd()), "", 0)
			f.Close()
		}
		if err != nil {
			fmt.Println("guest: module", path, err)
		}
	}
	if prepare != nil {
		prepare()
	}
	os.Args = []string{"init", "-test.v", "-test.run=^" + test + "$"}
	if m.Run() == 0 {
		fmt.Println(passed)
	}
	time.Sleep(time.Second) // until the serial line has it
}
