package session

import (
	"encoding/binary"
	"sync/atomic"
)

// Path is what is known of how large a packet the way to a peer carries, in
// bytes of inside packets. Fits, Most and Probes belong to the worker.
type Path struct {
	// Fits is what arrives. Zero: anything does, as far as is known.
	Fits int
	// Most is what may be tried: larger ones do not arrive, and their senders
	// are told so. Zero: nothing is known not to arrive. It differs from Fits
	// only while the truth is being found out.
	Most int
	// Probes says that the peer is one of ours and answers probes.
	Probes bool

	answered atomic.Uint64
}

// Answer records that the probe id of size bytes was answered.
func (p *Path) Answer(id uint32, size int) { p.answered.Store(uint64(id)<<32 | uint64(uint32(size))) }

// Answered returns the last probe that was answered; id zero if none was. Any
// goroutine may call it.
func (p *Path) Answered() (id uint32, size int) {
	v := p.answered.Load()
	return uint32(v >> 32), int(uint32(v))
}

// A probe is sealed like a packet and is none: its first half byte is no version
// of IP. The answer repeats id and size and has no padding.
//
//	0      1       2                4            8            size
//	| 0x10 | kind  | size, bytes BE | id BE      | zeros      |
const ProbeLen = 16 // of an answer, and the least of a probe

// Kinds of a probe.
const (
	ProbeAsk    = 1
	ProbeAnswer = 2
	probeMark   = 0x10
)

// PutProbe writes a probe of kind to b, which has at least ProbeLen bytes.
func PutProbe(b []byte, kind byte, id uint32, size int) {
	clear(b)
	b[0], b[1] = probeMark, kind
	binary.BigEndian.PutUint16(b[2:], uint16(size))
	binary.BigEndian.PutUint32(b[4:], id)
}

// ParseProbe reads what PutProbe wrote. It reports false for anything else: a
// probe that is shorter than it says, in particular.
func ParseProbe(b []byte) (kind byte, id uint32, size int, ok bool) {
	if len(b) < ProbeLen || b[0] != probeMark {
		return
	}
	kind, size, id = b[1], int(binary.BigEndian.Uint16(b[2:])), binary.BigEndian.Uint32(b[4:])
	ok = kind == ProbeAsk && size <= len(b) && size >= ProbeLen || kind == ProbeAnswer
	return kind, id, size, ok
}
