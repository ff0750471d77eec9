package bgp

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dssn/controller/northbound"
	"dssn/internal/need"
)

// A domain under test: the speaker is in the test's own namespace, each
// neighbour's router in one of its own, reached by a wire of its own:
// fd00:N::1 is this end, fd00:N::2 the neighbour's, whose AS is 64512+N.
type domain struct {
	*testing.T
	dir string
	*Supervisor
	command *exec.Cmd // the newest process
}

func ip(t *testing.T, line string) {
	t.Helper()
	if out, err := exec.Command(need.Tool(t, "ip"), strings.Fields(line)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", line, err, out)
	}
}

// wire joins the namespace of the n-th neighbour.
func wire(t *testing.T, n int) (namespace string) {
	t.Helper()
	need.Root(t)
	namespace = fmt.Sprintf("peer%d", n)
	ip(t, "link set lo up")
	ip(t, "netns add "+namespace)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", namespace).Run() })
	ip(t, fmt.Sprintf("link add wire%d type veth peer name uplink netns %s", n, namespace))
	t.Cleanup(func() { exec.Command("ip", "link", "del", fmt.Sprintf("wire%d", n)).Run() })
	ip(t, fmt.Sprintf("addr add fd00:%d::1/64 dev wire%d nodad", n, n))
	ip(t, fmt.Sprintf("link set wire%d up", n))
	ip(t, "-n "+namespace+" link set lo up")
	ip(t, fmt.Sprintf("-n %s addr add fd00:%d::2/64 dev uplink nodad", namespace, n))
	ip(t, "-n "+namespace+" link set uplink up")
	return namespace
}

// inside starts a program in a namespace; the test's end kills it.
func inside(t *testing.T, namespace string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", namespace}, args...)...)
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", args[0], out)
		}
	})
	return cmd
}

// routesIn returns the kernel's routes to a prefix in a namespace.
func routesIn(t *testing.T, namespace, prefix string) string {
	t.Helper()
	out, err := exec.Command("ip", "-n", namespace, "-6", "route", "show", prefix).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// speak supervises a speaker with neighbours of these numbers.
func speak(t *testing.T, config string) *domain {
	t.Helper()
	c, err := Read([]byte(config), ours)
	if err != nil {
		t.Fatal(err)
	}
	d := &domain{T: t, dir: t.TempDir()}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	d.Supervisor = NewSupervisor(SupervisorOptions{Config: c, Marker: filepath.Join(d.dir, "spoke"), Log: log, Command: func() *exec.Cmd {
		d.command = exec.Command(os.Args[0])
		d.command.Env = append(os.Environ(), beSpeaker+"=1")
		return d.command
	}})
	d.Announce([]netip.Prefix{netip.MustParsePrefix("3fff:d55:1::/48")})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); d.Supervisor.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		if t.Failed() {
			b, _ := json.MarshalIndent(d.State(), "", "  ")
			t.Logf("the speaker last said %s", b)
		}
	})
	return d
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// until waits for something that a router's own timers decide.
func (d *domain) until(what string, ok func(northbound.BGP) bool) northbound.BGP {
	d.Helper()
	for range 500 {
		if s := d.State(); ok(s) {
			return s
		}
		time.Sleep(20 * time.Millisecond)
	}
	d.Fatalf("waited in vain until %s", what)
	return northbound.BGP{}
}

// kill ends the speaker's process as a crash would.
func (d *domain) kill() {
	d.Helper()
	if err := d.command.Process.Signal(unix.SIGKILL); err != nil {
		d.Fatal(err)
	}
}

func established(names ...string) func(northbound.BGP) bool {
	return func(s northbound.BGP) bool {
		n := 0
		for _, b := range s.Neighbours {
			if b.State == "established" {
				n++
			}
		}
		return s.Running && n == len(names)
	}
}

func learned(s northbound.BGP, prefix string) *northbound.BGPRoute {
	for i := range s.Routes {
		if s.Routes[i].Prefix.String() == prefix {
			return &s.Routes[i]
		}
	}
	return nil
}

func refused(s northbound.BGP, prefix string) string {
	for _, r := range s.Refused {
		if r.Prefix.String() == prefix {
			return r.Why
		}
	}
	return ""
}

type prefix = netip.Prefix

func must(s string) prefix { return netip.MustParsePrefix(s) }
