package softport

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"dssn/dataplane"
	"dssn/dataplane/nstest"
	"dssn/dataplane/worker"

	"golang.org/x/sys/unix"
)

// TestMarksStandInTheHeader sends marked and unmarked datagrams, one by one and in
// segments, and reads what the receiver's kernel saw in their headers.
func TestMarksStandInTheHeader(t *testing.T) {
	nstest.New(t).Do(func() error {
		in, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		in.SetReadDeadline(time.Now().Add(10 * time.Second))
		raw, err := in.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, ipv6FlowInfo, 1)
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
		})
		s, err := openSocket(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		peer := in.LocalAddr().(*net.UDPAddr).AddrPort()
		gold := dataplane.NewMark(46<<2, 4095)
		read := func() dataplane.Mark {
			t.Helper()
			b, oob := make([]byte, 2048), make([]byte, 256)
			_, n, _, _, err := in.ReadMsgUDP(b, oob)
			if err != nil {
				t.Fatal(err)
			}
			messages, err := unix.ParseSocketControlMessage(oob[:n])
			if err != nil {
				t.Fatal(err)
			}
			var class uint8
			var label uint32
			for _, m := range messages {
				switch m.Header.Type {
				case ipv6FlowInfo:
					label = binary.BigEndian.Uint32(m.Data) & 0xfffff
				case unix.IPV6_TCLASS:
					class = uint8(binary.NativeEndian.Uint32(m.Data))
				}
			}
			return dataplane.NewMark(class, label)
		}
		send := func(mark dataplane.Mark, n, segment int) {
			t.Helper()
			sent, err := s.Send([]worker.Datagrams{{Buf: bytes.Repeat([]byte{1}, n), Segment: segment, Peer: peer, Local: netip.IPv6Loopback(), Mark: mark}})
			if sent != 1 || err != nil {
				t.Fatalf("sent %d, %v", sent, err)
			}
		}
		for _, segment := range []int{300, 100} {
			send(gold, 300, segment)
			for range 300 / segment {
				if got := read(); got != gold {
					t.Errorf("in segments of %d: class %#x and label %d, want %#x and %d", segment, got.Class(), got.Label(), gold.Class(), gold.Label())
				}
			}
		}
		// The host writes no label of its own: it could be taken for a tag.
		send(0, 300, 300)
		if got := read(); got != 0 {
			t.Errorf("unmarked: class %#x and label %#x", got.Class(), got.Label())
		}

		// Some program leases a label for itself alone: then the kernel takes no label
		// that nobody leased, and packets leave unmarked rather than not at all.
		other, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(other)
		lease := struct { // struct in6_flowlabel_req
			dst                   [16]byte
			label                 uint32
			action, share         uint8
			flags, expire, linger uint16
			pad                   uint32
		}{dst: netip.IPv6Loopback().As16(), action: 0, share: 1, flags: 1, expire: 60}
		const flowLabelManager = 32
		b := unsafe.Slice((*byte)(unsafe.Pointer(&lease)), unsafe.Sizeof(lease))
		if err := unix.SetsockoptString(other, unix.IPPROTO_IPV6, flowLabelManager, string(b)); err != nil {
			t.Fatalf("lease a flow label: %v", err)
		}
		for _, segment := range []int{300, 100} {
			s.unmarked.Store(false)
			send(gold, 300, segment)
			for range 300 / segment {
				if got := read(); got.Label() == gold.Label() {
					t.Errorf("in segments of %d: label %d although another's lease forbids it", segment, got.Label())
				}
			}
			if !s.unmarked.Load() {
				t.Errorf("in segments of %d: the socket does not know that marks are refused", segment)
			}
		}
		return nil
	})
}
