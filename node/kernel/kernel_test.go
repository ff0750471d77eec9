package kernel

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dssn/dataplane/nstest"
	"dssn/internal/need"
)

var prefix = netip.MustParsePrefix

func examplePlan() *Plan {
	p := &Plan{
		Addresses: []Address{{"lo", prefix("5f00:d55:11::/128")}},
		Routes: []Route{
			{Prefix: prefix("5f00:d55:11::/48"), Metric: MetricPrimary, Kind: End, Interface: "lo"},
			{Prefix: prefix("5f00:d55:12::/48"), Metric: MetricPrimary, Interface: "one", Via: netip.MustParseAddr("fe80::12"), Source: netip.MustParseAddr("5f00:d55:11::")},
			{Prefix: prefix("5f00:d55:12::/48"), Metric: MetricBackup, Interface: "two", Via: netip.MustParseAddr("fe80::13")},
			{Prefix: prefix("3fff:d55:12:7:2911:9a3e:41c7:8d2/128"), Metric: MetricPrimary, Kind: Local, Interface: "lo"},
			{Prefix: prefix("3fff:d55::/32"), Metric: MetricPrimary, Kind: Unreachable, Interface: "lo"},
		},
		Settings: []Setting{{"net/ipv6/conf/all/forwarding", "1"}},
	}
	p.Sort()
	return p
}

// twoLinks makes a namespace with two veths whose far ends are inside it too.
func twoLinks(t *testing.T) *nstest.Namespace {
	n := nstest.New(t)
	for _, l := range []string{"one", "two"} {
		n.IP(t, "link add "+l+" type veth peer name "+l+"-far")
		n.IP(t, "link set "+l+" up")
		n.IP(t, "link set "+l+"-far up")
	}
	return n
}

func inside(t *testing.T, n *nstest.Namespace, priors string, f func(*Host) error) {
	t.Helper()
	err := n.Do(func() error {
		k, err := Open(priors)
		if err != nil {
			return err
		}
		defer k.Close()
		return f(k)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRealiseDoesExactlyTheDifference(t *testing.T) {
	n := twoLinks(t)
	inside(t, n, "", func(k *Host) error {
		want := examplePlan()
		c, err := k.Realise(want)
		if err != nil {
			return err
		}
		if len(c.SetRoutes) != 5 || len(c.AddAddresses) != 1 || len(c.RemoveRoutes)+len(c.RemoveAddresses) != 0 {
			t.Errorf("the first realisation did %+v", c)
		}
		have, err := k.Present()
		if err != nil {
			return err
		}
		if d := cmp.Diff(&Plan{Addresses: want.Addresses, Routes: want.Routes}, have, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
			t.Errorf("present after realising (-want +got):\n%s", d)
		}
		if c, err = k.Realise(want); err != nil || !c.Empty() {
			t.Errorf("realising the same again did %+v, %v; want nothing", c, err)
		}

		// One route moves, one goes, one comes.
		want.Routes = slices.DeleteFunc(want.Routes, func(r Route) bool { return r.Kind == Local })
		for i := range want.Routes {
			if want.Routes[i].Metric == MetricBackup {
				want.Routes[i].Via = netip.MustParseAddr("fe80::14")
			}
		}
		want.Routes = append(want.Routes, Route{Prefix: prefix("5f00:d55:21::/48"), Metric: MetricPrimary, Interface: "two", Via: netip.MustParseAddr("fe80::13")})
		want.Sort()
		c, err = k.Realise(want)
		if err != nil {
			return err
		}
		if len(c.SetRoutes) != 2 || len(c.RemoveRoutes) != 1 || len(c.AddAddresses)+len(c.RemoveAddresses) != 0 {
			t.Errorf("the change did %+v, want two routes set and one removed", c)
		}
		return nil
	})
}

func TestRoutesOfADeadLinkComeBackWithIt(t *testing.T) {
	n := twoLinks(t)
	inside(t, n, "", func(k *Host) error {
		want := examplePlan()
		if _, err := k.Realise(want); err != nil {
			return err
		}
		n.IP(t, "link set one down")
		have, err := k.Present()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(have.Routes, func(r Route) bool { return r.Interface == "one" }) {
			t.Error("the routes of a link that is down are still there")
		}
		if !slices.ContainsFunc(have.Routes, func(r Route) bool { return r.Kind == End }) {
			t.Error("the End route went with a link")
		}
		n.IP(t, "link set one up")
		c, err := k.Realise(want)
		if err != nil {
			return err
		}
		if len(c.SetRoutes) != 1 {
			t.Errorf("after the link came back: %+v, want one route set", c)
		}
		return nil
	})
}

func TestRemoveFindsWhatAKilledProcessLeft(t *testing.T) {
	n := twoLinks(t)
	priors := filepath.Join(t.TempDir(), "settings.json")
	snapshot := func() string {
		r, err := n.Run("ip", "-6", "route", "show", "table", "all")
		if err != nil {
			t.Fatal(err)
		}
		a, err := n.Run("ip", "-6", "-o", "addr", "show")
		if err != nil {
			t.Fatal(err)
		}
		f, err := n.Run("cat", "/proc/sys/net/ipv6/conf/all/forwarding", "/proc/sys/net/ipv6/conf/one/forwarding")
		if err != nil {
			t.Fatal(err)
		}
		// Turning forwarding on and off again adds and removes the all-routers
		// groups, in another order: compare as sets of lines.
		// What it does by itself for link-local addresses may come a moment late.
		lines := slices.DeleteFunc(strings.Split(r+a+f, "\n"), func(l string) bool {
			return strings.Contains(l, "fe80:") || strings.Contains(l, "ff00::")
		})
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	n.IP(t, "-6 route add 5f00:d55:99::/48 dev one")
	before := snapshot()
	inside(t, n, priors, func(k *Host) error { _, err := k.Realise(examplePlan()); return err })
	if snapshot() == before {
		t.Fatal("realising changed nothing")
	}
	// Another process, which knows only the file and the kernel.
	inside(t, n, priors, func(k *Host) error { return k.Remove() })
	if d := cmp.Diff(before, snapshot()); d != "" {
		t.Errorf("after Remove (-before +after):\n%s", d)
	}
	if _, err := os.Stat(priors); !os.IsNotExist(err) {
		t.Errorf("the file of earlier settings is still there: %v", err)
	}
}

func TestOneImpossibleRouteKeepsNoOtherOut(t *testing.T) {
	n := twoLinks(t)
	inside(t, n, "", func(k *Host) error {
		want := examplePlan()
		want.Routes = append(want.Routes, Route{Prefix: prefix("5f00:d55:77::/48"), Metric: MetricPrimary, Interface: "nowhere", Via: netip.MustParseAddr("fe80::1")})
		want.Sort()
		_, err := k.Realise(want)
		if err == nil || !strings.Contains(err.Error(), "5f00:d55:77::/48 on nowhere") {
			t.Errorf("the error %v does not name the impossible route", err)
		}
		have, err := k.Present()
		if err != nil {
			return err
		}
		if len(have.Routes) != 5 {
			t.Errorf("%d routes present, want the five possible ones", len(have.Routes))
		}
		return nil
	})
}

func TestProbeLeavesNothing(t *testing.T) {
	n := nstest.New(t)
	inside(t, n, "", func(k *Host) error {
		need.Kernel(t, "seg6local next-csid", k.ProbeNextCSID())
		have, err := k.Present()
		if err != nil {
			return err
		}
		if len(have.Routes) != 0 {
			t.Errorf("the probe left %+v", have.Routes)
		}
		return nil
	})
}

func TestACarrierIsShiftedAtEveryHub(t *testing.T) {
	// left — hub (11) — right (12, then to itself): the packet's carrier is
	// 11, 12; the hub's End route makes it 12, which the right end holds.
	left, hub := nstest.Pair(t, "fe80::1/64", "fe80::2/64")
	right := nstest.New(t)
	nstest.Join(t, hub, right, "east", "west")
	right.IP(t, "addr add fe80::4/64 dev west nodad")
	inside(t, hub, "", func(k *Host) error {
		need.Kernel(t, "seg6local next-csid", k.ProbeNextCSID())
		_, err := k.Realise(&Plan{
			Addresses: []Address{{"lo", prefix("5f00:d55:11::/128")}},
			Routes: []Route{
				{Prefix: prefix("5f00:d55:11::/48"), Metric: MetricPrimary, Kind: End, Interface: "lo"},
				{Prefix: prefix("5f00:d55:12::/48"), Metric: MetricPrimary, Interface: "east", Via: netip.MustParseAddr("fe80::4")},
			},
			Settings: []Setting{{"net/ipv6/conf/all/forwarding", "1"}},
		})
		return err
	})
	inside(t, left, "", func(k *Host) error {
		_, err := k.Realise(&Plan{
			Addresses: []Address{{"lo", prefix("5f00:d55:a::/128")}},
			Routes:    []Route{{Prefix: prefix("5f00:d55::/32"), Metric: MetricPrimary, Interface: "wan", Via: netip.MustParseAddr("fe80::2"), Source: netip.MustParseAddr("5f00:d55:a::")}},
		})
		return err
	})
	inside(t, right, "", func(k *Host) error {
		_, err := k.Realise(&Plan{Addresses: []Address{{"lo", prefix("5f00:d55:12::/128")}}})
		return err
	})
	got := listenUDP(t, right, 4000)
	// The first packets may come before neighbours have found each other.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		sendUDP(t, left, "[5f00:d55:11:12::]:4000", "shifted")
		select {
		case text := <-got:
			if text != "shifted from 5f00:d55:a::" {
				t.Errorf("received %q", text)
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Error("no packet arrived")
}

func TestLinksAreSeenComingAndGoing(t *testing.T) {
	n := twoLinks(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := make(chan Link, 100)
	err := n.Do(func() error {
		return WatchLinks(ctx, func(l Link) { events <- l }, func(err error) { t.Errorf("broken: %v", err) })
	})
	if err != nil {
		t.Fatal(err)
	}
	wait := func(what string, ok func(Link) bool) {
		t.Helper()
		deadline := time.After(5 * time.Second)
		for {
			select {
			case l := <-events:
				if ok(l) {
					return
				}
			case <-deadline:
				t.Fatalf("never saw %s", what)
			}
		}
	}
	wait("the link that exists", func(l Link) bool { return l.Name == "one" && l.Up })
	n.IP(t, "link set one-far down")
	wait("the lost carrier", func(l Link) bool { return l.Name == "one" && !l.Up && !l.Gone })
	n.IP(t, "link set one-far up")
	wait("the carrier's return", func(l Link) bool { return l.Name == "one" && l.Up })
	n.IP(t, "link del two")
	wait("the end of a link", func(l Link) bool { return l.Name == "two" && l.Gone })
}

func TestEncapIsWhatItSays(t *testing.T) {
	b, err := nextCSID{}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := (nextCSID{}).Decode(b); err != nil {
		t.Errorf("what was encoded does not decode: %v", err)
	}
	for i := range b {
		c := slices.Clone(b)
		c[i] ^= 0x21
		// Padding means nothing, so bytes 14..16 of 8-bit attributes may differ.
		if (nextCSID{}).Decode(c) == nil && !isPadding(i) {
			t.Errorf("byte %d changed and the route still counts as ours", i)
		}
	}
}

// isPadding says which bytes of the encoding are padding: action (8 bytes),
// the nest's header (4), the mask (8), then twice 5 bytes and 3 of padding.
func isPadding(i int) bool { return i >= 25 && i < 28 || i >= 33 && i < 36 }

func FuzzRouteMessage(f *testing.F) {
	f.Add(make([]byte, 12))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseRoute(b, map[uint32]string{})
		isNextCSID(b)
	})
}
