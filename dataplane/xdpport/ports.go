package xdpport

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"dssn/dataplane/worker"
	"dssn/xdp"
)

// Options describe ports. WAN is required.
type Options struct {
	// LAN and WAN are indices of interfaces; LAN zero means none.
	LAN, WAN int
	// LANAddress is the LAN interface's Ethernet address.
	LANAddress MAC
	// LANMTU and WANMTU bound what is sent, bytes of IP packets.
	LANMTU, WANMTU int
	// Queue of both interfaces whose frames are taken. What arrives on other
	// queues stays the kernel's, and so reaches the ordinary ports.
	Queue int
	// Mode of the sockets; the usual ModeAuto takes what there is.
	Mode xdp.Mode
	// ChecksumByNIC has the WAN's device compute UDP checksums, if it says it
	// can.
	ChecksumByNIC bool
	// BusyPoll is xdp.SocketOptions' of the same name.
	BusyPoll int
}

// Ports are one worker's.
type Ports struct {
	options Options
	umem    *xdp.UMEM
	pool    *xdp.Pool
	lan     *lan
	wan     *wan
	close   []func() error
	direct  [2]*xdp.Director // LAN's and WAN's
	table   atomic.Pointer[Neighbours]
}

// Obtained says what the ports got.
type Obtained struct {
	Mode          xdp.Mode       // the worse of the sockets'
	Attached      xdp.AttachMode // the worse of the programs'
	Pages         xdp.Pages
	ChecksumByNIC bool
}

// frameSize holds what an Ethernet of MTU 1500 carries, or one of 3500.
func frameSize(mtu int) int {
	if mtu > 1600 {
		return 4096
	}
	return 2048
}

// Open takes the queues. Packets come once Start was called.
func Open(o Options) (p *Ports, err error) {
	p = &Ports{options: o}
	p.table.Store(&Neighbours{})
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if o.ChecksumByNIC {
		f, err := xdp.QueryDevice(o.WAN)
		o.ChecksumByNIC = err == nil && f.TxChecksum
		p.options.ChecksumByNIC = o.ChecksumByNIC
	}
	s := xdp.SocketOptions{Queue: o.Queue, Mode: o.Mode, BusyPoll: o.BusyPoll, TxBudget: 256}
	const most = 64 // frames in the worker's hands
	frames := xdp.FramesFor(s, 2, 1, most)
	p.umem, err = xdp.NewUMEM(xdp.UMEMOptions{Frames: frames, FrameSize: frameSize(o.LANMTU), TxMetadata: o.ChecksumByNIC})
	if err != nil {
		return p, err
	}
	p.close = append(p.close, p.umem.Close)
	if p.pool, err = p.umem.NewPool(frames); err != nil {
		return p, err
	}
	open := func(ifindex int) (socket, error) {
		s.Ifindex = ifindex
		x, err := xdp.Open(p.pool, s)
		if err == nil {
			p.close = append(p.close, x.Close)
		}
		return socket{Socket: x, pool: p.pool, umem: p.umem}, err
	}
	outside, err := open(o.WAN)
	if err != nil {
		return p, err
	}
	p.wan = &wan{socket: outside, table: &p.table, mtu: o.WANMTU, checksumByNIC: o.ChecksumByNIC}
	p.wan.examine = p.wan.strip
	if o.ChecksumByNIC {
		p.wan.request = p.wan.askChecksum
	}
	if o.LAN != 0 {
		inside, err := open(o.LAN)
		if err != nil {
			return p, err
		}
		p.lan = &lan{socket: inside, table: &p.table, mac: o.LANAddress, mtu: o.LANMTU}
		p.lan.examine = p.lan.strip
	}
	return p, nil
}

// Start lets packets be directed to the ports: those that Direct names.
func (p *Ports) Start() (o Obtained, err error) {
	o = Obtained{Mode: p.wan.Mode(), Pages: p.umem.Pages(), ChecksumByNIC: p.options.ChecksumByNIC}
	start := func(s *socket, ifindex int) (*xdp.Director, error) {
		x, err := xdp.NewDirector(xdp.DirectorOptions{Ifindex: ifindex, Changing: true})
		if err != nil {
			return nil, err
		}
		// Directors end first: nothing may be directed to a socket that is closed.
		p.close = append(p.close, x.Close)
		if s.Mode() == xdp.ModeCopy {
			o.Mode = xdp.ModeCopy
		}
		o.Attached = max(o.Attached, x.Attached())
		s.Refill()
		if err := s.Poke(); err != nil {
			return nil, err
		}
		return x, x.Add(p.options.Queue, s.Socket)
	}
	if p.direct[1], err = start(&p.wan.socket, p.options.WAN); err != nil {
		return o, fmt.Errorf("direct the tunnels' packets: %w", err)
	}
	if p.lan != nil {
		if p.direct[0], err = start(&p.lan.socket, p.options.LAN); err != nil {
			return o, fmt.Errorf("direct the LAN's packets: %w", err)
		}
	}
	return o, nil
}

// Direct says what comes to the ports from now on: UDP to port from the WAN, IPv6
// packets to the prefixes that lie beyond the tunnels from the LAN.
func (p *Ports) Direct(port uint16, beyond []netip.Prefix) error {
	err := p.direct[1].Choose([]uint16{port}, nil)
	if p.direct[0] != nil {
		err = errors.Join(err, p.direct[0].Choose(nil, beyond))
	}
	return err
}

// Directed is how many packets have come to the ports.
func (p *Ports) Directed() (lan, wan uint64) {
	for i, to := range []*uint64{&lan, &wan} {
		if p.direct[i] != nil {
			c, _ := p.direct[i].Counters()
			*to = c.ToSocket
		}
	}
	return lan, wan
}

// Inside returns the port towards the LAN; nil if there is none.
func (p *Ports) Inside() worker.FrameInside {
	if p.lan == nil {
		return nil
	}
	return p.lan
}

// Outside returns the port towards the WAN.
func (p *Ports) Outside() worker.FrameOutside { return p.wan }

// Descriptors returns what to wait for.
func (p *Ports) Descriptors() (fds []int) {
	if p.lan != nil {
		fds = append(fds, p.lan.Descriptor())
	}
	return append(fds, p.wan.Descriptor())
}

// Publish puts n in force for the next packet.
func (p *Ports) Publish(n *Neighbours) { p.table.Store(n) }

// Close gives the queues back, once the worker has stopped.
func (p *Ports) Close() (err error) {
	for i := len(p.close) - 1; i >= 0; i-- {
		err = errors.Join(err, p.close[i]())
	}
	p.close = nil
	return err
}
