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
	// LANMTU bounds what is sent to neighbours, bytes of IP packets.
	LANMTU int
	// Queue of both interfaces whose frames are taken. What arrives on other
	// queues stays the kernel's, and so reaches the ordinary ports.
	Queue int
	// Port is the UDP port of the tunnels.
	Port uint16
	// Beyond are the IPv6 prefixes whose packets are taken from the LAN.
	Beyond []netip.Prefix
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
	p.wan = &wan{socket: outside, table: &p.table, checksumByNIC: o.ChecksumByNIC}
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

// Start begins to direct packets to the ports.
func (p *Ports) Start() (o Obtained, err error) {
	o = Obtained{Mode: p.wan.Mode(), Pages: p.umem.Pages(), ChecksumByNIC: p.options.ChecksumByNIC}
	direct := func(s *socket, d xdp.DirectorOptions) error {
		x, err := xdp.NewDirector(d)
		if err != nil {
			return err
		}
		// Directors go first: nothing may be directed to a socket that is closed.
		p.close = append(p.close, x.Close)
		if s.Mode() == xdp.ModeCopy {
			o.Mode = xdp.ModeCopy
		}
		o.Attached = max(o.Attached, x.Attached())
		s.Refill()
		if err := s.Poke(); err != nil {
			return err
		}
		return x.Add(p.options.Queue, s.Socket)
	}
	if err = direct(&p.wan.socket, xdp.DirectorOptions{Ifindex: p.options.WAN, Ports: []uint16{p.options.Port}}); err != nil {
		return o, fmt.Errorf("direct the tunnels' packets: %w", err)
	}
	if p.lan != nil {
		if err = direct(&p.lan.socket, xdp.DirectorOptions{Ifindex: p.options.LAN, Prefixes: p.options.Beyond}); err != nil {
			return o, fmt.Errorf("direct the LAN's packets: %w", err)
		}
	}
	return o, nil
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
