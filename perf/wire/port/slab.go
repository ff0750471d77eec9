package port

import "encoding/binary"

// slab is memory for frames on their way, in two classes of cells that grow by
// chunks and are used again. A slot number is the cell's index, the class in its
// highest bit. Each cell begins with the frame's length in two bytes.
type slab struct {
	classes [2]class
}

type class struct {
	cell   int // bytes of a cell
	chunks [][]byte
	free   []uint32
}

const (
	smallCell     = 256
	cellsPerChunk = 512
	classBit      = 1 << 31
)

func newSlab(frame int) *slab {
	return &slab{[2]class{{cell: smallCell}, {cell: (frame + 2 + 63) &^ 63}}}
}

// put copies a frame aside.
func (s *slab) put(frame []byte) (slot uint32) {
	c, bit := &s.classes[0], uint32(0)
	if len(frame)+2 > smallCell {
		c, bit = &s.classes[1], classBit
	}
	if len(c.free) == 0 {
		c.grow()
	}
	i := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	cell := c.at(i)
	binary.NativeEndian.PutUint16(cell, uint16(len(frame)))
	copy(cell[2:], frame)
	return i | bit
}

// frame returns the bytes of a slot, valid until free.
func (s *slab) frame(slot uint32) []byte {
	cell := s.classes[slot>>31].at(slot &^ classBit)
	return cell[2 : 2+binary.NativeEndian.Uint16(cell)]
}

func (s *slab) release(slot uint32) {
	c := &s.classes[slot>>31]
	c.free = append(c.free, slot&^classBit)
}

// bytes is the memory in use, cells free or not.
func (s *slab) bytes() (n int) {
	for _, c := range s.classes {
		n += len(c.chunks) * cellsPerChunk * c.cell
	}
	return n
}

func (c *class) at(i uint32) []byte {
	at := int(i%cellsPerChunk) * c.cell
	return c.chunks[i/cellsPerChunk][at : at+c.cell]
}

func (c *class) grow() {
	first := uint32(len(c.chunks) * cellsPerChunk)
	c.chunks = append(c.chunks, make([]byte, cellsPerChunk*c.cell))
	for i := uint32(cellsPerChunk); i > 0; i-- {
		c.free = append(c.free, first+i-1)
	}
}
