package xdpport

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"dssn/dataplane/packet"
	"dssn/dataplane/worker"
)

// What is put before a message is what an independent program would have put.
func TestHeadersAreGopackets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	src, dst := netip.MustParseAddrPort("[5f00:d55:1::1]:51820"), netip.MustParseAddrPort("[5f00:d55:2::7]:40001")
	to, from := MAC{2, 0, 0, 0, 0, 1}, MAC{2, 0, 0, 0, 0, 2}
	w := &wan{mtu: 2000}
	w.table = newTable(&Neighbours{Peers: map[netip.AddrPort]*Header{dst: NewHeader(to, from, src, dst)}})
	for range 500 {
		message := make([]byte, r.IntN(1500))
		for i := range message {
			message[i] = byte(r.Uint32())
			if r.IntN(4) == 0 {
				message[i] = 0xff
			}
		}
		f := worker.Frame{Memory: make([]byte, 2048), Begin: 256, Peer: dst}
		f.End = 256 + copy(f.Memory[256:], message)
		if !w.Address(&f) {
			t.Fatal("not addressed")
		}
		ip := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolUDP, HopLimit: 64, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
		udp := &layers.UDP{SrcPort: 51820, DstPort: 40001}
		udp.SetNetworkLayerForChecksum(ip)
		want := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(want, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
			&layers.Ethernet{DstMAC: to[:], SrcMAC: from[:], EthernetType: layers.EthernetTypeIPv6}, ip, udp, gopacket.Payload(message)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.Bytes(), want.Bytes()) {
			t.Fatalf("got\n%x, want\n%x", f.Bytes()[:70], want.Bytes()[:70])
		}
		// And back.
		if !w.strip(&f) || !bytes.Equal(f.Bytes(), message) || f.Peer != src || f.Local != dst.Addr() {
			t.Fatalf("stripped to %d bytes from %v to %v", f.End-f.Begin, f.Peer, f.Local)
		}
	}
	// For a NIC that completes it, the field holds the pseudo-header's sum.
	w.checksumByNIC = true
	f := worker.Frame{Memory: make([]byte, 2048), Begin: 256, End: 300, Peer: dst}
	if !w.Address(&f) {
		t.Fatal("not addressed")
	}
	b := f.Bytes()
	s, d := src.Addr().As16(), dst.Addr().As16()
	want := packet.Fold(packet.PseudoSum(s[:], d[:], packet.UDP, 8+44))
	if got := uint16(b[60])<<8 | uint16(b[61]); got != want {
		t.Errorf("the partial checksum is %#x, want %#x", got, want)
	}
	// From another of our addresses, or to somebody unknown: not this port's.
	f = worker.Frame{Memory: make([]byte, 2048), Begin: 256, End: 300, Peer: dst, Local: dst.Addr()}
	if w.Address(&f) || f.Begin != 256 {
		t.Error("addressed from an address that is not the route's")
	}
	f = worker.Frame{Memory: make([]byte, 2048), Begin: 256, End: 300, Peer: src}
	if w.Address(&f) {
		t.Error("addressed to somebody unknown")
	}
}

// FuzzStrip: whatever a NIC hands over, what is left lies within it.
func FuzzStrip(f *testing.F) {
	h := NewHeader(MAC{1}, MAC{2}, netip.MustParseAddrPort("[::1]:1"), netip.MustParseAddrPort("[::2]:2"))
	b := make([]byte, 100)
	h.put(b, 38)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1700 {
			return
		}
		for _, strip := range []func(*worker.Frame) bool{(&wan{}).strip, (&lan{}).strip} {
			x := worker.Frame{Memory: make([]byte, 2048), Begin: 256}
			x.End = 256 + copy(x.Memory[256:], b)
			end := x.End
			if strip(&x) && (x.Begin < 256 || x.End < x.Begin || x.End > end) {
				t.Fatalf("%d to %d of %d", x.Begin, x.End, end)
			}
		}
	})
}
