package xdp_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"

	"dssn/internal/need"
	"dssn/xdp"
)

// choose runs the program on one packet, in the kernel.
func choose(t *testing.T, q *xdp.Queues, packet []byte) uint32 {
	t.Helper()
	p, err := ebpf.NewProgramFromFD(dup(t, q.FD()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	// The kernel's test run gives a socket filter a packet without its Ethernet
	// header, as a TUN does.
	n, err := p.Run(&ebpf.RunOptions{Data: append(ethernetOf(packet), packet...)})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func ethernetOf(packet []byte) []byte {
	b := make([]byte, 14)
	binary.BigEndian.PutUint16(b[12:], 0x0800)
	if packet[0]>>4 == 6 {
		binary.BigEndian.PutUint16(b[12:], 0x86dd)
	}
	return b
}

func between(src, dst netip.Addr, protocol byte, from, to uint16) []byte {
	head, p := 40, make([]byte, 60)
	if src.Is4() {
		head, p[0], p[9] = 20, 0x45, protocol
		copy(p[12:], src.AsSlice())
		copy(p[16:], dst.AsSlice())
	} else {
		p[0], p[6] = 0x60, protocol
		copy(p[8:], src.AsSlice())
		copy(p[24:], dst.AsSlice())
	}
	binary.BigEndian.PutUint16(p[head:], from)
	binary.BigEndian.PutUint16(p[head+2:], to)
	return p
}

func TestPinnedPrefixesGoToTheirQueueAndFlowsSpread(t *testing.T) {
	need.Root(t)
	q, err := xdp.NewQueues()
	if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, syscall.EPERM) {
		need.Kernel(t, "socket filters with tables", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	pins := map[netip.Prefix]uint32{p("3fff:d55:1::/48"): 3, p("3fff:d55:1:2::/64"): 5, p("10.1.0.0/16"): 7, p("::/1"): 9}
	if err := q.Pin(pins); err != nil {
		t.Fatal(err)
	}
	for dst, want := range map[string]uint32{"3fff:d55:1::9": 3, "3fff:d55:1:2::9": 5, "3fff:d55:2::9": 9, "10.1.2.3": 7, "10.2.2.3": 9} {
		src := a("3fff:d55:9::1")
		if a(dst).Is4() {
			src = a("10.9.9.9")
		}
		for _, protocol := range []byte{6, 17, 58} {
			if got := choose(t, q, between(src, a(dst), protocol, 1, 2)); got != want {
				t.Errorf("to %s: queue %d, want %d", dst, got, want)
			}
		}
	}
	if err := q.Pin(map[netip.Prefix]uint32{p("3fff:d55:1:2::/64"): 6}); err != nil {
		t.Fatal(err)
	}
	if got := choose(t, q, between(a("::1"), a("3fff:d55:1:2::9"), 6, 1, 2)); got != 6 {
		t.Errorf("after pinning anew: queue %d, want 6", got)
	}

	// What is not pinned: both directions of a flow alike, different flows apart.
	r := rand.New(rand.NewPCG(1, 2))
	for _, pair := range [][2]netip.Addr{{a("3fff:d55:1::1"), a("3fff:d55:3::2")}, {a("10.1.1.1"), a("10.9.1.2")}} {
		seen := map[uint32]int{}
		for range 400 {
			x, y := uint16(r.Uint32()), uint16(r.Uint32())
			there := choose(t, q, between(pair[0], pair[1], 6, x, y))
			if back := choose(t, q, between(pair[1], pair[0], 6, y, x)); back != there {
				t.Fatalf("%v port %d ↔ %v port %d: %d there and %d back", pair[0], x, pair[1], y, there, back)
			}
			seen[there%4]++
		}
		for queue := range uint32(4) {
			if seen[queue] < 50 {
				t.Errorf("400 flows over four queues: %v", seen)
				break
			}
		}
		// Without ports that can be seen, the addresses decide.
		if x, y := choose(t, q, between(pair[0], pair[1], 58, 1, 2)), choose(t, q, between(pair[0], pair[1], 58, 3, 4)); x != y {
			t.Errorf("two pings between %v and %v: %d and %d", pair[0], pair[1], x, y)
		}
	}
}

func dup(t *testing.T, fd int) int {
	t.Helper()
	n, err := syscall.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
