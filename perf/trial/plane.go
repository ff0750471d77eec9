package trial

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"

	"dssn/perf/gen"
	"dssn/xdp"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// A datagram begins with gen's signature, then the trial's number:
//
//	0           18       22
//	| signature | trial  | zeros …
const headBytes = gen.SignatureBytes + 4

// Streams of the signature: counted packets, and those before them.
const (
	counted = 0
	priming = 1
)

const planeBatch = 32

// plane is one end's UDP socket of a session. One goroutine may send while
// another receives.
type plane struct {
	conn  *net.UDPConn
	batch *ipv6.PacketConn // sends and receives many at a time, for both families
	// overhead is the IP and UDP header.
	overhead int
	clock    uint16
	offset   int64 // of CLOCK_TAI from the wall clock

	mu      sync.Mutex // guards what the receiver counts
	trial   uint32
	tracker *gen.Tracker
	dropped uint64 // by the socket, since it was made
	floor   uint64 // dropped when the trial began
	arrived time.Time
}

// openPlane binds to local with any port.
func openPlane(local netip.Addr) (*plane, error) {
	local = local.Unmap()
	any, err := (&net.ListenConfig{Control: freeBind}).ListenPacket(context.Background(), "udp", netip.AddrPortFrom(local, 0).String())
	if err != nil {
		return nil, fmt.Errorf("open a UDP socket at %s: %w", local, err)
	}
	conn := any.(*net.UDPConn)
	p := &plane{conn: conn, batch: ipv6.NewPacketConn(conn), overhead: 48, clock: gen.ClockTag(), offset: gen.TAIOffset()}
	if local.Is4() {
		p.overhead = 28
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	raw.Control(func(fd uintptr) {
		f := int(fd)
		for _, o := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
			if unix.SetsockoptInt(f, unix.SOL_SOCKET, o[0], 8<<20) != nil {
				unix.SetsockoptInt(f, unix.SOL_SOCKET, o[1], 8<<20)
			}
		}
		unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
		// A packet too long for the path is an error, not two packets.
		if local.Is4() {
			unix.SetsockoptInt(f, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		} else {
			unix.SetsockoptInt(f, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
			unix.SetsockoptInt(f, unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1)
		}
	})
	return p, nil
}

// freeBind lets a socket have an address that is routed to this host without
// standing on an interface, as a data identifier is at its holder.
func freeBind(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		// Either family's option may be refused by a socket of the other.
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
	})
}

func (p *plane) port() uint16 { return uint16(p.conn.LocalAddr().(*net.UDPAddr).Port) }

// expect begins to count a trial's packets; those of others are ignored.
func (p *plane) expect(trial uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trial, p.tracker, p.floor, p.arrived = trial, &gen.Tracker{}, p.dropped, time.Now()
}

// receive counts until the socket is closed.
func (p *plane) receive() {
	messages := make([]ipv6.Message, planeBatch)
	for i := range messages {
		messages[i] = ipv6.Message{Buffers: [][]byte{make([]byte, MaxSize)}, OOB: make([]byte, 128)}
	}
	for {
		for i := range messages {
			messages[i].OOB = messages[i].OOB[:cap(messages[i].OOB)]
		}
		n, err := p.batch.ReadBatch(messages, 0)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error about what was sent
		}
		now := time.Now()
		p.mu.Lock()
		for i := range messages[:n] {
			m := &messages[i]
			at, dropped := control(m.OOB[:m.NN], now)
			if dropped > 0 {
				p.dropped = uint64(dropped)
			}
			p.count(m.Buffers[0][:m.N], at)
		}
		p.arrived = now
		p.mu.Unlock()
	}
}

// count takes one datagram; p.mu is held.
func (p *plane) count(b []byte, at time.Time) {
	if p.tracker == nil || len(b) < headBytes || binary.BigEndian.Uint32(b[gen.SignatureBytes:]) != p.trial {
		return
	}
	if s, ok := gen.ParseSignature(b); ok && s.Stream == counted {
		p.tracker.Arrive(s, len(b)+p.overhead, uint64(at.UnixNano()+p.offset), p.clock)
	}
}

// control reads the kernel's time of arrival and its count of datagrams for which
// the socket had no room.
func control(oob []byte, now time.Time) (at time.Time, dropped uint32) {
	at = now
	head := unix.CmsgLen(0)
	for len(oob) >= head {
		n := int(binary.NativeEndian.Uint64(oob))
		if n < head || n > len(oob) {
			break
		}
		level, kind := int32(binary.NativeEndian.Uint32(oob[8:])), int32(binary.NativeEndian.Uint32(oob[12:]))
		data := oob[head:n]
		switch {
		case level == unix.SOL_SOCKET && kind == unix.SO_TIMESTAMPNS && len(data) >= 16:
			at = time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
		case level == unix.SOL_SOCKET && kind == unix.SO_RXQ_OVFL && len(data) >= 4:
			dropped = binary.NativeEndian.Uint32(data)
		}
		oob = oob[min(unix.CmsgSpace(n-head), len(oob)):]
	}
	return at, dropped
}

// received is the account of the trial so far, with or without histograms.
func (p *plane) received(delays bool) *Received {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tracker
	r := &Received{ID: p.trial, Packets: t.Frames, Bytes: t.Bytes, Duplicates: t.Duplicates, Reordered: t.Reordered, Late: t.Late, Negative: t.Negative,
		Span: t.Last - t.First, Jitter: int64(t.Jitter), Dropped: p.dropped - p.floor}
	if delays {
		r.Delay, r.Variation = t.Delay.Sparse(), t.Variation.Sparse()
	}
	return r
}

// settle waits until nothing of the trial has arrived for the load's settling time.
func (p *plane) settle(ctx context.Context, l *Load) {
	quiet := time.Duration(l.Settle) * time.Millisecond
	for end := time.Now().Add(10*quiet + time.Second); time.Now().Before(end) && ctx.Err() == nil; {
		p.mu.Lock()
		wait := quiet - time.Since(p.arrived)
		p.mu.Unlock()
		if wait <= 0 && p.drained() {
			return
		}
		wait = max(wait, time.Millisecond)
		time.Sleep(min(wait, 20*time.Millisecond))
	}
}

// drained says whether nothing waits in the socket for the receiver to have its
// turn on a busy host.
func (p *plane) drained() bool {
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return true
	}
	waiting := 0
	raw.Control(func(fd uintptr) { waiting, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return waiting == 0
}

// send sends a load to the other end.
func (p *plane) send(ctx context.Context, to netip.AddrPort, trial uint32, l *Load) (*Sent, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	o := &outbox{plane: p, trial: trial, size: l.Size - p.overhead}
	o.prepare(to)
	if l.Prime > 0 {
		before := xdp.TrafficStream{Interval: l.PrimeInterval, Burst: 1, Count: l.Prime}
		if _, err := o.run(ctx, priming, before, time.Minute); err != nil {
			return nil, err
		}
		if l.PrimePause > 0 {
			pause := time.Now().Add(time.Duration(l.PrimePause) * time.Microsecond)
			for time.Now().Before(pause) {
			}
		}
	}
	count := l.Count
	if count == 0 {
		count = gen.MaxNumber
	}
	s, err := o.run(ctx, counted, xdp.TrafficStream{Interval: l.Interval, Burst: max(l.Burst, 1), Count: count}, time.Duration(l.Millis)*time.Millisecond)
	if err != nil {
		return nil, err
	}
	s.ID = trial
	return s, nil
}

// outbox is the memory of a sender.
type outbox struct {
	*plane
	trial    uint32
	size     int // of a datagram's payload
	messages []ipv6.Message
}

func (o *outbox) prepare(to netip.AddrPort) {
	addr := net.UDPAddrFromAddrPort(to)
	for range planeBatch {
		b := make([]byte, o.size)
		binary.BigEndian.PutUint32(b[gen.SignatureBytes:], o.trial)
		o.messages = append(o.messages, ipv6.Message{Buffers: [][]byte{b}, Addr: addr})
	}
}

// run sends one stream for a time.
func (o *outbox) run(ctx context.Context, stream uint8, t xdp.TrafficStream, d time.Duration) (*Sent, error) {
	began, cpu := time.Now(), gen.ThreadTime()
	now := func() uint64 { return uint64(time.Since(began)) << 10 }
	plan := gen.NewSchedule(0, []xdp.TrafficStream{t})
	s := &Sent{}
	for i := uint(0); ; i++ {
		if i&15 == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		at := now()
		if at>>10 >= uint64(d) {
			break
		}
		stamp := uint64(time.Now().UnixNano() + o.offset)
		n := 0
		for n < planeBatch {
			if _, ok := plan.Next(at); !ok {
				break
			}
			gen.Signature{Clock: o.clock, Stream: stream, Number: s.Packets + uint64(n), Time: stamp}.Put(o.messages[n].Buffers[0])
			n++
		}
		if n == 0 {
			due, done := plan.Due()
			if done {
				break
			}
			if wait := time.Duration((min(due, uint64(d)<<10) - min(at, due)) >> 10); wait > 150*time.Microsecond && due > at {
				time.Sleep(wait - 120*time.Microsecond)
			}
			continue
		}
		for sent := 0; sent < n; {
			k, err := o.batch.WriteBatch(o.messages[sent:n], 0)
			switch {
			case err == nil:
				sent += k
			case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ECONNREFUSED):
				s.Refused++
			case errors.Is(err, unix.EMSGSIZE):
				return nil, fmt.Errorf("a packet of %d bytes does not fit the path: use a smaller --size", o.size+o.overhead)
			default:
				return nil, fmt.Errorf("send a test packet: %w", err)
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
		}
		s.Packets += uint64(n)
	}
	v := plan.Sent(0)
	s.Seconds, s.Behind, s.Worst = min(time.Since(began), d).Seconds(), int64(v.Behind), int64(v.Worst)
	s.CPU = (gen.ThreadTime() - cpu).Seconds() / max(time.Since(began).Seconds(), 1e-9)
	return s, nil
}

func (p *plane) Close() error { return p.conn.Close() }
