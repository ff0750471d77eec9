//go:build !purego

package aead

import (
	"encoding/binary"
	"unsafe"
)

// How ChaCha20-Poly1305 (RFC 8439 section 2.8) is laid over a run of packets.
//
// A packet of n bytes needs 1 + ceil(n/64) blocks of keystream: block 0 gives
// the one-time Poly1305 key, the others cover the text. The kernel makes the
// keystream of several lanes in one pass, and a lane is a few neighbouring
// blocks of any packet under any key. So the packets of a run stand one behind
// the other, cut into lanes, and passes are full whatever their lengths are:
//
//	packets   |-- 1420 B ------------------|64 B|-- 570 B ---|- 89…
//	lanes     | 0 | 1 | 2 | 3 | 4 | 5 |  0 | 1 | 2 | 3 | 4 | 5 | 0 …
//	passes    \---------- 1 ----------/  \---------- 2 -------/
//
// A packet is hashed in one piece: after its last lane when sealing, before the
// first byte is decrypted when opening. A forged packet is never decrypted.

// lane tells the kernel which blocks to make. The kernel knows its layout.
type lane struct {
	key   *[32]byte
	start [2]uint64 // row d of the state: block counter, nonce
}

var _ [24]byte = [unsafe.Sizeof(lane{})]byte{}

// chacha512 makes the keystream of six lanes of four blocks.
//
//go:noescape
func chacha512(stream *byte, lanes *lane)

// xor512 adds n bytes of keystream to p.
//
//go:noescape
func xor512(p, stream *byte, n int)

const (
	blockBytes = 64
	passLanes  = 6
	laneBytes  = 4 * blockBytes // of the widest kernel
)

// chacha is ChaCha20-Poly1305 on the kernels of one path.
type chacha struct {
	key  [32]byte
	path path
}

func newChaCha(p path, key []byte) *chacha {
	return &chacha{key: [32]byte(key), path: p}
}

func (c *chacha) wipe() { c.key = [32]byte{} }

func (c *chacha) joins(other keyImpl) bool {
	o, same := other.(*chacha)
	return same && o.path == c.path
}

func (c *chacha) seal(run []Job) { c.treat(run, false) }

func (c *chacha) open(run []Job) { c.treat(run, true) }

// place is where a lane's keystream belongs: from block of run[job] on.
type place struct{ job, block int }

func (c *chacha) treat(run []Job, open bool) {
	var (
		stream [passLanes * laneBytes]byte
		lanes  [passLanes]lane
		places [passLanes]place
		poly   polyState
	)
	next := place{}
	for next.job < len(run) {
		n := 0
		for ; n < passLanes && next.job < len(run); n++ {
			places[n] = next
			next = lanes[n].take(run, next)
		}
		for i := n; i < passLanes; i++ {
			lanes[i] = lanes[0]
		}
		chacha512(&stream[0], &lanes[0])
		for i := 0; i < n; {
			j := i + 1
			for j < n && places[j].job == places[i].job {
				j++
			}
			c.use(&run[places[i].job], &poly, places[i].block, stream[i*laneBytes:j*laneBytes], open)
			i = j
		}
	}
	clear(stream[:])
	poly = polyState{}
}

// take points the lane at the blocks of run at p and returns the place behind
// them.
func (l *lane) take(run []Job, p place) place {
	const blocks = laneBytes / blockBytes
	j := &run[p.job]
	text, _ := j.parts()
	l.key = &j.Key.impl.(*chacha).key
	l.start[0] = uint64(uint32(p.block)) | uint64(binary.LittleEndian.Uint32(j.Nonce[:]))<<32
	l.start[1] = binary.LittleEndian.Uint64(j.Nonce[4:])
	p.block += blocks
	if (p.block-1)*blockBytes >= len(text) {
		return place{job: p.job + 1}
	}
	return p
}

// use spends the keystream of j's blocks from block on.
func (c *chacha) use(j *Job, poly *polyState, block int, stream []byte, open bool) {
	text, tag := j.parts()
	at := (block - 1) * blockBytes
	if block == 0 {
		poly.start(stream)
		poly.add(c.path, j.AAD)
		if open {
			var want [TagSize]byte
			poly.add(c.path, text)
			poly.tag(len(j.AAD), len(text), &want)
			j.OK = sameTag(tag, &want)
			if !j.OK {
				clear(text)
			}
		}
		stream = stream[blockBytes:]
		at = 0
	}
	if open && !j.OK {
		return
	}
	n := min(len(stream), len(text)-at)
	if n > 0 {
		xor512(&text[at], &stream[0], n)
	}
	if !open && at+n == len(text) {
		poly.add(c.path, text)
		poly.tag(len(j.AAD), len(text), tag)
		j.OK = true
	}
}
