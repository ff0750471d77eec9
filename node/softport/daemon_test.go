package softport

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dssn/dataplane/aead"
	"dssn/dataplane/nstest"
	"dssn/internal/guest"
	"dssn/internal/need"
)

// The test program is also the daemon that it tests: with this variable set it
// is `dssn wg -f INTERFACE`, or without -f that.
const beDaemon = "SOFTPORT_TEST_SUITE"

func TestMain(m *testing.M) {
	if guest.Here() {
		guest.Init(m, "TestInTheGuest", nil)
		return
	}
	suite := os.Getenv(beDaemon)
	if suite == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := DropIn{Interface: os.Args[len(os.Args)-1], Foreground: os.Args[1] == "-f"}
	if suite == "aes" {
		d.Suite = aead.AES256GCM
	}
	if n, ok := strings.CutPrefix(suite, "workers "); ok {
		fmt.Sscan(n, &d.Workers)
	}
	if err := d.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// ends are two namespaces joined by a wire, each with a WireGuard interface of
// its own program.
type ends struct {
	a, b       *nstest.Namespace
	ifA, ifB   string
	cmdA, cmdB *exec.Cmd // nil: the kernel
	far        string    // B's inside address, for probes
	keyB       string    // B's public key
	keyA       string
	saidA      bytes.Buffer // what A's program said; to be read once it has ended
}

// daemon is how to start a contender: a program and its environment; no program is
// the kernel's own WireGuard.
type daemon struct {
	path string
	env  []string
}

func ourselves(t testing.TB, suite string) daemon {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return daemon{path, []string{beDaemon + "=" + suite}}
}

// wireguardGo builds the program of the module we require, so that the peer is
// the one whose version go.mod names.
func wireguardGo(t testing.TB) daemon {
	path := filepath.Join(t.TempDir(), "wireguard-go")
	out, err := exec.Command(need.Tool(t, "go"), "build", "-o", path, "golang.zx2c4.com/wireguard").CombinedOutput()
	if err != nil {
		t.Fatalf("build wireguard-go: %v: %s", err, out)
	}
	return daemon{path, nil}
}

var serial int

// connect starts a at one end and b at the other and lets `wg` configure them;
// inside they are 10.9.0.1 and 10.9.0.2, fd01::1 and fd01::2.
func connect(t testing.TB, a, b daemon) *ends {
	t.Helper()
	wg := need.Tool(t, "wg")
	serial++
	e := &ends{ifA: fmt.Sprintf("sa%dx%d", os.Getpid(), serial), ifB: fmt.Sprintf("sb%dx%d", os.Getpid(), serial), far: "fd01::2"}
	e.a, e.b = nstest.Pair(t, "fd00::1/64", "fd00::2/64")
	start := func(n *nstest.Namespace, d daemon, name string, said io.Writer) *exec.Cmd {
		if d.path == "" {
			n.IP(t, "link add "+name+" type wireguard")
			return nil
		}
		cmd := exec.Command(d.path, "-f", name)
		cmd.Env = append(append(os.Environ(), d.env...), "LOG_LEVEL=error", "WG_PROCESS_FOREGROUND=1")
		cmd.Stderr = said
		n.Start(t, cmd)
		return cmd
	}
	e.cmdA, e.cmdB = start(e.a, a, e.ifA, io.MultiWriter(os.Stderr, &e.saidA)), start(e.b, b, e.ifB, os.Stderr)
	private, public := [2]string{}, [2]string{}
	for i := range 2 {
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		private[i] = base64.StdEncoding.EncodeToString(k.Bytes())
		public[i] = base64.StdEncoding.EncodeToString(k.PublicKey().Bytes())
	}
	e.keyA, e.keyB = public[0], public[1]
	psk := base64.StdEncoding.EncodeToString(make([]byte, 31))[:40] + "AAE="
	dir := t.TempDir()
	for i, x := range []struct {
		n    *nstest.Namespace
		name string
		cmd  *exec.Cmd
		d    daemon
	}{{e.a, e.ifA, e.cmdA, a}, {e.b, e.ifB, e.cmdB, b}} {
		name := x.name
		// A program that the test's end kills leaves its socket's name behind.
		t.Cleanup(func() { os.Remove("/var/run/wireguard/" + name + ".sock") })
		// wg removes the name of a socket that refuses it, as one does between
		// bind and listen: try before wg does.
		until(t, "the configuration socket of "+name, func() bool {
			if x.cmd == nil {
				return true
			}
			c, err := net.Dial("unix", "/var/run/wireguard/"+name+".sock")
			if err == nil {
				c.Close()
			}
			return err == nil
		})
		conf := filepath.Join(dir, name+".conf")
		text := fmt.Sprintf("[Interface]\nPrivateKey = %s\nListenPort = 51820\n[Peer]\nPublicKey = %s\nPresharedKey = %s\nEndpoint = [fd00::%d]:51820\nAllowedIPs = 10.9.0.%d/32, fd01::%d/128\n",
			private[i], public[1-i], psk, 2-i, 2-i, 2-i)
		if slices.ContainsFunc(x.d.env, func(s string) bool { return strings.Contains(s, "workers") }) {
			// Somebody who never comes has the first worker; the peer has the second.
			text = strings.Replace(text, "[Peer]", fmt.Sprintf("[Peer]\nPublicKey = %s\n[Peer]", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32))), 1)
		}
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		until(t, name+" to be configured", func() bool {
			_, err := x.n.Run(wg, "setconf", name, conf)
			return err == nil
		})
		x.n.IP(t, fmt.Sprintf("addr add 10.9.0.%d/24 dev %s", i+1, name))
		x.n.IP(t, fmt.Sprintf("addr add fd01::%d/64 dev %s nodad", i+1, name))
		x.n.IP(t, "link set "+name+" mtu 1420 up")
	}
	return e
}

func (e *ends) stop() {
	for _, c := range []*exec.Cmd{e.cmdA, e.cmdB} {
		if c != nil {
			c.Process.Signal(unix.SIGTERM)
		}
	}
	for _, c := range []*exec.Cmd{e.cmdA, e.cmdB} {
		if c != nil {
			c.Wait()
		}
	}
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 1500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

// echo sends one datagram from A's inside to B's and back.
func (e *ends) echo(t testing.TB) {
	t.Helper()
	p := e.newPinger(t)
	defer p.close()
	until(t, "an answer through the tunnel", func() bool { _, ok := p.once(200 * time.Millisecond); return ok })
}

func TestDropInIsConfiguredByWgAndTalksToWireguardGo(t *testing.T) {
	need.Root(t)
	ours, theirs := ourselves(t, "chacha"), wireguardGo(t)
	for name, x := range map[string][2]daemon{"ours and ours": {ours, ours}, "ours and theirs": {ours, theirs}, "theirs and ours": {theirs, ours}, "three workers and theirs": {ourselves(t, "workers 3"), theirs}} {
		t.Run(name, func(t *testing.T) {
			e := connect(t, x[0], x[1])
			defer e.stop()
			e.echo(t)
			if name == "theirs and ours" {
				e.a, e.b, e.ifA, e.ifB = e.b, e.a, e.ifB, e.ifA // look at ours
			}
			var show string
			// The machine hears of the first packet of a session after the worker has
			// passed it on.
			until(t, "the handshake to be told of", func() (ok bool) {
				var err error
				show, err = e.a.Run("wg", "show", e.ifA)
				return err == nil && strings.Contains(show, "latest handshake:")
			})
			for _, want := range []string{"listening port: 51820", "preshared key: (hidden)", "endpoint: [fd00::", "allowed ips: 10.9.0.", "latest handshake:", "transfer:"} {
				if !strings.Contains(show, want) {
					t.Errorf("wg show does not say %q:\n%s", want, show)
				}
			}
			steps, err := AskTrace(e.ifA, traced(name == "theirs and ours"), false)
			if err != nil || steps[len(steps)-1].Answer != "send" {
				t.Errorf("a trace of an allowed packet: %v, %v", steps, err)
			}
			// Another port while it runs; the other side roams after us.
			if _, err := e.a.Run("wg", "set", e.ifA, "listen-port", "51999"); err != nil {
				t.Fatal(err)
			}
			if name != "theirs and ours" {
				e.echo(t)
			}
			if show, _ := e.a.Run("wg", "show", e.ifA, "listen-port"); strings.TrimSpace(show) != "51999" {
				t.Errorf("the port is %q", show)
			}
			// A port that somebody has is refused, and the tunnel stays where it is.
			var other net.PacketConn
			if err := e.a.Do(func() (err error) { other, err = net.ListenPacket("udp", "[::]:52000"); return err }); err != nil {
				t.Fatal(err)
			}
			if out, err := e.a.Run("wg", "set", e.ifA, "listen-port", "52000"); err == nil || !strings.Contains(err.Error(), "Address already in use") {
				t.Errorf("a port that is taken: %v %s", err, out)
			}
			other.Close()
			if show, _ := e.a.Run("wg", "show", e.ifA, "listen-port"); strings.TrimSpace(show) != "51999" {
				t.Errorf("after the refusal the port is %q", show)
			}
			if name != "theirs and ours" {
				e.echo(t)
			}
			if out, err := e.a.Run("wg", "set", e.ifA, "listen-port", "0", "peer", "AAAA"); err == nil {
				t.Errorf("wg accepted a broken key: %s", out)
			}
		})
	}
}

// traced is an IPv4 header from one inside to the other.
func traced(back bool) []byte {
	p := []byte{0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2}
	if back {
		p[15], p[19] = 2, 1
	}
	return p
}

func TestDropInEndsWithItsInterface(t *testing.T) {
	for _, suite := range []string{"chacha", "workers 3"} {
		t.Run(suite, func(t *testing.T) { endsWithItsInterface(t, ourselves(t, suite)) })
	}
}

// endsWithItsInterface deletes the TUN under traffic.
func endsWithItsInterface(t *testing.T, ours daemon) {
	need.Root(t)
	e := connect(t, ours, ours)
	e.echo(t)
	p := e.newPinger(t)
	defer p.close()
	flowing := make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			if _, err := p.here.WriteTo(make([]byte, 1000), &net.UDPAddr{IP: p.to, Port: 7}); err != nil {
				return // closed, or there is no way to B any more
			}
			if i == 50 {
				close(flowing)
			}
		}
	}()
	<-flowing
	e.a.IP(t, "link del "+e.ifA)
	done := make(chan error, 1)
	go func() { done <- e.cmdA.Wait() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the daemon outlives its interface")
	}
	if said := strings.TrimSpace(e.saidA.String()); said != "the interface "+e.ifA+" was deleted: file descriptor in bad state" {
		t.Errorf("it said %q", said)
	}
	if e.cmdA.ProcessState.ExitCode() != 1 {
		t.Errorf("it ended with %v", e.cmdA.ProcessState)
	}
	if _, err := os.Stat("/var/run/wireguard/" + e.ifA + ".sock"); err == nil {
		t.Error("the configuration socket was left behind")
	}
	e.cmdB.Process.Signal(unix.SIGTERM)
	if err := e.cmdB.Wait(); err != nil {
		t.Errorf("ended by SIGTERM: %v", err)
	}
	if _, err := e.b.Run("ip", "link", "show", e.ifB); err == nil {
		t.Error("the interface was left behind")
	}
}

func TestDropInGoesToTheBackground(t *testing.T) {
	need.Root(t)
	wg := need.Tool(t, "wg")
	n := nstest.New(t)
	d := ourselves(t, "chacha")
	serial++
	name := fmt.Sprintf("sd%dx%d", os.Getpid(), serial)
	cmd := exec.Command(d.path, name)
	cmd.Env = append(os.Environ(), d.env...)
	if err := n.Do(cmd.Run); err != nil {
		t.Fatalf("start in the background: %v", err)
	}
	until(t, "the background to answer", func() bool { _, err := n.Run(wg, "show", name); return err == nil })
	n.IP(t, "link del "+name)
	until(t, "the background to end", func() bool {
		_, err := os.Stat("/var/run/wireguard/" + name + ".sock")
		return err != nil
	})
}
