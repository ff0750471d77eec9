package names

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Connections over TCP: how many at once, and how long one may be silent.
const (
	maxConnections = 64
	idle           = 5 * time.Second
)

// Server answers queries over UDP and TCP at one address. Make one with Listen.
type Server struct {
	zone  Zone
	view  View
	clock func() time.Time
	log   *slog.Logger
	udp   *net.UDPConn
	tcp   *net.TCPListener

	mu    sync.Mutex // guards limit and open
	limit limiter
	open  map[*net.TCPConn]bool
}

// Listen opens address, ADDR:PORT with an IP address, for UDP and TCP. The view
// is asked from several goroutines. Close is Run's work; Run must be called.
func Listen(address string, zone Zone, view View, clock func() time.Time, log *slog.Logger) (*Server, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("%q is no address for a name server: write ADDR:PORT such as [2001:db8::53]:53", address)
	}
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return nil, fmt.Errorf("answer names over TCP: %w; choose another address or stop what has it", err)
	}
	at = netip.AddrPortFrom(at.Addr(), tcp.Addr().(*net.TCPAddr).AddrPort().Port())
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		tcp.Close()
		return nil, fmt.Errorf("answer names over UDP: %w; choose another address or stop what has it", err)
	}
	return &Server{zone: zone, view: view, clock: clock, log: log, udp: udp, tcp: tcp, open: map[*net.TCPConn]bool{}}, nil
}

// Address is where the server answers.
func (s *Server) Address() netip.AddrPort { return s.tcp.Addr().(*net.TCPAddr).AddrPort() }

// Run answers until ctx ends, and returns when everything is closed.
func (s *Server) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(s.answerUDP)
	running.Go(func() { s.acceptTCP(&running) })
	<-ctx.Done()
	s.udp.Close()
	s.tcp.Close()
	s.mu.Lock()
	for c := range s.open {
		c.Close()
	}
	s.open = nil // no more are taken
	s.mu.Unlock()
	running.Wait()
}

func (s *Server) allow(a netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit.allow(s.clock(), a)
}

// answerUDP answers one query after the other; one that is over its network's
// limit gets no answer, so a forged source is not flooded.
func (s *Server) answerUDP() {
	buf := make([]byte, maxQuery+1) // a longer query is cut, and refused for its length
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Debug("name query", "error", err)
			time.Sleep(time.Millisecond) // whatever it is, not a busy loop
			continue
		}
		if !s.allow(from.Addr()) {
			continue
		}
		if a := s.zone.Answer(buf[:n], UDP, s.view); a != nil {
			if _, err := s.udp.WriteToUDPAddrPort(a, from); err != nil {
				s.log.Debug("name answer", "to", from, "error", err)
			}
		}
	}
}

func (s *Server) acceptTCP(running *sync.WaitGroup) {
	for {
		c, err := s.tcp.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Debug("name connection", "error", err)
			time.Sleep(10 * time.Millisecond) // out of descriptors, most likely
			continue
		}
		if !s.keep(c) {
			c.Close()
			continue
		}
		running.Go(func() {
			s.converse(c)
			c.Close()
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
		})
	}
}

// keep counts a connection, unless there are too many or the server ends.
func (s *Server) keep(c *net.TCPConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil || len(s.open) >= maxConnections {
		return false
	}
	s.open[c] = true
	return true
}

// converse answers queries, each after its length in two bytes (RFC 1035, section
// 4.2.2), until the other end is silent, wrong or over its limit.
func (s *Server) converse(c *net.TCPConn) {
	from := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
	var length [2]byte
	buf := make([]byte, maxQuery)
	for {
		c.SetDeadline(time.Now().Add(idle))
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(length[:]))
		if n > maxQuery {
			return
		}
		if _, err := io.ReadFull(c, buf[:n]); err != nil {
			return
		}
		if !s.allow(from) {
			return
		}
		a := s.zone.Answer(buf[:n], TCP, s.view)
		if a == nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)); err != nil {
			return
		}
	}
}
