package softport

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"dssn/dataplane/session"
	"dssn/dataplane/worker"
)

// A stock peer knows one port of ours, the first worker's, and yet may belong to any
// worker. So every worker has a socket at that port, and the kernel leads each
// message to the worker whose session it is for, which the index that we gave the
// other side says (session.IndexOf). An initiation has no such index: the first
// worker hears it, and the answer leaves from the socket of the peer's worker.
//
//	            ┌─ type 2, 3, 4: the lowest byte of the receiver's index
//	port 51820 ─┤
//	            └─ anything else: worker 0
//
// The kernel joins what arrives together from one sender before it chooses. A short message
// joined to an initiation before it comes to the first worker and is dropped there as
// bad_index: one packet at most in a handshake.

// admit lets sockets that are bound after this one share its port.
func (s *socket) admit() error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		s.close()
		return fmt.Errorf("share a UDP port among workers: %w", err)
	}
	return nil
}

// steer has the kernel choose among the sockets that share s's port, which were bound
// in the order of their workers.
func (s *socket) steer() error {
	const typeAt, receiverAt, receiverOfResponseAt = 0, 4, 8 // the lowest bytes
	byteAt := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: at}
	}
	ifNot := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	done := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_A}
	program := []unix.SockFilter{
		byteAt(typeAt),
		ifNot(session.TypeTransport, 2), byteAt(receiverAt), done,
		ifNot(2, 2), byteAt(receiverOfResponseAt), done,
		ifNot(3, 2), byteAt(receiverAt), done,
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &f); err != nil {
		return fmt.Errorf("lead the messages of UDP port %d to their workers: %w", s.port, err)
	}
	return nil
}

// sockets are the thread's, its own first.
func (t *thread) sockets() (all []*socket) {
	for _, s := range []*socket{t.socket, t.shared} {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

// outside is the port of the thread's sockets.
func (t *thread) outside() worker.Outside {
	switch {
	case t.shared == nil:
		return t.socket
	case t.socket == nil:
		return t.shared
	}
	return &twin{own: t.socket, shared: t.shared}
}

// twin is the outside port of a worker that has a UDP port of its own and one socket
// of those at the port of all.
type twin struct {
	own, shared *socket
	last        bool // the shared one was asked first
}

// Receive implements worker.Outside: both are asked, in turn first.
func (p *twin) Receive(in []worker.Datagrams) (n int, err error) {
	p.last = !p.last
	for _, shared := range [2]bool{p.last, !p.last} {
		s := p.own
		if shared {
			s = p.shared
		}
		if n == len(in) {
			break
		}
		k, e := s.Receive(in[n:])
		for i := range k {
			in[n+i].Shared = shared
		}
		n += k
		err = errors.Join(err, e)
	}
	return n, err
}

// Send implements worker.Outside.
func (p *twin) Send(out []worker.Datagrams) (int, error) {
	n := 1
	for n < len(out) && out[n].Shared == out[0].Shared {
		n++
	}
	if out[0].Shared {
		return p.shared.Send(out[:n])
	}
	return p.own.Send(out[:n])
}

// portOf is the port that a lane's messages come to and leave from.
func (e *Engine) portOf(l *lane) uint16 {
	if l.Shared {
		return e.port
	}
	return e.threads[l.Worker].socket.port
}

// ownPorts is how many UDP ports the engine hears.
func (e *Engine) ownPorts() (n int) {
	for _, t := range e.threads {
		if t.socket != nil {
			n++
		}
	}
	return n
}

// rebind moves the first worker's port, with all sockets at it, to another; after an
// error they stay where they are.
func (e *Engine) rebind(port uint16, mark uint32) error {
	group, err := e.openGroup(port, mark)
	if err != nil && port == e.port && errors.Is(err, unix.EADDRINUSE) {
		// The port is ours: it is only the mark that changes.
		for _, t := range e.threads {
			for _, s := range t.sockets() {
				if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
					return refuse(unix.EPERM, "set the firewall mark %#x: %w", mark, err)
				}
			}
		}
		e.mark = mark
		return nil
	}
	if err != nil {
		return refuse(unix.EADDRINUSE, "listen on port %d: %w", port, err)
	}
	for i, t := range e.threads { // what can fail, before anything changes
		if err := t.waiter.add(group[i].fd); err != nil {
			closeAll(group)
			return refuse(unix.EIO, "listen on port %d: %w", port, err)
		}
	}
	for i, t := range e.threads {
		old := t.shared
		if i == 0 {
			old, t.socket = t.socket, group[0]
		} else {
			t.shared = group[i]
		}
		outside, swapped := t.outside(), make(chan struct{})
		t.worker.Do(func() {
			t.worker.SetOutside(outside)
			old.close()
			close(swapped)
		})
		select {
		case <-swapped:
		case <-e.done:
			return refuse(unix.EIO, "listen on port %d: %w", port, errStopped)
		}
	}
	e.port, e.mark = group[0].port, mark
	e.directFrames()
	return nil
}

// openGroup opens a socket for each worker at one port.
func (e *Engine) openGroup(port uint16, mark uint32) (group []*socket, err error) {
	for i := range e.threads {
		s, err := bindSocket(port, mark, i > 0)
		if err == nil {
			group = append(group, s)
			port = s.port
			if i == 0 && len(e.threads) > 1 {
				err = s.admit()
			}
		}
		if err != nil {
			closeAll(group)
			return nil, err
		}
		if !e.options.Plain {
			s.neverFragment()
		}
	}
	if len(group) > 1 {
		if err := group[0].steer(); err != nil {
			closeAll(group)
			return nil, err
		}
	}
	return group, nil
}

func closeAll(sockets []*socket) {
	for _, s := range sockets {
		s.close()
	}
}
