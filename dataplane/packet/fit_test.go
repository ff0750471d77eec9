package packet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// syn is a SYN of our own making with gopacket's checksum: before its MSS
// option stand pads one-byte options.
func syn(t *testing.T, v6 bool, mss uint16, pads int) []byte {
	t.Helper()
	tcp := &layers.TCP{SrcPort: 1, DstPort: 2, SYN: true, Window: 100}
	for range pads {
		tcp.Options = append(tcp.Options, layers.TCPOption{OptionType: layers.TCPOptionKindNop})
	}
	tcp.Options = append(tcp.Options, layers.TCPOption{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{byte(mss >> 8), byte(mss)}},
		layers.TCPOption{OptionType: layers.TCPOptionKindSACKPermitted, OptionLength: 2})
	buf := gopacket.NewSerializeBuffer()
	var ip gopacket.SerializableLayer
	if v6 {
		l := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolTCP, HopLimit: 64, SrcIP: net.ParseIP("3fff:d55::1"), DstIP: net.ParseIP("3fff:d55::2")}
		tcp.SetNetworkLayerForChecksum(l)
		ip = l
	} else {
		l := &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.IP{10, 0, 0, 1}, DstIP: net.IP{10, 0, 0, 2}}
		tcp.SetNetworkLayerForChecksum(l)
		ip = l
	}
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, tcp); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(buf.Bytes())
}

// A clamped SYN is byte for byte the SYN that announces less.
func TestClampMSSMakesTheSYNThatAnnouncesLess(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		headers := map[bool]int{false: 40, true: 60}[v6]
		for pads := range 4 {
			for _, mss := range []uint16{536, 1279, 1340, 1460, 8940, 65535} {
				for _, mtu := range []int{1280, 1420, 1500} {
					p := syn(t, v6, mss, pads)
					fits := uint16(mtu - headers)
					want := syn(t, v6, min(mss, fits), pads)
					changed := ClampMSS(p, mtu, false)
					if changed != (mss > fits) || !bytes.Equal(p, want) {
						t.Errorf("v6 %v, %d pads, MSS %d, MTU %d: changed %v\n%x, want\n%x", v6, pads, mss, mtu, changed, p, want)
					}
				}
			}
		}
	}
	// A checksum that is to be completed later does not know the option yet.
	p := syn(t, true, 9000, 0)
	sum := bytes.Clone(p[56:58])
	if !ClampMSS(p, 1280, true) || !bytes.Equal(p[56:58], sum) {
		t.Error("a partial checksum was touched")
	}
	// What is no SYN is left alone.
	p = syn(t, true, 9000, 0)
	p[53] &^= 2
	if ClampMSS(p, 1280, false) {
		t.Error("an ACK was clamped")
	}
}

// The message is one that an independent decoder reads, with right checksums,
// addressed to the sender, quoting it.
func TestTooBigIsAWellFormedICMPMessage(t *testing.T) {
	var dst [TooBigLen]byte
	for _, v6 := range []bool{false, true} {
		p := build(v6, UDP, 0, make([]byte, 3000), 0)
		if !v6 {
			p[6] |= 0x40
		}
		m := TooBig(dst[:], p, 1300)
		if m == nil {
			t.Fatalf("v6 %v: no message", v6)
		}
		first := gopacket.Decoder(layers.LayerTypeIPv4)
		if v6 {
			first = layers.LayerTypeIPv6
		}
		d := gopacket.NewPacket(m, first, gopacket.Default)
		if e := d.ErrorLayer(); e != nil {
			t.Fatalf("v6 %v: %v", v6, e.Error())
		}
		src, to, n, _ := Addresses(m)
		wantTo, wantSrc, _, _ := Addresses(p)
		if src != wantSrc || to != wantTo || n != len(m) {
			t.Errorf("v6 %v: from %v to %v, %d of %d bytes", v6, src, to, n, len(m))
		}
		var quote []byte
		if v6 {
			l := d.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
			if l.TypeCode.Type() != layers.ICMPv6TypePacketTooBig || binary.BigEndian.Uint32(m[44:]) != 1300 || slowSum(append(pseudo(m), m[40:]...)) != 0xffff {
				t.Errorf("got %v, MTU %d", l.TypeCode, binary.BigEndian.Uint32(m[44:]))
			}
			quote = m[48:]
		} else {
			l := d.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
			if l.TypeCode != layers.CreateICMPv4TypeCode(3, 4) || l.Seq != 1300 || slowSum(m[:20]) != 0xffff || slowSum(m[20:]) != 0xffff {
				t.Errorf("got %v, MTU %d", l.TypeCode, l.Seq)
			}
			quote = m[28:]
		}
		if !bytes.HasPrefix(p, quote) || len(quote) < 28 {
			t.Errorf("v6 %v: the quotation of %d bytes is not the packet's beginning", v6, len(quote))
		}
		if TooBig(dst[:], bytes.Clone(m), 1280) != nil {
			t.Errorf("v6 %v: an error was answered by an error", v6)
		}
	}
	if TooBig(dst[:], loose(build(false, UDP, 0, make([]byte, 3000), 0)), 1300) != nil {
		t.Error("an IPv4 packet that allows fragments was complained of")
	}
}

// loose allows an IPv4 packet to be fragmented.
func loose(p []byte) []byte {
	p[6] &^= 0x40
	p[10], p[11] = 0, 0
	binary.BigEndian.PutUint16(p[10:], ^Fold(Sum(p[:20], 0)))
	return p
}

// pseudo is the pseudo-header of an ICMPv6 message.
func pseudo(m []byte) []byte {
	b := append(bytes.Clone(m[8:40]), 0, 0, 0, 0, 0, 0, 0, 58)
	binary.BigEndian.PutUint32(b[32:], uint32(len(m)-40))
	return b
}

// Fragments, in any order, are the packet again; so are finer TCP segments.
func TestFitLosesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for range 300 {
		payload := make([]byte, 2000+r.IntN(20000))
		for i := range payload {
			payload[i] = byte(r.Uint32())
		}
		mtu := 200 + r.IntN(1300)
		// IPv4 fragments.
		p := loose(build(false, UDP, 0, payload, 0))
		var c Cut
		if !c.Plan(bytes.Clone(p), Offload{}) || !c.Fit(mtu) {
			t.Fatal("an IPv4 packet that allows fragments was refused")
		}
		whole := make([]byte, len(p))
		copy(whole, p[:20])
		for i := range c.Segments {
			b := make([]byte, c.Len(i))
			c.Write(b, i)
			where := binary.BigEndian.Uint16(b[6:])
			if len(b) > mtu || slowSum(b[:20]) != 0xffff || (where&0x2000 != 0) != (i != c.Segments-1) || int(binary.BigEndian.Uint16(b[2:])) != len(b) {
				t.Fatalf("fragment %d of %d: %d bytes for an MTU of %d: %x", i, c.Segments, len(b), mtu, b[:20])
			}
			copy(whole[20+int(where&0x1fff)*8:], b[20:])
		}
		if !bytes.Equal(whole, p) {
			t.Fatal("the fragments are another packet")
		}
		// TCP.
		p = build(true, TCP, 77, payload, 0x18)
		o := Offload{NeedsChecksum: true, GSO: GSOTCP6, SegmentSize: 8000, ChecksumStart: 40, ChecksumOffset: 16}
		if !c.Plan(p, o) || !c.Fit(mtu) {
			t.Fatal("a large TCP packet was refused")
		}
		var got []byte
		for i := range c.Segments {
			b := make([]byte, c.Len(i))
			c.Write(b, i)
			valid(t, b)
			if len(b) > mtu || int(binary.BigEndian.Uint32(b[44:])) != 77+len(got) {
				t.Fatalf("segment %d: %d bytes for an MTU of %d, sequence number %d", i, len(b), mtu, binary.BigEndian.Uint32(b[44:]))
			}
			got = append(got, b[72:]...)
		}
		if !bytes.Equal(got, payload) {
			t.Fatal("the segments carry something else")
		}
		// What only its sender can make smaller.
		if !c.Plan(build(true, UDP, 0, payload, 0), Offload{}) || c.Fit(mtu) {
			t.Fatal("an IPv6 packet was made to fit")
		}
	}
}

// FuzzFit: nothing that arrives makes the functions of this file read or write
// beyond it, and what is cut is no longer than asked.
func FuzzFit(f *testing.F) {
	f.Add(build(true, UDP, 0, make([]byte, 3000), 0), uint16(1280))
	f.Add(build(false, TCP, 0, make([]byte, 3000), 2), uint16(600))
	f.Fuzz(func(t *testing.T, p []byte, mtu uint16) {
		var dst [TooBigLen]byte
		if m := TooBig(dst[:], p, int(mtu)); m != nil {
			if _, _, n, ok := Addresses(m); !ok || n != len(m) || len(m) > TooBigLen {
				t.Fatalf("a malformed message: %x", m)
			}
		}
		before := bytes.Clone(p)
		if !ClampMSS(p, int(mtu), false) && !bytes.Equal(p, before) {
			t.Fatal("changed what it says it did not")
		}
		if _, _, n, ok := Addresses(p); !ok || n != len(p) {
			return
		}
		var c Cut
		if !c.Plan(p, Offload{}) || !c.Fit(int(mtu)) {
			return
		}
		total := 0
		for i := range c.Segments {
			b := make([]byte, c.Len(i))
			c.Write(b, i)
			total += len(b)
			if len(p) > int(mtu) && len(b) > int(mtu) {
				t.Fatalf("%d bytes for an MTU of %d", len(b), mtu)
			}
		}
		if total < len(p) {
			t.Fatalf("%d bytes became %d", len(p), total)
		}
	})
}
