package bench

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime/debug"
	"testing"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"
)

// chain is a node under test between a neighbour that sends and one that receives,
// with a second link to the latter for repairs.
type chain struct {
	gen, dut, end *xdptest.Netns
	// in is the interface under test: a name of its own, because the kernel's
	// polling thread is found by it, and those of earlier ones may still be dying.
	in, out string
}

var chains int

// newChain makes a chain behind the sender's namespace, whose end of the link is the
// interface out.
func newChain(b *testing.B, gen *xdptest.Netns, ipv6 bool) *chain {
	chains++
	c := &chain{gen: gen, dut: xdptest.NewNetns(b), end: xdptest.NewNetns(b), in: fmt.Sprintf("d%dx%d", os.Getpid()%10000, chains), out: fmt.Sprintf("g%d", chains)}
	if !ipv6 {
		c.dut.Quiet(b)
		c.end.Quiet(b)
	}
	xdptest.Veth(b, c.gen, c.out, c.dut, c.in)
	xdptest.Veth(b, c.dut, "d1", c.end, "s1")
	xdptest.Veth(b, c.dut, "d2", c.end, "s2")
	return c
}

// carrier is a frame of the given length: by way of node 2 to node 3, with a flow
// label and EF. Its Ethernet address is carrierMAC, which every chain takes for its own.
func carrier(length int, dst string, label uint32) []byte {
	f := make([]byte, length)
	copy(f, carrierMAC[:])
	copy(f[6:], []byte{2, 0, 0, 0, 0, 1, 0x86, 0xdd})
	binary.BigEndian.PutUint32(f[14:], 6<<28|46<<2<<20|label)
	binary.BigEndian.PutUint16(f[18:], uint16(length-54))
	f[20], f[21] = 17, 64
	copy(f[22:], netip.MustParseAddr("5f00:d55:1::").AsSlice())
	copy(f[38:], netip.MustParseAddr(dst).AsSlice())
	binary.BigEndian.PutUint16(f[56:], 9)
	binary.BigEndian.PutUint16(f[58:], uint16(length-54))
	return f
}

var carrierMAC = xdp.MAC{2, 0, 0, 0, 0, 2}

func (c *chain) hop(b *testing.B, i int) xdp.Adjacency {
	d, s := fmt.Sprintf("d%d", i), fmt.Sprintf("s%d", i)
	return xdp.Adjacency{Ifindex: c.dut.Ifindex(b, d), From: c.dut.MAC(b, d), To: c.end.MAC(b, s), MTU: 1500}
}

// contender makes the chain a row: frames are counted at the far end.
func (c *chain) contender(b *testing.B, name string, buffers bool) contender {
	var sinks []*xdp.Sink
	for _, dev := range []string{"s1", "s2"} {
		c.end.Do(b, func() error {
			s, err := xdp.NewSink(xdp.SinkOptions{Ifindex: c.end.Ifindex(b, dev), IPv6Only: true, PacketBuffers: buffers})
			sinks = append(sinks, s)
			return err
		})
	}
	b.Cleanup(func() {
		for _, s := range sinks {
			s.Close()
		}
	})
	// Only an interface that has a poller already can be given a thread for it.
	sysfs(b, c.dut, c.in, "threaded", "1")
	return contender{name: name, ifindex: c.gen.Ifindex(b, c.out), cpu: pinNAPI(b, c.in), count: func() (n uint64) {
		for _, s := range sinks {
			t, _ := s.Count()
			n += t.Packets
		}
		return n
	}}
}

// transitRow is the program with some of its parts, meeting frames with a flow label.
// The label decides the meter: all chains meet the same frames, so it is set up here.
func transitRow(b *testing.B, gen *xdptest.Netns, name string, o xdp.TransitOptions, meter *xdp.TransitMeter, repair bool) contender {
	c := newChain(b, gen, false)
	o.Block, o.SID = netip.MustParsePrefix("5f00:d55::/32"), 2
	var tr *xdp.Transit
	c.dut.Do(b, func() (err error) {
		if tr, err = xdp.OpenTransit(o); err != nil {
			return err
		}
		if err := tr.SetRoutes([]xdp.TransitRoute{{SID: 3, Via: c.hop(b, 1), Backup: c.hop(b, 2)}}); err != nil {
			return err
		}
		if repair {
			if err := tr.SetUp(c.hop(b, 1), false); err != nil {
				return err
			}
		}
		if meter != nil {
			if err := tr.SetMeters([]xdp.TransitMeter{*meter}); err != nil {
				return err
			}
		}
		_, err = tr.Attach(xdp.IngressOptions{Ifindex: c.dut.Ifindex(b, c.in), MAC: carrierMAC})
		return err
	})
	b.Cleanup(func() { tr.Close() })
	return c.contender(b, name, false)
}

func bareRow(b *testing.B, gen *xdptest.Netns, name string, o xdp.BareOptions) contender {
	c := newChain(b, gen, false)
	var r *xdp.Bare
	c.dut.Do(b, func() (err error) {
		o.From, o.To = c.dut.Ifindex(b, c.in), c.dut.Ifindex(b, "d1")
		r, err = xdp.NewBare(o)
		return err
	})
	b.Cleanup(func() { r.Close() })
	return c.contender(b, name, false)
}

// kernelRow is the kernel's own forwarding of the same frames: with seg6, it shifts
// them like transit; without, it forwards what it takes for a plain destination.
func kernelRow(b *testing.B, gen *xdptest.Netns, name string, seg6 bool) contender {
	c := newChain(b, gen, true)
	c.dut.Sysctl(b, "net/ipv6/conf/all/forwarding", "1")
	c.dut.IP(b, "link", "set", c.in, "address", carrierMAC.String())
	c.dut.IP(b, "addr", "add", "fd00:b::2/64", "dev", "d1", "nodad")
	to := "5f00:d55:2::/48"
	if seg6 {
		to = "5f00:d55:3::/48"
		need.Kernel(b, "seg6local End with next-csid", c.dut.Try("ip", "-6", "route", "add", "5f00:d55:2::/48", "encap", "seg6local",
			"action", "End", "flavors", "next-csid", "lblen", "32", "nflen", "16", "dev", "d1"))
	}
	c.dut.IP(b, "route", "add", to, "via", "fd00:b::3")
	mac := c.end.MAC(b, "s1")
	c.dut.IP(b, "neigh", "add", "fd00:b::3", "lladdr", xdp.MAC(mac).String(), "dev", "d1", "nud", "permanent")
	// So that redirected frames are received: GRO starts the interface's NAPI.
	if err := c.dut.Try("ethtool", "-K", c.in, "gro", "on"); err != nil {
		b.Fatal(err)
	}
	return c.contender(b, name, true)
}

// BenchmarkTransit prints the tables of transit: one iteration is both.
func BenchmarkTransit(b *testing.B) {
	need.Root(b)
	need.Tool(b, "ethtool")
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	off := func(counters, meters, repair bool) xdp.TransitOptions {
		return xdp.TransitOptions{LeaveOut: xdp.TransitParts{Counters: counters, Meters: meters, Repair: repair}}
	}
	const label = 2
	counted := &xdp.TransitMeter{Tag: label, Class: 3, Excess: xdp.ExcessCount}
	policed := &xdp.TransitMeter{Tag: label, Class: 3, BitsPerSecond: 400e9, BurstBytes: 1 << 30}
	for b.Loop() {
		gen := xdptest.NewNetns(b).Quiet(b)
		const bare, addressed, routed, full = "bare devmap redirect, frames untouched", "the same with new Ethernet addresses", "the same by the SID that the frame names", "transit, everything, not metered"
		const srv6, plain = "kernel seg6local End, next-csid", "kernel IPv6 forwarding"
		all := off(false, false, false)
		rows := []contender{
			bareRow(b, gen, bare, xdp.BareOptions{}),
			bareRow(b, gen, addressed, xdp.BareOptions{Addressed: true}),
			bareRow(b, gen, routed, xdp.BareOptions{Routed: true}),
			transitRow(b, gen, "transit, shift and route only", off(true, true, true), nil, false),
			transitRow(b, gen, "… with repair lookup", off(true, true, false), nil, false),
			transitRow(b, gen, "… and counters", off(false, true, false), nil, false),
			transitRow(b, gen, full, all, nil, false),
			transitRow(b, gen, "transit, metered", all, counted, false),
			transitRow(b, gen, "transit, policed", all, policed, false),
			transitRow(b, gen, "transit, by the backup", all, nil, true),
			kernelRow(b, gen, plain, false),
			kernelRow(b, gen, srv6, true),
		}
		for i := range rows {
			switch rows[i].name {
			case full:
				rows[i].goal = "≥ 85 % of bare"
			case plain, srv6:
				rows[i].goal = "≤ 33.3 % (three times)"
			}
		}
		for _, size := range []int{64, 1500} {
			f := newFlood(b, gen, fmt.Sprintf("g%d", chains), carrier(size, "5f00:d55:2:3::", label))
			f.contest(b, gen, fmt.Sprintf("Transit on veth, one core, frames of %d B", size), rows, func(name string) []string {
				switch name {
				case bare, addressed, routed:
					return []string{bare}
				case plain, srv6:
					return []string{full}
				}
				return []string{bare, addressed, routed}
			})
			f.stop()
		}
	}
}
