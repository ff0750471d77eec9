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

// edge is workers on AF_XDP ports in a namespace of their own, between a LAN with
// one host and the WAN.
type edge struct {
	lanes    []*lane // by worker
	ports    *Ports
	obtained Obtained
	ns       *nstest.Namespace
	hostNS   *nstest.Namespace
	host     *wire
	stop     chan struct{}
	done     sync.WaitGroup
}

// lane is a worker with its lane to the other edge. Its ordinary ports are memory and
// should stay empty.
type lane struct {
	*worker.Worker
	inside  porttest.Inside
	outside porttest.Outside
	peer    *session.Peer
}

func (l *lane) Handshake([]byte, netip.AddrPort) bool { return true }
func (l *lane) Want(*session.Peer)                    {}
func (l *lane) Confirmed(*session.Session)            {}

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

// lineWith builds host – edge – edge – host, with as many queues on all links as options
// want.
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
		nstest.JoinQueues(t, hosts[i], ends[i].ns, "lan", "lan", max(1, o.Queues))
	}
	nstest.JoinQueues(t, ends[0].ns, ends[1].ns, "wan", "wan", max(1, o.Queues))
	// Workers have a port each, as between native nodes.
	wan := func(end, worker int) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("5f00:d55:%d::1", end+1)), uint16(51820+4*worker))
	}
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
			ports := map[uint16]xdp.Lead{}
			for k := range e.ports.Queues() {
				ports[wan(i, k).Port()] = xdp.OnQueue(k)
			}
			return e.ports.Direct(ports, map[netip.Prefix]xdp.Lead{
				netip.PrefixFrom(inside[1-i], 48).Masked(): xdp.AnyQueue,
				netip.MustParsePrefix("3fff:d55:9::/48"):   xdp.AnyQueue,
			})
		}); err != nil {
			t.Fatal(err)
		}
		lanes := &session.Lanes{Key: dataplane.Key{1}}
		for k := range e.ports.Queues() {
			peer := &session.Peer{Key: lanes.Key, Lane: k, Worker: k}
			peer.MoveTo(wan(1-i, k))
			e.lanes = append(e.lanes, &lane{peer: peer})
			lanes.By = append(lanes.By, []*session.Peer{peer})
		}
		for k, q := range e.ports.Queues() {
			q.Publish(&Neighbours{
				Hosts: map[netip.Addr]MAC{inside[i]: hostMAC},
				Peers: map[netip.AddrPort]*Header{wan(1-i, k): NewHeader(wanMAC[1-i], wanMAC[i], wan(i, k), wan(1-i, k))},
			})
			l := e.lanes[k]
			l.Worker = worker.New(worker.Options{Number: k, Inside: &l.inside, Outside: &l.outside, Control: l, Wake: func() {}})
			l.SetFrames(q.Inside(), q.Outside())
			l.Publish(&worker.Tables{Routes: fib.New([]fib.Entry[*session.Lanes]{{Prefix: netip.PrefixFrom(inside[1-i], 128), Value: lanes}}), MTU: 1420})
			keys := [2][32]byte{{1, byte(k)}, {2, byte(k)}}
			local := func(end int) uint32 { return session.IndexOf(k, uint32(end+1)<<8) }
			s, err := session.New(l.peer, &session.Keys{Suite: suite, Send: keys[i], Receive: keys[1-i], Local: local(i), Remote: local(1 - i), Created: time.Second, Initiator: true})
			if err != nil {
				t.Fatal(err)
			}
			l.Do(func() { l.Install(s, true) })
		}
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

// run polls until the test ends, each worker on its own.
func (e *edge) run() {
	for k, l := range e.lanes {
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
				if busy, _ := l.Poll(time.Since(began) + time.Second); !busy {
					fds := []unix.PollFd{}
					for _, fd := range e.ports.Queues()[k].Descriptors() {
						fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
					}
					unix.Poll(fds, 5)
				}
			}
		}()
	}
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
			conform(t, Options{ChecksumByNIC: offload})
		})
	}
}

// Three workers at each end, each with a queue of the LAN, one of the WAN, a UDP port and a
// lane of its own, all on one UMEM: the flows are shared among them, and none comes to a
// worker that is not its own.
func TestSeveralQueuesConform(t *testing.T) {
	carried := conform(t, Options{Queues: 3})
	for k, n := range carried {
		if n == 0 {
			t.Errorf("of three workers %d carried nothing: %v", k, carried)
		}
	}
}

// conform runs the suite and returns how many bytes each worker sent.
func conform(t *testing.T, o Options) (carried []uint64) {
	carried = make([]uint64, max(1, o.Queues))
	porttest.Conformance(t, func(t *testing.T) *porttest.Line {
		ends := lineWith(t, o, aead.ChaCha20Poly1305)
		for _, e := range ends {
			e.run()
		}
		if testing.Verbose() {
			t.Logf("obtained %+v", ends[0].obtained)
		}
		t.Cleanup(func() {
			for i, e := range ends {
				for k, l := range e.lanes {
					carried[k] += l.peer.SentBytes.Load()
					if n := len(l.inside.Out); n > 0 {
						t.Errorf("end %d's worker %d gave %d packets to the kernel", i, k, n)
					}
				}
				if _, _, elsewhere := e.ports.Directed(); elsewhere > 0 {
					t.Errorf("%d frames came to end %d by another queue than their worker's", elsewhere, i)
				}
			}
		})
		return &porttest.Line{
			Inside: [2]netip.Addr{ends[0].host.inside, ends[1].host.inside}, Nobody: netip.MustParseAddr("3fff:d55:9::1"), MTU: 1420,
			Say:   func(end int, packets ...[]byte) { ends[end].host.say(t, packets...) },
			Heard: func(end, n int) [][]byte { return ends[end].host.heard(n) },
			Drops: func(end int) map[string]uint64 {
				m := map[string]uint64{}
				for _, l := range ends[end].lanes {
					l.Drops(m)
				}
				return m
			},
		}
	})
	return carried
}
