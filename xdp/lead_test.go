package xdp_test

import (
	"net/netip"
	"testing"

	"dssn/internal/need"
	"dssn/xdp"
	"dssn/xdp/xdptest"

	"github.com/google/gopacket/layers"
)

// A frame goes to the socket of its own queue if that is who it is for, and to the
// kernel otherwise: never to another's, never nowhere.
func TestADirectorLeadsEachQueueWhatIsForIt(t *testing.T) {
	need.Root(t)
	const queues, flows = 3, 90
	a, b := xdptest.NewNetns(t).Quiet(t), xdptest.NewNetns(t).Quiet(t)
	xdptest.VethQueues(t, a, "a0", b, "b0", queues)
	a.Do(t, func() error {
		if n, err := xdp.QueueCount("a0"); n != queues || err != nil {
			t.Errorf("the link has %d queues: %v", n, err)
		}
		_, err := xdp.QueueCount("nosuchlink")
		if err == nil {
			t.Error("a link that is not there has queues")
		}
		return nil
	})
	w := newWire(t, b, "b0")
	u, err := xdp.NewUMEM(xdp.UMEMOptions{Frames: 256 * queues})
	if err != nil {
		t.Fatal(err)
	}
	d := direct(t, a, xdp.DirectorOptions{Ifindex: a.Ifindex(t, "a0"), Changing: true}, nil)
	var sockets [queues]*xdp.Socket
	for q := range sockets {
		pool, err := u.NewPool(256)
		if err != nil {
			t.Fatal(err)
		}
		o := small
		o.Ifindex, o.Queue = a.Ifindex(t, "a0"), q
		sockets[q] = openSocket(t, a, pool, o)
		if err := d.Add(q, sockets[q]); err != nil {
			t.Fatal(err)
		}
		sockets[q].Refill()
	}
	mac := xdp.MAC(a.MAC(t, "a0"))
	udp := func(source, port int, message ...byte) []byte {
		p := append([]byte{byte(source >> 8), byte(source), byte(port >> 8), byte(port), 0, byte(8 + len(message)), 0, 0}, message...)
		return frameSpec{dst: "2001:db8::1", mac: &mac, next: layers.IPProtocolUDP, payload: p}.bytes()
	}
	message := func(kind, index byte) []byte {
		m := make([]byte, 32)
		m[0], m[4], m[8] = kind, index, index
		if kind == 2 {
			m[4] = 77 // the sender's own
		}
		return m
	}
	const own, byIndex, any = 51820, 51821, 51822
	if err := d.Choose(map[uint16]xdp.Lead{own: xdp.OnQueue(1), byIndex: xdp.ByIndex, any: xdp.AnyQueue}, map[netip.Prefix]xdp.Lead{
		netip.MustParsePrefix("3fff:d55:1::/48"): xdp.OnQueue(2),
		netip.MustParsePrefix("3fff:d55:2::/48"): xdp.AnyQueue,
	}); err != nil {
		t.Fatal(err)
	}
	// Many flows, which the far end's queues share; each frame must go where its own
	// queue says, so the counters tell all.
	for _, c := range []struct {
		name  string
		frame func(flow int) []byte
		only  int // the one socket that gets any; -1: all do
	}{
		{"a port of one queue", func(i int) []byte { return udp(i, own, message(4, 0)...) }, 1},
		{"a port of all", func(i int) []byte { return udp(i, any, message(4, 0)...) }, -1},
		{"transport for index 2", func(i int) []byte { return udp(i, byIndex, message(4, 2)...) }, 2},
		{"a cookie for index 1", func(i int) []byte { return udp(i, byIndex, message(3, 1)...) }, 1},
		{"a response to index 1", func(i int) []byte { return udp(i, byIndex, message(2, 1)...) }, 1},
		{"initiations", func(i int) []byte { return udp(i, byIndex, message(1, 2)...) }, 0},
		{"too short to name anybody", func(i int) []byte { return udp(i, byIndex, 4, 0, 0, 0, 2) }, 0},
		{"a prefix of one queue", func(i int) []byte {
			return frameSpec{dst: "3fff:d55:1::1", mac: &mac, next: layers.IPProtocolTCP, payload: append([]byte{byte(i), 1, 0, 80}, make([]byte, 16)...)}.bytes()
		}, 2},
		{"a prefix of all", func(i int) []byte {
			return frameSpec{dst: "3fff:d55:2::1", mac: &mac, next: layers.IPProtocolTCP, payload: append([]byte{byte(i), 1, 0, 80}, make([]byte, 16)...)}.bytes()
		}, -1},
	} {
		before, _ := d.Counters()
		got, sum := [queues]int{}, 0
		for i := range flows {
			w.send(t, c.frame(i+1000))
			if i%8 < 7 && i < flows-1 {
				continue
			}
			for q, s := range sockets { // often enough for the small rings
				for {
					in := s.Peek(64)
					if len(in) == 0 {
						break
					}
					for _, f := range in {
						s.Pool().Put(f.Addr)
					}
					got[q] += len(in)
					s.Release(len(in))
				}
				s.Refill()
			}
		}
		var after xdp.DirectorCounters
		for range 2000 { // the last frames are on their way
			after, _ = d.Counters()
			if after.ToSocket+after.OtherQueue-before.ToSocket-before.OtherQueue == flows {
				break
			}
		}
		for q, s := range sockets {
			for range 50 {
				in := s.Peek(64)
				for _, f := range in {
					s.Pool().Put(f.Addr)
				}
				got[q] += len(in)
				s.Release(len(in))
			}
			s.Refill()
			sum += got[q]
		}
		taken, left := int(after.ToSocket-before.ToSocket), int(after.OtherQueue-before.OtherQueue)
		if taken+left != flows || sum != taken || after.NoMatch != before.NoMatch || after.NoSocket != before.NoSocket {
			t.Errorf("%s: %d of %d frames to sockets, which got %v, %d for other queues; %+v", c.name, taken, flows, got, left, after)
		}
		for q, n := range got {
			if wanted := c.only < 0 || c.only == q; (n > 0) != wanted {
				t.Errorf("%s: the sockets got %v", c.name, got)
				break
			}
		}
	}
}
