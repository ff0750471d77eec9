package stamp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a UDP socket whose datagrams come with the kernel's (or the NIC's)
// receive time and their TTL.
type socket struct {
	*net.UDPConn
	hardware bool // a timestamp of the NIC has been seen
	software bool // a timestamp of the kernel has been seen
}

func newSocket(c *net.UDPConn) (*socket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var setErr error
	err = raw.Control(func(fd uintptr) {
		f := int(fd)
		flags := unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RX_HARDWARE | unix.SOF_TIMESTAMPING_RAW_HARDWARE
		setErr = unix.SetsockoptInt(f, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags)
		// Either family's options may be refused by a socket of the other.
		unix.SetsockoptInt(f, unix.IPPROTO_IP, unix.IP_RECVTTL, 1)
		unix.SetsockoptInt(f, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1)
		unix.SetsockoptInt(f, unix.IPPROTO_IP, unix.IP_TTL, 255) // RFC 8762 §4.2.1
		unix.SetsockoptInt(f, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255)
	})
	if err = errors.Join(err, setErr); err != nil {
		return nil, fmt.Errorf("ask for receive timestamps: %w", err)
	}
	return &socket{UDPConn: c}, nil
}

// read returns one datagram, its sender, TTL and time of arrival.
func (s *socket) read(b, control []byte) (n int, from netip.AddrPort, ttl uint8, at time.Time, err error) {
	n, cn, _, from, err := s.ReadMsgUDPAddrPort(b, control)
	if err != nil {
		return 0, from, 0, at, err
	}
	at = time.Now()
	messages, err := unix.ParseSocketControlMessage(control[:cn])
	if err != nil {
		return n, from, 0, at, nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPING && len(m.Data) >= int(unsafe.Sizeof(unix.ScmTimestamping{})):
			ts := (*unix.ScmTimestamping)(unsafe.Pointer(&m.Data[0])).Ts
			if hw := ts[2]; hw.Sec != 0 || hw.Nsec != 0 {
				s.hardware = true
				at = time.Unix(hw.Unix())
			} else if sw := ts[0]; sw.Sec != 0 || sw.Nsec != 0 {
				s.software = true
				at = time.Unix(sw.Unix())
			}
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TTL && len(m.Data) >= 4,
			m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4:
			ttl = uint8(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), ttl, at, nil
}

// obtained says which clock stamped what came in.
func (s *socket) obtained() string {
	switch {
	case s.hardware:
		return "NIC"
	case s.software:
		return "kernel"
	}
	return "program"
}

// ClockError asks the kernel how well its clock is disciplined (adjtimex).
func ClockError() ErrorEstimate {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil || state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0 {
		return NewErrorEstimate(false, time.Second)
	}
	return NewErrorEstimate(true, time.Duration(t.Maxerror)*time.Microsecond)
}

// ReflectorOptions say where and how to reflect.
type ReflectorOptions struct {
	Bind     string // local address; "" for any
	Port     int
	Stateful bool
	Key      []byte
	OnListen func(net.Addr)
}

// Serve reflects until ctx ends.
func Serve(ctx context.Context, o ReflectorOptions) (ReflectorCounts, error) {
	l, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", net.JoinHostPort(o.Bind, strconv.Itoa(o.Port)))
	if err != nil {
		if errors.Is(err, unix.EADDRINUSE) {
			return ReflectorCounts{}, fmt.Errorf("port %d is in use: stop the other reflector or choose another with --port", o.Port)
		}
		return ReflectorCounts{}, fmt.Errorf("listen on UDP port %d: %w", o.Port, err)
	}
	defer l.Close()
	s, err := newSocket(l.(*net.UDPConn))
	if err != nil {
		return ReflectorCounts{}, err
	}
	if o.OnListen != nil {
		o.OnListen(l.LocalAddr())
	}
	defer context.AfterFunc(ctx, func() { l.SetReadDeadline(time.Now()) })()
	r := Reflector{Stateful: o.Stateful, Key: o.Key, Error: ClockError()}
	b, control, reply := make([]byte, 1<<16), make([]byte, 512), make([]byte, 0, 1<<16)
	for {
		n, from, ttl, at, err := s.read(b, control)
		if err != nil {
			if ctx.Err() != nil {
				return r.Counts, nil
			}
			if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EHOSTUNREACH) {
				continue // about an earlier reply
			}
			return r.Counts, fmt.Errorf("receive: %w", err)
		}
		answer, ok := r.Reflect(reply[:0], b[:n], from, ttl, at, time.Now())
		if ok {
			s.WriteToUDPAddrPort(answer, mapped(from, l.LocalAddr())) // a lost reply is what the sender counts
		}
	}
}

// mapped gives an IPv4 address the form that a socket of both families takes.
func mapped(a netip.AddrPort, local net.Addr) netip.AddrPort {
	if u, ok := local.(*net.UDPAddr); ok && a.Addr().Is4() && u.IP.To4() == nil {
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
	}
	return a
}

// SenderOptions say what to measure.
type SenderOptions struct {
	Host     string
	Port     int
	Bind     string
	Count    int           // probes; at least 1
	Interval time.Duration // between them
	Size     int           // bytes of UDP payload; small ones are raised to a probe's
	Wait     time.Duration // for the last reply; 0 for 2 s
	Key      []byte
	SSID     uint16 // 0 draws one
	Stateful bool   // the reflector is known to count
	// OnProgress hears the result so far, at most once a second.
	OnProgress func(Result)
}

// Measurement is a Result and how it was come by.
type Measurement struct {
	Remote     string        `json:"remote"`
	SSID       uint16        `json:"ssid"`
	Interval   time.Duration `json:"interval_ns"`
	Size       int           `json:"size_bytes"`
	Began      time.Time     `json:"began"`
	Took       time.Duration `json:"took_ns"`
	Timestamps string        `json:"receive_timestamps"` // NIC, kernel or program
	Result
}

// Measure sends probes and collects the answers. A cancelled ctx ends it early
// with what there is.
func Measure(ctx context.Context, o SenderOptions) (*Measurement, error) {
	d := net.Dialer{}
	if o.Bind != "" {
		a, err := netip.ParseAddr(o.Bind)
		if err != nil {
			return nil, fmt.Errorf("%q is not a local address: give one that this host has", o.Bind)
		}
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
	}
	conn, err := d.DialContext(ctx, "udp", net.JoinHostPort(o.Host, strconv.Itoa(o.Port)))
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", o.Host, err)
	}
	defer conn.Close()
	s, err := newSocket(conn.(*net.UDPConn))
	if err != nil {
		return nil, err
	}
	if o.SSID == 0 {
		var b [2]byte
		rand.Read(b[:])
		o.SSID = binary.BigEndian.Uint16(b[:]) | 1
	}
	if o.Wait == 0 {
		o.Wait = 2 * time.Second
	}
	m := &measuring{session: NewSession(o.Key, o.SSID, ClockError()), socket: s, answered: make(chan struct{}, 1)}
	m.session.Stateful = o.Stateful
	began := time.Now()
	received := make(chan error, 1)
	go func() { received <- m.receive() }()
	refused := m.send(ctx, &o)
	m.await(ctx, o.Wait)
	s.SetReadDeadline(time.Now())
	if err := <-received; err != nil {
		return nil, err
	}
	out := &Measurement{Remote: conn.RemoteAddr().String(), SSID: o.SSID, Interval: o.Interval, Size: m.size, Began: began.UTC(),
		Took: time.Since(began), Timestamps: s.obtained(), Result: m.session.Result()}
	if out.Received == 0 {
		if refused {
			return out, fmt.Errorf("nothing reflects at %s: start `dssn perf stamp reflector --port %d` there", out.Remote, o.Port)
		}
		return out, fmt.Errorf("no answer came from %s: does a reflector run there, with the same key, and does UDP port %d get through?", out.Remote, o.Port)
	}
	return out, nil
}

// measuring is a Session shared by the sending and the receiving side of the shell.
type measuring struct {
	mu       sync.Mutex
	session  *Session
	socket   *socket
	size     int
	answered chan struct{}
}

func (m *measuring) send(ctx context.Context, o *SenderOptions) (refused bool) {
	b := make([]byte, 0, 1<<16)
	next, progress := time.Now(), time.Now().Add(time.Second)
	for range o.Count {
		if wait := time.Until(next); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return refused
			}
		}
		next = next.Add(o.Interval)
		m.mu.Lock()
		p := m.session.Probe(b, time.Now(), o.Size)
		m.size = len(p)
		_, err := m.socket.Write(p)
		m.mu.Unlock()
		refused = refused || errors.Is(err, unix.ECONNREFUSED)
		if o.OnProgress != nil && time.Now().After(progress) {
			progress = time.Now().Add(time.Second)
			m.mu.Lock()
			r := m.session.Result()
			m.mu.Unlock()
			o.OnProgress(r)
		}
	}
	return refused
}

func (m *measuring) receive() error {
	b, control := make([]byte, 1<<16), make([]byte, 512)
	for {
		n, _, _, at, err := m.socket.read(b, control)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case errors.Is(err, unix.ECONNREFUSED):
			continue // the lost count tells
		case err != nil:
			return fmt.Errorf("receive: %w", err)
		}
		m.mu.Lock()
		m.session.Arrive(b[:n], at)
		m.mu.Unlock()
		select {
		case m.answered <- struct{}{}:
		default:
		}
	}
}

// await waits until every probe is answered, but not longer than wait.
func (m *measuring) await(ctx context.Context, wait time.Duration) {
	end := time.After(wait)
	for {
		m.mu.Lock()
		r := m.session.result
		m.mu.Unlock()
		if r.Received == r.Sent {
			return
		}
		select {
		case <-m.answered:
		case <-end:
			return
		case <-ctx.Done():
			return
		}
	}
}
