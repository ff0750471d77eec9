package softport

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"dssn/dataplane/session"
	"dssn/node/pathmtu"
)

// Path MTU. Between nodes of ours, sealed probes find out what each path
// carries (package pathmtu), and the socket sends nothing in fragments. A stock
// peer answers no probes: there the kernel's own path MTU discovery is asked
// (it hears routers' ICMP messages), and the inside is told before the kernel
// would have to fragment what is outside.

// What a packet grows by, outside: IP and UDP header, message header and tag.
const (
	growth6 = 40 + 8 + session.Overhead
	growth4 = 20 + 8 + session.Overhead
)

// Times of a path's upkeep.
const (
	askEvery  = 5 * time.Second  // the kernel, about an active peer
	activeFor = 15 * time.Second // after the last packet
)

// pathState is what the control goroutine knows of a lane's path.
type pathState struct {
	machine pathmtu.Machine
	askAt   time.Duration
	kernel  int // largest inside packet by the kernel's path MTU; 0: unknown
	where   netip.AddrPort
	narrow  bool
	said    int // to a stock peer's worker
}

// followPaths gives every active lane's machine its turn.
func (c *control) followPaths() {
	e := c.engine
	now := e.now()
	for _, k := range e.order {
		for _, l := range e.peers[k].lanes {
			a := &l.Activity
			if last := time.Duration(max(a.LastSent.Load(), a.LastReceived.Load())); last == 0 || now-last > activeFor {
				continue
			}
			c.followPath(now, l)
		}
	}
}

func (c *control) followPath(now time.Duration, l *lane) {
	e, s, p, w := c.engine, &l.path, l.Peer, c.engine.threads[l.Worker].worker
	where := p.Where()
	if !where.IsValid() {
		return
	}
	moved := where != s.where
	if moved || now >= s.askAt {
		s.where, s.askAt = where, now+askEvery
		growth := growth6
		if where.Addr().Unmap().Is4() {
			growth = growth4
		}
		s.kernel = max(e.asker.ask(where)-growth, 0)
	}
	if e.options.Plain {
		most := 0
		if s.kernel > 0 && s.kernel < e.mtu {
			most = max(s.kernel, pathmtu.Base)
		}
		if most != s.said {
			s.said = most
			e.log.Debug("path MTU by the kernel", "peer", p.Key, "inside_bytes", most)
			w.Do(func() { p.Path.Fits, p.Path.Most = most, most })
		}
		return
	}
	in := pathmtu.Input{Ceiling: e.mtu, Hint: s.kernel, Active: p.Activity.LastReceived.Load() != 0, Moved: moved}
	in.AnsweredID, in.AnsweredSize = p.Path.Answered()
	out := s.machine.Step(now, in)
	if out.Narrow && !s.narrow {
		e.log.Warn("the path carries less than the 1280 bytes every IPv6 host may send; larger packets inside are lost: raise the MTU on the way",
			"peer", p.Key, "endpoint", where)
	}
	s.narrow = out.Narrow
	if !out.Changed && out.Probe == 0 {
		return
	}
	if out.Changed {
		e.log.Debug("path MTU", "peer", p.Key, "state", s.machine.State().String(), "fits", out.Fits, "most", out.Most)
	}
	w.Do(func() {
		p.Path.Fits, p.Path.Most = out.Fits, out.Most
		if out.Probe != 0 {
			w.Probe(p, out.ID, out.Probe)
		}
	})
}

// neverFragment has datagrams leave whole or not at all, whatever the kernel
// has heard of the path, so that probes tell the truth.
func (s *socket) neverFragment() {
	if !s.v4 {
		unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
	}
	unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
}

// asker is a socket that sends nothing and asks the kernel about routes, in the
// namespace it was made in.
type asker struct {
	fd int
	v4 bool
}

func openAsker() (*asker, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	v4 := false
	if err == unix.EAFNOSUPPORT {
		v4 = true
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open a socket to ask for path MTUs: %w", err)
	}
	return &asker{fd, v4}, nil
}

// ask returns the MTU of the path to a, as far as the kernel has heard; zero if
// it does not know.
func (q *asker) ask(a netip.AddrPort) int {
	var to unix.Sockaddr
	is4 := a.Addr().Unmap().Is4()
	switch {
	case q.v4 && is4:
		to = &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}
	case q.v4:
		return 0
	default:
		to = &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: scope(a.Addr())}
	}
	// What was asked before is forgotten first: a connected socket keeps its family.
	q.disconnect()
	if unix.Connect(q.fd, to) != nil {
		return 0
	}
	level, name := unix.IPPROTO_IPV6, unix.IPV6_MTU
	if is4 {
		level, name = unix.IPPROTO_IP, unix.IP_MTU
	}
	mtu, err := unix.GetsockoptInt(q.fd, level, name)
	if err != nil {
		return 0
	}
	return mtu
}

func (q *asker) close() { unix.Close(q.fd) }
