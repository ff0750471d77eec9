package porttest

import (
	"bytes"
	"net/netip"

	"dssn/dataplane/worker"
)

// Memory is what two ports of frames share.
type Memory struct {
	free [][]byte
	all  [][]byte
}

// NewMemory makes n frames of 2 KB.
func NewMemory(n int) *Memory {
	m := &Memory{}
	for range n {
		m.all = append(m.all, make([]byte, 2048))
	}
	for i := range m.all {
		m.free = append(m.free, m.all[i])
	}
	return m
}

// Missing is how many frames are in somebody's hands.
func (m *Memory) Missing() int { return len(m.all) - len(m.free) }

// linkLen is what Address puts before a packet here.
const linkLen = 14

// Frames is a port of frames made of memory, for either side. In is what it will
// give, Out what was sent, both without link headers.
type Frames struct {
	Memory *Memory
	In     []Datagram
	Out    []Datagram
	// Reaches says who can be reached this way; nil: everybody. Inside ports are
	// asked with port zero.
	Reaches func(a netip.AddrPort) bool
	// Refuse makes Send lose this many frames.
	Refuse int
}

// Inside returns p as a port towards neighbours.
func (p *Frames) Inside() worker.FrameInside { return framesInside{p} }

// Outside returns p as a port towards peers.
func (p *Frames) Outside() worker.FrameOutside { return framesOutside{p} }

type framesInside struct{ *Frames }

// Address implements worker.FrameInside.
func (p framesInside) Address(f *worker.Frame, dst netip.Addr) bool {
	f.Peer = netip.AddrPortFrom(dst, 0)
	return p.address(f)
}

type framesOutside struct{ *Frames }

// Address implements worker.FrameOutside.
func (p framesOutside) Address(f *worker.Frame) bool { return p.address(f) }

func (p *Frames) address(f *worker.Frame) bool {
	if p.Reaches != nil && !p.Reaches(f.Peer) || f.Begin < linkLen {
		return false
	}
	f.Begin -= linkLen
	return true
}

// Receive implements worker.Frames.
func (p *Frames) Receive(in []worker.Frame) (n int) {
	for ; n < len(in) && len(p.In) > 0 && len(p.Memory.free) > 0; n++ {
		last := len(p.Memory.free) - 1
		m := p.Memory.free[last]
		p.Memory.free = p.Memory.free[:last]
		const headroom = 256
		in[n] = worker.Frame{Memory: m, Begin: headroom, End: headroom + copy(m[headroom:], p.In[0].Data), Peer: p.In[0].Peer}
		p.In = p.In[1:]
	}
	return n
}

// Send implements worker.Frames.
func (p *Frames) Send(out []*worker.Frame) (sent int) {
	for _, f := range out {
		if p.Refuse > 0 {
			p.Refuse--
		} else {
			sent++
			p.Out = append(p.Out, Datagram{bytes.Clone(f.Bytes()[linkLen:]), f.Peer, 0})
		}
		p.Drop(f)
	}
	return sent
}

// Drop implements worker.Frames.
func (p *Frames) Drop(f *worker.Frame) { p.Memory.free = append(p.Memory.free, f.Memory) }

// Headroom implements worker.Frames.
func (p *Frames) Headroom() int { return linkLen }
