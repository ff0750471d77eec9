package xdp_test

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"

	"golang.org/x/sys/unix"
)

var small = xdp.SocketOptions{Fill: 64, Rx: 64, Tx: 64, Completion: 64}

// wire is a packet socket on one end of a veth: what it sends arrives at the other.
type wire struct{ fd, ifindex int }

func newWire(t *testing.T, n *xdptest.Netns, name string) *wire {
	w := &wire{ifindex: n.Ifindex(t, name)}
	n.Do(t, func() (err error) {
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0x0300); err != nil {
			return err
		}
		unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2})
		unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: 0x0300, Ifindex: w.ifindex})
	})
	t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

func (w *wire) send(t *testing.T, frames ...[]byte) {
	t.Helper()
	for _, f := range frames {
		if _, err := unix.Write(w.fd, f); err != nil {
			t.Fatal(err)
		}
	}
}

// next returns the next frame of the test's own type.
func (w *wire) next() []byte {
	buf := make([]byte, 16384)
	for {
		n, from, err := unix.Recvfrom(w.fd, buf, 0)
		if err != nil {
			return nil
		}
		if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if n >= 14 && buf[12] == 0x88 && buf[13] == 0xb5 {
			return buf[:n]
		}
	}
}

func openSocket(t *testing.T, n *xdptest.Netns, pool *xdp.Pool, o xdp.SocketOptions) *xdp.Socket {
	t.Helper()
	var s *xdp.Socket
	n.Do(t, func() (err error) { s, err = xdp.Open(pool, o); return err })
	t.Cleanup(func() { s.Close() })
	return s
}

func newPool(t *testing.T, o xdp.UMEMOptions) *xdp.Pool {
	t.Helper()
	u, err := xdp.NewUMEM(o)
	if err != nil {
		t.Fatal(err)
	}
	p, err := u.NewPool(u.Frames())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func direct(t *testing.T, n *xdptest.Netns, o xdp.DirectorOptions, s *xdp.Socket) *xdp.Director {
	t.Helper()
	var d *xdp.Director
	n.Do(t, func() (err error) { d, err = xdp.NewDirector(o); return err })
	t.Cleanup(func() { d.Close() })
	if s != nil {
		if err := d.Add(0, s); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestVethInCopyModeConforms(t *testing.T) {
	need.Root(t)
	xdptest.Conformance(t, func(t *testing.T) xdptest.Rig {
		a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
		xdptest.Veth(t, a, "a0", b, "b0")
		w := newWire(t, b, "b0")
		o := small
		o.Ifindex = a.Ifindex(t, "a0")
		s := openSocket(t, a, newPool(t, xdp.UMEMOptions{Frames: 256}), o)
		if s.Mode() != xdp.ModeCopy {
			t.Errorf("veth gave %s", s.Mode())
		}
		direct(t, a, xdp.DirectorOptions{Ifindex: o.Ifindex, All: true}, s)
		return xdptest.Rig{Socket: s, Inject: func(f ...[]byte) { w.send(t, f...) }, Sent: w.next}
	})
}

func TestASecondSocketOnAQueueIsRefusedInOneSentence(t *testing.T) {
	need.Root(t)
	a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
	xdptest.Veth(t, a, "a0", b, "b0")
	o := small
	o.Ifindex = a.Ifindex(t, "a0")
	first := openSocket(t, a, newPool(t, xdp.UMEMOptions{Frames: 256}), o)
	a.Do(t, func() error {
		s, err := xdp.Open(newPool(t, xdp.UMEMOptions{Frames: 256}), o)
		if err == nil {
			s.Close()
			t.Error("the queue was given away twice")
		} else if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "ss --xdp") {
			t.Errorf("the refusal was: %v", err)
		}
		// And the queue can be had as soon as its owner is gone.
		first.Close()
		again, err := xdp.Open(newPool(t, xdp.UMEMOptions{Frames: 256}), o)
		if err != nil {
			t.Errorf("after the first socket was closed: %v", err)
			return nil
		}
		return again.Close()
	})
}

func TestWhatCannotBeOpenedIsNamed(t *testing.T) {
	need.Root(t)
	a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
	xdptest.Veth(t, a, "a0", b, "b0")
	index := a.Ifindex(t, "a0")
	pool := newPool(t, xdp.UMEMOptions{Frames: 256})
	for _, c := range []struct {
		name string
		o    xdp.SocketOptions
		want string
	}{
		{"zero-copy on veth", xdp.SocketOptions{Ifindex: index, Mode: xdp.ModeZeroCopy}, "copy mode"},
		{"a queue that is not", xdp.SocketOptions{Ifindex: index, Queue: 99}, "no such queue"},
		{"an interface that is not", xdp.SocketOptions{Ifindex: 1 << 20}, "ip link"},
		{"an odd ring", xdp.SocketOptions{Ifindex: index, Rx: 100}, "power of two"},
	} {
		a.Do(t, func() error {
			s, err := xdp.Open(pool, c.o)
			if err == nil {
				s.Close()
				t.Errorf("%s: opened", c.name)
			} else if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: the refusal does not say %q: %v", c.name, c.want, err)
			}
			return nil
		})
	}
}

func TestOneMemoryServesTwoDevices(t *testing.T) {
	need.Root(t)
	a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
	xdptest.Veth(t, a, "a0", b, "b0")
	xdptest.Veth(t, a, "a1", b, "b1")
	from, to := newWire(t, b, "b0"), newWire(t, b, "b1")
	pool := newPool(t, xdp.UMEMOptions{Frames: 512})
	o := small
	o.Ifindex = a.Ifindex(t, "a0")
	in := openSocket(t, a, pool, o)
	direct(t, a, xdp.DirectorOptions{Ifindex: o.Ifindex, All: true}, in)
	o.Ifindex = a.Ifindex(t, "a1")
	out := openSocket(t, a, pool, o)
	in.Refill()
	for round := range uint32(100) {
		from.send(t, xdptest.Frame(round, 200))
		got := xdptest.Receive(t, in, 1)
		slot := out.Slots(1)
		slot[0] = got[0]
		out.Submit(1)
		for out.Sending() > 0 {
			if err := out.Kick(); err != nil {
				t.Fatal(err)
			}
			out.Reclaim()
		}
		if f := to.next(); !bytes.Equal(f, xdptest.Frame(round, 200)) {
			t.Fatalf("round %d: the frame came out as %x", round, f)
		}
		in.Refill()
	}
	if err := pool.UMEM().Close(); err == nil {
		t.Error("memory was unmapped under two sockets")
	}
}

func TestAnInterfaceThatVanishesIsAnError(t *testing.T) {
	need.Root(t)
	a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
	xdptest.Veth(t, a, "a0", b, "b0")
	o := small
	o.Ifindex = a.Ifindex(t, "a0")
	pool := newPool(t, xdp.UMEMOptions{Frames: 256})
	s := openSocket(t, a, pool, o)
	s.Refill()
	a.IP(t, "link", "del", "a0")
	slot := s.Slots(1)
	addr, _ := pool.Get()
	slot[0] = xdp.Desc{Addr: addr, Len: 64}
	s.Submit(1)
	var err error
	for range 100 {
		if err = s.Kick(); err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err == nil || !strings.Contains(err.Error(), "ip link") {
		t.Errorf("sending on a deleted interface: %v", err)
	}
}

func TestJumboFramesSpanFrames(t *testing.T) {
	need.Root(t)
	a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
	xdptest.Veth(t, a, "a0", b, "b0")
	a.IP(t, "link", "set", "a0", "mtu", "9000")
	b.IP(t, "link", "set", "b0", "mtu", "9000")
	w := newWire(t, b, "b0")
	o := small
	o.Ifindex, o.MultiBuffer = a.Ifindex(t, "a0"), true
	pool := newPool(t, xdp.UMEMOptions{Frames: 256, FrameSize: 4096})
	s := openSocket(t, a, pool, o)
	direct(t, a, xdp.DirectorOptions{Ifindex: o.Ifindex, All: true}, s)
	s.Refill()
	want := xdptest.Frame(7, 9000)
	w.send(t, want)
	var got []byte
	for parts := 1; ; parts++ {
		d := xdptest.Receive(t, s, 1)[0]
		got = append(got, pool.UMEM().Bytes(d)...)
		if d.Options&xdp.Continued == 0 {
			if parts < 2 {
				t.Errorf("9000 bytes came in %d descriptor", parts)
			}
			break
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived, want %d", len(got), len(want))
	}
	// And out again, in three pieces.
	for i := 0; i < len(want); i += 3000 {
		addr, _ := pool.Get()
		slot := s.Slots(1)
		slot[0] = xdp.Desc{Addr: addr, Len: 3000, Options: xdp.Continued}
		if i == 6000 {
			slot[0].Options = 0
		}
		copy(pool.UMEM().Bytes(slot[0]), want[i:])
		s.Submit(1)
	}
	for s.Sending() > 0 {
		if err := s.Kick(); err != nil {
			t.Fatal(err)
		}
		s.Reclaim()
	}
	if f := w.next(); !bytes.Equal(f, want) {
		t.Errorf("%d bytes left, want %d", len(f), len(want))
	}
}

func TestARequestedChecksumIsFinishedOnTheWay(t *testing.T) {
	need.Root(t)
	a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
	xdptest.Veth(t, a, "a0", b, "b0")
	w := newWire(t, b, "b0")
	o := small
	o.Ifindex = a.Ifindex(t, "a0")
	pool := newPool(t, xdp.UMEMOptions{Frames: 256, TxMetadata: true, SoftwareChecksum: true})
	u := pool.UMEM()
	var s *xdp.Socket
	a.Do(t, func() (err error) { s, err = xdp.Open(pool, o); return err })
	defer s.Close()

	const room, start, field = 64, 20, 6
	addr, _ := pool.Get()
	d := xdp.Desc{Addr: addr + room, Len: 100}
	f := xdptest.Frame(3, 100)
	copy(u.Bytes(d), f)
	u.Bytes(d)[start+field], u.Bytes(d)[start+field+1] = 0, 0
	if !u.RequestChecksum(&d, start, field) {
		t.Fatal("no room to ask")
	}
	s.Slots(1)[0] = d
	s.Submit(1)
	for s.Sending() > 0 {
		if err := s.Kick(); err != nil {
			t.Fatal(err)
		}
		s.Reclaim()
	}
	got := w.next()
	if len(got) != 100 {
		t.Fatalf("received %d bytes", len(got))
	}
	// The ones' complement sum over a range that holds its own checksum is all ones.
	var sum uint32
	for i := start; i < 100; i += 2 {
		sum += uint32(got[i])<<8 | uint32(got[i+1])
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	if sum != 0xffff {
		t.Errorf("the checksum was not finished: sum %#x, field %x", sum, got[start+field:start+field+2])
	}
	// A packet without room before it cannot ask.
	tight := xdp.Desc{Addr: addr, Len: 60}
	if u.RequestChecksum(&tight, 0, 0) || u.RequestLaunchTime(&tight, 1) || u.RequestTimestamp(&tight) || tight.Options != 0 {
		t.Error("a packet at the start of its frame was allowed to ask")
	}
}

func TestAMissingCapabilityIsNamed(t *testing.T) {
	need.Root(t)
	a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
	xdptest.Veth(t, a, "a0", b, "b0")
	index := a.Ifindex(t, "a0")
	pool := newPool(t, xdp.UMEMOptions{Frames: 256})
	a.Do(t, func() error {
		// This thread alone, which ends with the function, loses its capabilities.
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			return err
		}
		for what, err := range map[string]error{
			"a socket":   second(xdp.Open(pool, xdp.SocketOptions{Ifindex: index})),
			"a director": second(xdp.NewDirector(xdp.DirectorOptions{Ifindex: index, All: true})),
			"steering":   second(xdp.NewSteer(xdp.SteerOptions{})),
			"transit":    second(xdp.OpenTransit(lab)),
		} {
			if err == nil || !strings.Contains(err.Error(), "CAP_NET_RAW") {
				t.Errorf("%s without capabilities: %v", what, err)
			}
		}
		return nil
	})
}

func second[T any](_ T, err error) error { return err }

func TestTooLittleLockedMemoryIsNamed(t *testing.T) {
	need.Root(t)
	a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
	xdptest.Veth(t, a, "a0", b, "b0")
	index := a.Ifindex(t, "a0")
	pool := newPool(t, xdp.UMEMOptions{Frames: 256})
	a.Do(t, func() error {
		// This thread may do all but lock memory above the limit, which is next to none.
		var all unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &all); err != nil {
			return err
		}
		if err := unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 4096, Max: all.Max}, nil); err != nil {
			return err
		}
		defer unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &all, nil)
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var has [2]unix.CapUserData
		if err := unix.Capget(&header, &has[0]); err != nil {
			return err
		}
		has[0].Effective &^= 1 << unix.CAP_IPC_LOCK
		if err := unix.Capset(&header, &has[0]); err != nil {
			return err
		}
		s, err := xdp.Open(pool, xdp.SocketOptions{Ifindex: index})
		if err == nil {
			return errors.Join(errors.New("a socket was opened with 4096 bytes of locked memory"), s.Close())
		}
		if !strings.Contains(err.Error(), "too little memory may be locked: raise it with `ulimit -l unlimited`") {
			t.Errorf("said %v", err)
		}
		return nil
	})
}
