package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dssn/dataplane/nstest"
	"dssn/internal/need"
)

// An existing configuration, wg-quick and wg: up, reloaded, saved, down. The other
// end is wireguard-go where it is installed.
func TestWgQuickBringsItUpAndDown(t *testing.T) {
	need.Root(t)
	need.Tool(t, "wg")
	quick, ping := need.Tool(t, "wg-quick"), need.Tool(t, "ping")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ours := filepath.Join(dir, "dssn-wg")
	if err := os.Symlink(self, ours); err != nil {
		t.Fatal(err)
	}
	theirs := "wireguard-go"
	if _, err := os.Stat("/usr/bin/wireguard-go"); err != nil {
		theirs = ours
	}
	var private, public [2]string
	for i := range private {
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		private[i] = base64.StdEncoding.EncodeToString(k.Bytes())
		public[i] = base64.StdEncoding.EncodeToString(k.PublicKey().Bytes())
	}
	var ns [2]*nstest.Namespace
	ns[0], ns[1] = nstest.Pair(t, "192.0.2.1/24", "192.0.2.2/24")
	var name, conf [2]string
	run := func(i int, program string, args ...string) string {
		t.Helper()
		words := append([]string{"WG_QUICK_USERSPACE_IMPLEMENTATION=" + []string{ours, theirs}[i], program}, args...)
		out, err := ns[i].Run("env", words...)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return out
	}
	for i := range ns {
		name[i] = fmt.Sprintf("wq%dx%d", os.Getpid(), i)
		conf[i] = filepath.Join(dir, name[i]+".conf")
		text := fmt.Sprintf(`# An ordinary configuration.
[Interface]
PrivateKey = %s
Address = 10.77.0.%d/24, fd77::%d/64
ListenPort = 51820
FwMark = 0x77
PostUp = touch %s/up%d
PostDown = touch %s/down%d

[Peer]
PublicKey = %s
AllowedIPs = 10.77.0.%d/32, fd77::%d/128, 198.51.100.0/24
Endpoint = 192.0.2.%d:51820
PersistentKeepalive = 25
`, private[i], i+1, i+1, dir, i, dir, i, public[1-i], 2-i, 2-i, 2-i)
		if err := os.WriteFile(conf[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		sock := "/var/run/wireguard/" + name[i] + ".sock"
		t.Cleanup(func() { os.Remove(sock) })
		run(i, quick, "up", conf[i])
	}
	for i, address := range []string{"10.77.0.2", "fd77::1"} {
		if out, err := ns[i].Run(ping, "-c3", "-W3", address); err != nil {
			t.Fatalf("end %d does not reach %s: %v %s", i, address, err, out)
		}
	}
	show := run(0, "wg", "show", name[0])
	for _, want := range []string{"listening port: 51820", "fwmark: 0x77", "endpoint: 192.0.2.2:51820", "latest handshake", "persistent keepalive: every 25 seconds", "198.51.100.0/24"} {
		if !strings.Contains(show, want) {
			t.Errorf("wg show does not say %q:\n%s", want, show)
		}
	}
	if out := run(0, "ip", "-o", "link", "show", name[0]); !strings.Contains(out, "mtu 1420") {
		t.Errorf("wg-quick chose another MTU: %s", out)
	}
	if out := run(0, "ip", "route", "show", "198.51.100.0/24"); !strings.Contains(out, name[0]) {
		t.Errorf("no route for the peer's prefix: %q", out)
	}
	// A changed file is taken over without a break.
	text, _ := os.ReadFile(conf[0])
	if err := os.WriteFile(conf[0], []byte(strings.Replace(string(text), "198.51.100.0/24", "203.0.113.0/24", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	stripped := filepath.Join(dir, "stripped")
	if err := os.WriteFile(stripped, []byte(run(0, quick, "strip", conf[0])), 0o600); err != nil {
		t.Fatal(err)
	}
	run(0, "wg", "syncconf", name[0], stripped)
	if show := run(0, "wg", "show", name[0], "allowed-ips"); !strings.Contains(show, "203.0.113.0/24") || strings.Contains(show, "198.51.100.0/24") {
		t.Errorf("after syncconf: %s", show)
	}
	if out, err := ns[0].Run(ping, "-c1", "-W3", "10.77.0.2"); err != nil {
		t.Errorf("after syncconf: %v %s", err, out)
	}
	run(0, quick, "save", conf[0])
	if text, _ := os.ReadFile(conf[0]); !strings.Contains(string(text), "203.0.113.0/24") || !strings.Contains(string(text), private[0]) {
		t.Errorf("saved:\n%s", text)
	}
	for i := range ns {
		run(i, quick, "down", conf[i])
		for _, mark := range []string{"up", "down"} {
			if _, err := os.Stat(filepath.Join(dir, fmt.Sprint(mark, i))); err != nil {
				t.Errorf("Post%s was not run: %v", mark, err)
			}
		}
		if out, err := ns[i].Run("ip", "link", "show", name[i]); err == nil {
			t.Errorf("left behind: %s", out)
		}
	}
	for range 500 {
		if _, err = os.Stat("/var/run/wireguard/" + name[0] + ".sock"); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the configuration socket was left behind")
}
