package wgtest

import (
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"

	"dssn/dataplane"
	"dssn/dataplane/fib"
	"dssn/dataplane/meter"
)

// inside stands between the TUN and the device. The device calls Read from one
// goroutine, which therefore owns the tokens, and Write from one goroutine
// for each peer, which only count.
type inside struct {
	tun.Device
	tables atomic.Pointer[tables]
	begun  time.Time // the beginning of the meters' clock
	events chan tun.Event
	quit   chan struct{}
	once   sync.Once
	wait   sync.WaitGroup

	noMeter, policed, noPeer, malformed atomic.Uint64
}

// tables are dataplane.Tables made ready for packets.
type tables struct {
	meters *meter.Set
	peers  *fib.Table[struct{}]
}

func (i *inside) compile(t *dataplane.Tables, r *meter.Registry) *tables {
	var allowed []fib.Entry[struct{}]
	for _, p := range t.Peers {
		for _, a := range p.Allowed {
			allowed = append(allowed, fib.Entry[struct{}]{Prefix: a})
		}
	}
	return &tables{meters: r.Compile(time.Since(i.begun), t.Meters), peers: fib.New(allowed)}
}

func newInside(link tun.Device) *inside {
	i := &inside{Device: link, begun: time.Now(), events: make(chan tun.Event, 1), quit: make(chan struct{})}
	i.tables.Store(&tables{meters: new(meter.Set), peers: new(fib.Table[struct{}])})
	i.wait.Add(1)
	go i.forwardEvents()
	return i
}

func (i *inside) publish(t *tables) { i.tables.Store(t) }

// Read returns the packets that may enter the network: it reads until at least
// one of a batch may, so that the device is never woken for nothing.
func (i *inside) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for {
		n, err := i.Device.Read(bufs, sizes, offset)
		if n > 0 {
			n = i.admit(bufs[:n], sizes, offset)
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// admit polices and counts a batch, moves what may pass to its front and
// returns how many may. The clock and the tables are read once.
func (i *inside) admit(bufs [][]byte, sizes []int, offset int) int {
	t := i.tables.Load()
	now := time.Since(i.begun)
	var last struct { // the flow before this packet's; flows come in runs
		src, dst netip.Addr
		meter    *meter.Meter
		peer     bool
	}
	var sent, policed run
	passed := 0
	for k, b := range bufs {
		src, dst, ok := addresses(b[offset : offset+sizes[k]])
		if !ok {
			i.malformed.Add(1)
			continue
		}
		if src != last.src || dst != last.dst {
			sent.flush(last.meter, addSent)
			policed.flush(last.meter, addPoliced)
			last.src, last.dst = src, dst
			last.meter = t.meters.Find(src, dst)
			_, last.peer = t.peers.Lookup(dst)
		}
		switch {
		case !last.peer:
			i.noPeer.Add(1)
			continue
		case last.meter == nil:
			i.noMeter.Add(1)
			continue
		case !take(last.meter.Share(0, 0), now, sizes[k]):
			i.policed.Add(1)
			policed.add(sizes[k])
			continue
		}
		sent.add(sizes[k])
		if passed != k { // The device seals in place: packets move, buffers cannot.
			sizes[passed] = copy(bufs[passed][offset:], b[offset:offset+sizes[k]])
		}
		passed++
	}
	sent.flush(last.meter, addSent)
	policed.flush(last.meter, addPoliced)
	return passed
}

func take(s *meter.Share, now time.Duration, n int) bool {
	s.Fill(now, n)
	defer s.Settle()
	return s.Take(n)
}

// Write counts the packets that leave the network here and hands them to the TUN.
func (i *inside) Write(bufs [][]byte, offset int) (int, error) {
	t := i.tables.Load()
	var src, dst netip.Addr
	var m *meter.Meter
	var received run
	for _, b := range bufs {
		s, d, ok := addresses(b[offset:])
		if !ok {
			continue
		}
		if s != src || d != dst {
			received.flush(m, addReceived)
			src, dst, m = s, d, t.meters.Find(s, d)
		}
		received.add(len(b) - offset)
	}
	received.flush(m, addReceived)
	return i.Device.Write(bufs, offset)
}

// run sums neighbours of one flow, so that counters are touched once for each.
type run struct{ packets, bytes uint64 }

func (r *run) add(n int) { r.packets++; r.bytes += uint64(n) }

func (r *run) flush(m *meter.Meter, add func(*meter.Counter, run)) {
	if r.packets > 0 && m != nil {
		add(m.Share(0, 0).Counter, *r)
	}
	*r = run{}
}

func addSent(c *meter.Counter, r run) { c.SentPackets.Add(r.packets); c.SentBytes.Add(r.bytes) }
func addPoliced(c *meter.Counter, r run) {
	c.PolicedPackets.Add(r.packets)
	c.PolicedBytes.Add(r.bytes)
}
func addReceived(c *meter.Counter, r run) {
	c.ReceivedPackets.Add(r.packets)
	c.ReceivedBytes.Add(r.bytes)
}

// addresses returns where a packet comes from and goes to; false if it is not
// a whole IPv4 or IPv6 header.
func addresses(p []byte) (src, dst netip.Addr, ok bool) {
	switch {
	case len(p) >= 40 && p[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40])), true
	case len(p) >= 20 && p[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20])), true
	}
	return
}

func (i *inside) drops() map[string]uint64 {
	return map[string]uint64{
		dataplane.DropNoMeter:   i.noMeter.Load(),
		dataplane.DropPoliced:   i.policed.Load(),
		dataplane.DropNoPeer:    i.noPeer.Load(),
		dataplane.DropMalformed: i.malformed.Load(),
	}
}

// Events passes on changes of the MTU only. Whether the device runs is decided
// by Open and Close, not by the link's state: setting the link down for a
// moment must not cost the sessions or rebind the port.
func (i *inside) Events() <-chan tun.Event { return i.events }

func (i *inside) forwardEvents() {
	defer i.wait.Done()
	defer close(i.events)
	for {
		select {
		case e, ok := <-i.Device.Events():
			if !ok {
				return
			}
			if e&tun.EventMTUUpdate == 0 {
				continue
			}
			select {
			case i.events <- tun.EventMTUUpdate:
			case <-i.quit:
				return
			}
		case <-i.quit:
			return
		}
	}
}

// Close closes the TUN.
func (i *inside) Close() error {
	i.once.Do(func() { close(i.quit) })
	err := i.Device.Close()
	i.wait.Wait()
	return err
}

// bringUp sets the interface's up flag, in the calling thread's namespace.
func bringUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, r); err != nil {
		return os.NewSyscallError("ioctl SIOCGIFFLAGS", err)
	}
	r.SetUint16(r.Uint16() | unix.IFF_UP)
	return os.NewSyscallError("ioctl SIOCSIFFLAGS", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r))
}
