// Package porttest has ports made of memory, for tests of whatever polls a
// port. They belong to one goroutine.
package porttest

import (
	"bytes"
	"errors"
	"net/netip"

	"dssn/dataplane"
	"dssn/dataplane/packet"
	"dssn/dataplane/worker"
)

// Packet is an inside packet with what is left to do on it.
type Packet struct {
	Data    []byte
	Offload packet.Offload
}

// Inside is an inside port: In is what it will give, Out what it took.
type Inside struct {
	In  []Packet
	Out []Packet
	// Refuse makes Send fail this many times.
	Refuse int
	// Gone makes Receive say that the port has ended.
	Gone error
	// Took, if not nil, sees the parts of each packet as they are borrowed, and
	// Out stays empty.
	Took func(parts [][]byte, o packet.Offload)
}

// Receive implements worker.Inside.
func (p *Inside) Receive(buf []byte) (int, packet.Offload, error) {
	if len(p.In) == 0 {
		return 0, packet.Offload{}, p.Gone
	}
	n := copy(buf, p.In[0].Data)
	o := p.In[0].Offload
	p.In = p.In[1:]
	return n, o, nil
}

// Send implements worker.Inside.
func (p *Inside) Send(parts [][]byte, o packet.Offload) error {
	if p.Refuse > 0 {
		p.Refuse--
		return errors.New("refused as the test wanted")
	}
	if p.Took != nil {
		p.Took(parts, o)
		return nil
	}
	p.Out = append(p.Out, Packet{bytes.Join(parts, nil), o})
	return nil
}

// Packets returns what the port took, cut to the packets that were joined.
func (p *Inside) Packets() (all [][]byte) {
	for _, x := range p.Out {
		all = append(all, CutUp(x)...)
	}
	return all
}

// CutUp divides a packet as its offload says; nil if it contradicts itself.
func CutUp(x Packet) (all [][]byte) {
	var c packet.Cut
	if !c.Plan(x.Data, x.Offload) {
		return nil
	}
	for i := range c.Segments {
		b := make([]byte, c.Len(i))
		c.Write(b, i)
		all = append(all, b)
	}
	return all
}

// Datagram is one UDP datagram and where it comes from or goes to.
type Datagram struct {
	Data []byte
	Peer netip.AddrPort
	Mark dataplane.Mark // as sent
}

// Outside is an outside port: In is what it will give, Out what it took.
// Neighbours in In that come from one peer in one size arrive together, as a
// kernel with UDP_GRO gives them.
type Outside struct {
	In  []Datagram
	Out []Datagram
	// Refuse makes Send fail this many times.
	Refuse int
	// Discard drops what is sent without remembering it.
	Discard bool
	// Gave, if not nil, sees each buffer that was filled.
	Gave func(buf []byte)
}

// Receive implements worker.Outside.
func (p *Outside) Receive(in []worker.Datagrams) (int, error) {
	n := 0
	for ; n < len(in) && len(p.In) > 0; n++ {
		first := p.In[0]
		d := &in[n]
		at := copy(d.Buf, first.Data)
		d.Segment, d.Peer = len(first.Data), first.Peer
		p.In = p.In[1:]
		for len(p.In) > 0 && p.In[0].Peer == first.Peer && len(p.In[0].Data) <= d.Segment && at+len(p.In[0].Data) <= 65000 && len(p.In[0].Data) > 0 {
			short := len(p.In[0].Data) < d.Segment
			at += copy(d.Buf[at:], p.In[0].Data)
			p.In = p.In[1:]
			if short {
				break
			}
		}
		d.Buf = d.Buf[:at]
		if p.Gave != nil {
			p.Gave(d.Buf)
		}
	}
	return n, nil
}

// Send implements worker.Outside.
func (p *Outside) Send(out []worker.Datagrams) (int, error) {
	if p.Refuse > 0 {
		p.Refuse--
		return 0, errors.New("refused as the test wanted")
	}
	if p.Discard {
		return len(out), nil
	}
	for _, d := range out {
		for b := d.Buf; len(b) > 0; {
			size := len(b)
			if d.Segment > 0 {
				size = min(d.Segment, size)
			}
			p.Out = append(p.Out, Datagram{bytes.Clone(b[:size]), d.Peer, d.Mark})
			b = b[size:]
		}
	}
	return len(out), nil
}
