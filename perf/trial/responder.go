package trial

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"dssn/perf/report"

	"golang.org/x/sys/unix"
)

// Responder does the other end's part of trials, for one tester at a time; that
// one may hold several sessions.
type Responder struct {
	Own  Identity
	Bind string // local address; "" for any
	Port int    // 0 for any free one
	// OnListen hears where it listens, OnSession who tests, OnEnd how a session
	// ended (nil: as it should).
	OnListen  func(net.Addr)
	OnSession func(Peer)
	OnEnd     func(Peer, error)

	mu       sync.Mutex // guards what follows
	tester   string     // its public key, while sessions > 0
	sessions int
	accounts map[uint32][sha256.Size]byte // what this end said of each trial
}

// Bounds of what one responder holds at a time.
const (
	maxSessions = 16
	maxGreeting = 64
	maxAccounts = 10_000
	idleTime    = 10 * time.Minute
)

// Serve responds until ctx ends. Whatever a tester does ends at most its own
// session.
func (r *Responder) Serve(ctx context.Context) error {
	if err := r.Own.Check(); err != nil {
		return err
	}
	config, err := r.Own.config()
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(r.Bind, strconv.Itoa(r.Port)))
	if err != nil {
		if errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("port %d is in use: stop the other responder or choose another with --port", r.Port)
		}
		return fmt.Errorf("listen on port %d: %w", r.Port, err)
	}
	defer l.Close()
	if r.OnListen != nil {
		r.OnListen(l.Addr())
	}
	var sessions sync.WaitGroup
	defer sessions.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	greeting := make(chan struct{}, maxGreeting)
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ECONNABORTED) {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			return fmt.Errorf("accept a tester: %w", err)
		}
		select {
		case greeting <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		sessions.Add(1)
		go func() {
			defer sessions.Done()
			defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
			r.session(ctx, tls.Server(conn, config), func() { <-greeting })
		}()
	}
}

// session greets one connection and serves it.
func (r *Responder) session(ctx context.Context, conn *tls.Conn, greeted func()) {
	defer conn.Close()
	s, err := r.greet(ctx, conn)
	greeted()
	if err != nil {
		var refused *Error
		if !errors.As(err, &refused) {
			refused = &Error{Text: err.Error()}
		}
		conn.SetDeadline(time.Now().Add(time.Second))
		Write(conn, Message{Error: refused})
		if s != nil {
			s.plane.Close()
		}
		return
	}
	defer s.plane.Close()
	defer r.leave()
	if r.OnSession != nil {
		r.OnSession(s.peer)
	}
	go s.plane.receive()
	err = s.serve(ctx)
	if r.OnEnd != nil {
		r.OnEnd(s.peer, err)
	}
}

// serving is a session at the responder.
type serving struct {
	r     *Responder
	peer  Peer
	conn  *tls.Conn
	plane *plane
	to    netip.AddrPort
	in    chan Message
}

func (r *Responder) greet(ctx context.Context, conn *tls.Conn) (*serving, error) {
	conn.SetDeadline(time.Now().Add(handshakeTime))
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	m, err := Read(conn)
	if err != nil {
		return nil, err
	}
	if m.Hello == nil {
		return nil, errMessage
	}
	if m.Hello.Version != Version {
		return nil, fmt.Errorf("this responder speaks version %d of the protocol, not %d: use the same dssn at both ends", Version, m.Hello.Version)
	}
	state := conn.ConnectionState()
	s := &serving{r: r, conn: conn, in: make(chan Message)}
	if s.peer, err = r.Own.peer(state, m.Hello, "tester"); err != nil {
		return nil, err
	}
	if err := r.enter(s.peer); err != nil {
		return nil, err
	}
	local, remote := conn.LocalAddr().(*net.TCPAddr).AddrPort(), conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	if s.plane, err = openPlane(local.Addr()); err != nil {
		r.leave()
		return nil, err
	}
	s.to = netip.AddrPortFrom(remote.Addr().Unmap(), m.Hello.Port)
	own, err := r.Own.hello(state, "responder", s.plane)
	if err == nil {
		err = Write(conn, Message{Hello: own})
	}
	if err != nil {
		r.leave()
	}
	return s, err
}

// enter admits a session of the tester that is being served, or of the first.
func (r *Responder) enter(p Peer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions > 0 && r.tester != string(p.Key) || r.sessions >= maxSessions {
		return &Error{Text: "the responder is busy with another test: try again when it has ended", Busy: true}
	}
	if r.sessions == 0 {
		r.accounts = map[uint32][sha256.Size]byte{}
	}
	r.tester = string(p.Key)
	r.sessions++
	return nil
}

func (r *Responder) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions--
}

// say sends this end's account of a trial and remembers it.
func (s *serving) say(id uint32, m Message) error {
	r := s.r
	digest, err := digest(m.Sent, m.Received)
	if err != nil {
		return err
	}
	r.mu.Lock()
	if len(r.accounts) < maxAccounts {
		r.accounts[id] = digest
	}
	r.mu.Unlock()
	return s.write(m)
}

func digest(s *Sent, v *Received) (d [sha256.Size]byte, err error) {
	text, err := json.Marshal(Message{Sent: s, Received: v})
	return sha256.Sum256(text), err
}

// tookPart checks that every trial of a result holds what this end said of it.
func (r *Responder) tookPart(result *report.Result) bool {
	var d Detail
	if json.Unmarshal(result.Detail, &d) != nil || len(d.Trials) == 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range d.Trials {
		s, v := (*Sent)(nil), &t.Received
		if t.Reverse {
			s, v = &t.Sent, nil
		}
		got, err := digest(s, v)
		if said, ok := r.accounts[t.Sent.ID]; err != nil || !ok || said != got {
			return false
		}
	}
	return true
}

// listen reads messages until the connection ends, which ends what this end is
// doing for it.
func (s *serving) listen(ctx context.Context, left context.CancelCauseFunc) {
	for {
		m, err := Read(s.conn)
		if errors.Is(err, io.EOF) {
			err = errLeft
		}
		if err != nil {
			left(err)
			return
		}
		select {
		case s.in <- m:
		case <-ctx.Done():
			return
		}
	}
}

// errLeft means that the tester has closed the connection.
var errLeft = errors.New("the tester has left")

// next waits for a message.
func (s *serving) next(ctx context.Context, patience time.Duration) (Message, error) {
	select {
	case m := <-s.in:
		return m, nil
	case <-ctx.Done():
		return Message{}, context.Cause(ctx)
	case <-time.After(patience):
		return Message{}, fmt.Errorf("the tester said nothing for %v", patience)
	}
}

// serve answers requests until the tester leaves. A refused request is answered
// and ends nothing.
func (s *serving) serve(ctx context.Context) error {
	ctx, left := context.WithCancelCause(ctx)
	defer left(nil)
	s.conn.SetDeadline(time.Time{})
	go s.listen(ctx, left)
	for {
		m, err := s.next(ctx, idleTime)
		switch {
		case errors.Is(err, errLeft):
			return nil
		case err != nil:
		case m.Trial != nil:
			err = s.trial(ctx, m.Trial)
		case m.Sign != nil:
			err = s.sign(m.Sign)
		default:
			err = errMessage
		}
		var refused *Error
		if errors.As(err, &refused) {
			err = s.write(Message{Error: refused})
		}
		if err != nil {
			return err
		}
	}
}

func (s *serving) write(m Message) error {
	s.conn.SetWriteDeadline(time.Now().Add(answerTime))
	return Write(s.conn, m)
}

func (s *serving) trial(ctx context.Context, q *Request) error {
	if err := q.Load.Check(); err != nil {
		return &Error{Text: err.Error()}
	}
	s.plane.expect(q.ID)
	if err := s.write(Message{Ready: &Ready{q.ID}}); err != nil {
		return err
	}
	if q.Reverse {
		sent, err := s.plane.send(ctx, s.to, q.ID, &q.Load)
		if err != nil && ctx.Err() != nil {
			return err
		}
		if err != nil {
			return &Error{Text: err.Error()}
		}
		return s.say(q.ID, Message{Sent: sent})
	}
	m, err := s.next(ctx, answerTime+time.Minute+time.Duration(q.Load.Millis)*time.Millisecond)
	if err != nil {
		return err
	}
	if m.Finish == nil || m.Finish.ID != q.ID {
		return errMessage
	}
	s.plane.settle(ctx, &q.Load)
	return s.say(q.ID, Message{Received: s.plane.received(q.Load.Delays)})
}

// sign adds this end's signature to a result that names it and holds, of every
// trial, what it said itself.
func (s *serving) sign(q *Sign) error {
	own := &s.r.Own
	result, err := report.Read(q.Result)
	if err != nil {
		return &Error{Text: "the result cannot be signed: " + err.Error()}
	}
	named := slices.ContainsFunc(result.Ends, func(e report.End) bool { return e.Role == "responder" && e.Name == own.Name })
	if !named || !s.r.tookPart(result) {
		return &Error{Text: "the result cannot be signed: it does not name this end, or what this end said of the trials does not stand in it unchanged"}
	}
	result.Signatures = nil
	if err := result.Sign(report.Signer{Role: "responder", Name: own.Name, Node: own.Node, Key: own.Key}); err != nil {
		return &Error{Text: err.Error()}
	}
	return s.write(Message{Signed: &result.Signatures[0]})
}
