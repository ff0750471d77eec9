package softport

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"dssn"
	"dssn/dataplane"
	"dssn/dataplane/enginetest"
	"dssn/dataplane/nstest"
	"dssn/dataplane/packet"
	"dssn/dataplane/porttest"
)

// tap is a packet socket on a TUN: what is written to it goes to the engine as the host's
// own packets do, and it sees what the engine delivers, cut up as the host would.
type tap struct {
	fd     int
	inside netip.Addr
}

func openTap(t *testing.T, n *nstest.Namespace, name string, inside netip.Addr) *tap {
	t.Helper()
	p := &tap{inside: inside}
	if err := n.Do(func() error {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		const proto = 0xdd86 // IPv6, as the machine sees two big-endian bytes
		if p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto); err != nil {
			return err
		}
		unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
		unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
		if err := unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
			return err
		}
		return unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: i.Index})
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p.fd) })
	return p
}

func (p *tap) say(t *testing.T, packets ...[]byte) {
	t.Helper()
	for _, b := range packets {
		if _, err := unix.Write(p.fd, append(make([]byte, packet.OffloadLen), b...)); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *tap) heard(n int) (got [][]byte) {
	buf := make([]byte, 1<<17)
	for idle := 0; len(got) < n && idle < 50; {
		k, from, err := unix.Recvfrom(p.fd, buf, 0)
		if err != nil {
			idle++
			continue
		}
		b := append([]byte{}, buf[min(packet.OffloadLen, k):k]...)
		if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING || len(b) < 40 || [16]byte(b[24:40]) != p.inside.As16() {
			continue
		}
		x := porttest.Packet{Data: b}
		x.Offload.Decode(buf)
		got = append(got, porttest.CutUp(x)...)
	}
	return got
}

// Soft ports pass the suite that memory and AF_XDP pass, with one worker and with a lane
// for each of three.
func TestSoftPortsConform(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			porttest.Conformance(t, func(t *testing.T) *porttest.Line { return softLine(t, workers) })
		})
	}
}

func softLine(t *testing.T, workers int) *porttest.Line {
	var ns [2]*nstest.Namespace
	ns[0], ns[1] = nstest.Pair(t, "5f00:d55:1::1/32", "5f00:d55:2::1/32")
	inside := [2]netip.Addr{netip.MustParseAddr("3fff:d55:1::a"), netip.MustParseAddr("3fff:d55:2::b")}
	var engines [2]*Engine
	var taps [2]*tap
	var keys [2]dataplane.Key
	const port = 51820
	for i, n := range ns {
		n.Sysctl(t, "net/ipv6/conf/default/disable_ipv6", "1") // nothing speaks by itself
		private, public := enginetest.NewKey(t)
		keys[i] = public
		o := Options{Interface: "dssn0", MTU: 1420, PrivateKey: private, ListenPort: port}
		for k := 1; k < workers; k++ {
			o.Ports = append(o.Ports, enginetest.WorkerPort(port, k))
		}
		if err := n.Do(func() (err error) { engines[i], err = Open(o); return err }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { engines[i].Close() })
		taps[i] = openTap(t, n, "dssn0", inside[i])
	}
	for i, e := range engines {
		p := dataplane.Peer{Key: keys[1-i], Allowed: []netip.Prefix{netip.PrefixFrom(inside[1-i], 128)}}
		for k := range workers {
			to := netip.MustParseAddr(fmt.Sprintf("5f00:d55:%d::1", 2-i))
			p.Lanes = append(p.Lanes, dataplane.Lane{Worker: k, Endpoint: netip.AddrPortFrom(to, enginetest.WorkerPort(port, k))})
		}
		all := netip.MustParsePrefix("3fff:d55::/32")
		if err := e.Publish(&dataplane.Tables{Generation: 1, Peers: []dataplane.Peer{p},
			Meters: []dataplane.Meter{{Reservation: 1, From: all, To: all, Rate: 100 * dssn.Gbps, Burst: 64 * dssn.MiB}}}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for i, e := range engines {
			if t.Failed() {
				t.Logf("end %d: drops %v, peers %+v", i, e.Drops(), e.Peers(nil))
			}
		}
	})
	return &porttest.Line{
		Inside: inside, Nobody: netip.MustParseAddr("3fff:d55:9::1"), MTU: 1420,
		Say:   func(end int, packets ...[]byte) { taps[end].say(t, packets...) },
		Heard: func(end, n int) [][]byte { return taps[end].heard(n) },
		Drops: func(end int) map[string]uint64 { return engines[end].Drops() },
	}
}
