package path

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"dssn"
	"dssn/internal/need"
	"dssn/perf/stamp"
	"dssn/xdp/xdptest"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

func TestTheHopThatLosesIsNamed(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	wrong := 0
	for range 300 {
		share := []float64{0, 0, 0.05, 0, 0.2}
		var to []Loss
		for k := range share {
			l := Loss{Sent: 2000}
			for range l.Sent {
				for _, p := range share[:k+1] {
					if r.Float64() < p {
						l.Lost++
						break
					}
				}
			}
			to = append(to, l)
		}
		for k, s := range Locate(to) {
			if s.Loses != (share[k] > 0) || !s.Holds(share[k]) {
				wrong++
			}
		}
	}
	if wrong > 8 { // 0.1 % of 1500 intervals, and then some
		t.Errorf("%d of 1500 segments were judged wrongly", wrong)
	}
}

func TestNothingBeyondACut(t *testing.T) {
	o := &Outcome{Segments: Locate([]Loss{{100, 0}, {100, 100}, {100, 100}})}
	for _, n := range []string{"b", "c", "d"} {
		o.Hops = append(o.Hops, HopOutcome{Hop: Hop{Name: n}, Reflects: true})
	}
	if v := o.Verdicts("a"); len(v) != 1 || v[0] != "nothing passes from b to c" {
		t.Errorf("verdicts %q", v)
	}
}

func TestCarriersLeadThePathsOwnWay(t *testing.T) {
	hops := []Hop{{"a", 0x11}, {"b", 0x12}, {"c", 0x13}, {"d", 0x14}}
	via := func(s ...dssn.SID) dssn.Carrier {
		c, err := dssn.NewCarrier(dssn.LabBlock, s...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct {
		whole dssn.Carrier
		want  []dssn.Carrier
	}{
		{dssn.Carrier{}, []dssn.Carrier{via(0x11), via(0x11, 0x12), via(0x11, 0x12, 0x13), via(0x11, 0x12, 0x13, 0x14)}},
		{via(0x12, 0x14), []dssn.Carrier{via(0x11), via(0x11, 0x12), via(0x12, 0x13), via(0x12, 0x14)}},
		{via(0x14), []dssn.Carrier{via(0x11), via(0x11, 0x12), via(0x12, 0x13), via(0x13, 0x14)}},
	} {
		got, err := Carriers(dssn.LabBlock, hops, c.whole)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("path %v, hop %d: %v, want %v", c.whole, i+1, got[i], c.want[i])
			}
		}
	}
	long := make([]Hop, 8)
	for i := range long {
		long[i] = Hop{"x", dssn.SID(i + 1)}
	}
	if _, err := Carriers(dssn.LabBlock, long, dssn.Carrier{}); err == nil || !strings.Contains(err.Error(), "waypoints") {
		t.Errorf("eight segments: %v", err)
	}
}

func TestPacketsAreValidWhereTheyEnd(t *testing.T) {
	src, wire, final := netip.MustParseAddr("5f00:d55:1::"), netip.MustParseAddr("5f00:d55:2:3::"), netip.MustParseAddr("5f00:d55:3::")
	for size := range 40 {
		for next, body := range map[byte][]byte{protoUDP: udp(9, 862, make([]byte, size)), protoICMPv6: echo(5, 6, 8+size)} {
			check := map[byte]int{protoUDP: 6, protoICMPv6: 2}[next]
			b := appendIPv6(nil, src, wire, final, next, body, check)
			if netip.AddrFrom16([16]byte(b[24:40])) != wire {
				t.Fatal("it does not go to the carrier")
			}
			copy(b[24:], final.AsSlice()) // as the last node shifts it
			p := gopacket.NewPacket(b, layers.LayerTypeIPv6, gopacket.Default)
			if p.ErrorLayer() != nil {
				t.Fatal(p.ErrorLayer().Error())
			}
			var list []gopacket.SerializableLayer
			ip := p.NetworkLayer().(*layers.IPv6)
			list = append(list, ip)
			if u, ok := p.TransportLayer().(*layers.UDP); ok {
				u.SetNetworkLayerForChecksum(ip)
				list = append(list, u, gopacket.Payload(u.Payload))
			} else {
				l := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
				l.SetNetworkLayerForChecksum(ip)
				list = append(list, l, gopacket.Payload(l.Payload))
			}
			out := gopacket.NewSerializeBuffer()
			if err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, list...); err != nil {
				t.Fatal(err)
			}
			if string(out.Bytes()) != string(b) {
				t.Fatalf("protocol %d, %d bytes\n got %x\nwant %x", next, size, b, out.Bytes())
			}
		}
	}
}

// TestAChainOfNodesIsMeasuredHopByHop builds a — b — c — d, where b and c shift
// carriers in the kernel, reflects at b and d, and cuts the link to d.
func TestAChainOfNodesIsMeasuredHopByHop(t *testing.T) {
	need.Root(t)
	need.Tool(t, "ip")
	names := []string{"a", "b", "c", "d"}
	nodes := make([]*xdptest.Netns, len(names))
	right := func(i int) string { return names[i] + "-right" }
	left := func(i int) string { return names[i] + "-left" }
	own := func(i int) string { return dssn.SID(0x11 + i).Node(dssn.LabBlock).String() }
	for i := range nodes {
		nodes[i] = xdptest.NewNetns(t)
		for _, s := range []string{"net/ipv6/conf/all/forwarding", "net/ipv6/conf/all/seg6_enabled", "net/ipv6/conf/default/seg6_enabled"} {
			nodes[i].Sysctl(t, s, "1")
		}
		nodes[i].IP(t, "addr", "add", own(i)+"/128", "dev", "lo")
	}
	for i := range names[1:] {
		xdptest.Veth(t, nodes[i], right(i), nodes[i+1], left(i+1))
		nodes[i].IP(t, "addr", "add", "fe80::1/64", "dev", right(i), "nodad")
		nodes[i+1].IP(t, "addr", "add", "fe80::2/64", "dev", left(i+1), "nodad")
	}
	for i := range nodes {
		for j := range nodes {
			locator := dssn.SID(0x11 + j).Locator(dssn.LabBlock).String()
			switch {
			case j > i:
				nodes[i].IP(t, "route", "add", locator, "via", "fe80::2", "dev", right(i), "src", own(i))
			case j < i:
				nodes[i].IP(t, "route", "add", locator, "via", "fe80::1", "dev", left(i), "src", own(i))
			}
		}
		locator := dssn.SID(0x11 + i).Locator(dssn.LabBlock).String()
		if err := nodes[i].Try("ip", "-6", "route", "add", "local", locator, "encap", "seg6local", "action", "End", "flavors", "next-csid", "lblen", "32", "nflen", "16", "dev", "lo"); err != nil {
			need.Kernel(t, "seg6local End with next-csid", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	reflected := make(chan error, 2)
	for _, i := range []int{1, 3} {
		ready := make(chan struct{})
		go nodes[i].Do(t, func() error {
			_, err := stamp.Serve(ctx, stamp.ReflectorOptions{Port: stamp.Port, Stateful: true, OnListen: func(net.Addr) { close(ready) }})
			reflected <- err
			return nil
		})
		<-ready
	}
	defer func() {
		cancel()
		for range 2 {
			if err := <-reflected; err != nil {
				t.Error(err)
			}
		}
	}()
	measure := func() (out *Outcome) {
		nodes[0].Do(t, func() (err error) {
			out, err = Measure(t.Context(), Options{From: netip.MustParseAddr(own(0)), Block: dssn.LabBlock, Hops: []Hop{{"b", 0x12}, {"c", 0x13}, {"d", 0x14}},
				Count: 100, Interval: 3 * time.Millisecond, Size: 100, Wait: 300 * time.Millisecond})
			return err
		})
		return out
	}
	whole := measure()
	for i, h := range whole.Hops {
		if h.Loss.Lost != 0 || h.Back.Lost != 0 || h.RoundTrip.Count() != 100 || h.Reflects != (i != 1) {
			t.Errorf("hop %s: lost %+v there and %+v back, %d answers, reflects %v", h.Name, h.Loss, h.Back, h.RoundTrip.Count(), h.Reflects)
		}
	}
	r := whole.Result([]string{"dssn"}, "a")
	if err := r.Check(); err != nil || !r.Verdict.Pass {
		t.Errorf("%v, verdict %+v", err, r.Verdict)
	}
	nodes[3].IP(t, "link", "set", left(3), "down")
	cut := measure()
	if v := cut.Verdicts("a"); len(v) != 1 || !strings.HasPrefix(v[0], "nothing passes from c to d") {
		t.Errorf("with the link to d cut: %q", v)
	}
	if r := cut.Result([]string{"dssn"}, "a"); r.Check() != nil || r.Verdict.Pass {
		t.Errorf("verdict %+v, %v", r.Verdict, r.Check())
	}
}

func TestAbsurdOptionsAreRefused(t *testing.T) {
	for want, o := range map[string]Options{
		"no hops": {}, "probes for each hop": {Hops: []Hop{{"x", 1}}}, "between probes": {Hops: []Hop{{"x", 1}}, Count: 1}, "probes of": {Hops: []Hop{{"x", 1}}, Count: 1, Interval: time.Second, Size: -1},
	} {
		if _, err := Measure(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
}

func FuzzParseEcho(f *testing.F) {
	f.Add([]byte{echoReply, 0, 0, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, sequence, ok := parseEcho(b); ok {
			want := echo(id, sequence, len(b))
			if want[4] != b[4] || want[7] != b[7] {
				t.Fatalf("%d %d of %x", id, sequence, b)
			}
		}
	})
}
