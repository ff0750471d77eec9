package iperf

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// stream is one data connection. One goroutine moves its bytes; others only
// read the counters and raise stop.
type stream struct {
	id     int
	fd     int // blocking socket, owned by the stream until close
	sends  bool
	udp    bool
	params *Params
	local  string
	remote string
	mss    int

	skipCopy bool // the receiver discards in the kernel (MSG_TRUNC)
	// atServer says that the peer has already ended the test when halt comes: a
	// sender breaks off, and a receiver takes what has already arrived.
	atServer bool

	bytes atomic.Uint64
	// limit, shared by all sending streams, is what -n and -k leave to send.
	limit *budget
	stop  atomic.Bool
	done  chan struct{}
	err   error // of the mover, to be read after done

	mu      sync.Mutex
	seq     Sequence // UDP receivers: arrivals; UDP senders: only Packets
	omitted counters // what the stream had done when the omitted time ended
	began   time.Time
	ended   time.Time
}

// counters is a stream's state at an instant.
type counters struct {
	bytes       uint64
	seq         Sequence
	retransmits uint32
}

// budget is an amount that several senders draw on; nil has no end.
type budget struct{ left atomic.Int64 }

// take grants up to n bytes.
func (b *budget) take(n int) int {
	if b == nil {
		return n
	}
	after := b.left.Add(-int64(n))
	if after >= 0 {
		return n
	}
	return max(0, n+int(after))
}

func (b *budget) empty() bool { return b != nil && b.left.Load() <= 0 }

// start moves bytes in a goroutine until stop, an error or the budget's end.
func (s *stream) start(now time.Time) {
	s.began = now
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		switch {
		case s.udp && s.sends:
			s.err = s.sendUDP()
		case s.udp:
			s.err = s.receiveUDP()
		case s.sends && bool(s.params.ZeroCopy):
			s.err = s.sendFile()
		case s.sends:
			s.err = s.sendTCP()
		default:
			s.err = s.receiveTCP()
		}
		s.mu.Lock()
		s.ended = time.Now()
		s.mu.Unlock()
	}()
}

func (s *stream) snapshot() counters {
	c := counters{bytes: s.bytes.Load()}
	s.mu.Lock()
	c.seq = s.seq
	s.mu.Unlock()
	if s.sends && !s.udp {
		if info, err := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			c.retransmits = info.Total_retrans
		}
	}
	return c
}

// halt stops the mover and waits for it.
func (s *stream) halt() {
	s.stop.Store(true)
	if s.done == nil {
		return
	}
	if !s.udp {
		if s.sends && !s.atServer {
			// The server still reads: the block being written goes through.
			select {
			case <-s.done:
				return
			case <-time.After(time.Second):
			}
		}
		how := unix.SHUT_RDWR
		if !s.sends {
			how = unix.SHUT_RD // what has arrived can still be read
		}
		unix.Shutdown(s.fd, how)
	}
	<-s.done
}

func (s *stream) close() {
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
}

func (s *stream) blocks() []byte {
	b := make([]byte, s.params.Len)
	for i := range b {
		b[i] = byte('0' + i%10)
	}
	return b
}

func (s *stream) sendTCP() error {
	block := s.blocks()
	pacer := Pacer{Rate: uint64(s.params.Bandwidth)}
	pacer.Start(time.Now())
	for !s.stop.Load() {
		if !s.pause(&pacer, len(block)) {
			return nil
		}
		part := block[:s.limit.take(len(block))]
		if len(part) == 0 {
			return nil
		}
		for len(part) > 0 {
			n, err := ignoringInterrupts(func() (int, error) { return unix.Write(s.fd, part) })
			if err != nil {
				return s.unlessStopped("send", err)
			}
			s.bytes.Add(uint64(n))
			pacer.Sent(n)
			part = part[n:]
		}
	}
	return nil
}

// sendFile sends a memory file's pages without copying them (-Z).
func (s *stream) sendFile() error {
	file, err := unix.MemfdCreate("iperf-block", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make the block to send: %w", err)
	}
	defer unix.Close(file)
	if _, err := unix.Write(file, s.blocks()); err != nil {
		return fmt.Errorf("fill the block to send: %w", err)
	}
	pacer := Pacer{Rate: uint64(s.params.Bandwidth)}
	pacer.Start(time.Now())
	for !s.stop.Load() {
		if !s.pause(&pacer, int(s.params.Len)) {
			return nil
		}
		left := s.limit.take(int(s.params.Len))
		if left == 0 {
			return nil
		}
		for offset := int64(0); left > 0; {
			n, err := ignoringInterrupts(func() (int, error) { return unix.Sendfile(s.fd, file, &offset, left) })
			if err != nil {
				return s.unlessStopped("send", err)
			}
			s.bytes.Add(uint64(n))
			pacer.Sent(n)
			left -= n
		}
	}
	return nil
}

func (s *stream) receiveTCP() error {
	buf := make([]byte, s.params.Len)
	flags := 0
	if s.skipCopy {
		flags = unix.MSG_TRUNC // tcp(7): the bytes are discarded, not copied
	}
	var stopped time.Time
	for {
		n, err := ignoringInterrupts(func() (int, error) { return receive(s.fd, buf, flags) })
		if n > 0 {
			s.bytes.Add(uint64(n))
			if s.enough(&stopped) {
				return nil
			}
			continue
		}
		if err != nil {
			return s.unlessStopped("receive", err)
		}
		return nil // the peer or halt has ended the stream
	}
}

// enough says, after something has arrived, whether a receiver ends here: at the
// client at once, at the server when drainTime has passed since stop, in which
// what was under way arrives. since is the caller's memory.
func (s *stream) enough(since *time.Time) bool {
	if !s.stop.Load() {
		return false
	}
	if !s.atServer {
		return true
	}
	now := time.Now()
	if since.IsZero() {
		*since = now
	}
	return now.Sub(*since) > drainTime
}

const drainTime = 500 * time.Millisecond

// pause waits until the pacer lets n bytes go; false if the stream was stopped.
func (s *stream) pause(p *Pacer, n int) bool {
	for {
		wait := p.Wait(time.Now(), n)
		if wait <= 0 {
			return true
		}
		if s.stop.Load() || s.limit.empty() {
			return false
		}
		time.Sleep(min(wait, 20*time.Millisecond))
	}
}

func (s *stream) unlessStopped(what string, err error) error {
	if s.stop.Load() {
		return nil
	}
	return fmt.Errorf("stream %d: %s: %w", s.id, what, err)
}
