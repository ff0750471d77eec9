package xdp_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// The world in which frames are judged: we are node 2; nodes 3 to 6 are reached
// by adjacencies of different kinds; the rest has no route.
var (
	block   = netip.MustParsePrefix("5f00:d55::/32")
	ourMAC  = xdp.MAC{2, 0, 0, 0, 0, 2}
	toMAC   = xdp.MAC{2, 0, 0, 0, 0, 3}
	viaMAC  = xdp.MAC{2, 0, 0, 0, 0, 4}
	tagMAC  = xdp.MAC{2, 0, 0, 0, 0, 5}
	goneMAC = xdp.MAC{2, 0, 0, 0, 0, 6}
)

const (
	ourSID, ourVLAN, wireguardPort          = 2, 77, 51820
	sidPlain, sidRepaired, sidTagged        = 3, 4, 5
	sidDown, sidGone                        = 6, 7
	tagDrop, tagRemark, tagCount, tagAbsent = 10, 11, 12, 13
)

// accessSource is the terminal behind the tagged interface.
var accessSource = netip.MustParseAddr("5f00:d55:1::")

// world makes a transit in a namespace, judging frames that arrive untagged or,
// with vlan, tagged and from a terminal.
func world(t testing.TB, n *xdptest.Netns, vlan uint16) *xdp.Transit {
	t.Helper()
	var tr *xdp.Transit
	n.Do(t, func() (err error) {
		tr, err = xdp.OpenTransit(xdp.TransitOptions{Block: block, SID: ourSID, WireGuardPort: wireguardPort})
		return err
	})
	t.Cleanup(func() { tr.Close() })
	xdptest.Veth(t, n, "p0", n, "p1")
	xdptest.Veth(t, n, "gone0", n, "gone1")
	port, gone := n.Ifindex(t, "p0"), n.Ifindex(t, "gone0")
	plain := xdp.Adjacency{Ifindex: port, To: toMAC, From: ourMAC, MTU: 1500}
	backup := xdp.Adjacency{Ifindex: port, To: viaMAC, From: ourMAC, MTU: 1400}
	tagged := xdp.Adjacency{Ifindex: port, To: tagMAC, From: ourMAC, MTU: 1500, VLAN: 9}
	vanished := xdp.Adjacency{Ifindex: gone, To: goneMAC, From: ourMAC, MTU: 1500}
	broken := xdp.Adjacency{Ifindex: port, To: xdp.MAC{2, 9}, From: ourMAC, MTU: 1500}
	n.Do(t, func() error {
		if err := tr.SetRoutes([]xdp.TransitRoute{
			{SID: sidPlain, Via: plain}, {SID: sidRepaired, Via: broken, Backup: backup},
			{SID: sidTagged, Via: tagged}, {SID: sidDown, Via: broken}, {SID: sidGone, Via: vanished},
		}); err != nil {
			return err
		}
		if err := tr.SetUp(broken, false); err != nil {
			return err
		}
		if err := tr.SetMeters([]xdp.TransitMeter{
			// 8 kbit/s and one packet: after the first few bytes all is above.
			{Tag: tagDrop, Class: 3, BitsPerSecond: 8000},
			{Tag: tagRemark, Class: 3, BitsPerSecond: 8000, Excess: xdp.ExcessRemark},
			{Tag: tagCount, Class: 3, BitsPerSecond: 8000, Excess: xdp.ExcessCount},
		}); err != nil {
			return err
		}
		in := xdp.IngressOptions{Ifindex: 1, MAC: ourMAC, VLAN: vlan}
		if vlan != 0 {
			in.Source = accessSource
		}
		return tr.LetIn(in)
	})
	n.IP(t, "link", "del", "gone0")
	return tr
}

// frameSpec says what a frame is made of; the zero value of each field is the
// ordinary carrier from node 1 by way of us to node 3.
type frameSpec struct {
	dst, src   string
	mac        *xdp.MAC
	tags       []uint16 // VLAN tags, outermost first
	hops       uint8
	next       layers.IPProtocol
	payload    []byte
	flow       uint32
	class      uint8
	truncateTo int
	padding    int
	claim      int // payload length written, if not 0
	version    uint8
}

func (f frameSpec) bytes() []byte {
	or := func(s, d string) string {
		if s == "" {
			return d
		}
		return s
	}
	mac := ourMAC
	if f.mac != nil {
		mac = *f.mac
	}
	if f.hops == 0 {
		f.hops = 64
	}
	if f.next == 0 && f.payload == nil {
		f.next = layers.IPProtocolUDP
	}
	if f.payload == nil {
		f.payload = make([]byte, 40)
		binary.BigEndian.PutUint16(f.payload[2:], wireguardPort)
	}
	if f.version == 0 {
		f.version = 6
	}
	var b []byte
	b = append(append(b, mac[:]...), 2, 0, 0, 0, 0, 1)
	for _, t := range f.tags {
		b = binary.BigEndian.AppendUint16(append(b, 0x81, 0), t)
	}
	b = append(b, 0x86, 0xdd)
	b = binary.BigEndian.AppendUint32(b, uint32(f.version)<<28|uint32(f.class)<<20|f.flow)
	length := len(f.payload)
	if f.claim != 0 {
		length = f.claim
	}
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(b, byte(f.next), f.hops)
	b = append(b, netip.MustParseAddr(or(f.src, "5f00:d55:1::")).AsSlice()...)
	b = append(b, netip.MustParseAddr(or(f.dst, "5f00:d55:2:3::")).AsSlice()...)
	b = append(b, f.payload...)
	b = append(b, make([]byte, f.padding)...)
	if f.truncateTo != 0 {
		b = b[:f.truncateTo]
	}
	return b
}

// oracle says what should become of a frame, reading it with gopacket. It knows
// nothing of time: a frame of a policed tag is judged as the verdict says later.
func oracle(frame []byte, vlan uint16) (verdict string, out []byte) {
	var eth layers.Ethernet
	if len(frame) < 14 || eth.DecodeFromBytes(frame, gopacket.NilDecodeFeedback) != nil {
		return "dropped_truncated", nil
	}
	l2, tag, kind := 14, uint16(0), layers.EthernetType(binary.BigEndian.Uint16(frame[12:]))
	if kind == layers.EthernetTypeDot1Q || kind == layers.EthernetTypeQinQ {
		var q layers.Dot1Q
		if q.DecodeFromBytes(frame[14:], gopacket.NilDecodeFeedback) != nil {
			return "dropped_truncated", nil
		}
		switch {
		case kind == layers.EthernetTypeQinQ, q.Type == layers.EthernetTypeDot1Q, q.Type == layers.EthernetTypeQinQ:
			return "kernel_vlan_stacked", nil
		case q.VLANIdentifier == 0:
			return "kernel_other_vlan", nil
		}
		l2, tag, kind = 18, q.VLANIdentifier, q.Type
	}
	if kind != layers.EthernetTypeIPv6 {
		return "kernel_not_ipv6", nil
	}
	if len(frame) < l2+40 {
		return "dropped_truncated", nil
	}
	var ip layers.IPv6
	ip.DecodeFromBytes(frame[l2:], gopacket.NilDecodeFeedback) // its fields are set before it looks at options
	dst, _ := netip.AddrFromSlice(ip.DstIP)
	src, _ := netip.AddrFromSlice(ip.SrcIP)
	length := 40 + int(ip.Length)
	switch {
	case !block.Contains(dst):
		return "kernel_not_carrier", nil
	case !bytes.Equal(eth.DstMAC, ourMAC[:]):
		return "kernel_other_host", nil
	case tag != vlan:
		return "kernel_other_vlan", nil
	case ip.Version != 6:
		return "dropped_version", nil
	case len(frame) < l2+length:
		return "dropped_truncated", nil
	case src.IsMulticast(), src.IsUnspecified(), src == netip.IPv6Loopback(), src.IsLinkLocalUnicast():
		return "dropped_source", nil
	case vlan != 0 && netip.PrefixFrom(src, 64).Masked() != netip.PrefixFrom(accessSource, 64):
		return "dropped_spoofed", nil
	}
	sids := dst.As16()
	at := func(i int) uint16 { return binary.BigEndian.Uint16(sids[4+2*i:]) }
	verdict = "forwarded_plain"
	if at(0) == ourSID {
		switch at(1) {
		case 0:
			return "kernel_local", nil // these tests have no sockets
		case ourSID:
			return "dropped_loop", nil
		}
		verdict = "forwarded_shifted"
	}
	if ip.NextHeader == layers.IPProtocolIPv6HopByHop {
		return "kernel_hop_by_hop", nil
	}
	out = slices.Clone(frame)
	if verdict == "forwarded_shifted" {
		copy(sids[4:], sids[6:])
		sids[14], sids[15] = 0, 0
		copy(out[l2+24:], sids[:])
	}
	if ip.HopLimit < 2 {
		return "kernel_hop_limit", out
	}
	mtu, mac, outTag := 1500, toMAC, uint16(0)
	switch at(0) {
	case sidPlain:
	case sidRepaired:
		mtu, mac, verdict = 1400, viaMAC, "forwarded_repaired"
	case sidTagged:
		mac, outTag = tagMAC, 9
	case sidDown:
		return "dropped_links_down", nil
	case sidGone:
		verdict = "dropped_no_port"
	default:
		return "kernel_no_route", out
	}
	if length > mtu {
		return "kernel_too_big", out
	}
	if verdict == "dropped_no_port" {
		return verdict, nil
	}
	out[l2+7]--
	header := append(slices.Clone(mac[:]), ourMAC[:]...)
	if outTag != 0 {
		header = binary.BigEndian.AppendUint16(append(header, 0x81, 0), outTag)
	}
	header = append(header, 0x86, 0xdd)
	return verdict, append(header, out[l2:]...)
}

// action is the XDP action that belongs to a verdict's name.
func action(verdict string) uint32 {
	switch verdict[:7] {
	case "dropped":
		return 1
	case "kernel_":
		return 2
	}
	return 4
}

// judge runs a frame and compares the action and the bytes with the oracle's.
func judge(tr *xdp.Transit, frame []byte, vlan uint16, buf []byte) (string, error) {
	want, left := oracle(frame, vlan)
	got, out, err := tr.Run(frame, 0, buf)
	if err != nil {
		return want, fmt.Errorf("test run: %w", err)
	}
	if got != action(want) {
		return want, fmt.Errorf("action %d, want %d (%s)", got, action(want), want)
	}
	if left == nil {
		left = frame
	}
	if got != 1 && !bytes.Equal(out, left) {
		return want, fmt.Errorf("%s left as\n%x, want\n%x", want, out, left)
	}
	return want, nil
}

var vectors = map[string]frameSpec{
	"forwarded_shifted":   {},
	"forwarded_plain":     {dst: "5f00:d55:3:9::"},
	"forwarded_repaired":  {dst: "5f00:d55:2:4:3::"},
	"kernel_no_ingress":   {},
	"kernel_other_host":   {mac: &xdp.MAC{2, 0, 0, 0, 0, 99}},
	"kernel_other_vlan":   {tags: []uint16{5}},
	"kernel_vlan_stacked": {tags: []uint16{5, 6}},
	"kernel_not_carrier":  {dst: "3fff:d55::1"},
	"kernel_local":        {dst: "5f00:d55:2::"},
	"kernel_hop_by_hop":   {payload: make([]byte, 16)},
	"kernel_hop_limit":    {hops: 1},
	"kernel_too_big":      {next: 17, payload: make([]byte, 1461)},
	"kernel_no_route":     {dst: "5f00:d55:2:8::"},
	"dropped_truncated":   {claim: 41},
	"dropped_version":     {version: 4},
	"dropped_source":      {src: "fe80::1"},
	"dropped_spoofed":     {src: "5f00:d55:9::1"},
	"dropped_loop":        {dst: "5f00:d55:2:2:3::"},
	"dropped_links_down":  {dst: "5f00:d55:2:6::"},
	"dropped_no_port":     {dst: "5f00:d55:2:7::"},
	"dropped_policed":     {flow: tagDrop, class: 46 << 2},
	"dropped_no_headroom": {dst: "5f00:d55:2:5::"},
	"to_socket":           {dst: "5f00:d55:2::"},
	"kernel_not_ipv6":     {},
}

func TestEveryVerdictHasItsVectorAndItsCounter(t *testing.T) {
	need.Root(t)
	if len(vectors) != xdp.Verdicts {
		t.Errorf("%d vectors for %d verdicts", len(vectors), xdp.Verdicts)
	}
	for v := range xdp.Verdicts {
		name := xdp.Verdict(v).String()
		t.Run(name, func(t *testing.T) {
			n := xdptest.NewNetns(t).Quiet(t)
			tr := world(t, n, 0)
			spec, ok := vectors[name]
			if !ok {
				t.Fatal("no vector")
			}
			frame := spec.bytes()
			metadata := 0
			switch name {
			case "kernel_not_ipv6":
				frame[12], frame[13] = 8, 0
			case "dropped_no_headroom":
				metadata = 216 // of 256 bytes of headroom, of which the kernel keeps 40
			case "kernel_no_ingress":
				n.Do(t, func() error {
					tr.Close()
					var err error
					tr, err = xdp.OpenTransit(xdp.TransitOptions{Block: block, SID: ourSID})
					return err
				})
				t.Cleanup(func() { tr.Close() })
			case "dropped_spoofed":
				if err := tr.LetIn(xdp.IngressOptions{Ifindex: 1, MAC: ourMAC, Source: accessSource}); err != nil {
					t.Fatal(err)
				}
			case "dropped_policed":
				// The bucket's 9216 bytes first.
				for range 9216/80 + 1 {
					n.Do(t, func() error { _, _, err := tr.Run(frame, 0, nil); return err })
				}
			case "to_socket":
				binary.LittleEndian.PutUint32(frame[14+40+8:], 4)
				o := small
				o.Ifindex = n.Ifindex(t, "p0")
				s := openSocket(t, n, newPool(t, xdp.UMEMOptions{Frames: 256}), o)
				if err := tr.AddSocket(0, s); err != nil {
					t.Fatal(err)
				}
			}
			before, _ := tr.Counts()
			var got uint32
			n.Do(t, func() (err error) { got, _, err = tr.Run(frame, metadata, nil); return err })
			after, err := tr.Counts()
			if err != nil {
				t.Fatal(err)
			}
			if got != action(name) {
				t.Errorf("action %d, want %d", got, action(name))
			}
			for i := range after {
				grown := after[i] - before[i]
				if i == v && grown != 1 || i != v && grown != 0 {
					t.Errorf("%s grew by %d", xdp.Verdict(i), grown)
				}
			}
		})
	}
}

func TestNamesOfVerdictsAreTheProgramsOwn(t *testing.T) {
	names := verdictEnum(t)
	if len(names) != xdp.Verdicts {
		t.Fatalf("the program has %d verdicts, we name %d", len(names), xdp.Verdicts)
	}
	for i, n := range names {
		if got := xdp.Verdict(i).String(); got != n {
			t.Errorf("verdict %d is %s, the program calls it %s", i, got, n)
		}
		if xdp.Verdict(i).Dropped() != (action(n) == 1) {
			t.Errorf("verdict %s: dropped is %v", n, xdp.Verdict(i).Dropped())
		}
	}
}

// randomFrame draws a frame: mostly carriers with something about them changed,
// sometimes noise.
func randomFrame(r *rand.Rand, vlan uint16) []byte {
	f := frameSpec{hops: uint8(r.IntN(256)), next: layers.IPProtocol(r.IntN(256)), payload: make([]byte, r.IntN(200))}
	sids := []uint16{0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8, uint16(r.Uint32())}
	dst := block.Addr().As16()
	for i := range 6 {
		if i > 1 && r.IntN(4) == 0 {
			break
		}
		binary.BigEndian.PutUint16(dst[4+2*i:], sids[r.IntN(len(sids))])
	}
	if r.IntN(16) == 0 {
		dst[r.IntN(4)] ^= 1 << r.IntN(8)
	}
	f.dst = netip.AddrFrom16(dst).String()
	sources := []string{"5f00:d55:1::", "fe80::1", "febf::1", "fec0::1", "::", "::1", "::2", "ff02::1", "2001:db8::1"}
	if f.src = sources[0]; r.IntN(8) == 0 {
		f.src = sources[r.IntN(len(sources))]
	}
	if vlan != 0 && r.IntN(16) != 0 {
		f.tags = append(f.tags, vlan|uint16(r.IntN(16))<<12)
	}
	for r.IntN(12) == 0 {
		f.tags = append(f.tags, uint16(r.IntN(1<<16)))
	}
	if r.IntN(4) == 0 {
		f.payload = make([]byte, 1300+r.IntN(300))
	}
	if len(f.payload) == 0 {
		f.payload = []byte{}
	}
	if r.IntN(8) == 0 {
		f.padding = r.IntN(30)
	}
	if r.IntN(16) == 0 {
		f.claim = 1 + r.IntN(2000)
	}
	if r.IntN(32) == 0 {
		f.version = uint8(r.IntN(16))
	}
	if r.IntN(32) == 0 {
		f.mac = &xdp.MAC{2, 0, 0, 0, 0, byte(r.IntN(8))}
	}
	f.class, f.flow = uint8(r.IntN(256)), uint32(r.IntN(1<<20))
	if f.flow >= tagDrop && f.flow <= tagAbsent {
		f.flow = 0 // policing is time's, not the oracle's
	}
	b := f.bytes()
	for i := range b[14+40:] {
		b[54+i] ^= byte(r.Uint32())
	}
	switch r.IntN(24) {
	case 0:
		b = b[:14+r.IntN(len(b)-13)]
	case 1:
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
	case 2:
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

func TestRandomFramesAreJudgedAsTheOracleJudges(t *testing.T) {
	need.Root(t)
	frames := 500_000
	if testing.Short() {
		frames = 50_000
	}
	for _, vlan := range []uint16{0, ourVLAN} {
		n := xdptest.NewNetns(t).Quiet(t)
		tr := world(t, n, vlan)
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, uint64(vlan)))
		want := map[string]uint64{}
		n.Do(t, func() error {
			buf := make([]byte, 4096)
			for i := range frames {
				f := randomFrame(r, vlan)
				// The kernel runs no program on less than an Ethernet header.
				v, err := judge(tr, f, vlan, buf)
				if err != nil {
					return fmt.Errorf("seed %#x, frame %d\n%x: %w", seed, i, f, err)
				}
				want[v]++
			}
			return nil
		})
		got, err := tr.Counts()
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range got {
			if name := xdp.Verdict(i).String(); c != want[name] {
				t.Errorf("seed %#x: the program counted %d %s, the oracle %d", seed, c, name, want[name])
			}
		}
		if got.Total() != uint64(frames) {
			t.Errorf("%d verdicts for %d frames", got.Total(), frames)
		}
		t.Logf("VLAN %d: %v", vlan, want)
	}
}
