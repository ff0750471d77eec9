package bgp

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"dssn/controller/northbound"
	"dssn/internal/need"
)

// frr starts Debian's FRR (zebra and bgpd) as the n-th neighbour.
func frr(t *testing.T, n int, networks ...string) (namespace string) {
	t.Helper()
	need.File(t, "the program bgpd of the package frr", "/usr/lib/frr/bgpd")
	namespace = wire(t, n)
	dir := homeOf(t, "frr")
	var own strings.Builder
	for _, p := range networks {
		fmt.Fprintf(&own, "  network %s\n", p)
	}
	conf := filepath.Join(dir, "bgpd.conf")
	text := fmt.Sprintf(`router bgp %d
 bgp router-id 10.0.0.%d
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 bgp graceful-restart
 neighbor fd00:%d::1 remote-as 64512
 neighbor fd00:%d::1 timers 3 9
 neighbor fd00:%d::1 timers connect 1
 address-family ipv6 unicast
  neighbor fd00:%d::1 activate
%s exit-address-family
`, 64512+n, n, n, n, n, n, own.String())
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "zebra.conf")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	common := []string{"-u", "frr", "-g", "frr", "-z", filepath.Join(dir, "zserv"), "--vty_socket", dir, "-P", "0"}
	inside(t, namespace, append([]string{"/usr/lib/frr/zebra", "-f", empty, "-i", filepath.Join(dir, "zebra.pid")}, common...)...)
	for range 500 {
		if _, err := os.Stat(filepath.Join(dir, "zserv")); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	inside(t, namespace, append([]string{"/usr/lib/frr/bgpd", "-f", conf, "-i", filepath.Join(dir, "bgpd.pid")}, common...)...)
	return namespace
}

// homeOf makes a folder that belongs to a user of the system, where that user
// can reach it; it is in the test's own /run.
func homeOf(t *testing.T, name string) string {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/run", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return dir
}

// bird starts Debian's BIRD as the n-th neighbour.
func bird(t *testing.T, n int, networks ...string) (namespace string) {
	t.Helper()
	program := need.Tool(t, "bird")
	namespace = wire(t, n)
	dir := t.TempDir()
	var own strings.Builder
	for _, p := range networks {
		fmt.Fprintf(&own, "  route %s unreachable;\n", p)
	}
	conf := filepath.Join(dir, "bird.conf")
	text := fmt.Sprintf(`router id 10.0.0.%d;
log stderr all;
protocol device { scan time 1; }
protocol direct { ipv6; }
protocol kernel { scan time 1; ipv6 { import none; export where source = RTS_BGP; }; }
protocol static {
  ipv6;
%s}
protocol bgp upstream {
  local fd00:%d::2 as %d;
  neighbor fd00:%d::1 as 64512;
  hold time 9; connect retry time 1; connect delay time 1; error wait time 1, 2;
  graceful restart on;
  ipv6 { import all; export where source = RTS_STATIC; };
}
`, n, own.String(), n, 64512+n, n)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	inside(t, namespace, program, "-f", "-c", conf, "-s", filepath.Join(dir, "bird.ctl"))
	return namespace
}

const twoRouters = `{"format":"dssn-bgp/1","as":64512,"listen":"[::]:179","hold_seconds":9,"restart_seconds":60,"neighbours":[
	{"name":"frr","address":"fd00:1::2","as":64513,"allow":["3fff:d56::/32"]},
	{"name":"bird","address":"fd00:2::2","as":64514,"allow":["3fff:d57::/32"],"max_prefixes":3}]}`

const region = "3fff:d55:1::/48"

// TestStockRoutersAndTheDomainLearnEachOthersRegions: FRR and BIRD take our
// region into their kernels, and we take from them what they are allowed.
func TestStockRoutersAndTheDomainLearnEachOthersRegions(t *testing.T) {
	need.Root(t)
	f := frr(t, 1, "3fff:d56:1::/48", "3fff:d56:2::/48", "3fff:d57:9::/48", "3fff:d56:1:7::/64", "3fff:d55:99::/48")
	b := bird(t, 2, "3fff:d57:1::/48", "3fff:dead::/48")
	d := speak(t, twoRouters)
	s := d.until("both neighbours are known", func(s northbound.BGP) bool {
		return learned(s, "3fff:d56:1::/48") != nil && learned(s, "3fff:d56:2::/48") != nil && learned(s, "3fff:d57:1::/48") != nil && len(s.Refused) == 4
	})
	for prefix, want := range map[string]string{"3fff:d56:1::/48": "frr fd00:1::2 [64513]", "3fff:d57:1::/48": "bird fd00:2::2 [64514]"} {
		if r := learned(s, prefix); fmt.Sprint(r.Neighbour, " ", r.NextHop, " ", r.Path) != want || r.Stale || r.Since.IsZero() {
			t.Errorf("%s was learned as %+v, want %s", prefix, r, want)
		}
	}
	for prefix, want := range map[string]string{"3fff:d57:9::/48": "outside", "3fff:d56:1:7::/64": "longer", "3fff:d55:99::/48": "outside", "3fff:dead::/48": "outside"} {
		if why := refused(s, prefix); !strings.Contains(why, want) || learned(s, prefix) != nil {
			t.Errorf("%s was refused with %q, want %q; learned: %v", prefix, why, want, learned(s, prefix))
		}
	}
	for namespace, via := range map[string]string{f: "fd00:1::1", b: "fd00:2::1"} {
		d.until(namespace+" has our region in its kernel", func(northbound.BGP) bool { return strings.Contains(routesIn(t, namespace, region), "dev uplink") })
		if r := routesIn(t, namespace, region); !strings.Contains(r, via) && !strings.Contains(r, "fe80::") {
			t.Errorf("%s has our region as %q, want it by way of us", namespace, r)
		}
		// No transit: what one neighbour says is not told to the other.
		for _, other := range []string{"3fff:d56:1::/48", "3fff:d57:1::/48"} {
			if r := routesIn(t, namespace, other); strings.Contains(r, via) {
				t.Errorf("%s learned %s from us: %s", namespace, other, r)
			}
		}
	}
	// A new region appears, and goes again.
	d.Announce(Regions(append([]prefix{}, must(region), must("3fff:d55:2::/48"))))
	for namespace := range map[string]bool{f: true, b: true} {
		d.until(namespace+" has the new region", func(northbound.BGP) bool { return routesIn(t, namespace, "3fff:d55:2::/48") != "" })
	}
	d.Announce(Regions([]prefix{must(region)}))
	for namespace := range map[string]bool{f: true, b: true} {
		d.until(namespace+" has lost it", func(northbound.BGP) bool { return routesIn(t, namespace, "3fff:d55:2::/48") == "" })
	}
}

// TestRoutersKeepTheRegionsWhileTheSpeakerIsAway kills the speaker's process: to
// FRR and BIRD it is a graceful restart, so that no packet is lost for it.
func TestRoutersKeepTheRegionsWhileTheSpeakerIsAway(t *testing.T) {
	need.Root(t)
	need.Long(t)
	f, b := frr(t, 1, "3fff:d56:1::/48"), bird(t, 2, "3fff:d57:1::/48")
	d := speak(t, twoRouters)
	d.until("both are established", established("frr", "bird"))
	for _, namespace := range []string{f, b} {
		d.until(namespace+" has our region", func(northbound.BGP) bool { return routesIn(t, namespace, region) != "" })
	}
	looked := 0
	kept := func() {
		looked++
		for _, namespace := range []string{f, b} {
			if routesIn(t, namespace, region) == "" {
				t.Fatalf("%s has lost our region after %d looks", namespace, looked)
			}
		}
	}
	d.kill()
	s := d.until("both are established again", func(s northbound.BGP) bool { kept(); return s.Restarts == 1 && established("frr", "bird")(s) })
	if !strings.Contains(s.Fault, "killed") {
		t.Errorf("the fault is %q, want it to say that the process was killed", s.Fault)
	}
	// Past the End-of-RIB and the neighbours' timers for stale routes nothing has changed.
	d.until("everything is learned again", func(s northbound.BGP) bool {
		kept()
		return learned(s, "3fff:d56:1::/48") != nil && learned(s, "3fff:d57:1::/48") != nil
	})
	for end := time.Now().Add(deferral + 5*time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		kept() // until the deferral timer is over, whatever happened to it
	}
}

// TestANeighbourThatAnnouncesTooMuchIsShut: BIRD may announce three prefixes.
func TestANeighbourThatAnnouncesTooMuchIsShut(t *testing.T) {
	need.Root(t)
	bird(t, 2, "3fff:d57:1::/48", "3fff:d57:2::/48", "3fff:d57:3::/48", "3fff:d57:4::/48")
	d := speak(t, twoRouters)
	s := d.until("bird is shut", func(s northbound.BGP) bool { return len(s.Neighbours) == 2 && s.Neighbours[1].State == "shut" })
	if len(s.Routes) != 0 {
		d.until("nothing of it is left", func(s northbound.BGP) bool { return len(s.Routes) == 0 })
	}
}
