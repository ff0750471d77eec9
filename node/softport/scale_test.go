package softport

import (
	"bufio"
	"crypto/ecdh"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"dssn/dataplane/nstest"
	"dssn/internal/goal"
	"dssn/internal/need"
)

func TestTenThousandPeersFitAHundredMegabytes(t *testing.T) {
	need.Long(t)
	if used := tenThousandPeers(t); used > 100<<20 {
		t.Errorf("10,000 peers take %d MB", used>>20)
	} else {
		t.Logf("10,000 peers take %d MB", used>>20)
	}
}

// BenchmarkTenThousandPeers is the test's figure as a row beside the others.
func BenchmarkTenThousandPeers(b *testing.B) {
	used := tenThousandPeers(b)
	b.ReportMetric(0, "ns/op")
	goal.Head(os.Stdout)
	goal.Row(os.Stdout, "10,000 peers configured", fmt.Sprintf("%d MB", used>>20), "≤ 100 MB", used <= 100<<20)
}

// tenThousandPeers configures them and returns how many bytes they take.
func tenThousandPeers(t testing.TB) int64 {
	t.Helper()
	n := nstest.New(t)
	const peers = 10_000
	var conf strings.Builder
	fmt.Fprintf(&conf, "private_key=%064x\n", 1<<40)
	for i := range peers {
		var secret [32]byte
		binary.BigEndian.PutUint32(secret[8:], uint32(i+1))
		k, err := ecdh.X25519().NewPrivateKey(secret[:])
		if err != nil {
			t.Fatal(err)
		}
		a := netip.AddrFrom16([16]byte{0x3f, 0xff, 0x0d, 0x55, 12: byte(i >> 24), 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
		fmt.Fprintf(&conf, "public_key=%x\npreshared_key=%064x\nendpoint=[5f00:d55::1]:%d\nallowed_ip=%v/128\n", k.PublicKey().Bytes(), i+1, 1+i%60000, a)
	}
	before := heap()
	var e *Engine
	if err := n.Do(func() (err error) {
		e, err = Open(Options{Interface: "scale0", Plain: true})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Configure(bufio.NewReader(strings.NewReader(conf.String()))); err != nil {
		t.Fatal(err)
	}
	if got := len(e.Peers(nil)); got != peers {
		t.Fatalf("%d peers are configured", got)
	}
	used := int64(heap()) - int64(before)
	runtime.KeepAlive(e)
	return used
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A set request with a mistake anywhere in it changes nothing.
func TestABrokenConfigurationChangesNothing(t *testing.T) {
	n := nstest.New(t)
	var e *Engine
	if err := n.Do(func() (err error) {
		e, err = Open(Options{Interface: "uapi0", Plain: true})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	k, err := ecdh.X25519().NewPrivateKey([]byte("thirty-two bytes of a secret key"))
	if err != nil {
		t.Fatal(err)
	}
	good := fmt.Sprintf("private_key=%064x\npublic_key=%x\nallowed_ip=10.0.0.0/8\nallowed_ip=fd00::/8\n", 1<<40, k.PublicKey().Bytes())
	set := func(text string) error { return e.Configure(bufio.NewReader(strings.NewReader(text))) }
	if err := set(good); err != nil {
		t.Fatal(err)
	}
	before := e.Configuration()
	for _, bad := range []string{
		"private_key=12\n", "listen_port=70000\n", "fwmark=x\n", "replace_peers=yes\n", "no such=1\n", "nothing\n",
		"replace_peers=true\npublic_key=zz\n",
		good + "endpoint=nowhere\n", good + "persistent_keepalive_interval=-1\n", good + "allowed_ip=10.0.0.0/99\n",
		good + "protocol_version=2\n", good + "remove=maybe\n", good + "preshared_key=0\n", good + "colour=red\n",
	} {
		if err := set(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
		if after := e.Configuration(); after != before {
			t.Errorf("%q was refused, yet it changed\n%s\nto\n%s", bad, before, after)
		}
	}
	// And what is right does what it says.
	if err := set(fmt.Sprintf("public_key=%x\nupdate_only=true\nallowed_ip=-10.0.0.0/8\n", k.PublicKey().Bytes())); err != nil {
		t.Fatal(err)
	}
	if got := e.Configuration(); strings.Contains(got, "10.0.0.0/8") || !strings.Contains(got, "fd00::/8") {
		t.Errorf("one prefix was to go:\n%s", got)
	}
	if err := set(fmt.Sprintf("public_key=%x\nremove=true\n", k.PublicKey().Bytes())); err != nil || strings.Contains(e.Configuration(), "public_key") {
		t.Errorf("the peer is still there (%v)", err)
	}
}

func TestAPortThatIsTakenIsNamed(t *testing.T) {
	n := nstest.New(t)
	err := n.Do(func() error {
		a, err := Open(Options{Interface: "port0", Plain: true, ListenPort: 51820})
		if err != nil {
			return err
		}
		defer a.Close()
		b, err := Open(Options{Interface: "port1", Plain: true, ListenPort: 51820})
		if err == nil {
			b.Close()
			t.Error("two engines share a port")
		} else if !strings.Contains(err.Error(), "51820") {
			t.Errorf("the refusal does not name the port: %v", err)
		}
		// The port of a further worker.
		b, err = Open(Options{Interface: "port1", ListenPort: 51819, Ports: []uint16{51820}})
		if err == nil {
			b.Close()
			t.Error("two engines share a port")
		} else if !strings.Contains(err.Error(), "bind UDP port 51820: address already in use") {
			t.Errorf("the refusal of a worker's port: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add("private_key=00\nlisten_port=1\n")
	f.Add("public_key=" + strings.Repeat("01", 32) + "\nendpoint=[::1]:1\nallowed_ip=-::/0\nreplace_allowed_ips=true\n")
	f.Fuzz(func(t *testing.T, text string) {
		var c change
		for line := range strings.Lines(text) {
			name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			if !ok || c.line(name, value) != nil {
				return
			}
		}
		for _, p := range c.peers {
			for _, a := range p.ips {
				if !a.prefix.IsValid() {
					t.Fatalf("an invalid prefix was accepted from %q", text)
				}
			}
		}
	})
}
