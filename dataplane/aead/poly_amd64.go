//go:build !purego

package aead

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// polyState is a Poly1305 computation (RFC 8439 section 2.5): the sum h in base
// 2^64, at most a little above 2^130, and the one-time key r (clamped), s. The
// kernels know its layout.
type polyState struct {
	h [3]uint64
	r [2]uint64
	s [2]uint64
}

var _ [56]byte = [unsafe.Sizeof(polyState{})]byte{}

// polyBlocks adds blocks whole blocks at p, one after the other.
//
//go:noescape
func polyBlocks(st *polyState, p *byte, blocks int)

// polyBlocks512 does the same sixteen at a time; blocks is at least 4.
//
//go:noescape
func polyBlocks512(st *polyState, p *byte, blocks int)

// start begins with the one-time key.
func (st *polyState) start(key []byte) {
	_ = key[31]
	*st = polyState{
		r: [2]uint64{
			binary.LittleEndian.Uint64(key) & 0x0ffffffc0fffffff,
			binary.LittleEndian.Uint64(key[8:]) & 0x0ffffffc0ffffffc,
		},
		s: [2]uint64{
			binary.LittleEndian.Uint64(key[16:]),
			binary.LittleEndian.Uint64(key[24:]),
		},
	}
}

// polyWide is the shortest text in blocks for which the powers of r pay.
const polyWide = 16

// add takes in data, padded with zeros to whole blocks.
func (st *polyState) add(p path, data []byte) {
	for len(data) >= TagSize {
		blocks := min(len(data), callBytes) / TagSize
		if p == pathAVX512 && blocks >= polyWide {
			polyBlocks512(st, &data[0], blocks)
		} else {
			polyBlocks(st, &data[0], blocks)
		}
		data = data[blocks*TagSize:]
	}
	if len(data) > 0 {
		var last [TagSize]byte
		copy(last[:], data)
		polyBlocks(st, &last[0], 1)
		clear(last[:])
	}
}

// end takes in the end of a text, which need not be whole blocks, and the length
// block, and writes the tag. The lengths are in bytes, of all of both parts.
func (st *polyState) end(p path, data []byte, aad, text int, tag *[TagSize]byte) {
	whole := len(data) &^ (TagSize - 1)
	st.add(p, data[:whole])
	var last [2 * TagSize]byte
	at := 0
	if copy(last[:], data[whole:]) > 0 {
		at = TagSize
	}
	binary.LittleEndian.PutUint64(last[at:], uint64(aad))
	binary.LittleEndian.PutUint64(last[at+8:], uint64(text))
	polyBlocks(st, &last[0], at/TagSize+1)
	clear(last[:])
	st.sum(tag)
}

// sum writes (h mod 2^130-5) + s mod 2^128.
func (st *polyState) sum(tag *[TagSize]byte) {
	// h is below 2^130 + a little: subtract 2^130-5 once if it can be, without
	// a branch.
	h0, h1, h2 := st.h[0], st.h[1], st.h[2]
	t0, c := bits.Add64(h0, 5, 0)
	t1, c := bits.Add64(h1, 0, c)
	t2 := h2 + c
	over := -(t2 >> 2) // all ones if h + 5 ≥ 2^130
	h0 ^= (h0 ^ t0) & over
	h1 ^= (h1 ^ t1) & over
	h0, c = bits.Add64(h0, st.s[0], 0)
	h1, _ = bits.Add64(h1, st.s[1], c)
	binary.LittleEndian.PutUint64(tag[:8], h0)
	binary.LittleEndian.PutUint64(tag[8:], h1)
}
