package xdp

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Prober asks whether adjacencies forward, and needs no program at the far end: each
// question is a carrier to the neighbour and back to us, which the neighbour's driver
// or kernel shifts like any other.
//
//	our driver ─→ link ─→ neighbour: shift ─→ its route to us ─→ our UDP socket
//	  5f00:d55:NEIGHBOUR:US::        5f00:d55:US::
//
//	UDP payload   0      4        8          16       24
//	              │ DSSE │ number │ sequence │ secret │
//
// It is slower than a link event, and finds what no event tells: the fibre that is
// dead behind a switch. Feed it to Transit.SetUp.
type Prober struct {
	o          ProberOptions
	send, recv int
	wake, stop *os.File
	secret     uint64
	targets    atomic.Pointer[[]ProbeTarget]
	life       lifetime
}

// ProberOptions says who asks, and how.
type ProberOptions struct {
	Block netip.Prefix // the /32 locator block
	SID   uint16       // our own; its address Block:SID:: must be this host's
	// Every is the interval of questions (5 ms if zero) and Missed how many in a
	// row may stay without an answer (7 if zero): a dead link is found after at
	// most Every × (Missed+1).
	Every  time.Duration
	Missed int
}

// ProbeTarget is an adjacency to ask, and the SID of the neighbour there.
type ProbeTarget struct {
	SID uint16
	Adjacency
}

// EchoPort is the UDP port to which questions come back.
const EchoPort = 51824

const (
	echoMagic = "DSSE"
	echoBytes = 24
	echoFrame = 14 + 40 + 8 + echoBytes
)

// NewProber opens its sockets in the caller's network namespace.
func NewProber(o ProberOptions) (p *Prober, err error) {
	if o.Every == 0 {
		o.Every = 5 * time.Millisecond
	}
	if o.Missed == 0 {
		o.Missed = 7
	}
	if !isIPv6(o.Block.Addr()) || o.Block.Bits() != 32 || o.SID == 0 {
		return nil, fmt.Errorf("probing as SID %x of %s: a SID that is not zero and an IPv6 /32 are needed", o.SID, o.Block)
	}
	p = &Prober{o: o, send: -1, recv: -1}
	defer func() {
		if err != nil {
			p.closeAll()
			p = nil
		}
	}()
	var secret [8]byte
	rand.Read(secret[:])
	p.secret = binary.NativeEndian.Uint64(secret[:])
	if p.send, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return p, explain("probing adjacencies", err)
	}
	// Before bulk traffic in this host's queues.
	_ = unix.SetsockoptInt(p.send, unix.SOL_SOCKET, unix.SO_PRIORITY, 6)
	if p.recv, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return p, explain("probing adjacencies", err)
	}
	if err = unix.SetsockoptInt(p.recv, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
		return p, explain("probing adjacencies", err)
	}
	if err = unix.Bind(p.recv, &unix.SockaddrInet6{Port: EchoPort}); err != nil {
		return p, fmt.Errorf("probing adjacencies: UDP port %d is taken by another program: %w", EchoPort, err)
	}
	if p.wake, p.stop, err = os.Pipe(); err != nil {
		return p, explain("probing adjacencies", err)
	}
	return p, nil
}

// Ask replaces the adjacencies to ask. Those that stay keep their state; one that
// leaves while it is down is told to be up, since nobody knows any more.
func (p *Prober) Ask(targets []ProbeTarget) {
	t := append([]ProbeTarget(nil), targets...)
	p.targets.Store(&t)
}

// asked is a target at work.
type asked struct {
	echo
	target ProbeTarget
	number uint32
	frame  [echoFrame]byte
	to     unix.SockaddrLinklayer
}

// Run asks until Close, and calls changed when an adjacency first answers, goes down
// or comes back.
// It is called on a thread with real-time priority where the process may have it: it
// should flip a word and return. One Run at a time.
func (p *Prober) Run(changed func(a Adjacency, up bool)) error {
	if !p.life.begin() {
		return nil
	}
	defer p.life.running.Done()
	result := make(chan error, 1)
	go func() {
		defer realTime()()
		result <- p.run(changed)
	}()
	return <-result
}

func (p *Prober) run(changed func(a Adjacency, up bool)) error {
	var list *[]ProbeTarget
	var at []*asked
	numbers := uint32(0)
	buf := make([]byte, 256)
	fds := []unix.PollFd{{Fd: int32(p.recv), Events: unix.POLLIN}, {Fd: int32(p.wake.Fd()), Events: unix.POLLIN}}
	for {
		if l := p.targets.Load(); l != list {
			list = l
			old := at
			at = p.keep(old, *l, &numbers)
			for _, a := range old {
				if a.down && !slices.Contains(at, a) {
					changed(a.target.Adjacency, true)
				}
			}
		}
		// Answers first; only then is a question without one counted.
		for {
			n, _, err := unix.Recvfrom(p.recv, buf, unix.MSG_DONTWAIT)
			if err != nil {
				break
			}
			if number, ok := p.answer(buf[:n]); ok {
				for _, a := range at {
					if a.number == number && a.answered() {
						changed(a.target.Adjacency, true)
					}
				}
			}
		}
		now := time.Now()
		patience, wait := 50*time.Millisecond, poll // until somebody gives us something to ask
		for _, a := range at {
			if !a.next.After(now) {
				if a.ask(now, p.o.Every, p.o.Missed) {
					changed(a.target.Adjacency, false)
				}
				p.question(a)
			}
			patience, wait = min(patience, a.next.Sub(now)), pollPunctually
		}
		if err := wait(fds, max(patience, 0)); err != nil && err != unix.EINTR {
			return fmt.Errorf("probing adjacencies: %w", err)
		}
		if fds[1].Revents != 0 {
			return nil
		}
	}
}

// keep turns targets into what is at work, going on with those known.
func (p *Prober) keep(old []*asked, targets []ProbeTarget, numbers *uint32) (at []*asked) {
next:
	for _, t := range targets {
		for _, a := range old {
			if a.target == t {
				at = append(at, a)
				continue next
			}
		}
		*numbers++
		at = append(at, p.begin(t, *numbers))
	}
	return at
}

func (p *Prober) begin(t ProbeTarget, number uint32) *asked {
	a := &asked{target: t, number: number, to: unix.SockaddrLinklayer{Ifindex: t.Ifindex, Halen: 6, Protocol: 0xdd86}}
	copy(a.to.Addr[:], t.To[:])
	block := p.o.Block.Masked().Addr().As16()
	f := a.frame[:]
	copy(f, t.To[:])
	copy(f[6:], t.From[:])
	binary.BigEndian.PutUint16(f[12:], 0x86dd)
	ip := f[14:]
	binary.BigEndian.PutUint32(ip, 6<<28|48<<2<<20) // class selector 6
	binary.BigEndian.PutUint16(ip[4:], 8+echoBytes)
	ip[6], ip[7] = unix.IPPROTO_UDP, 64
	copy(ip[8:], block[:4])
	binary.BigEndian.PutUint16(ip[12:], p.o.SID)
	copy(ip[24:], block[:4])
	binary.BigEndian.PutUint16(ip[28:], t.SID)
	binary.BigEndian.PutUint16(ip[30:], p.o.SID)
	udp := ip[40:]
	binary.BigEndian.PutUint16(udp, EchoPort)
	binary.BigEndian.PutUint16(udp[2:], EchoPort)
	binary.BigEndian.PutUint16(udp[4:], 8+echoBytes)
	copy(udp[8:], echoMagic)
	binary.BigEndian.PutUint32(udp[12:], number)
	binary.NativeEndian.PutUint64(udp[24:], p.secret)
	return a
}

// question sends the next question. That it cannot be sent shows as no answer.
func (p *Prober) question(a *asked) {
	ip := a.frame[14:]
	udp := ip[40:]
	binary.BigEndian.PutUint64(udp[16:], binary.BigEndian.Uint64(udp[16:])+1)
	binary.BigEndian.PutUint16(udp[6:], 0)
	// The checksum covers the final destination (RFC 9800 §6.5), which is the source.
	sum := uint32(unix.IPPROTO_UDP) + 8 + echoBytes + 2*checksum(ip[8:24]) + checksum(udp)
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	c := ^uint16(sum)
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], c)
	if a.target.VLAN != 0 {
		p.tagged(a)
		return
	}
	_ = unix.Sendto(p.send, a.frame[:], unix.MSG_DONTWAIT, &a.to)
}

// tagged sends the question with the adjacency's VLAN tag.
func (p *Prober) tagged(a *asked) {
	var f [echoFrame + 4]byte
	copy(f[:], a.frame[:12])
	binary.BigEndian.PutUint16(f[12:], 0x8100)
	binary.BigEndian.PutUint16(f[14:], a.target.VLAN)
	copy(f[16:], a.frame[12:])
	_ = unix.Sendto(p.send, f[:], unix.MSG_DONTWAIT, &a.to)
}

// checksum adds up 16-bit words, not folded.
func checksum(b []byte) (sum uint32) {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return sum
}

// answer reads which question came back. Only who is on the way knows the secret.
func (p *Prober) answer(b []byte) (number uint32, ok bool) {
	if len(b) != echoBytes || string(b[:4]) != echoMagic || binary.NativeEndian.Uint64(b[16:]) != p.secret {
		return 0, false
	}
	return binary.BigEndian.Uint32(b[4:]), true
}

// Close ends Run and waits for it. Calling it again is harmless.
func (p *Prober) Close() (err error) {
	if p.life.close(func() { err = p.stop.Close() }) {
		err = errors.Join(err, p.closeAll())
	}
	return err
}

func (p *Prober) closeAll() error {
	var errs []error
	for _, fd := range []int{p.send, p.recv} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	if p.wake != nil {
		errs = append(errs, p.wake.Close())
	}
	return errors.Join(errs...)
}
