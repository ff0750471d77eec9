package softport

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dssn/internal/guest"
	"dssn/internal/need"
)

// TestKernelWireGuardInAGuest runs TestInTheGuest in an emulated machine whose kernel has
// WireGuard, as this one need not.
func TestKernelWireGuardInAGuest(t *testing.T) {
	need.Long(t)
	t.Setenv("CGO_ENABLED", "0") // for the guest, which has no C library
	guest.Machine{
		Modules: []string{"veth", "tun", "wireguard"}, Programs: []string{"ip", "wg", wireguardGo(t).path},
		Jumps: true, MiB: 768, Limit: 8 * time.Minute,
	}.Run(t)
}

// swapped is the same two ends seen from the other one.
func (e *ends) swapped() *ends {
	return &ends{a: e.b, b: e.a, ifA: e.ifB, ifB: e.ifA, cmdA: e.cmdB, cmdB: e.cmdA, far: "fd01::1", keyA: e.keyB, keyB: e.keyA}
}

// show asks wg at A about B.
func (e *ends) show(t *testing.T, what string) string {
	t.Helper()
	out, err := e.a.Run("wg", "show", e.ifA, what)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		if answer, ok := strings.CutPrefix(line, e.keyB+"\t"); ok {
			return strings.TrimSpace(answer)
		}
	}
	t.Fatalf("wg show says nothing of %s: %s", e.keyB, out)
	return ""
}

// setPSK gives A another pre-shared key with its peer.
func (e *ends) setPSK(t *testing.T, key string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "psk")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := e.a.Run("wg", "set", e.ifA, "peer", e.keyB, "preshared-key", file); err != nil {
		t.Fatal(err)
	}
}

// answers reports how many of n probes, one a second, came back.
func (e *ends) answers(t *testing.T, n int) (got int) {
	t.Helper()
	p := e.newPinger(t)
	defer p.close()
	for range n {
		began := time.Now()
		if _, ok := p.once(time.Second); ok {
			got++
		}
		time.Sleep(time.Until(began.Add(time.Second)))
	}
	return got
}

// TestInTheGuest is our engine opposite the kernel's WireGuard and opposite wireguard-go, each
// beginning in turn: PSK, data both ways, rekeying, roaming; also where the peer is the second worker's. It
// takes minutes by the guest's clock.
func TestInTheGuest(t *testing.T) {
	guest.Need(t)
	ours, kernel, wireguardGo := ourselves(t, "chacha"), daemon{}, daemon{path: "/bin/wireguard-go"}
	for name, x := range map[string][2]daemon{
		"ours begins": {ours, kernel}, "the kernel begins": {kernel, ours}, "three workers": {ourselves(t, "workers 3"), kernel},
		"ours and wireguard-go": {ours, wireguardGo}, "wireguard-go and ours": {wireguardGo, ours},
	} {
		t.Run(name, func(t *testing.T) {
			e := connect(t, x[0], x[1])
			defer e.stop()
			there := e.swapped()
			e.echo(t)
			there.echo(t)
			transfer(t, e.a, e.b, "fd01::2", 1<<20)
			transfer(t, e.b, e.a, "fd01::1", 1<<20)

			// Two minutes old, a session is replaced by the side that began it; nothing is lost.
			first := e.show(t, "latest-handshakes")
			if got := e.answers(t, 130); got != 130 {
				t.Errorf("of 130 probes while the session was replaced %d came back", got)
			}
			if now := e.show(t, "latest-handshakes"); now == first {
				t.Errorf("after 130 s no new handshake since %s", first)
			}

			// Each side takes another port, and another address, and is followed.
			for _, side := range []*ends{e, there} {
				other := side.swapped()
				if _, err := side.a.Run("wg", "set", side.ifA, "listen-port", "51999"); err != nil {
					t.Fatal(err)
				}
				side.echo(t)
				if at := other.show(t, "endpoints"); !strings.HasSuffix(at, "]:51999") {
					t.Errorf("%s changed its port; the other side looks for it at %s", side.ifA, at)
				}
				here := map[*ends]string{e: "fd00::1", there: "fd00::2"}[side]
				side.a.IP(t, "addr add "+here+"1/64 dev wan nodad")
				side.a.IP(t, "addr del "+here+"/64 dev wan")
				side.echo(t)
				if at := other.show(t, "endpoints"); at != "["+here+"1]:51999" {
					t.Errorf("%s moved to %s1; the other side looks for it at %s", side.ifA, here, at)
				}
			}

			if name == "three workers" {
				return
			}
			// With different pre-shared keys the session ends after three minutes, and
			// there is no other until the keys agree again.
			good, other := e.show(t, "preshared-keys"), strings.Repeat("A", 40)+"AAI="
			e.setPSK(t, other)
			time.Sleep(190 * time.Second)
			before := e.show(t, "latest-handshakes")
			if got := e.answers(t, 10) + there.answers(t, 10); got != 0 {
				t.Errorf("with different pre-shared keys %d probes came back", got)
			}
			if now := e.show(t, "latest-handshakes"); now != before {
				t.Errorf("with different pre-shared keys a session was agreed on")
			}
			e.setPSK(t, good)
			there.echo(t)
			e.echo(t)
		})
	}
}
