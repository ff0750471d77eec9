package iperf

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
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Client runs one test against a server.
type Client struct {
	Host           string // a name, an address, or a data identifier, which is one
	Port           int
	Bind           string        // local address; "" for any
	Port0          int           // local port of the first data stream, the next follow; 0 for any
	Family         string        // "tcp4", "tcp6" or "tcp" for either
	ConnectTimeout time.Duration // 0 for 10 s
	Interval       time.Duration // of progress; 0 for 1 s
	SkipReceive    bool          // discard received bytes in the kernel
	CPU            bool          // report processor seconds per GB
	Params         Params
	OnStart        func(ReportStart)
	OnInterval     func(ReportInterval)
}

// Run makes the test. A cancelled ctx ends it early and tells the server.
func (c *Client) Run(ctx context.Context) (*Report, error) {
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 10 * time.Second
	}
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	control, err := c.dial(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	t := &test{params: c.Params, client: true, interval: c.Interval, onInterval: c.OnInterval}
	defer t.close()

	cookie := newCookie()
	if _, err := control.Write(cookie); err != nil {
		return nil, fmt.Errorf("greet the server: %w", err)
	}
	control.SetDeadline(time.Now().Add(30 * time.Second))
	if err := expectState(control, StateParamExchange); err != nil {
		return nil, err
	}
	c.defaults(&t.params, control)
	if err := t.params.Validate(); err != nil {
		writeState(control, StateClientTerminate)
		return nil, err
	}
	if err := writeJSON(control, &t.params); err != nil {
		return nil, fmt.Errorf("send the parameters: %w", err)
	}
	if err := expectState(control, StateCreateStreams); err != nil {
		return nil, err
	}
	if err := c.open(ctx, t, control, cookie); err != nil {
		writeState(control, StateClientTerminate)
		return nil, err
	}
	if err := expectState(control, StateTestStart); err != nil {
		return nil, err
	}
	if err := expectState(control, StateTestRunning); err != nil {
		return nil, err
	}
	control.SetDeadline(time.Time{})

	start := t.describe(string(cookie[:cookieBytes-1]), time.Now())
	start.ConnectingTo = &HostPort{c.Host, uint16(c.Port)}
	if c.OnStart != nil {
		c.OnStart(start)
	}
	limit(t)
	ended := make(chan error, 1)
	states := make(chan State, 4)
	go watch(control, states, ended)
	t.begin(time.Now())
	runErr := t.progress(ctx, ended)
	haltErr := t.halt()
	if runErr != nil {
		writeState(control, StateClientTerminate)
		return nil, runErr
	}
	if haltErr != nil {
		writeState(control, StateClientTerminate)
		return nil, haltErr
	}
	control.SetDeadline(time.Now().Add(30 * time.Second))
	return c.settle(control, t, start, states, ended)
}

// settle exchanges results after the data has stopped.
func (c *Client) settle(control net.Conn, t *test, start ReportStart, states <-chan State, ended <-chan error) (*Report, error) {
	if err := writeState(control, StateTestEnd); err != nil {
		return nil, fmt.Errorf("end the test: %w", err)
	}
	select {
	case s := <-states:
		if s != StateExchangeResults {
			return nil, &RemoteError{State: s}
		}
	case err := <-ended:
		return nil, err
	}
	own := t.results()
	if err := writeJSON(control, own); err != nil {
		return nil, fmt.Errorf("send the results: %w", err)
	}
	var other Results
	if err := readJSON(control, &other); err != nil {
		return nil, fmt.Errorf("receive the results: %w", err)
	}
	if err := expectState(control, StateDisplayResults); err != nil {
		return nil, err
	}
	if err := writeState(control, StateDone); err != nil {
		return nil, fmt.Errorf("say goodbye: %w", err)
	}
	return t.report(start, own, other, c.CPU), nil
}

// watch reads states while data flows. It stops after ExchangeResults, behind
// which a message follows that is not its to read.
func watch(control net.Conn, states chan<- State, ended chan<- error) {
	for {
		s, err := readState(control)
		if err != nil {
			ended <- err
			return
		}
		states <- s
		if s == StateExchangeResults {
			return
		}
	}
}

// limit shares -n and -k among the sending streams.
func limit(t *test) {
	n := int64(t.params.Num)
	if t.params.BlockCount > 0 {
		n = int64(t.params.BlockCount) * int64(t.params.Len)
	}
	if n == 0 || t.params.Omit > 0 {
		return
	}
	b := &budget{}
	b.left.Store(n)
	for _, s := range t.streams {
		if s.sends {
			s.limit = b
		}
	}
}

// defaults fills in what depends on the connection.
func (c *Client) defaults(p *Params, control net.Conn) {
	p.ClientVersion = Version
	if p.UDP {
		p.Counters64 = 1
		if p.Len == 0 {
			p.Len = 1460
			if mss := segmentSize(control); mss > MinUDPLen {
				p.Len = Integer(min(mss, MaxUDPLen))
			}
		}
	} else if p.Len == 0 {
		p.Len = DefaultTCPLen
	}
}

func segmentSize(conn net.Conn) int {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	mss := 0
	raw.Control(func(fd uintptr) { mss, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG) })
	return mss
}

// dial opens a TCP connection to the server, from a local port if it is not 0.
func (c *Client) dial(ctx context.Context, port int) (net.Conn, error) {
	d := net.Dialer{Timeout: c.ConnectTimeout, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { freeBind(int(fd)) })
	}}
	if port != 0 {
		d.LocalAddr = &net.TCPAddr{Port: port}
	}
	if c.Bind != "" {
		a, err := netip.ParseAddr(c.Bind)
		if err != nil {
			return nil, fmt.Errorf("%q is not a local address: give one that this host has", c.Bind)
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, uint16(port)))
	}
	network := c.Family
	if network == "" {
		network = "tcp"
	}
	target := net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
	conn, err := d.DialContext(ctx, network, target)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, unix.ECONNREFUSED) {
			return nil, fmt.Errorf("no server answers at %s: start one there with `dssn perf iperf server --port %d` or `iperf3 -s`", target, c.Port)
		}
		return nil, fmt.Errorf("reach the server at %s: %w", target, err)
	}
	return conn, nil
}

// open makes the data connections, in the order of their numbers.
func (c *Client) open(ctx context.Context, t *test, control net.Conn, cookie []byte) error {
	for n := range t.params.streamCount() {
		s := &stream{id: streamID(n), fd: -1, sends: t.params.clientSends(n), udp: bool(t.params.UDP), params: &t.params, skipCopy: c.SkipReceive}
		t.streams = append(t.streams, s)
		var err error
		if s.udp {
			err = c.openUDP(s, control, c.localPort(n))
		} else {
			err = c.openTCP(ctx, s, cookie, c.localPort(n))
		}
		if err != nil {
			return fmt.Errorf("open stream %d: %w", s.id, err)
		}
	}
	return nil
}

// localPort is that of the n-th stream.
func (c *Client) localPort(n int) int {
	if c.Port0 == 0 {
		return 0
	}
	return c.Port0 + n
}

func (c *Client) openTCP(ctx context.Context, s *stream, cookie []byte, port int) error {
	conn, err := c.dial(ctx, port)
	if err != nil {
		return err
	}
	s.local, s.remote, s.mss = conn.LocalAddr().String(), conn.RemoteAddr().String(), segmentSize(conn)
	if _, err := conn.Write(cookie); err != nil {
		conn.Close()
		return err
	}
	if s.fd, err = detach(conn.(*net.TCPConn)); err != nil {
		return err
	}
	return tune(s.fd, s.params, s.sends)
}

func (c *Client) openUDP(s *stream, control net.Conn, port int) error {
	remote := control.RemoteAddr().(*net.TCPAddr).AddrPort()
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	family, sa := sockaddr(remote)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	s.fd = fd
	if c.Bind != "" || port != 0 {
		freeBind(fd)
		local := control.LocalAddr().(*net.TCPAddr).AddrPort()
		_, lsa := sockaddr(netip.AddrPortFrom(local.Addr().Unmap(), uint16(port)))
		if err := unix.Bind(fd, lsa); err != nil {
			return err
		}
	}
	if err := tune(fd, s.params, s.sends); err != nil {
		return err
	}
	if err := unix.Connect(fd, sa); err != nil {
		return err
	}
	s.remote = remote.String()
	if local, err := unix.Getsockname(fd); err == nil {
		s.local = addrPort(local).String()
	}
	hello := binary.LittleEndian.AppendUint32(nil, udpHello)
	tv := unix.NsecToTimeval(int64(time.Second))
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	var b [64]byte
	for range 5 {
		if _, err := unix.Write(fd, hello); err != nil && err != unix.ECONNREFUSED {
			return err
		}
		n, err := ignoringInterrupts(func() (int, error) { return unix.Read(fd, b[:]) })
		if err == nil && n >= 4 {
			if v := binary.LittleEndian.Uint32(b[:]); v == udpReply || v == udpReplyLegacy {
				return nil
			}
		}
	}
	return fmt.Errorf("the server does not answer over UDP on port %d: does a firewall let UDP through?", c.Port)
}

// newCookie is 36 characters of base 32 and a zero byte.
func newCookie() []byte {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	b := make([]byte, cookieBytes)
	rand.Read(b)
	for i := range b {
		b[i] = alphabet[b[i]&31]
	}
	b[cookieBytes-1] = 0
	return b
}
