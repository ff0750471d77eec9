package xdpport

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dssn/dataplane"
	"dssn/dataplane/aead"
	"dssn/dataplane/fib"
	"dssn/dataplane/nstest"
	"dssn/dataplane/porttest"
	"dssn/dataplane/session"
	"dssn/dataplane/worker"
	"dssn/xdp"
)

// edge is a worker on AF_XDP ports in a namespace of its own, between a LAN with
// one host and the WAN. Its ordinary ports are memory and should stay empty.
type edge struct {
	*worker.Worker
	ports    *Ports
	obtained Obtained
	inside   porttest.Inside
	outside  porttest.Outside
	peer     *session.Peer
	ns       *nstest.Namespace
	hostNS   *nstest.Namespace
	host     *wire
	stop     chan struct{}
	done     sync.WaitGroup
}

func (e *edge) Handshake([]byte, netip.AddrPort) bool { return true }
func (e *edge) Want(*session.Peer)                    {}
func (e *edge) Confirmed(*session.Session)            {}

// wire is a packet socket on a host's link.
type wire struct {
	fd       int
	mac, hop MAC
	inside   netip.Addr
}

func device(t testing.TB, n *nstest.Namespace, name string) (index int, mac MAC) {
	t.Helper()
	if err := n.Do(func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			index = i.Index
			copy(mac[:], i.HardwareAddr)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return index, mac
}

// line builds host – edge – edge – host.
func line(t testing.TB, mode xdp.Mode, checksumByNIC bool) *[2]*edge {
	return lineWith(t, Options{Mode: mode, ChecksumByNIC: checksumByNIC}, aead.ChaCha20Poly1305)
}

func lineWith(t testing.TB, o Options, suite aead.Suite) *[2]*edge {
	t.Helper()
	var ends [2]*edge
	var hosts [2]*nstest.Namespace
	for i := range ends {
		ends[i] = &edge{ns: nstest.New(t), stop: make(chan struct{})}
		hosts[i] = nstest.New(t)
		for _, n := range []*nstest.Namespace{ends[i].ns, hosts[i]} {
			n.Sysctl(t, "net/ipv6/conf/default/disable_ipv6", "1") // nothing speaks by itself
		}
		nstest.Join(t, hosts[i], ends[i].ns, "lan", "lan")
	}
	nstest.Join(t, ends[0].ns, ends[1].ns, "wan", "wan")
	wan := [2]netip.AddrPort{netip.MustParseAddrPort("[5f00:d55:1::1]:51820"), netip.MustParseAddrPort("[5f00:d55:2::1]:51820")}
	inside := [2]netip.Addr{netip.MustParseAddr("3fff:d55:1::a"), netip.MustParseAddr("3fff:d55:2::b")}
	var wanMAC [2]MAC
	for i, e := range ends {
		_, wanMAC[i] = device(t, e.ns, "wan")
	}
	for i, e := range ends {
		lanIndex, lanMAC := device(t, e.ns, "lan")
		wanIndex, _ := device(t, e.ns, "wan")
		_, hostMAC := device(t, hosts[i], "lan")
		var err error
		if err := e.ns.Do(func() error {
			mine := o
			mine.LAN, mine.WAN, mine.LANAddress, mine.LANMTU, mine.WANMTU = lanIndex, wanIndex, lanMAC, 1500, 1500
			if e.ports, err = Open(mine); err != nil {
				return err
			}
			if e.obtained, err = e.ports.Start(); err != nil {
				return err
			}
			return e.ports.Direct(51820, []netip.Prefix{netip.PrefixFrom(inside[1-i], 48).Masked(), netip.MustParsePrefix("3fff:d55:9::/48")})
		}); err != nil {
			t.Fatal(err)
		}
		e.ports.Publish(&Neighbours{
			Hosts: map[netip.Addr]MAC{inside[i]: hostMAC},
			Peers: map[netip.AddrPort]*Header{wan[1-i]: NewHeader(wanMAC[1-i], wanMAC[i], wan[i], wan[1-i])},
		})
		e.Worker = worker.New(worker.Options{Inside: &e.inside, Outside: &e.outside, Control: e, Wake: func() {}})
		e.SetFrames(e.ports.Inside(), e.ports.Outside())
		e.peer = &session.Peer{Key: dataplane.Key{1}}
		e.peer.MoveTo(wan[1-i])
		lanes := &session.Lanes{Key: e.peer.Key, By: [][]*session.Peer{{e.peer}}}
		e.Publish(&worker.Tables{Routes: fib.New([]fib.Entry[*session.Lanes]{{Prefix: netip.PrefixFrom(inside[1-i], 128), Value: lanes}}), MTU: 1420})
		k := [2][32]byte{{1}, {2}}
		s, err := session.New(e.peer, &session.Keys{Suite: suite, Send: k[i], Receive: k[1-i], Local: uint32(10 + i), Remote: uint32(11 - i), Created: time.Second, Initiator: true})
		if err != nil {
			t.Fatal(err)
		}
		e.Do(func() { e.Install(s, true) })
		e.hostNS = hosts[i]
		e.host = openWire(t, hosts[i], inside[i])
		e.host.hop = lanMAC
		t.Cleanup(func() {
			if e.stop != nil {
				close(e.stop)
				e.done.Wait()
			}
			if err := e.ports.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return &ends
}

// run polls until the test ends.
func (e *edge) run() {
	e.done.Add(1)
	go func() {
		defer e.done.Done()
		began := time.Now()
		for {
			select {
			case <-e.stop:
				return
			default:
			}
			if busy, _ := e.Poll(time.Since(began) + time.Second); !busy {
				fds := []unix.PollFd{}
				for _, fd := range e.ports.Descriptors() {
					fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
				}
				unix.Poll(fds, 5)
			}
		}
	}()
}

func openWire(t testing.TB, n *nstest.Namespace, inside netip.Addr) *wire {
	t.Helper()
	w := &wire{fd: -1, inside: inside}
	var index int
	index, w.mac = device(t, n, "lan")
	if err := n.Do(func() (err error) {
		const proto = 0xdd86 // IPv6, as the machine sees two big-endian bytes
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto); err != nil {
			return err
		}
		unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
		unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: index})
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

func (w *wire) say(t testing.TB, packets ...[]byte) {
	t.Helper()
	for _, p := range packets {
		f := append(append(append([]byte{}, w.hop[:]...), w.mac[:]...), 0x86, 0xdd)
		if _, err := unix.Write(w.fd, append(f, p...)); err != nil {
			t.Fatal(err)
		}
	}
}

// heard returns the IPv6 packets that come for the host, once there are n or a
// while has passed.
func (w *wire) heard(n int) (got [][]byte) {
	buf := make([]byte, 1<<16)
	for idle := 0; len(got) < n && idle < 50; {
		k, from, err := unix.Recvfrom(w.fd, buf, 0)
		if err != nil {
			idle++
			continue
		}
		if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING || k < 54 || buf[12] != 0x86 || buf[13] != 0xdd {
			continue
		}
		if [16]byte(buf[38:54]) != w.inside.As16() {
			continue
		}
		length := 40 + int(binary.BigEndian.Uint16(buf[18:]))
		got = append(got, append([]byte{}, buf[14:min(14+length, k)]...))
	}
	return got
}

func TestAFXDPPortsConform(t *testing.T) {
	for _, offload := range []bool{false, true} {
		t.Run(fmt.Sprintf("checksum by NIC wanted %v", offload), func(t *testing.T) {
			porttest.Conformance(t, func(t *testing.T) *porttest.Line {
				ends := line(t, xdp.ModeAuto, offload)
				for _, e := range ends {
					e.run()
				}
				if testing.Verbose() {
					t.Logf("obtained %+v", ends[0].obtained)
				}
				t.Cleanup(func() {
					for i, e := range ends {
						if n := len(e.inside.Out); n > 0 {
							t.Errorf("end %d gave %d packets to the kernel", i, n)
						}
					}
				})
				return &porttest.Line{
					Inside: [2]netip.Addr{ends[0].host.inside, ends[1].host.inside}, Nobody: netip.MustParseAddr("3fff:d55:9::1"), MTU: 1420,
					Say:   func(end int, packets ...[]byte) { ends[end].host.say(t, packets...) },
					Heard: func(end, n int) [][]byte { return ends[end].host.heard(n) },
					Drops: func(end int) map[string]uint64 {
						m := map[string]uint64{}
						ends[end].Drops(m)
						return m
					},
				}
			})
		})
	}
}
