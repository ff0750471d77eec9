package porttest

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"dssn/dataplane/packet"
)

// Line is two ends of a tunnel, whatever their ports are made of.
type Line struct {
	// Inside are the addresses of somebody behind each end; Nobody is one that
	// is behind neither and whose packets yet come to the ends.
	Inside [2]netip.Addr
	Nobody netip.Addr
	// MTU of the insides, bytes.
	MTU int
	// Say puts packets into an end's inside, in order.
	Say func(end int, packets ...[]byte)
	// Heard returns what has come out of an end's inside since it was last asked,
	// once there are n or a while has passed.
	Heard func(end, n int) [][]byte
	// Drops are an end's, by name.
	Drops func(end int) map[string]uint64
}

// Conformance is what a tunnel does over whatever ports. Each subtest asks for a
// fresh line. Hop limits may be lower on arrival: an end may be a router.
func Conformance(t *testing.T, open func(t *testing.T) *Line) {
	t.Run("packets of every size arrive whole and in order, both ways", func(t *testing.T) {
		l := open(t)
		r := rand.New(rand.NewPCG(1, 2))
		for from := range 2 {
			for size := 48; size <= l.MTU; {
				var said [][]byte
				for range 16 {
					if size <= l.MTU {
						said = append(said, UDP(l.Inside[from], l.Inside[1-from], size-48, r))
					}
					size += 1 + r.IntN(60)
				}
				l.Say(from, said...)
				compare(t, l.Heard(1-from, len(said)), said)
			}
			last := UDP(l.Inside[from], l.Inside[1-from], l.MTU-48, r)
			l.Say(from, last)
			compare(t, l.Heard(1-from, 1), [][]byte{last})
		}
	})
	t.Run("none is lost and none doubled", func(t *testing.T) {
		l := open(t)
		r := rand.New(rand.NewPCG(3, 4))
		for range 60 {
			var said [2][][]byte
			for from := range 2 {
				for range 32 {
					said[from] = append(said[from], UDP(l.Inside[from], l.Inside[1-from], r.IntN(l.MTU-48), r))
				}
				l.Say(from, said[from]...)
			}
			for from := range 2 {
				compare(t, l.Heard(1-from, 32), said[from])
			}
		}
		for end := range 2 {
			for name, n := range l.Drops(end) {
				if n > 0 && name != "no_peer" { // a host's own multicast
					t.Errorf("end %d dropped %d as %s", end, n, name)
				}
			}
		}
	})
	t.Run("every flow keeps its order, whatever way it takes", func(t *testing.T) {
		l := open(t)
		r := rand.New(rand.NewPCG(7, 8))
		const flows, rounds, each = 24, 8, 4 // as many at a time as the smallest rings hold
		for range rounds {
			for from := range 2 {
				said := map[uint16][][]byte{}
				var all [][]byte
				for range each {
					for f := range uint16(flows) {
						p := UDPFrom(6000+f, l.Inside[from], l.Inside[1-from], r.IntN(l.MTU-48), r)
						said[6000+f] = append(said[6000+f], p)
						all = append(all, p)
					}
				}
				l.Say(from, all...)
				heard := map[uint16][][]byte{}
				for _, p := range l.Heard(1-from, len(all)) {
					port := binary.BigEndian.Uint16(p[40:])
					heard[port] = append(heard[port], p)
				}
				for port, want := range said {
					compare(t, heard[port], want)
				}
			}
		}
	})
	t.Run("what nobody takes is dropped by name", func(t *testing.T) {
		l := open(t)
		before := l.Drops(0)["no_peer"]
		r := rand.New(rand.NewPCG(5, 6))
		l.Say(0, UDP(l.Inside[0], l.Nobody, 100, r))
		ok := UDP(l.Inside[0], l.Inside[1], 100, r)
		l.Say(0, ok)
		compare(t, l.Heard(1, 1), [][]byte{ok})
		if after := l.Drops(0)["no_peer"]; after <= before {
			t.Errorf("drops are %v", l.Drops(0))
		}
	})
	t.Run("a SYN announces what fits", func(t *testing.T) {
		l := open(t)
		p := SYN(l.Inside[0], l.Inside[1], 8940)
		l.Say(0, p)
		got := l.Heard(1, 1)
		if len(got) != 1 {
			t.Fatalf("%d packets arrived", len(got))
		}
		want := SYN(l.Inside[0], l.Inside[1], uint16(l.MTU-60))
		compare(t, got, [][]byte{want})
	})
}

// compare ignores the hop limit.
func compare(t *testing.T, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d packets arrived, want %d", len(got), len(want))
	}
	for i := range got {
		g, w := bytes.Clone(got[i]), bytes.Clone(want[i])
		g[7], w[7] = 0, 0
		if !bytes.Equal(g, w) {
			t.Fatalf("packet %d of %d arrived as\n%x, want\n%x", i, len(got), g, w)
		}
	}
}

// UDP is an IPv6 packet with n bytes of payload that random determines, and a
// right checksum.
func UDP(src, dst netip.Addr, n int, r *rand.Rand) []byte { return UDPFrom(5000, src, dst, n, r) }

// UDPFrom is UDP from another port than the usual one.
func UDPFrom(port uint16, src, dst netip.Addr, n int, r *rand.Rand) []byte {
	p := header(src, dst, packet.UDP, 8+n)
	for i := range n {
		p[48+i] = byte(r.Uint32())
	}
	binary.BigEndian.PutUint16(p[40:], port)
	binary.BigEndian.PutUint16(p[42:], 9)
	binary.BigEndian.PutUint16(p[44:], uint16(8+n))
	finish(p, 46)
	return p
}

// SYN is a TCP SYN with the option of a maximum segment size.
func SYN(src, dst netip.Addr, mss uint16) []byte {
	p := header(src, dst, packet.TCP, 24)
	binary.BigEndian.PutUint16(p[40:], 5000)
	binary.BigEndian.PutUint16(p[42:], 9)
	p[52], p[53] = 6<<4, 2
	p[60], p[61] = 2, 4
	binary.BigEndian.PutUint16(p[62:], mss)
	finish(p, 56)
	return p
}

func header(src, dst netip.Addr, protocol byte, n int) []byte {
	p := make([]byte, 40+n)
	p[0], p[6], p[7] = 0x60, protocol, 64
	binary.BigEndian.PutUint16(p[4:], uint16(n))
	copy(p[8:], src.AsSlice())
	copy(p[24:], dst.AsSlice())
	return p
}

func finish(p []byte, at int) {
	c := ^packet.Fold(packet.Sum(p[40:], packet.PseudoSum(p[8:24], p[24:40], p[6], len(p)-40)))
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(p[at:], c)
}
