package trial

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"time"

	"dssn/perf/gen"
	"dssn/perf/report"

	"golang.org/x/sys/unix"
)

// Port is where responders listen, for TCP; UDP ports are chosen for each session.
const Port = 51824

// handshakeTime bounds the beginning of a session, answerTime an answer.
const (
	handshakeTime = 10 * time.Second
	answerTime    = 30 * time.Second
)

// Session is a tester's connection to a responder.
type Session struct {
	Own  Identity
	Peer Peer
	// Remote is the responder's machine, as it describes itself.
	Remote report.End
	// OneWay: delays mean something, see Outcome.
	OneWay bool

	conn  *tls.Conn
	plane *plane
	to    netip.AddrPort
	last  uint32 // trial; numbers begin anywhere, so that sessions do not share them
	stop  func() bool
}

// hello is what this end says first.
func (id *Identity) hello(s tls.ConnectionState, role string, p *plane) (*Hello, error) {
	h := &Hello{Version: Version, Name: id.Name, Port: p.port(), Clock: gen.ClockTag(), Synchronised: gen.Synchronised(), End: report.ThisEnd(role)}
	h.End.Name = id.Name
	if id.Secret != "" {
		var err error
		if h.Proof, err = proof(s, id.Secret, role); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Dial opens a session with the responder at host (a name, an address or a data
// identifier). bind is the local address, "" for any: a reservation's traffic must
// come from the address that it is for. When ctx ends, so does the session.
func Dial(ctx context.Context, host string, port int, bind string, own Identity) (*Session, error) {
	if err := own.Check(); err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: handshakeTime, Control: freeBind}
	if bind != "" {
		a, err := netip.ParseAddr(bind)
		if err != nil {
			return nil, fmt.Errorf("%q is not a local address: give one that this host has", bind)
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
	}
	target := net.JoinHostPort(host, strconv.Itoa(port))
	raw, err := d.DialContext(ctx, "tcp", target)
	if err != nil {
		if errors.Is(err, unix.ECONNREFUSED) {
			return nil, fmt.Errorf("nobody responds at %s: start `dssn perf responder --port %d` there", target, port)
		}
		return nil, fmt.Errorf("reach the responder at %s: %w", target, err)
	}
	s := &Session{Own: own, last: rand.Uint32() >> 1}
	if err := s.begin(ctx, raw); err != nil {
		raw.Close()
		if s.plane != nil {
			s.plane.Close()
		}
		return nil, err
	}
	s.stop = context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	return s, nil
}

func (s *Session) begin(ctx context.Context, raw net.Conn) error {
	config, err := s.Own.config()
	if err != nil {
		return err
	}
	s.conn = tls.Client(raw, config)
	s.conn.SetDeadline(time.Now().Add(handshakeTime))
	if err := s.conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("agree with %s on encryption: %w (is it `dssn perf responder`?)", raw.RemoteAddr(), err)
	}
	local, remote := raw.LocalAddr().(*net.TCPAddr).AddrPort(), raw.RemoteAddr().(*net.TCPAddr).AddrPort()
	if s.plane, err = openPlane(local.Addr()); err != nil {
		return err
	}
	state := s.conn.ConnectionState()
	own, err := s.Own.hello(state, "tester", s.plane)
	if err != nil {
		return err
	}
	if err := Write(s.conn, Message{Hello: own}); err != nil {
		return fmt.Errorf("greet the responder: %w", err)
	}
	m, err := Read(s.conn)
	if err != nil {
		return err
	}
	if m.Hello == nil || m.Hello.Version != Version {
		return errMessage
	}
	if s.Peer, err = s.Own.peer(state, m.Hello, "responder"); err != nil {
		return err
	}
	s.Remote, s.OneWay = m.Hello.End, oneWay(own, m.Hello)
	s.to = netip.AddrPortFrom(remote.Addr().Unmap(), m.Hello.Port)
	go s.plane.receive()
	return nil
}

func oneWay(a, b *Hello) bool { return a.Clock == b.Clock || a.Synchronised && b.Synchronised }

// Run makes one trial: this end sends, or the responder if reverse. After an
// error that is not the responder's refusal (*Error) the session is over.
func (s *Session) Run(ctx context.Context, l Load, reverse bool) (*Outcome, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	s.last++
	o := &Outcome{Load: l, Reverse: reverse, OneWay: s.OneWay}
	s.plane.expect(s.last)
	if err := s.ask(Message{Trial: &Request{ID: s.last, Reverse: reverse, Load: l}}, answerTime); err != nil {
		return nil, err
	}
	m, err := Read(s.conn)
	if err != nil {
		return nil, s.why(ctx, err)
	}
	if m.Ready == nil || m.Ready.ID != s.last {
		return nil, errMessage
	}
	if reverse {
		s.conn.SetDeadline(time.Now().Add(answerTime + time.Minute + time.Duration(l.Millis)*time.Millisecond))
		if m, err = Read(s.conn); err != nil {
			return nil, s.why(ctx, err)
		}
		if m.Sent == nil || m.Sent.ID != s.last {
			return nil, errMessage
		}
		s.plane.settle(ctx, &l)
		o.Sent, o.Received = *m.Sent, *s.plane.received(l.Delays)
		return o, ctx.Err()
	}
	sent, err := s.plane.send(ctx, s.to, s.last, &l)
	if err != nil {
		return nil, err
	}
	if err := s.ask(Message{Finish: &Finish{ID: s.last}}, answerTime+10*time.Duration(l.Settle)*time.Millisecond); err != nil {
		return nil, err
	}
	if m, err = Read(s.conn); err != nil {
		return nil, s.why(ctx, err)
	}
	if m.Received == nil || m.Received.ID != s.last {
		return nil, errMessage
	}
	o.Sent, o.Received = *sent, *m.Received
	return o, nil
}

func (s *Session) ask(m Message, patience time.Duration) error {
	s.conn.SetDeadline(time.Now().Add(patience))
	if err := Write(s.conn, m); err != nil {
		return fmt.Errorf("ask the responder: %w", err)
	}
	return nil
}

// why prefers the reason for which we ended it ourselves.
func (s *Session) why(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Sign signs a result at both ends.
func (s *Session) Sign(ctx context.Context, r *report.Result) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	if err := s.ask(Message{Sign: &Sign{Result: text}}, answerTime); err != nil {
		return err
	}
	m, err := Read(s.conn)
	if err != nil {
		return s.why(ctx, err)
	}
	if m.Signed == nil || m.Signed.Role != "responder" || string(m.Signed.Key) != string(s.Peer.Key) {
		return errors.New("the responder did not sign with the key that it had shown")
	}
	if err := r.AddSignature(*m.Signed); err != nil {
		return err
	}
	return r.Sign(report.Signer{Role: "tester", Name: s.Own.Name, Node: s.Own.Node, Key: s.Own.Key})
}

// Local is this end's address of the session.
func (s *Session) Local() netip.Addr {
	return s.conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
}

// Close ends the session.
func (s *Session) Close() error {
	s.stop()
	return errors.Join(s.conn.Close(), s.plane.Close())
}

// Way is one direction of a session, as a path that methods make trials of.
type Way struct {
	*Session
	Reverse bool // the responder sends
}

// Trial is Session.Run in the way's direction.
func (w Way) Trial(ctx context.Context, l Load) (*Outcome, error) {
	return w.Session.Run(ctx, l, w.Reverse)
}
