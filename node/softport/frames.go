package softport

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"dssn/dataplane/xdpport"
	"dssn/node/kernel"
	"dssn/xdp"
)

// Frames: AF_XDP ports beside the TUN and the socket. They carry IPv6 between the
// LAN and the tunnels and between the tunnels and the WAN; everything else, and
// whatever they cannot address, goes the ordinary way. So nothing depends on
// them but speed: while a neighbour is unknown, while the kernel's routes
// change, on a queue without a socket, packets are carried all the same.
//
// Worker k has queue k of each link. What comes by another queue than its worker's is
// carried by the kernel and the ordinary ports: a lane's messages, told by their UDP
// port, a stock peer's, told by the index in them, and what hosts send to a stock peer. A
// worker without a queue has its ordinary ports, and a queue without a worker is the
// kernel's.

// FrameLinks name the links whose frames are carried; WAN empty means none.
type FrameLinks struct {
	WAN string
	// LAN empty leaves what comes out of the tunnels to the kernel.
	LAN string
}

// frameState is the engine's side of them.
type frameState struct {
	ports    *xdpport.Ports
	obtained xdpport.Obtained
	links    FrameLinks
	lan, wan *net.Interface // lan nil if there is none
	kernel   *kernel.Neighbours

	// The control goroutine's.
	leads  map[uint16]xdp.Lead
	beyond map[netip.Prefix]xdp.Lead

	// The neighbours' goroutine's own.
	hosts  map[netip.Addr]xdpport.MAC
	peers  []map[netip.AddrPort]way // by queue
	closed chan struct{}
	done   chan struct{}
}

// way is what a header is made of.
type way struct {
	to    xdpport.MAC
	local netip.AddrPort
}

// neighboursEvery is how often the kernel is asked; until then the kernel
// carries what is new.
const neighboursEvery = 500 * time.Millisecond

// TryFrames takes the links' queues for so many workers and gives them back, and says what
// was obtained, or why it cannot be.
func TryFrames(links FrameLinks, workers int) (string, error) {
	f, err := openFrames(links, workers)
	if err != nil {
		return "", err
	}
	defer f.close()
	return f.String(), nil
}

// openFrames opens the ports in the calling thread's namespace, a queue for each worker
// as far as both links have as many.
func openFrames(links FrameLinks, workers int) (f *frameState, err error) {
	f = &frameState{links: links, closed: make(chan struct{}), done: make(chan struct{})}
	close(f.done) // until the goroutine runs
	defer func() {
		if err != nil {
			f.close()
			err = fmt.Errorf("carry frames by AF_XDP: %w", err)
		}
	}()
	if links.WAN == "" {
		return f, errors.New("a LAN is named but no WAN: name the link towards the peers too")
	}
	if links.LAN == links.WAN {
		return f, fmt.Errorf("%s is named as LAN and as WAN: they must be two links", links.LAN)
	}
	o := xdpport.Options{ChecksumByNIC: true, Queues: workers}
	if f.wan, err = net.InterfaceByName(links.WAN); err != nil {
		return f, fmt.Errorf("find the link %s: %w", links.WAN, err)
	}
	o.WAN, o.WANMTU = f.wan.Index, f.wan.MTU
	if links.LAN != "" {
		if f.lan, err = net.InterfaceByName(links.LAN); err != nil {
			return f, fmt.Errorf("find the link %s: %w", links.LAN, err)
		}
		if len(f.lan.HardwareAddr) != 6 {
			return f, fmt.Errorf("the link %s is no Ethernet", links.LAN)
		}
		o.LAN, o.LANMTU, o.LANAddress = f.lan.Index, f.lan.MTU, xdpport.MAC(f.lan.HardwareAddr)
	}
	if len(f.wan.HardwareAddr) != 6 {
		return f, fmt.Errorf("the link %s is no Ethernet", links.WAN)
	}
	for _, name := range []string{links.WAN, links.LAN} {
		if name == "" {
			continue
		}
		n, err := xdp.QueueCount(name)
		if err != nil {
			return f, err
		}
		o.Queues = min(o.Queues, max(n, 1))
	}
	if f.ports, err = xdpport.Open(o); err != nil {
		return f, err
	}
	if f.obtained, err = f.ports.Start(); err != nil {
		return f, err
	}
	f.kernel, err = kernel.OpenNeighbours()
	return f, err
}

// String says what was obtained.
func (f *frameState) String() string {
	links := f.links.WAN
	if f.lan != nil {
		links = f.links.LAN + " and " + links
	}
	queues := "queue 0"
	if n := f.obtained.Queues; n > 1 {
		queues = fmt.Sprintf("queues 0 to %d", n-1)
	}
	s := fmt.Sprintf("IPv6 by AF_XDP on %s of %s (%v mode, %v XDP", queues, links, f.obtained.Mode, f.obtained.Attached)
	if f.obtained.ChecksumByNIC {
		s += ", UDP checksums by the NIC"
	}
	return s + ")"
}

func (f *frameState) close() {
	select {
	case <-f.closed:
	default:
		close(f.closed)
	}
	<-f.done
	if f.ports != nil {
		f.ports.Close()
	}
	if f.kernel != nil {
		f.kernel.Close()
	}
}

// attachFrames gives the workers their frames, before they run.
func (e *Engine) attachFrames() error {
	if e.options.Frames == (FrameLinks{}) {
		return nil
	}
	f, err := openFrames(e.options.Frames, len(e.threads))
	if err != nil {
		return err
	}
	e.frames = f
	for k, q := range f.ports.Queues() {
		t := e.threads[k]
		for _, fd := range q.Descriptors() {
			if err := t.waiter.add(fd); err != nil {
				return fmt.Errorf("prepare to wait for frames: %w", err)
			}
		}
		t.worker.SetFrames(q.Inside(), q.Outside())
	}
	f.done = make(chan struct{})
	go f.follow(e)
	return nil
}

// directFrames has what the tables are for come to the ports; the control
// goroutine calls it when they have changed.
func (e *Engine) directFrames() {
	f := e.frames
	if f == nil {
		return
	}
	leads := map[uint16]xdp.Lead{e.port: xdp.OnQueue(0)}
	if len(e.threads) > 1 {
		leads[e.port] = xdp.ByIndex // session.IndexOf
	}
	for k, t := range e.threads[1:] {
		if t.socket != nil {
			leads[t.socket.port] = xdp.OnQueue(k + 1)
		}
	}
	beyond := map[netip.Prefix]xdp.Lead{}
	for _, k := range e.order {
		p, lead := e.peers[k], xdp.AnyQueue
		if !e.everywhere(p.Lanes) {
			lead = xdp.OnQueue(p.lanes[0].Worker)
		}
		for _, a := range p.Allowed {
			// The default route has the host's own addresses in it, and all it could
			// be asked at.
			if a.Addr().Is6() && !a.Addr().Is4In6() && a.Bits() > 0 {
				beyond[a.Masked()] = lead
			}
		}
	}
	if maps.Equal(leads, f.leads) && maps.Equal(beyond, f.beyond) {
		return
	}
	f.leads, f.beyond = leads, beyond
	if err := f.ports.Direct(leads, beyond); err != nil {
		e.log.Error("frames are left to the kernel", "error", err)
	}
}

// follow keeps the ports' neighbours those of the kernel.
func (f *frameState) follow(e *Engine) {
	defer close(f.done)
	ticker := time.NewTicker(neighboursEvery)
	defer ticker.Stop()
	for {
		select {
		case <-f.closed:
			return
		case <-ticker.C:
		}
		endpoints := make([]map[netip.AddrPort]uint16, len(f.ports.Queues())) // of each queue's lanes, and our port
		if !e.control.do(func() {
			for w := range endpoints {
				endpoints[w] = map[netip.AddrPort]uint16{}
			}
			for _, k := range e.order {
				for _, l := range e.peers[k].lanes {
					if l.Worker < len(endpoints) {
						endpoints[l.Worker][l.Where()] = e.portOf(l)
					}
				}
			}
		}) {
			return
		}
		if err := f.look(endpoints); err != nil {
			e.log.Warn("neighbours of the AF_XDP ports are not known", "error", err)
		}
	}
}

// look asks the kernel and publishes what has changed.
func (f *frameState) look(endpoints []map[netip.AddrPort]uint16) error {
	hosts := map[netip.Addr]xdpport.MAC{}
	if f.lan != nil {
		on, err := f.on(f.lan.Index)
		if err != nil {
			return err
		}
		for a, m := range on {
			if !a.IsLinkLocalUnicast() {
				hosts[a] = m
			}
		}
	}
	on, err := f.on(f.wan.Index)
	if err != nil {
		return err
	}
	peers := make([]map[netip.AddrPort]way, len(endpoints))
	for q := range peers {
		peers[q] = map[netip.AddrPort]way{}
		for to, port := range endpoints[q] {
			a := to.Addr()
			if !a.Is6() || a.Is4In6() || a.IsLinkLocalUnicast() || !to.IsValid() {
				continue
			}
			w, err := f.kernel.To(a)
			if err != nil || w.Ifindex != f.wan.Index || !w.Source.IsValid() {
				continue // the ordinary way finds it, or says why not
			}
			if mac, known := on[w.Via]; known {
				peers[q][to] = way{mac, netip.AddrPortFrom(w.Source, port)}
			}
		}
	}
	if maps.Equal(hosts, f.hosts) && slices.EqualFunc(peers, f.peers, maps.Equal) {
		return nil
	}
	f.hosts, f.peers = hosts, peers
	for i, q := range f.ports.Queues() {
		n := &xdpport.Neighbours{Hosts: hosts, Peers: make(map[netip.AddrPort]*xdpport.Header, len(peers[i]))}
		for to, w := range peers[i] {
			n.Peers[to] = xdpport.NewHeader(w.to, xdpport.MAC(f.wan.HardwareAddr), w.local, to)
		}
		q.Publish(n)
	}
	return nil
}

// on returns a link's neighbours; the kernel verifies those it does not see used.
func (f *frameState) on(ifindex int) (map[netip.Addr]xdpport.MAC, error) {
	list, err := f.kernel.On(ifindex)
	if err != nil {
		return nil, err
	}
	m := make(map[netip.Addr]xdpport.MAC, len(list))
	for _, x := range list {
		m[x.Addr] = x.MAC
		if x.Stale {
			f.kernel.Verify(ifindex, x) // if it is gone, its entry goes
		}
	}
	return m, nil
}
