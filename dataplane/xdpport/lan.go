package xdpport

import (
	"net/netip"
	"sync/atomic"

	"dssn/dataplane/worker"
)

// lan is the port towards neighbours: Ethernet frames with IPv6 packets.
type lan struct {
	socket
	table *atomic.Pointer[Neighbours]
	mac   MAC
	mtu   int

	// The last answer: packets come in runs.
	seen *Neighbours
	dst  netip.Addr
	hop  MAC
	know bool
}

var _ worker.FrameInside = (*lan)(nil)

// Receive implements worker.Frames.
func (l *lan) Receive(in []worker.Frame) int { return l.receive(in) }

func (l *lan) strip(f *worker.Frame) bool {
	p := f.Bytes()
	if len(p) < ethLen || p[12] != 0x86 || p[13] != 0xdd {
		return false
	}
	f.Begin += ethLen
	return true
}

// Headroom implements worker.Frames.
func (l *lan) Headroom() int { return metadata + ethLen }

// Address implements worker.FrameInside.
func (l *lan) Address(f *worker.Frame, dst netip.Addr) bool {
	if t := l.table.Load(); t != l.seen || dst != l.dst {
		l.seen, l.dst = t, dst
		l.hop, l.know = t.Hosts[dst]
	}
	if !l.know || f.End-f.Begin > l.mtu || f.Begin < l.Headroom() {
		return false
	}
	f.Begin -= ethLen
	p := f.Bytes()
	copy(p[0:], l.hop[:])
	copy(p[6:], l.mac[:])
	p[12], p[13] = 0x86, 0xdd
	return true
}

// Send implements worker.Frames.
func (l *lan) Send(out []*worker.Frame) int { return l.send(out) }
