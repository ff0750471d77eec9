package path

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"dssn"
	"dssn/perf/gen"
	"dssn/perf/stamp"

	"golang.org/x/sys/unix"
)

// Hop is a node on a path.
type Hop struct {
	Name string
	SID  dssn.SID
}

// Options say what to measure.
type Options struct {
	From  netip.Addr   // this node's own address
	Block netip.Prefix // of locators
	Hops  []Hop        // in travelling order, without this node
	// Carrier is the path as it is written; segments that it leaves out are on the
	// shortest way between those that it names. Zero means that all are named.
	Carrier  dssn.Carrier
	Count    int           // probes for each node
	Interval time.Duration // between probes for one node
	Size     int           // of a probe's UDP payload, at least
	Wait     time.Duration // for the last answer; 0 means 1 s
	Port     int           // of the reflectors; 0 means STAMP's
}

// Outcome is what was found.
type Outcome struct {
	Began time.Time
	Took  time.Duration
	Hops  []HopOutcome
	// Segments are the ways to each hop from the one before.
	Segments []Segment
	// Worst is how late a probe left.
	Worst time.Duration
}

// HopOutcome is one node.
type HopOutcome struct {
	Hop
	Carrier dssn.Carrier // to which its probes went
	// Reflects is true if STAMP answered, and loss is that of the way there; else
	// echoes did, and it is of both ways.
	Reflects  bool
	Loss      Loss
	Back      Loss // on the way back, if Reflects
	RoundTrip *gen.Histogram
	Forward   *stamp.Distribution // if the clocks agree
}

// probing is one hop while it is measured.
type probing struct {
	Hop
	carrier dssn.Carrier
	final   netip.Addr
	session *stamp.Session
	trips   gen.Histogram
	stamps  bool
	id      uint16
	sent    map[uint16]time.Time // echoes under way
	echoes  Loss
}

// prober is a measurement while it runs.
type prober struct {
	Options
	raw, icmp int          // sockets: whole packets out, echo replies in
	udp       *net.UDPConn // answers of reflectors, and the port that they go to

	mu   sync.Mutex // guards hops
	hops []*probing
}

// Carriers returns, for each hop, the carrier that leads there along the path.
func Carriers(block netip.Prefix, hops []Hop, whole dssn.Carrier) ([]dssn.Carrier, error) {
	out := make([]dssn.Carrier, len(hops))
	named := map[dssn.SID]bool{}
	for _, s := range whole.SIDs() {
		named[s] = true
	}
	var way []dssn.SID
	for i, h := range hops {
		sids := append(append([]dssn.SID(nil), way...), h.SID)
		if len(sids) == 1 && i > 0 {
			// Alone it would be the node's own address, which steering may send on
			// another path.
			sids = []dssn.SID{hops[i-1].SID, h.SID}
		}
		c, err := dssn.NewCarrier(block, sids...)
		if err != nil {
			return nil, fmt.Errorf("the way to %s: %w", h.Name, err)
		}
		out[i] = c
		if whole.IsZero() || named[h.SID] {
			way = append(way, h.SID)
		}
	}
	return out, nil
}

// Measure probes every hop in turn. It needs CAP_NET_RAW. A cancelled ctx ends it
// early with what there is.
func Measure(ctx context.Context, o Options) (*Outcome, error) {
	switch {
	case len(o.Hops) == 0:
		return nil, errors.New("the path has no hops: nothing is to be measured")
	case o.Count < 1 || o.Count > 60_000:
		return nil, fmt.Errorf("%d probes for each hop are out of range: use 1 to 60000", o.Count)
	case o.Interval < 100*time.Microsecond || o.Interval > time.Minute:
		return nil, fmt.Errorf("%v between probes is out of range: use 100us to 1m", o.Interval)
	case o.Size < 0 || o.Size > 1400:
		return nil, fmt.Errorf("probes of %d bytes are out of range: use 0 to 1400", o.Size)
	}
	if o.Port == 0 {
		o.Port = stamp.Port
	}
	if o.Wait == 0 {
		o.Wait = time.Second
	}
	carriers, err := Carriers(o.Block, o.Hops, o.Carrier)
	if err != nil {
		return nil, err
	}
	p := &prober{Options: o}
	base := uint16(rand.Uint32()) | 1
	for i, h := range o.Hops {
		p.hops = append(p.hops, &probing{Hop: h, carrier: carriers[i], final: h.SID.Node(o.Block), id: base + uint16(i), sent: map[uint16]time.Time{},
			session: stamp.NewSession(nil, max(base+uint16(i), 1), stamp.ClockError())})
	}
	if err := p.open(); err != nil {
		return nil, err
	}
	defer p.close()
	var readers sync.WaitGroup
	readers.Add(2)
	go func() { defer readers.Done(); p.hearReplies() }()
	go func() { defer readers.Done(); p.hearEchoes() }()
	defer readers.Wait()
	defer p.close()
	if err := p.acquaint(ctx); err != nil {
		return nil, err
	}
	out := &Outcome{Began: time.Now()}
	if err := p.send(ctx, out); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
	case <-time.After(o.Wait):
	}
	out.Took = time.Since(out.Began)
	p.gather(out)
	return out, nil
}

func (p *prober) open() (err error) {
	p.raw, p.icmp = -1, -1
	if p.raw, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err == nil {
		p.icmp, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	}
	if err != nil {
		p.close()
		return fmt.Errorf("open sockets for whole packets: %w: run as root, or give the program CAP_NET_RAW", err)
	}
	unix.SetsockoptTimeval(p.icmp, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000})
	if p.udp, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.From, 0))); err != nil {
		p.close()
		unix.Close(p.icmp)
		return fmt.Errorf("open a UDP socket at %s: %w", p.From, err)
	}
	p.udp.SetReadBuffer(4 << 20)
	return nil
}

func (p *prober) close() {
	if p.raw >= 0 {
		unix.Close(p.raw)
	}
	if p.udp != nil {
		p.udp.Close()
	}
	p.raw = -1
}

// acquaint finds out which hops have a reflector, and drops what was learnt.
func (p *prober) acquaint(ctx context.Context) error {
	for range 10 {
		for _, h := range p.hops {
			if err := p.stamp(h); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(30 * time.Millisecond):
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.hops {
		r := h.session.Result()
		h.stamps = r.Received > 0
		ssid := h.session.SSID + 0x4000 // answers that are still under way belong to nobody
		if ssid == 0 {
			ssid = 1
		}
		h.session = stamp.NewSession(nil, ssid, stamp.ClockError())
		h.session.Stateful = true
		h.trips = gen.Histogram{}
	}
	return nil
}

// send sends the rounds: a probe for each hop, evenly spaced.
func (p *prober) send(ctx context.Context, out *Outcome) error {
	next := time.Now()
	gap := p.Interval / time.Duration(len(p.hops))
	for range p.Count {
		for _, h := range p.hops {
			if wait := time.Until(next); wait > 0 {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(wait):
				}
			}
			out.Worst = max(out.Worst, time.Since(next))
			next = next.Add(gap)
			var err error
			if h.stamps {
				err = p.stamp(h)
			} else {
				err = p.echo(h)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *prober) stamp(h *probing) error {
	from := uint16(p.udp.LocalAddr().(*net.UDPAddr).Port)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.put(h, protoUDP, udp(from, uint16(p.Port), h.session.Probe(nil, time.Now(), p.Size)), 6)
}

func (p *prober) echo(h *probing) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	sequence := uint16(h.echoes.Sent)
	h.sent[sequence] = time.Now()
	h.echoes.Sent++
	return p.put(h, protoICMPv6, echo(h.id, sequence, 8+p.Size), 2)
}

// put sends one packet; a network that refuses it has lost it.
func (p *prober) put(h *probing, next byte, body []byte, check int) error {
	wire := h.carrier.Addr()
	b := appendIPv6(nil, p.From, wire, h.final, next, body, check)
	err := unix.Sendto(p.raw, b, 0, &unix.SockaddrInet6{Addr: wire.As16()})
	switch {
	case err == nil, errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EAGAIN):
		return nil
	case errors.Is(err, unix.EMSGSIZE):
		return fmt.Errorf("probes of %d bytes do not fit the first link: use a smaller --size", p.Size)
	}
	return fmt.Errorf("send a probe to %s: %w", h.Name, err)
}

func (p *prober) hearReplies() {
	b := make([]byte, 2048)
	for {
		n, _, err := p.udp.ReadFromUDPAddrPort(b)
		now := time.Now()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		r, err := stamp.ParseReply(b[:n], nil, now)
		if err != nil {
			continue
		}
		p.mu.Lock()
		for _, h := range p.hops {
			if h.session.SSID != r.SSID {
				continue
			}
			if trip, fresh := h.session.Arrive(b[:n], now); fresh {
				h.trips.Record(trip)
			}
		}
		p.mu.Unlock()
	}
}

func (p *prober) hearEchoes() {
	defer unix.Close(p.icmp)
	b := make([]byte, 2048)
	for {
		n, _, err := unix.Recvfrom(p.icmp, b, 0)
		now := time.Now()
		if err != nil {
			if p.udpClosed() {
				return
			}
			if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) && !errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			continue
		}
		id, sequence, ok := parseEcho(b[:n])
		if !ok {
			continue
		}
		p.mu.Lock()
		for _, h := range p.hops {
			at, waiting := h.sent[sequence]
			if h.id == id && waiting {
				delete(h.sent, sequence)
				h.trips.Record(now.Sub(at))
			}
		}
		p.mu.Unlock()
	}
}

// udpClosed says whether the measurement has ended.
func (p *prober) udpClosed() bool {
	return errors.Is(p.udp.SetReadDeadline(time.Time{}), net.ErrClosed)
}

func (p *prober) gather(out *Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var to []Loss
	for _, h := range p.hops {
		v := HopOutcome{Hop: h.Hop, Carrier: h.carrier, Reflects: h.stamps, RoundTrip: &h.trips}
		if h.stamps {
			r := h.session.Result()
			v.Loss, v.Forward = Loss{Sent: r.Sent, Lost: r.Lost()}, r.Forward
			if r.LostForward != nil {
				arrived := r.Sent - uint64(max(*r.LostForward, 0))
				v.Loss.Lost, v.Back = uint64(max(*r.LostForward, 0)), Loss{arrived, uint64(max(*r.LostBackward, 0))}
			}
		} else {
			v.Loss = Loss{h.echoes.Sent, uint64(len(h.sent))}
		}
		to = append(to, v.Loss)
		out.Hops = append(out.Hops, v)
	}
	out.Segments = Locate(to)
}
