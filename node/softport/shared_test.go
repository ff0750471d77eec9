package softport

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"dssn"
	"dssn/dataplane"
	"dssn/dataplane/enginetest"
	"dssn/dataplane/nstest"
	"dssn/dataplane/session"
	"dssn/dataplane/wgtest"
	"dssn/dataplane/worker"
	"dssn/internal/need"
)

// Each message at the shared port comes to the worker whose session it is for, and
// what names none to the first.
func TestMessagesAreLedToTheWorkerOfTheirIndex(t *testing.T) {
	n := nstest.New(t)
	const workers = 5
	var e Engine
	e.options.Plain = true
	e.threads = make([]*thread, workers)
	var group []*socket
	var from *socket
	if err := n.Do(func() (err error) {
		if group, err = e.openGroup(0, 0); err == nil {
			from, err = openSocket(0, 0)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer from.close()
	defer closeAll(group)
	to := netip.AddrPortFrom(netip.IPv6Loopback(), group[0].port)
	message := func(kind byte, at int, owner uint32) []byte {
		b := bytes.Repeat([]byte{0xee}, 148)
		copy(b, []byte{kind, 0, 0, 0})
		index := session.IndexOf(int(owner), 0xabcdef00)
		b[at], b[at+1], b[at+2], b[at+3] = byte(index), byte(index>>8), byte(index>>16), byte(index>>24)
		return b
	}
	for owner := range uint32(workers) {
		for name, x := range map[string]struct {
			message []byte
			want    uint32
		}{
			"transport":       {message(4, 4, owner), owner},
			"cookie":          {message(3, 4, owner), owner},
			"response":        {message(2, 8, owner), owner},
			"initiation":      {message(1, 4, owner), 0},
			"no message":      {message(9, 4, owner), 0},
			"not long enough": {[]byte{4, 0, 0}, 99},
		} {
			if _, err := from.Send([]worker.Datagrams{{Buf: x.message, Segment: len(x.message), Peer: to}}); err != nil {
				t.Fatal(err)
			}
			got := -1
			until(t, name, func() bool {
				for i, s := range group {
					in := []worker.Datagrams{{Buf: make([]byte, 2000)}}
					if k, _ := s.Receive(in); k == 1 && bytes.Equal(in[0].Buf, x.message) {
						got = i
					}
				}
				return got >= 0
			})
			if x.want != 99 && got != int(x.want) {
				t.Errorf("%s for worker %d came to %d, want %d", name, owner, got, x.want)
			}
		}
	}
}

// Nine stock peers are dealt out among three workers, hear and are heard at the one
// port that they know, and a native node's lanes go on beside them.
func TestStockPeersAreSpreadOverWorkers(t *testing.T) {
	need.Root(t)
	a, b := nstest.Pair(t, "5f00:d55:1::1/32", "5f00:d55:2::1/32")
	const stock, native, port = 9, 9, 51820 // the native one is the last
	private, public := enginetest.NewKey(t)
	open := func(n *nstest.Namespace, f func() error) {
		t.Helper()
		if err := n.Do(f); err != nil {
			t.Fatal(err)
		}
	}
	inside := func(i, end int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("3fff:d55:%d::%d", i+1, end)) }
	tables := func(to dataplane.Peer, i, end int) *dataplane.Tables {
		to.Allowed = []netip.Prefix{netip.PrefixFrom(inside(i, 3-end), 128)}
		return &dataplane.Tables{Generation: 1, Peers: []dataplane.Peer{to}, Meters: bothWays(i, inside)}
	}
	var e *Engine
	open(a, func() (err error) {
		e, err = Open(Options{Interface: "dssn0", PrivateKey: private, ListenPort: port, Ports: []uint16{enginetest.WorkerPort(port, 1), enginetest.WorkerPort(port, 2)}})
		return err
	})
	t.Cleanup(func() { e.Close() })
	ours := &dataplane.Tables{Generation: 1}
	var keys []dataplane.Key
	for i := range stock + 1 {
		secret, key := enginetest.NewKey(t)
		keys = append(keys, key)
		name, listen := fmt.Sprintf("b%d", i), uint16(40000+100*i)
		us := dataplane.Peer{Key: public, Endpoint: netip.MustParseAddrPort(fmt.Sprintf("[5f00:d55:1::1]:%d", port))}
		them := dataplane.Peer{Key: key, Endpoint: netip.MustParseAddrPort(fmt.Sprintf("[5f00:d55:2::1]:%d", listen))}
		var other dataplane.Engine
		open(b, func() (err error) {
			if i < native {
				other, err = wgtest.Open(wgtest.Options{Interface: name, PrivateKey: secret, ListenPort: listen})
			} else {
				other, err = Open(Options{Interface: name, PrivateKey: secret, ListenPort: listen, Ports: []uint16{enginetest.WorkerPort(listen, 1)}})
			}
			return err
		})
		t.Cleanup(func() { other.Close() })
		if i == native {
			for k := range 3 {
				here, there := enginetest.WorkerPort(port, k), enginetest.WorkerPort(listen, k%2)
				them.Lanes = append(them.Lanes, dataplane.Lane{Worker: k, Endpoint: netip.AddrPortFrom(them.Endpoint.Addr(), there)})
				us.Lanes = append(us.Lanes, dataplane.Lane{Worker: k % 2, Endpoint: netip.AddrPortFrom(us.Endpoint.Addr(), here)})
			}
		}
		if err := other.Publish(tables(us, i, 2)); err != nil {
			t.Fatal(err)
		}
		mine := tables(them, i, 1)
		ours.Peers, ours.Meters = append(ours.Peers, mine.Peers...), append(ours.Meters, mine.Meters...)
		a.IP(t, fmt.Sprintf("addr add %v/64 dev dssn0 nodad", inside(i, 1)))
		b.IP(t, fmt.Sprintf("addr add %v/64 dev %s nodad", inside(i, 2), name))
	}
	if err := e.Publish(ours); err != nil {
		t.Fatal(err)
	}
	var dealt []int
	e.control.do(func() { dealt = slices.Clone(e.stock) })
	if !slices.Equal(dealt, []int{3, 3, 3}) {
		t.Errorf("nine stock peers are dealt out as %v", dealt)
	}
	for i := range stock + 1 {
		transfer(t, a, b, inside(i, 2).String(), 1<<19)
		transfer(t, b, a, inside(i, 1).String(), 1<<19)
	}
	// Each worker carried its three both ways; nothing came to another's.
	e.control.do(func() {
		for i, k := range keys[:stock] {
			l := e.peers[k].lanes[0]
			if sent, received := e.peers[k].bytes(); sent < 1<<19 || received < 1<<19 || !l.Shared {
				t.Errorf("stock peer %d of worker %d: %d bytes sent, %d received", i, l.Worker, sent, received)
			}
		}
		sum := 0
		for _, l := range e.peers[keys[native]].lanes {
			if l.Shared {
				t.Error("a native lane is taken for a stock peer's")
			}
			if l.SentBytes.Load() > 0 {
				sum++
			}
		}
		if sum == 0 {
			t.Error("no native lane carried anything")
		}
	})
	for name, n := range e.Drops() {
		if n > 0 && (name == "no_lane" || name == "bad_index") {
			t.Errorf("%d packets dropped as %s", n, name)
		}
	}
	// Who leaves makes room, who stays keeps its worker and its session.
	where := func() (all []int) {
		e.control.do(func() {
			for _, k := range keys[3:stock] {
				all = append(all, e.peers[k].lanes[0].Worker)
			}
		})
		return all
	}
	before := where()
	less := &dataplane.Tables{Generation: 2, Peers: ours.Peers[3:], Meters: ours.Meters[6:]}
	if err := e.Publish(less); err != nil {
		t.Fatal(err)
	}
	if after := where(); !slices.Equal(before, after) {
		t.Errorf("those that stay moved from %v to %v", before, after)
	}
	transfer(t, a, b, inside(4, 2).String(), 1<<16)
}

// bothWays lets everything pass between the ends of pair i.
func bothWays(i int, inside func(i, end int) netip.Addr) []dataplane.Meter {
	host := func(end int) netip.Prefix { return netip.PrefixFrom(inside(i, end), 128) }
	return []dataplane.Meter{
		{Reservation: dssn.ReservationID(2*i + 1), From: host(1), To: host(2), Rate: 100 * dssn.Gbps, Burst: 64 * dssn.MiB},
		{Reservation: dssn.ReservationID(2*i + 2), From: host(2), To: host(1), Rate: 100 * dssn.Gbps, Burst: 64 * dssn.MiB},
	}
}

// Sockets that share a port do not let a second engine onto it.
func TestASharedPortThatIsTakenIsNamed(t *testing.T) {
	n := nstest.New(t)
	open := func(name string) (e *Engine, err error) {
		return e, n.Do(func() (err error) {
			e, err = Open(Options{Interface: name, Plain: true, ListenPort: 51820, Ports: make([]uint16, 2)})
			return err
		})
	}
	first, err := open("one")
	need.Kernel(t, "programs that choose queues", err)
	defer first.Close()
	second, err := open("two")
	if err == nil {
		second.Close()
		t.Fatal("two engines share a port")
	}
	if !strings.Contains(err.Error(), "bind UDP port 51820: address already in use") {
		t.Errorf("the port is taken: %v", err)
	}
	if _, err := n.Run("ip", "link", "show", "two"); err == nil {
		t.Error("the refused engine left its interface behind")
	}
}

// An idle worker with two sockets asks both, and neither costs it an allocation.
func TestTwoSocketsCostNoAllocation(t *testing.T) {
	n := nstest.New(t)
	p := &twin{}
	if err := n.Do(func() (err error) {
		if p.own, err = openSocket(0, 0); err == nil {
			p.shared, err = openSocket(0, 0)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer closeAll([]*socket{p.own, p.shared})
	in := make([]worker.Datagrams, 4)
	for i := range in {
		in[i].Buf = make([]byte, 1<<16)
	}
	message := bytes.Repeat([]byte{4}, 96)
	out := []worker.Datagrams{
		{Buf: message, Segment: 96, Peer: netip.AddrPortFrom(netip.IPv6Loopback(), p.own.port), Shared: true},
		{Buf: message, Segment: 96, Peer: netip.AddrPortFrom(netip.IPv6Loopback(), p.shared.port)},
	}
	got := 0
	if allocs := testing.AllocsPerRun(200, func() {
		for left := out; len(left) > 0; {
			k, err := p.Send(left)
			if err != nil {
				t.Fatal(err)
			}
			left = left[k:]
		}
		for tries := 0; tries < 1000; tries++ {
			for i := range in {
				in[i].Buf = in[i].Buf[:cap(in[i].Buf)]
			}
			if k, _ := p.Receive(in); k > 0 {
				if got += k; got%2 == 0 {
					break
				}
			}
		}
	}); allocs > 0 {
		t.Errorf("%.1f allocations for two sends and what they bring", allocs)
	}
	if got != 2*201 {
		t.Errorf("%d of %d datagrams came", got, 2*201)
	}
}
