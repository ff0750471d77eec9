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
)

// Frames: AF_XDP ports beside the TUN and the socket. They carry IPv6 between the
// LAN and the tunnels and between the tunnels and the WAN; everything else, and
// whatever they cannot address, goes the ordinary way. So nothing depends on
// them but speed: while a neighbour is unknown, while the kernel's routes
// change, on a queue without a socket, packets are carried all the same.
//
// They are the first worker's, on queue 0 of each link.

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
	port   uint16
	beyond []netip.Prefix

	// The neighbours' goroutine's own.
	hosts  map[netip.Addr]xdpport.MAC
	peers  map[netip.AddrPort]way
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

// TryFrames takes the links' queues and gives them back, and says what was
// obtained, or why it cannot be.
func TryFrames(links FrameLinks) (string, error) {
	f, err := openFrames(links)
	if err != nil {
		return "", err
	}
	defer f.close()
	return f.String(), nil
}

// openFrames opens the ports in the calling thread's namespace.
func openFrames(links FrameLinks) (f *frameState, err error) {
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
	o := xdpport.Options{ChecksumByNIC: true}
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
	s := fmt.Sprintf("IPv6 by AF_XDP on queue 0 of %s (%v mode, %v XDP", links, f.obtained.Mode, f.obtained.Attached)
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

// attachFrames gives the first worker its frames, before it runs.
func (e *Engine) attachFrames() error {
	if e.options.Frames == (FrameLinks{}) {
		return nil
	}
	f, err := openFrames(e.options.Frames)
	if err != nil {
		return err
	}
	e.frames = f
	t := e.threads[0]
	for _, fd := range f.ports.Descriptors() {
		if err := t.waiter.add(fd); err != nil {
			return fmt.Errorf("prepare to wait for frames: %w", err)
		}
	}
	if f.lan == nil {
		t.worker.SetFrames(nil, f.ports.Outside())
	} else {
		t.worker.SetFrames(f.ports.Inside(), f.ports.Outside())
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
	var beyond []netip.Prefix
	for _, k := range e.order {
		for _, a := range e.peers[k].Allowed {
			// The default route has the host's own addresses in it, and all it could
			// be asked at.
			if a.Addr().Is6() && !a.Addr().Is4In6() && a.Bits() > 0 {
				beyond = append(beyond, a.Masked())
			}
		}
	}
	if f.port == e.port && slices.Equal(beyond, f.beyond) {
		return
	}
	f.port, f.beyond = e.port, beyond
	if err := f.ports.Direct(e.port, beyond); err != nil {
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
		var endpoints []netip.AddrPort
		var port uint16
		if !e.control.do(func() {
			port = e.port
			for _, k := range e.order {
				for _, l := range e.peers[k].lanes {
					if l.Worker == 0 {
						endpoints = append(endpoints, l.Where())
					}
				}
			}
		}) {
			return
		}
		if err := f.look(endpoints, port); err != nil {
			e.log.Warn("neighbours of the AF_XDP ports are not known", "error", err)
		}
	}
}

// look asks the kernel and publishes what has changed.
func (f *frameState) look(endpoints []netip.AddrPort, port uint16) error {
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
	peers := map[netip.AddrPort]way{}
	for _, to := range endpoints {
		a := to.Addr()
		if !a.Is6() || a.Is4In6() || a.IsLinkLocalUnicast() || !to.IsValid() {
			continue
		}
		w, err := f.kernel.To(a)
		if err != nil || w.Ifindex != f.wan.Index || !w.Source.IsValid() {
			continue // the ordinary way finds it, or says why not
		}
		if mac, known := on[w.Via]; known {
			peers[to] = way{mac, netip.AddrPortFrom(w.Source, port)}
		}
	}
	if maps.Equal(hosts, f.hosts) && maps.Equal(peers, f.peers) {
		return nil
	}
	f.hosts, f.peers = hosts, peers
	n := &xdpport.Neighbours{Hosts: hosts, Peers: make(map[netip.AddrPort]*xdpport.Header, len(peers))}
	for to, w := range peers {
		n.Peers[to] = xdpport.NewHeader(w.to, xdpport.MAC(f.wan.HardwareAddr), w.local, to)
	}
	f.ports.Publish(n)
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
