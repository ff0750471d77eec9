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
	// Queues is how many queues of both interfaces are taken, the first of each: one for
	// each worker; zero means one. What arrives on other queues stays the kernel's, and so
	// reaches the ordinary ports.
	Queues int
	// Mode of the sockets; the usual ModeAuto takes what there is.
	Mode xdp.Mode
	// ChecksumByNIC has the WAN's device compute UDP checksums, if it says it
	// can.
	ChecksumByNIC bool
	// BusyPoll is xdp.SocketOptions' of the same name.
	BusyPoll int
}

// Ports are those of all workers of an engine, on one UMEM.
type Ports struct {
	options Options
	umem    *xdp.UMEM
	queues  []*Queue
	close   []func() error
	direct  [2]*xdp.Director // LAN's and WAN's
}

// Queue is one worker's ports: a queue of the LAN, one of the WAN, and the frames that go
// to and fro between them. Nothing of it is another worker's.
type Queue struct {
	pool  *xdp.Pool
	lan   *lan
	wan   *wan
	table atomic.Pointer[Neighbours]
}

// Obtained says what the ports got.
type Obtained struct {
	Mode          xdp.Mode       // the worse of the sockets'
	Attached      xdp.AttachMode // the worse of the programs'
	Pages         xdp.Pages
	ChecksumByNIC bool
	Queues        int
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
	o.Queues = max(1, o.Queues)
	p = &Ports{options: o}
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
	const most = 64 // frames in a worker's hands
	each := xdp.FramesFor(p.socketOptions(0), 2, 1, most)
	p.umem, err = xdp.NewUMEM(xdp.UMEMOptions{Frames: o.Queues * each, FrameSize: frameSize(o.LANMTU), TxMetadata: o.ChecksumByNIC})
	if err != nil {
		return p, err
	}
	p.close = append(p.close, p.umem.Close)
	for n := range o.Queues {
		if err := p.openQueue(n, each); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *Ports) socketOptions(queue int) xdp.SocketOptions {
	return xdp.SocketOptions{Queue: queue, Mode: p.options.Mode, BusyPoll: p.options.BusyPoll, TxBudget: 256}
}

// openQueue takes queue n of both interfaces, with so many frames.
func (p *Ports) openQueue(n, frames int) (err error) {
	o := &p.options
	q := &Queue{}
	q.table.Store(&Neighbours{})
	if q.pool, err = p.umem.NewPool(frames); err != nil {
		return err
	}
	open := func(ifindex int) (socket, error) {
		s := p.socketOptions(n)
		s.Ifindex = ifindex
		x, err := xdp.Open(q.pool, s)
		if err == nil {
			p.close = append(p.close, x.Close)
		}
		return socket{Socket: x, pool: q.pool, umem: p.umem}, err
	}
	outside, err := open(o.WAN)
	if err != nil {
		return err
	}
	q.wan = &wan{socket: outside, table: &q.table, mtu: o.WANMTU, checksumByNIC: o.ChecksumByNIC}
	q.wan.examine = q.wan.strip
	if o.ChecksumByNIC {
		q.wan.request = q.wan.askChecksum
	}
	if o.LAN != 0 {
		inside, err := open(o.LAN)
		if err != nil {
			return err
		}
		q.lan = &lan{socket: inside, table: &q.table, mac: o.LANAddress, mtu: o.LANMTU}
		q.lan.examine = q.lan.strip
	}
	p.queues = append(p.queues, q)
	return nil
}

// Start lets packets be directed to the ports: those that Direct names.
func (p *Ports) Start() (o Obtained, err error) {
	o = Obtained{Mode: p.queues[0].wan.Mode(), Pages: p.umem.Pages(), ChecksumByNIC: p.options.ChecksumByNIC, Queues: len(p.queues)}
	start := func(ifindex int, of func(*Queue) *socket) (*xdp.Director, error) {
		x, err := xdp.NewDirector(xdp.DirectorOptions{Ifindex: ifindex, Changing: true})
		if err != nil {
			return nil, err
		}
		// Directors end first: nothing may be directed to a socket that is closed.
		p.close = append(p.close, x.Close)
		o.Attached = max(o.Attached, x.Attached())
		for n, q := range p.queues {
			s := of(q)
			if s.Mode() == xdp.ModeCopy {
				o.Mode = xdp.ModeCopy
			}
			s.Refill()
			if err := s.Poke(); err != nil {
				return nil, err
			}
			if err := x.Add(n, s.Socket); err != nil {
				return nil, err
			}
		}
		return x, nil
	}
	if p.direct[1], err = start(p.options.WAN, func(q *Queue) *socket { return &q.wan.socket }); err != nil {
		return o, fmt.Errorf("direct the tunnels' packets: %w", err)
	}
	if p.options.LAN != 0 {
		if p.direct[0], err = start(p.options.LAN, func(q *Queue) *socket { return &q.lan.socket }); err != nil {
			return o, fmt.Errorf("direct the LAN's packets: %w", err)
		}
	}
	return o, nil
}

// Direct says what comes to the ports from now on, and to which queue's: UDP to these
// ports from the WAN, IPv6 packets to the prefixes that lie beyond the tunnels from the LAN.
func (p *Ports) Direct(ports map[uint16]xdp.Lead, beyond map[netip.Prefix]xdp.Lead) error {
	err := p.direct[1].Choose(ports, nil)
	if p.direct[0] != nil {
		err = errors.Join(err, p.direct[0].Choose(nil, beyond))
	}
	return err
}

// Directed is how many packets have come to the ports, and how many were for another
// queue's than they came by, and stayed the kernel's.
func (p *Ports) Directed() (lan, wan, elsewhere uint64) {
	for i, to := range []*uint64{&lan, &wan} {
		if p.direct[i] != nil {
			c, _ := p.direct[i].Counters()
			*to = c.ToSocket
			elsewhere += c.OtherQueue
		}
	}
	return lan, wan, elsewhere
}

// Queues returns the workers' ports, in the order of their queues.
func (p *Ports) Queues() []*Queue { return p.queues }

// Inside returns the port towards the LAN; nil if there is none.
func (q *Queue) Inside() worker.FrameInside {
	if q.lan == nil {
		return nil
	}
	return q.lan
}

// Outside returns the port towards the WAN.
func (q *Queue) Outside() worker.FrameOutside { return q.wan }

// Descriptors returns what to wait for.
func (q *Queue) Descriptors() (fds []int) {
	if q.lan != nil {
		fds = append(fds, q.lan.Descriptor())
	}
	return append(fds, q.wan.Descriptor())
}

// Publish puts n in force for the queue's next packet.
func (q *Queue) Publish(n *Neighbours) { q.table.Store(n) }

// Close gives the queues back, once the workers have stopped.
func (p *Ports) Close() (err error) {
	for i := len(p.close) - 1; i >= 0; i-- {
		err = errors.Join(err, p.close[i]())
	}
	p.close = nil
	return err
}
