package worker_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"

	"dssn/dataplane/aead"
	"dssn/dataplane/porttest"
	"dssn/dataplane/worker"
)

// framed gives a node ports of frames beside its own.
type framed struct {
	*node
	memory   *porttest.Memory
	lan, wan *porttest.Frames
}

func frames(n *node) *framed {
	m := porttest.NewMemory(256)
	f := &framed{n, m, &porttest.Frames{Memory: m}, &porttest.Frames{Memory: m}}
	n.SetFrames(f.lan.Inside(), f.wan.Outside())
	return f
}

// memoryLine is a line of memory ports, of frames or not.
func memoryLine(ofFrames bool) func(t *testing.T) *porttest.Line {
	return func(t *testing.T) *porttest.Line {
		a, b := pair(t, aead.ChaCha20Poly1305)
		ends := [2]*node{a, b}
		var f [2]*framed
		if ofFrames {
			f = [2]*framed{frames(a), frames(b)}
		}
		settle := func() {
			for range 4 {
				for i, n := range ends {
					n.poll(t, t0)
					other := ends[1-i]
					from := []netip.AddrPort{wanA, wanB}[i]
					for _, d := range n.outside.Out {
						other.outside.In = append(other.outside.In, porttest.Datagram{Data: d.Data, Peer: from})
					}
					n.outside.Out = nil
					if ofFrames {
						for _, d := range f[i].wan.Out {
							f[1-i].wan.In = append(f[1-i].wan.In, porttest.Datagram{Data: d.Data, Peer: from})
						}
						f[i].wan.Out = nil
					}
				}
			}
		}
		l := &porttest.Line{Inside: [2]netip.Addr{addrA, addrB}, Nobody: netip.MustParseAddr("3fff:d55::99"), MTU: 1420}
		l.Say = func(end int, packets ...[]byte) {
			for _, p := range packets {
				if ofFrames {
					f[end].lan.In = append(f[end].lan.In, porttest.Datagram{Data: bytes.Clone(p)})
				} else {
					ends[end].inside.In = append(ends[end].inside.In, porttest.Packet{Data: bytes.Clone(p)})
				}
			}
			settle()
		}
		l.Heard = func(end, n int) (got [][]byte) {
			got = ends[end].inside.Packets()
			ends[end].inside.Out = nil
			if ofFrames {
				if len(got) > 0 {
					t.Errorf("%d packets took the ordinary way", len(got))
				}
				for _, d := range f[end].lan.Out {
					got = append(got, d.Data)
				}
				f[end].lan.Out = nil
			}
			return got
		}
		l.Drops = func(end int) map[string]uint64 {
			m := map[string]uint64{}
			ends[end].Drops(m)
			return m
		}
		// The responder may seal once it has heard something.
		l.Say(0, porttest.UDP(addrA, addrB, 10, rand.New(rand.NewPCG(1, 1))))
		b.Do(func() { b.peer.Current = b.session })
		l.Heard(1, 1)
		if ofFrames {
			t.Cleanup(func() {
				if n := f[0].memory.Missing() + f[1].memory.Missing(); n != 0 {
					t.Errorf("%d frames of memory are missing", n)
				}
			})
		}
		return l
	}
}

func TestMemoryPortsConform(t *testing.T) { porttest.Conformance(t, memoryLine(false)) }

func TestFramesOfMemoryConform(t *testing.T) { porttest.Conformance(t, memoryLine(true)) }

// What a port of frames cannot reach goes by the ordinary one; every frame comes
// back, whatever becomes of its packet.
func TestFramesFallBackAndAreNeverLost(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 9))
		na, nb := pair(t, aead.ChaCha20Poly1305)
		a, b := frames(na), frames(nb)
		reaches := func(netip.AddrPort) bool { return r.IntN(3) > 0 }
		a.wan.Reaches, b.lan.Reaches = reaches, reaches
		a.wan.Refuse, b.lan.Refuse = r.IntN(3), r.IntN(3)
		said := 0
		want := map[string]bool{}
		for range 200 {
			p := porttest.UDP(addrA, addrB, r.IntN(1372), r)
			switch r.IntN(12) {
			case 0:
				p = p[:r.IntN(len(p))] // malformed, or none of IPv6
			case 1:
				p[7] = byte(r.IntN(2)) // at its end
			case 2:
				p = porttest.UDP(addrA, addrB, 1380, r) // too large
			case 3:
				p = porttest.UDP(addrA, netip.MustParseAddr("3fff:d55::99"), 30, r)
			default:
				q := bytes.Clone(p)
				q[7] = 0
				want[string(q)] = true
			}
			said++
			a.lan.In = append(a.lan.In, porttest.Datagram{Data: p})
		}
		na.poll(t, t0)
		arrived := len(na.outside.Out) + len(a.wan.Out)
		if got := arrived + len(na.inside.Out) + int(na.droppedInAll()); got < said || got > said+1 { // one sender is told
			t.Fatalf("seed %d: %d packets in, %d accounted for: %d sent, %d punted, %d dropped", seed, said, got, arrived, len(na.inside.Out), na.droppedInAll())
		}
		for _, d := range na.outside.Out {
			nb.outside.In = append(nb.outside.In, porttest.Datagram{Data: d.Data, Peer: wanA})
		}
		for _, d := range a.wan.Out {
			b.wan.In = append(b.wan.In, porttest.Datagram{Data: d.Data, Peer: wanA})
		}
		nb.poll(t, t0)
		got := nb.inside.Packets()
		for _, d := range b.lan.Out {
			got = append(got, d.Data)
		}
		if len(got)+int(nb.droppedInAll()) != arrived {
			t.Fatalf("seed %d: %d messages, %d delivered, %d dropped", seed, arrived, len(got), nb.droppedInAll())
		}
		for _, p := range got {
			p[7] = 0
			if !want[string(p)] {
				t.Fatalf("seed %d: delivered what was never said, or twice", seed)
			}
			delete(want, string(p))
		}
		if n := a.memory.Missing() + b.memory.Missing(); n != 0 {
			t.Fatalf("seed %d: %d frames are missing", seed, n)
		}
	}
}

// As for all ports: no allocation, and no copy at all.
func TestFramesCostNoAllocation(t *testing.T) {
	na, nb := pair(t, aead.ChaCha20Poly1305)
	a := &still{p: porttest.UDP(addrA, addrB, 64, rand.New(rand.NewPCG(1, 1)))}
	na.SetFrames(stillInside{a}, stillOutside{a})
	if n := testing.AllocsPerRun(100, func() { a.left = 64; na.Poll(t0) }); n != 0 {
		t.Errorf("outbound: %v allocations for 64 frames", n)
	}
	if a.sent == 0 || a.moved {
		t.Errorf("%d frames were sent; moved in memory: %v", a.sent, a.moved)
	}
	_ = nb
}

// still is a port whose frames must leave from the memory they came in.
type still struct {
	p          []byte
	memory     [64][2048]byte
	left, sent int
	moved      bool
}

func (s *still) Receive(in []worker.Frame) int {
	n := min(s.left, len(in))
	s.left -= n
	for i := range n {
		in[i].Memory, in[i].Begin, in[i].Addr = s.memory[i][:], 256, uint64(i)
		in[i].End = 256 + copy(s.memory[i][256:], s.p)
	}
	return n
}

func (s *still) Send(out []*worker.Frame) int {
	for _, f := range out {
		s.moved = s.moved || &f.Memory[0] != &s.memory[f.Addr][0] || f.Begin != 256-16
	}
	s.sent += len(out)
	return len(out)
}
func (s *still) Drop(*worker.Frame) {}
func (s *still) Headroom() int      { return 0 }

type stillInside struct{ *still }

func (stillInside) Address(f *worker.Frame, dst netip.Addr) bool { return true }

type stillOutside struct{ *still }

func (stillOutside) Receive([]worker.Frame) int   { return 0 }
func (stillOutside) Address(f *worker.Frame) bool { return true }
