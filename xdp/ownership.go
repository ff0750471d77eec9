//go:build !xdpcheck

package xdp

// place is where a frame is; see Pool.
type place uint8

const (
	inPool place = iota
	inFill
	inHand
	inTx
)

// owners checks nothing in ordinary builds.
type owners struct{}

func newOwners(*UMEM) owners                      { return owners{} }
func (owners) move(addr uint64, _, _ place)       {}
func (owners) moveAll(addrs []uint64, _, _ place) {}

func (s *Socket) submitted(int) {}
func (s *Socket) peeked([]Desc) {}
func (s *Socket) released(int)  {}

type checking struct{}
