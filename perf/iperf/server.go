package iperf

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Server waits for tests and runs one at a time.
type Server struct {
	Bind        string // local address; "" for any
	Port        int
	OneOff      bool          // stop after one test
	Interval    time.Duration // of progress; 0 for 1 s
	SkipReceive bool          // discard received bytes in the kernel
	OnListen    func(net.Addr)
	OnStart     func(ReportStart)
	OnInterval  func(ReportInterval)
	// OnEnd hears the outcome of every test: a report, or why there is none.
	OnEnd func(*Report, error)

	mu      sync.Mutex
	session *session // the running test, nil between tests
}

// session is a test being set up or running: data connections that carry its
// cookie are handed to it.
type session struct {
	cookie []byte
	data   chan accepted
	done   chan struct{}
}

// accepted is a connection and its place in the order of arrival: which stream it
// is, follows from that, and cookies are read concurrently.
type accepted struct {
	net.Conn
	place uint64
}

// helloTimeout is how long a new connection may take to say its cookie, and
// maxGreeting how many may be doing so at a time.
const (
	helloTimeout = 5 * time.Second
	maxGreeting  = 256
)

// ListenAndServe serves until ctx is done. Whatever a client does ends at most
// its own test.
func (s *Server) ListenAndServe(ctx context.Context) error {
	if s.Interval == 0 {
		s.Interval = time.Second
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(s.Bind, strconv.Itoa(s.Port)))
	if err != nil {
		if errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("port %d is in use: stop the other server or choose another with --port", s.Port)
		}
		return fmt.Errorf("listen on port %d: %w", s.Port, err)
	}
	defer l.Close()
	s.Port = l.Addr().(*net.TCPAddr).Port
	if s.OnListen != nil {
		s.OnListen(l.Addr())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var tests sync.WaitGroup
	defer tests.Wait()
	greeting := make(chan struct{}, maxGreeting)
	for place := uint64(0); ; place++ {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ECONNABORTED) {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			return fmt.Errorf("accept a client: %w", err)
		}
		select {
		case greeting <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		tests.Add(1)
		go func() {
			defer tests.Done()
			served := s.greet(ctx, accepted{conn, place}, func() { <-greeting })
			if served && s.OneOff {
				cancel()
			}
		}()
	}
}

// greet reads the cookie and tells a data connection of the running test from a
// new client. It reports whether a test was served to its end.
func (s *Server) greet(ctx context.Context, conn accepted, greeted func()) bool {
	cookie := make([]byte, cookieBytes)
	conn.SetReadDeadline(time.Now().Add(helloTimeout))
	_, err := io.ReadFull(conn, cookie)
	greeted()
	if err != nil || cookie[cookieBytes-1] != 0 || bytes.IndexByte(cookie, 0) != cookieBytes-1 {
		conn.Close()
		return false
	}
	conn.SetReadDeadline(time.Time{})
	s.mu.Lock()
	running := s.session
	if running == nil {
		running = &session{cookie: cookie, data: make(chan accepted), done: make(chan struct{})}
		s.session = running
		s.mu.Unlock()
		report, err := s.serve(ctx, conn, running)
		conn.Close()
		s.mu.Lock()
		s.session = nil
		s.mu.Unlock()
		close(running.done)
		if s.OnEnd != nil {
			s.OnEnd(report, err)
		}
		return true
	}
	s.mu.Unlock()
	if !bytes.Equal(cookie, running.cookie) {
		writeState(conn, StateAccessDenied)
		conn.Close()
		return false
	}
	select {
	case running.data <- conn:
	case <-running.done:
		conn.Close()
	case <-time.After(helloTimeout):
		conn.Close()
	}
	return false
}

// serve runs one test over its control connection.
func (s *Server) serve(ctx context.Context, control net.Conn, own *session) (*Report, error) {
	stop := context.AfterFunc(ctx, func() {
		writeState(control, StateServerTerminate)
		control.SetDeadline(time.Now())
	})
	defer stop()
	t := &test{interval: s.Interval, onInterval: s.OnInterval}
	defer t.close()
	control.SetDeadline(time.Now().Add(30 * time.Second))
	if err := writeState(control, StateParamExchange); err != nil {
		return nil, fmt.Errorf("begin the test: %w", err)
	}
	if err := readJSON(control, &t.params); err != nil {
		writeServerError(control, codeRecvParams)
		return nil, fmt.Errorf("the client's parameters: %w", err)
	}
	if t.params.Len == 0 {
		t.params.Len = DefaultTCPLen
		if t.params.UDP {
			t.params.Len = 1460
		}
	}
	if err := t.params.Validate(); err != nil {
		writeServerError(control, codeRecvParams)
		return nil, fmt.Errorf("the client's parameters: %w", err)
	}
	if err := s.open(control, t, own); err != nil {
		writeServerError(control, codeUnknown)
		return nil, err
	}
	if err := writeState(control, StateTestStart); err != nil {
		return nil, fmt.Errorf("start the test: %w", err)
	}
	start := t.describe(string(own.cookie[:cookieBytes-1]), time.Now())
	if from, err := netip.ParseAddrPort(control.RemoteAddr().String()); err == nil {
		start.AcceptedFrom = &HostPort{from.Addr().Unmap().String(), from.Port()}
	}
	if s.OnStart != nil {
		s.OnStart(start)
	}
	if err := writeState(control, StateTestRunning); err != nil {
		return nil, fmt.Errorf("start the test: %w", err)
	}
	t.begin(time.Now())
	// A client that has vanished without a word is given up some time after its test should have ended.
	if t.params.Time > 0 {
		control.SetDeadline(time.Now().Add(time.Duration(t.params.Time+t.params.Omit)*time.Second + time.Minute))
	} else {
		control.SetDeadline(time.Now().Add(MaxTime * time.Second))
	}
	ended := make(chan error, 1)
	go func() { ended <- expectState(control, StateTestEnd) }()
	runErr := t.progress(ctx, ended)
	haltErr := t.halt()
	results := t.results()
	if t.params.ServerOutput != 0 {
		results.ServerOutput = t.text()
	}
	t.close()
	if runErr != nil {
		return nil, runErr
	}
	if haltErr != nil {
		writeServerError(control, codeUnknown)
		return nil, haltErr
	}
	control.SetDeadline(time.Now().Add(30 * time.Second))
	return s.settle(control, t, start, results)
}

func (s *Server) settle(control net.Conn, t *test, start ReportStart, own Results) (*Report, error) {
	if err := writeState(control, StateExchangeResults); err != nil {
		return nil, fmt.Errorf("ask for the results: %w", err)
	}
	var other Results
	if err := readJSON(control, &other); err != nil {
		return nil, fmt.Errorf("the client's results: %w", err)
	}
	if err := writeJSON(control, own); err != nil {
		return nil, fmt.Errorf("send the results: %w", err)
	}
	if err := writeState(control, StateDisplayResults); err != nil {
		return nil, fmt.Errorf("end the test: %w", err)
	}
	expectState(control, StateDone) // a client that leaves without a goodbye has its results
	return t.report(start, own, other, false), nil
}

// open waits for the client's data connections.
func (s *Server) open(control net.Conn, t *test, own *session) error {
	n := t.params.streamCount()
	var listener int = -1
	var bind netip.AddrPort
	if t.params.UDP {
		local, err := netip.ParseAddrPort(control.LocalAddr().String())
		if err != nil {
			return err
		}
		bind = netip.AddrPortFrom(local.Addr().Unmap(), uint16(s.Port))
		if listener, err = udpListener(bind); err != nil {
			return fmt.Errorf("listen for UDP on port %d: %w", s.Port, err)
		}
		defer func() {
			if listener >= 0 {
				unix.Close(listener)
			}
		}()
	}
	if err := writeState(control, StateCreateStreams); err != nil {
		return fmt.Errorf("ask for the streams: %w", err)
	}
	deadline := time.Now().Add(20 * time.Second)
	var conns []accepted
	if !t.params.UDP {
		var err error
		if conns, err = own.gather(n, deadline); err != nil {
			return err
		}
	}
	for i := range n {
		st := &stream{id: streamID(i), fd: -1, sends: !t.params.clientSends(i), udp: bool(t.params.UDP), params: &t.params,
			atServer: true, skipCopy: s.SkipReceive}
		t.streams = append(t.streams, st)
		if st.udp {
			if err := tune(listener, &t.params, st.sends); err != nil {
				return err
			}
			from, err := awaitHello(listener, deadline)
			if err != nil {
				return fmt.Errorf("stream %d: %w", st.id, err)
			}
			st.fd, listener = listener, -1
			st.local, st.remote = bind.String(), from.String()
			if i+1 < n {
				if listener, err = udpListener(bind); err != nil {
					return fmt.Errorf("listen for UDP on port %d: %w", s.Port, err)
				}
			}
			if _, err := unix.Write(st.fd, binary.LittleEndian.AppendUint32(nil, udpReply)); err != nil {
				return fmt.Errorf("stream %d: answer its hello: %w", st.id, err)
			}
			continue
		}
		conn := conns[i]
		st.local, st.remote, st.mss = conn.LocalAddr().String(), conn.RemoteAddr().String(), segmentSize(conn.Conn)
		fd, err := detach(conn.Conn.(*net.TCPConn))
		if err != nil {
			return fmt.Errorf("stream %d: %w", st.id, err)
		}
		st.fd = fd
		if err := tune(fd, &t.params, st.sends); err != nil {
			return err
		}
	}
	return nil
}

// gather waits for n data connections and returns them in their order.
func (own *session) gather(n int, deadline time.Time) ([]accepted, error) {
	var conns []accepted
	for len(conns) < n {
		select {
		case conn := <-own.data:
			conns = append(conns, conn)
		case <-time.After(time.Until(deadline)):
			for _, c := range conns {
				c.Close()
			}
			return nil, fmt.Errorf("the client opened %d of %d streams in time", len(conns), n)
		}
	}
	slices.SortFunc(conns, func(a, b accepted) int { return cmp.Compare(a.place, b.place) })
	return conns, nil
}
