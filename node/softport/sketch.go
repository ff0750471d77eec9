package softport

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"time"
)

// sketch lets each sender of handshake messages have a few in a short while,
// when there are many: a flood from few sockets then costs them their turn and
// nobody else's. It is a fixed table of counters, forgotten twenty times a
// second; senders that share a counter share its allowance. A flood from
// everywhere passes it, and meets cookies behind it. It belongs to the worker.
type sketch struct {
	key    uint64
	since  time.Duration
	counts [sketchLen]uint8
}

const (
	sketchLen   = 4096
	sketchFor   = 50 * time.Millisecond
	sketchAllow = 4
)

// allow counts a message from a and reports whether it has its turn.
func (s *sketch) allow(now time.Duration, a netip.AddrPort) bool {
	if now-s.since >= sketchFor || now < s.since {
		clear(s.counts[:])
		s.since = now
	}
	b := a.Addr().As16()
	x, y := bits.Mul64(binary.LittleEndian.Uint64(b[:8])^s.key, 0x9e3779b97f4a7c15)
	z, w := bits.Mul64(binary.LittleEndian.Uint64(b[8:])^x^y^uint64(a.Port()), 0xd1b54a32d192ed03)
	c := &s.counts[(z^w)%sketchLen]
	if *c >= sketchAllow {
		return false
	}
	*c++
	return true
}
