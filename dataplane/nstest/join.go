package nstest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"dssn/internal/need"
)

// JoinQueues is Join with so many queues at both ends: what leaves one end by a queue arrives
// at the other by the queue of that number.
func JoinQueues(t testing.TB, a, b *Namespace, nameA, nameB string, queues int) {
	t.Helper()
	n := []string{"numtxqueues", fmt.Sprint(queues), "numrxqueues", fmt.Sprint(queues)}
	join(t, a, b, nameA, nameB, n)
}

// Join joins two namespaces by one more veth, called nameA in a and nameB in b,
// both up. They have link-local addresses made by the kernel.
func Join(t testing.TB, a, b *Namespace, nameA, nameB string) {
	t.Helper()
	join(t, a, b, nameA, nameB, nil)
}

func join(t testing.TB, a, b *Namespace, nameA, nameB string, options []string) {
	t.Helper()
	args := append([]string{"link", "add", nameB}, options...)
	args = append(append(args, "type", "veth", "peer", "name", nameA), options...)
	args = append(args, "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), a.file.Fd()))
	err := b.Do(func() error {
		out, err := exec.Command(need.Tool(t, "ip"), args...).CombinedOutput()
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
