//go:build !purego

package aead

import (
	"encoding/binary"
	"unsafe"
)

// How ChaCha20-Poly1305 (RFC 8439 section 2.8) is laid over a run of packets.
//
// A packet of n bytes needs 1 + ceil(n/64) blocks of keystream: block 0 gives
// the one-time Poly1305 key, the others cover the text. The kernels make the
// keystream of several lanes in one pass, and a lane is a few neighbouring
// blocks of any packet under any key. So the packets of a run stand one behind
// the other, cut into lanes, and passes are full whatever their lengths are.
// With AVX-512, six lanes of four blocks:
//
//	packets   |-- 1420 B ------------------|64 B|-- 570 B ---|- 89…
//	lanes     | 0 | 1 | 2 | 3 | 4 | 5 |  0 | 1 | 2 | 3 | 4 | 5 | 0 …
//	passes    \---------- 1 ----------/  \---------- 2 -------/
//
// With AVX2, four lanes of two blocks. chacha512 and chacha256 differ in when a
// packet is hashed.

const blockBytes = 64

// lane tells a kernel which blocks to make. The kernels know its layout.
type lane struct {
	key   *[32]byte
	start [2]uint64 // row d of the state: block counter, nonce
}

var _ [24]byte = [unsafe.Sizeof(lane{})]byte{}

// place is where a lane's keystream belongs: from block of run[job] on.
type place struct{ job, block int }

// take points the lane at the next blocks blocks of run at p, under key, and
// returns the place behind them.
func (l *lane) take(run []Job, key *[32]byte, p place, blocks int) place {
	j := &run[p.job]
	text, _ := j.parts()
	l.key = key
	l.start[0] = uint64(uint32(p.block)) | uint64(binary.LittleEndian.Uint32(j.Nonce[:]))<<32
	l.start[1] = binary.LittleEndian.Uint64(j.Nonce[4:])
	p.block += blocks
	if (p.block-1)*blockBytes >= len(text) {
		return place{job: p.job + 1}
	}
	return p
}
