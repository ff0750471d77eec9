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
	in string
}

var chains int

func newChain(b *testing.B, ipv6 bool) *chain {
	chains++
	c := &chain{xdptest.NewNetns(b), xdptest.NewNetns(b), xdptest.NewNetns(b), fmt.Sprintf("d%dx%d", os.Getpid()%10000, chains)}
	if !ipv6 {
		c.gen.Quiet(b)
		c.dut.Quiet(b)
		c.end.Quiet(b)
	}
	xdptest.Veth(b, c.gen, "g0", c.dut, c.in)
	xdptest.Veth(b, c.dut, "d1", c.end, "s1")
	xdptest.Veth(b, c.dut, "d2", c.end, "s2")
	return c
}

// carrier is a frame of the given length to the node under test: by way of node 2
// to node 3, with a flow label and EF.
func (c *chain) carrier(b *testing.B, length int, dst string, label uint32) []byte {
	f := make([]byte, length)
	mac := c.dut.MAC(b, c.in)
	copy(f, mac[:])
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

func (c *chain) hop(b *testing.B, i int) xdp.Adjacency {
	d, s := fmt.Sprintf("d%d", i), fmt.Sprintf("s%d", i)
	return xdp.Adjacency{Ifindex: c.dut.Ifindex(b, d), From: c.dut.MAC(b, d), To: c.end.MAC(b, s), MTU: 1500}
}

// measure floods, and counts at the far end.
func (c *chain) measure(b *testing.B, frame []byte, buffers bool) sample {
	var sinks []*xdp.Sink
	for _, name := range []string{"s1", "s2"} {
		c.end.Do(b, func() error {
			s, err := xdp.NewSink(xdp.SinkOptions{Ifindex: c.end.Ifindex(b, name), IPv6Only: true, PacketBuffers: buffers})
			sinks = append(sinks, s)
			return err
		})
	}
	// Only an interface that has a poller already can be given a thread for it.
	sysfs(b, c.dut, c.in, "threaded", "1")
	cpu := pinNAPI(b, c.in)
	stop := flood(b, c.gen, "g0", frame)
	v := rate(func() (n uint64) {
		for _, s := range sinks {
			t, _ := s.Count()
			n += t.Packets
		}
		return n
	}, cpu)
	stop()
	for _, s := range sinks {
		s.Close()
	}
	return v
}

// transit measures the program with some of its parts.
func transit(b *testing.B, size int, o xdp.TransitOptions, label uint32, repair bool) sample {
	c := newChain(b, false)
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
		if err := tr.SetMeters([]xdp.TransitMeter{
			{Tag: 1, Class: 3, Excess: xdp.ExcessCount},
			{Tag: 2, Class: 3, BitsPerSecond: 400e9, BurstBytes: 1 << 30},
		}); err != nil {
			return err
		}
		_, err = tr.Attach(xdp.IngressOptions{Ifindex: c.dut.Ifindex(b, c.in), MAC: c.dut.MAC(b, c.in)})
		return err
	})
	defer tr.Close()
	return c.measure(b, c.carrier(b, size, "5f00:d55:2:3::", label), false)
}

func bare(b *testing.B, size int) sample {
	c := newChain(b, false)
	var r *xdp.Bare
	c.dut.Do(b, func() (err error) { r, err = xdp.NewBare(c.dut.Ifindex(b, c.in), c.dut.Ifindex(b, "d1")); return err })
	defer r.Close()
	return c.measure(b, c.carrier(b, size, "5f00:d55:2:3::", 0), false)
}

// kernel measures the kernel's own forwarding of the same frames.
func kernel(b *testing.B, size int, seg6 bool) sample {
	c := newChain(b, true)
	c.dut.Sysctl(b, "net/ipv6/conf/all/forwarding", "1")
	c.dut.IP(b, "addr", "add", "fd00:b::2/64", "dev", "d1", "nodad")
	c.dut.IP(b, "route", "add", "5f00:d55:3::/48", "via", "fd00:b::3")
	mac := c.end.MAC(b, "s1")
	c.dut.IP(b, "neigh", "add", "fd00:b::3", "lladdr", xdp.MAC(mac).String(), "dev", "d1", "nud", "permanent")
	dst := "5f00:d55:3::"
	if seg6 {
		dst = "5f00:d55:2:3::"
		need.Kernel(b, "seg6local End with next-csid", c.dut.Try("ip", "-6", "route", "add", "5f00:d55:2::/48", "encap", "seg6local",
			"action", "End", "flavors", "next-csid", "lblen", "32", "nflen", "16", "dev", "d1"))
	}
	// So that redirected frames are received: GRO starts the interface's NAPI.
	if err := c.dut.Try("ethtool", "-K", c.in, "gro", "on"); err != nil {
		b.Fatal(err)
	}
	return c.measure(b, c.carrier(b, size, dst, 0), true)
}

// BenchmarkTransit prints the table of transit: one iteration is one table.
func BenchmarkTransit(b *testing.B) {
	need.Root(b)
	need.Tool(b, "ethtool")
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	const bareRow = "bare devmap redirect"
	off := func(counters, meters, repair bool) xdp.TransitOptions {
		return xdp.TransitOptions{LeaveOut: xdp.TransitParts{Counters: counters, Meters: meters, Repair: repair}}
	}
	for b.Loop() {
		for _, size := range []int{64, 1500} {
			rows := []struct {
				name string
				run  func() sample
			}{
				{"transit, shift and route only", func() sample { return transit(b, size, off(true, true, true), 0, false) }},
				{"… with repair lookup", func() sample { return transit(b, size, off(true, true, false), 0, false) }},
				{"… with counters", func() sample { return transit(b, size, off(false, true, false), 0, false) }},
				{"transit, everything, not metered", func() sample { return transit(b, size, off(false, false, false), 0, false) }},
				{"transit, metered", func() sample { return transit(b, size, off(false, false, false), 1, false) }},
				{"transit, policed", func() sample { return transit(b, size, off(false, false, false), 2, false) }},
				{"transit, by the backup", func() sample { return transit(b, size, off(false, false, false), 0, true) }},
				{"kernel IPv6 forwarding", func() sample { return kernel(b, size, false) }},
				{"kernel seg6local End next-csid", func() sample { return kernel(b, size, true) }},
			}
			var t table
			for range rounds {
				for _, row := range rows {
					// A bare redirect beside each row, to be compared with.
					t.add(bareRow, bare(b, size))
					t.add(row.name, row.run())
				}
			}
			t.print(fmt.Sprintf("Transit on veth, one core, frames of %d B", size), func(row string) string {
				if row != bareRow {
					return bareRow
				}
				return ""
			})
		}
	}
}
