package lab

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/perf/wire"
	"dssn/topology"
)

const threeInARow = `{"format":"te-topology/1","name":"row","nodes":[{"name":"a"},{"name":"b"},{"name":"c"}],"links":[
{"src":0,"dst":1,"bps":50000000,"latency_us":7000,"wire":"delay=from-latency rate=from-capacity queue=50p seed=5"},
{"src":1,"dst":0,"bps":1000000000,"latency_us":9000},
{"src":1,"dst":2,"bps":1000000000,"latency_us":3000,"wire":"plain"},{"src":2,"dst":1,"bps":1000000000,"latency_us":3000,"wire":"plain"}]}`

func TestTheTopologyAndTheOptionSayHowFibresAreEmulated(t *testing.T) {
	g, err := topology.Read([]byte(threeInARow))
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlan("x", g, []Terminal{{Name: "t", At: "a"}}, 1500, "delay=from-latency,loss=1%,seed=3")
	if err != nil {
		t.Fatal(err)
	}
	w, _ := p.Wire("a-b")
	if len(w.Emulated) != 2 {
		t.Fatalf("a-b is emulated as %q", w.Emulated)
	}
	there, _ := wire.Parse(w.Emulated[0])
	back, _ := wire.Parse(w.Emulated[1])
	if there.Delay != 7*time.Millisecond || there.Rate != 50e6 || there.QueuePackets != 50 || there.Seed != 5 || there.Loss != 0.01 {
		t.Errorf("a>b: %v", there)
	}
	if back.Delay != 9*time.Millisecond || back.Rate != 0 || back.Loss != 0.01 || back.Seed == 3 || back.Seed == 5 {
		t.Errorf("b>a: %v", back)
	}
	for _, name := range []string{"b-c", "t-a"} {
		if w, _ := p.Wire(name); w.Emulated != nil {
			t.Errorf("%s is emulated as %q, not plain", name, w.Emulated)
		}
	}
	if plain, err := NewPlan("x", g, nil, 1500); err != nil || len(plain.emulated()) != 1 {
		t.Errorf("without the option %d wires are emulated (%v), want a-b alone", len(plain.emulated()), err)
	}
	for text, want := range map[string]string{"loss=2": "--wire: loss", "speed=1": "--wire"} {
		if _, err := newPlan("x", g, nil, 1500, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := newPlan("x", g, nil, 9000, "delay=1ms"); err == nil || !strings.Contains(err.Error(), "9000") {
		t.Errorf("an MTU of 9000: %v", err)
	}
}

// ping returns the replies of n pings to the neighbour behind a wire, and the
// least round trip.
func ping(t *testing.T, l *Lab, w Wire, n string) (replies int, least time.Duration) {
	t.Helper()
	far := w.Ends[1]
	var to netip.Addr
	err := until(t.Context(), 5*time.Second, func() (err error) {
		node, _ := l.Plan.Node(far.Node)
		return inNamespace(node.Namespace, func() error {
			to, err = linkLocalOf(far.Interface)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Type(t.Context(), w.Ends[0].Node, "ping", "-c", n, "-i", "0.02", "-W", "1", to.String()+"%"+w.Ends[0].Interface)
	if err != nil {
		t.Fatal(err)
	}
	_, rtt, _ := strings.Cut(got.Out, "min/avg/max/mdev = ")
	first, _, _ := strings.Cut(rtt, "/")
	least, _ = time.ParseDuration(first + "ms")
	return strings.Count(got.Out, "bytes from"), least
}

func linkLocalOf(name string) (netip.Addr, error) {
	out, err := exec.Command("ip", "-6", "-o", "addr", "show", "dev", name, "scope", "link").Output()
	if err != nil {
		return netip.Addr{}, err
	}
	f := strings.Fields(string(out))
	if i := slices.Index(f, "inet6"); i >= 0 && i+1 < len(f) {
		p, err := netip.ParsePrefix(f[i+1])
		return p.Addr(), err
	}
	return netip.Addr{}, exec.ErrNotFound
}

func TestEmulatedWiresDelayCutAndChange(t *testing.T) {
	need.Root(t)
	need.Tool(t, "ping")
	need.Tool(t, "ip")
	leavesNothing(t)
	l, err := Up(Options{ID: "wires", Topology: []byte(threeInARow)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Down() })
	w, _ := l.Plan.Wire("a-b")
	// 7 ms there, as both directions of the option-less b>a are plain... back takes nothing.
	if got, least := ping(t, l, w, "10"); got < 9 || least < 7*time.Millisecond || least > 12*time.Millisecond {
		t.Errorf("%d of 10 replies, at least after %v: want all after 7 ms and a little", got, least)
	}
	was, err := l.SetWire("b>a", "delay=20ms")
	if err != nil {
		t.Fatal(err)
	}
	if got, least := ping(t, l, w, "10"); got < 9 || least < 27*time.Millisecond || least > 40*time.Millisecond {
		t.Errorf("with 20 ms back: %d of 10 replies, at least after %v", got, least)
	}
	if len(was) != 2 || was[1] != "" || !strings.Contains(was[0], "delay=7ms") {
		t.Errorf("the settings before were %q", was)
	}
	if err := l.Cut("a-b"); err != nil {
		t.Fatal(err)
	}
	if err := l.Restore("a-b"); err != nil {
		t.Fatal(err)
	}
	if got, _ := ping(t, l, w, "10"); got < 8 {
		t.Errorf("after cut and restore %d of 10 replies", got)
	}
	if _, err := l.SetWire("a-b", "loss=100%"); err != nil {
		t.Fatal(err)
	}
	if got, _ := ping(t, l, w, "3"); got != 0 {
		t.Errorf("%d replies over a wire that loses everything", got)
	}
	stats, err := l.ReadWires()
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range stats {
		for d, s := range v.Directions {
			c := s.Counters
			if c.In+c.Duplicated != c.Out+c.Lost()+uint64(s.Held) {
				t.Errorf("%s direction %d: %+v with %d held", name, d, c, s.Held)
			}
		}
		if v.Directions[0].Counters.Dropped[wire.Lost] == 0 || v.Modes.XDP != "native" {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if _, err := l.SetWire("b-c", "loss=1%"); err == nil || !strings.Contains(err.Error(), "plain") {
		t.Errorf("a plain link was changed: %v", err)
	}
	if _, err := l.SetWire("a-b", "speed=1"); err == nil {
		t.Error("an unknown setting was taken")
	}
}
