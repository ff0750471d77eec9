//go:build xdpcheck

package xdp

import "fmt"

// place is where a frame is; see Pool.
type place uint8

const (
	inPool place = iota
	inFill
	inHand
	inTx
)

var placeNames = [...]string{"the pool", "the fill ring", "the application's hands", "the tx ring"}

// owners remembers where each frame is and stops the program at the first one
// that is used by somebody who does not have it.
type owners struct {
	umem  *UMEM
	where []place
}

func newOwners(u *UMEM) owners { return owners{umem: u, where: make([]place, u.Frames())} }

func (o owners) move(addr uint64, from, to place) {
	n := o.umem.number(addr)
	if n >= len(o.where) {
		panic(fmt.Sprintf("frame address %#x lies outside the UMEM", addr))
	}
	if o.where[n] != from {
		panic(fmt.Sprintf("frame %d goes to %s: it should be in %s and is in %s", n, placeNames[to], placeNames[from], placeNames[o.where[n]]))
	}
	o.where[n] = to
}

func (o owners) moveAll(addrs []uint64, from, to place) {
	for _, a := range addrs {
		o.move(a, from, to)
	}
}

// submitted checks the descriptors about to be handed to the kernel.
func (s *Socket) submitted(n int) {
	for _, d := range s.tx.Slots(n) {
		s.pool.owner.move(s.pool.umem.frameOf(d.Addr), inHand, inTx)
	}
}

// peeked is told of received descriptors the first time they are shown: until
// then they were the kernel's.
func (s *Socket) peeked(descs []Desc) {
	for _, d := range descs[min(s.shown, len(descs)):] {
		s.pool.owner.move(s.pool.umem.frameOf(d.Addr), inFill, inHand)
		s.shown++
	}
}

func (s *Socket) released(n int) { s.shown -= n }

// checking is what a Socket remembers for the check.
type checking struct{ shown int }
