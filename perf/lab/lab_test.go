package lab

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"dssn/internal/need"
)

// belongings are what a machine has that a lab could leave behind.
func belongings(t *testing.T) []string {
	t.Helper()
	var out []string
	spaces, err := namespaces("")
	if err != nil {
		t.Fatal(err)
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range spaces {
		out = append(out, "namespace "+s)
	}
	for _, l := range links {
		out = append(out, "link "+l.Attrs().Name)
	}
	for _, r := range routes {
		out = append(out, "route "+r.String())
	}
	for _, dir := range []string{os.TempDir(), "/run", stateRoot} {
		list, _ := os.ReadDir(dir)
		for _, e := range list {
			if p := filepath.Join(dir, e.Name()); p != namespaceDir {
				out = append(out, "file "+p)
			}
		}
	}
	slices.Sort(out)
	return out
}

func leavesNothing(t *testing.T) {
	t.Helper()
	before := belongings(t)
	t.Cleanup(func() {
		if after := belongings(t); !slices.Equal(before, after) {
			t.Errorf("left behind:\n%s\nthere was:\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
		}
	})
}

func up(t *testing.T, id string) *Lab {
	t.Helper()
	need.Root(t)
	l, err := Up(Options{ID: id, Topology: EightHubs, Terminals: []Terminal{{Name: "north", At: "beijing"}, {Name: "south", At: "guizhou"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Down() })
	return l
}

// dial tries to reach addr from inside a node.
func dial(l *Lab, node string, addr netip.AddrPort) error {
	n, err := l.Plan.Node(node)
	if err != nil {
		return err
	}
	return inNamespace(n.Namespace, func() error {
		// A socket made on this thread; net.Dialer may use another goroutine only for names.
		c, err := net.DialTimeout("tcp6", addr.String(), 10*time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
}

func listen(t *testing.T, l *Lab, node string) netip.AddrPort {
	t.Helper()
	n, _ := l.Plan.Node(node)
	var ln net.Listener
	err := inNamespace(n.Namespace, func() (err error) {
		ln, err = net.Listen("tcp6", "[::]:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return netip.AddrPortFrom(controllerAddress, ln.Addr().(*net.TCPAddr).AddrPort().Port())
}

func TestEveryNodeReachesTheControllerOverTheManagementNetwork(t *testing.T) {
	need.Root(t)
	leavesNothing(t)
	l := up(t, "reach")
	addr := listen(t, l, "controller")
	for _, n := range l.Plan.Nodes {
		if n.Role == RoleSwitch {
			continue
		}
		if err := dial(l, n.Name, addr); err != nil {
			t.Errorf("from %s: %v", n.Name, err)
		}
	}
}

func TestCutAccessLinkSeparatesAndRestoreJoins(t *testing.T) {
	need.Root(t)
	leavesNothing(t)
	l := up(t, "cut")
	addr := listen(t, l, "controller")
	if err := l.Cut("north-beijing"); err != nil {
		t.Fatal(err)
	}
	if err := dial(l, "north", addr); err == nil {
		t.Error("the terminal reached the controller over a cut link")
	}
	if err := l.Restore("beijing-north"); err != nil { // either order of names
		t.Fatal(err)
	}
	if err := dial(l, "north", addr); err != nil {
		t.Errorf("after restoring the link: %v", err)
	}
	if err := l.Cut("north-south"); err == nil || !strings.Contains(err.Error(), "no link") {
		t.Errorf("cutting a link that does not exist: %v", err)
	}
}

func TestProgramsRunInsideTheirNodeWithItsState(t *testing.T) {
	need.Root(t)
	leavesNothing(t)
	l := up(t, "prog")
	p, err := l.Start("look", "guizhou", "sh", "-c", `echo "$DSSN_STATE"; ls /proc/self/net/dev_snmp6; exit 3`)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if p.Err() == nil || !strings.Contains(p.Err().Error(), "3") {
		t.Errorf("the program's end: %v, want exit status 3", p.Err())
	}
	out := p.LogTail(100)
	for _, want := range []string{l.StateOf("guizhou"), "to-chengdu", "acc-south", "mgmt"} {
		if !strings.Contains(out, want) {
			t.Errorf("the program wrote %q, want %q in it", out, want)
		}
	}
}

func TestTwoLabsStandBesideEachOther(t *testing.T) {
	need.Root(t)
	leavesNothing(t)
	a := up(t, "one")
	if _, err := Up(Options{ID: "one", Topology: EightHubs}); err == nil || !strings.Contains(err.Error(), "dssn lab down one") {
		t.Fatalf("a second lab of the same name: %v", err)
	}
	b := up(t, "two")
	if err := a.Down(); err != nil {
		t.Fatal(err)
	}
	if err := a.Down(); err != nil {
		t.Errorf("taking it down again: %v", err)
	}
	if err := dial(b, "south", listen(t, b, "controller")); err != nil {
		t.Errorf("after the other lab was taken down: %v", err)
	}
}

func TestBadTopologyMakesNothing(t *testing.T) {
	need.Root(t)
	leavesNothing(t)
	for _, text := range []string{
		`{"format":"te-topology/1","name":"x","nodes":[{"name":"a"}],"links":[],"colour":"red"}`,
		`{"format":"te-topology/1","name":"x","nodes":[{"name":"a","sid":"1"},{"name":"b","sid":"1"}],"links":[]}`,
		`[]`, ``, `{"format":"te-topology/2"}`,
	} {
		_, err := Up(Options{ID: "bad", Topology: []byte(text)})
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("Up(%s): %v, want one sentence", text, err)
		}
	}
}

// A killed lab: the helper is this test program, run again.

const helperVariable = "DSSN_LAB_TEST_HELPER"

func helper(id string) int {
	l, err := Up(Options{ID: id, Topology: EightHubs})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	p, err := l.Start("sleeper", "gansu", "sleep", "1000")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready", p.PID())
	select {}
}

func TestWhatAKilledLabLeavesIsRemovedByTheNextRun(t *testing.T) {
	need.Root(t)
	leavesNothing(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"=killed")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var sleeper int
	if _, scan := fmt.Sscanf(line, "ready %d", &sleeper); err != nil || scan != nil {
		t.Fatalf("the helper said %q", line)
	}
	if removed, err := RemoveOrphans(); err != nil || len(removed) != 0 {
		t.Fatalf("while its owner lives: removed %v, %v", removed, err)
	}
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, err := startTime(sleeper); err == nil && ctx.Err() == nil; _, err = startTime(sleeper) {
		time.Sleep(time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Error("the lab's program outlived the lab")
	}
	labs, err := List()
	if err != nil || len(labs) != 1 || labs[0].State != "orphaned" || labs[0].Namespaces != 10 {
		t.Errorf("List() = %+v, %v; want one orphan with 10 namespaces", labs, err)
	}
	if removed, err := RemoveOrphans(); err != nil || !slices.Equal(removed, []string{"killed"}) {
		t.Errorf("removed %v, %v", removed, err)
	}
}

func TestRemoveNeedsOnlyTheName(t *testing.T) {
	need.Root(t)
	leavesNothing(t)
	l := up(t, "lost")
	if err := os.RemoveAll(l.dir); err != nil { // as after a crash of the file system
		t.Fatal(err)
	}
	p := exec.Command("sleep", "1000")
	n, _ := l.Plan.Node("gansu")
	if err := l.startIn(n.Namespace, p); err != nil { // recorded nowhere
		t.Fatal(err)
	}
	go p.Wait()
	labs, err := List()
	if err != nil || len(labs) != 1 || labs[0].ID != "lost" {
		t.Fatalf("List() = %+v, %v", labs, err)
	}
	if err := Remove("lost"); err != nil {
		t.Fatal(err)
	}
	if _, err := startTime(p.Process.Pid); err == nil {
		t.Error("a program inside the lab survived its removal")
	}
}
