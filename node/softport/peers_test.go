package softport

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dssn/dataplane/nstest"
	"dssn/internal/need"
)

// Peers beside us that are programs of others, built into bin/ by `make
// bench-dataplane` and never imported. One that is not there is named and left out.

// built returns the path of a program in bin/.
func built(t testing.TB, name string) (string, bool) {
	path, err := filepath.Abs(filepath.Join("..", "..", "bin", name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		fmt.Fprintf(os.Stdout, "left out: bin/%s is not built (make dataplane-peers)\n", name)
	}
	return path, err == nil
}

// connectNebula is connect for Nebula, which has its own way of being configured:
// a certificate authority, two certificates, AES-256-GCM (its usual cipher).
func connectNebula(t testing.TB, program, certifier string) *ends {
	t.Helper()
	serial++
	e := &ends{ifA: fmt.Sprintf("na%dx%d", os.Getpid(), serial), ifB: fmt.Sprintf("nb%dx%d", os.Getpid(), serial), far: "10.9.0.2"}
	e.a, e.b = nstest.Pair(t, "192.0.2.1/24", "192.0.2.2/24")
	dir := t.TempDir()
	run := func(args ...string) {
		cmd := exec.Command(certifier, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	run("ca", "-name", "bench")
	for i, name := range []string{"a", "b"} {
		run("sign", "-name", name, "-ip", fmt.Sprintf("10.9.0.%d/24", i+1))
	}
	start := func(i int, n *nstest.Namespace, name, dev string) *exec.Cmd {
		conf := filepath.Join(dir, name+".yml")
		text := fmt.Sprintf(`pki: {ca: %[1]s/ca.crt, cert: %[1]s/%[2]s.crt, key: %[1]s/%[2]s.key}
static_host_map: {"10.9.0.%[3]d": ["192.0.2.%[3]d:4242"]}
lighthouse: {am_lighthouse: false}
listen: {host: 0.0.0.0, port: 4242, batch: 64}
punchy: {punch: false}
cipher: aes
tun: {dev: %[4]s, mtu: 1420, tx_queue: 500}
logging: {level: error, format: text}
firewall:
  outbound: [{port: any, proto: any, host: any}]
  inbound: [{port: any, proto: any, host: any}]
`, dir, name, 2-i, dev)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "-config", conf)
		cmd.Stderr = os.Stderr
		n.Start(t, cmd)
		return cmd
	}
	e.cmdA, e.cmdB = start(0, e.a, "a", e.ifA), start(1, e.b, "b", e.ifB)
	until(t, "Nebula's interfaces", func() bool {
		_, errA := e.a.Run("ip", "link", "show", e.ifA)
		_, errB := e.b.Run("ip", "link", "show", e.ifB)
		return errA == nil && errB == nil
	})
	time.Sleep(300 * time.Millisecond) // until both listen; a first handshake that is lost costs seconds
	return e
}

// TestNebulaCarriesForTheBench keeps the peer's row honest where it is built.
func TestNebulaCarriesForTheBench(t *testing.T) {
	need.File(t, "Nebula, built by `make dataplane-peers`", filepath.Join("..", "..", "bin", "nebula-cert"))
	program, _ := built(t, "nebula")
	certifier, _ := built(t, "nebula-cert")
	e := connectNebula(t, program, certifier)
	defer e.stop()
	e.echo(t)
	if err := e.cmdA.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("it has ended: %v", err)
	}
}
