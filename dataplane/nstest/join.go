package nstest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"dssn/internal/need"
)

// Join joins two namespaces by one more veth, called nameA in a and nameB in b,
// both up. They have link-local addresses made by the kernel.
func Join(t testing.TB, a, b *Namespace, nameA, nameB string) {
	t.Helper()
	err := b.Do(func() error {
		out, err := exec.Command(need.Tool(t, "ip"), "link", "add", nameB, "type", "veth", "peer", "name", nameA, "netns",
			fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), a.file.Fd())).CombinedOutput()
		if err != nil {
			return fmt.Errorf("make a veth: %w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	a.IP(t, "link set "+nameA+" up")
	b.IP(t, "link set "+nameB+" up")
}
