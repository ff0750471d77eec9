//go:build !purego

package aead

import (
	"crypto/cipher"
	"crypto/subtle"
)

// keystream256 makes the keystream of four lanes of two blocks and, meanwhile,
// adds 4·fours blocks at p to st; fours is at most 10. With fours 0, p is not
// read and st is not written.
//
//go:noescape
func keystream256(stream *byte, lanes *lane, st *polyState, p *byte, fours int)

// xor256 adds n bytes of keystream to p; n is a multiple of 32 and not 0.
//
//go:noescape
func xor256(p, stream *byte, n int)

const (
	passLanes256 = 4
	laneBytes256 = 2 * blockBytes
	passBytes256 = passLanes256 * laneBytes256
)

// shortText256 is the longest text that two lanes cover.
const shortText256 = 2*laneBytes256 - blockBytes

// chacha256 is ChaCha20-Poly1305 on AVX2. Its own code treats the short packets
// of a run, several in one pass, in about half the time that x/crypto takes for
// them. x/crypto's AVX2 code treats the others: for one long packet it reaches
// the same limit, the latency of the rounds, with less bookkeeping
// (DESIGN.md, "The cycle account").
//
// Without IFMA Poly1305 is best done on the integer units, and those are idle
// while keystream is made: so the last piece of each pass is hashed during the
// next pass, and the keystream of two passes is kept. When opening, a piece is
// decrypted after it was hashed but before the tag is known; a wrong tag clears
// the text.
type chacha256 struct {
	key  [32]byte
	long *generic
}

func newChaCha256(key []byte) *chacha256 {
	return &chacha256{[32]byte(key), newGeneric(ChaCha20Poly1305, key)}
}

func (c *chacha256) wipe() {
	c.key = [32]byte{}
	c.long.wipe()
}

func (c *chacha256) joins(other keyImpl) bool {
	_, same := other.(*chacha256)
	return same
}

func (c *chacha256) seal(run []Job) {
	if len(run) == 1 {
		c.long.seal(run)
		return
	}
	shorts := countShort(run)
	for i := range run {
		if shorts < 2 || !isShort(&run[i]) {
			run[i].Key.impl.(*chacha256).long.seal(run[i : i+1])
		}
	}
	if shorts >= 2 {
		treat256(run, false)
	}
}

func (c *chacha256) open(run []Job) {
	if len(run) == 1 {
		c.long.open(run)
		return
	}
	shorts := countShort(run)
	for i := range run {
		if shorts < 2 || !isShort(&run[i]) {
			run[i].Key.impl.(*chacha256).long.open(run[i : i+1])
		}
	}
	if shorts >= 2 {
		treat256(run, true)
	}
}

func (c *chacha256) alone() cipher.AEAD { return c.long.aead }

func isShort(j *Job) bool { return len(j.Buf) <= shortText256+TagSize }

func countShort(run []Job) (n int) {
	for i := range run {
		if isShort(&run[i]) {
			n++
		}
	}
	return n
}

// skipLong returns the next short packet's place from p on.
func skipLong(run []Job, p place) place {
	for p.job < len(run) && !isShort(&run[p.job]) {
		p.job++
	}
	return p
}

// piece is what one pass has of one packet.
type piece struct {
	job    *Job
	text   []byte // this piece of the job's text
	stream []byte // its keystream, at least as long
	first  []byte // the block of the one-time key, in a packet's first piece
	last   bool   // the packet ends with it
}

// work256 is what passes between passes.
type work256 struct {
	open   bool
	stream [2][passBytes256]byte
	lanes  [passLanes256]lane
	places [passLanes256]place
	poly   polyState // of late's packet
	late   piece     // the piece whose hashing waits for the next pass
}

// treat256 treats the short packets of run, of which there are some.
func treat256(run []Job, open bool) {
	w := work256{open: open}
	next := skipLong(run, place{})
	for pass := 0; next.job < len(run); pass++ {
		n := 0
		for ; n < passLanes256 && next.job < len(run); n++ {
			w.places[n] = next
			key := &run[next.job].Key.impl.(*chacha256).key
			next = skipLong(run, w.lanes[n].take(run, key, next, laneBytes256/blockBytes))
		}
		for i := n; i < passLanes256; i++ {
			w.lanes[i] = w.lanes[0]
		}
		stream := w.stream[pass%2][:]
		w.hashLateDuring(stream)
		for i := 0; i < n; {
			j := i + 1
			for j < n && w.places[j].job == w.places[i].job {
				j++
			}
			p := newPiece(run, w.places[i], stream[i*laneBytes256:j*laneBytes256])
			w.begin(&p)
			if j < n {
				w.end(&p, 0)
			} else {
				w.late = p
			}
			i = j
		}
	}
	w.end(&w.late, 0)
	w = work256{}
}

// newPiece cuts out of run what stream is for.
func newPiece(run []Job, at place, stream []byte) piece {
	p := piece{job: &run[at.job]}
	text, _ := p.job.parts()
	from := (at.block - 1) * blockBytes
	if at.block == 0 {
		p.first, stream = stream[:blockBytes], stream[blockBytes:]
		from = 0
	}
	to := min(from+len(stream), len(text))
	p.text, p.stream, p.last = text[from:to], stream, to == len(text)
	return p
}

// hashLateDuring makes the next keystream and hashes late at the same time.
func (w *work256) hashLateDuring(stream []byte) {
	fours := len(w.late.text) / (4 * TagSize)
	if fours == 0 {
		keystream256(&stream[0], &w.lanes[0], &w.poly, nil, 0)
	} else {
		keystream256(&stream[0], &w.lanes[0], &w.poly, &w.late.text[0], fours)
	}
	if w.late.job != nil {
		w.end(&w.late, fours*4*TagSize)
		w.late = piece{}
	}
}

// begin does what must be done before p is hashed.
func (w *work256) begin(p *piece) {
	if p.first != nil {
		w.poly.start(p.first)
		w.poly.add(pathAVX2, p.job.AAD)
	}
	if !w.open {
		p.crypt()
	}
}

// end hashes p from byte done on and does what must be done after that.
func (w *work256) end(p *piece, done int) {
	text, tag := p.job.parts()
	var sum [TagSize]byte
	if p.last {
		w.poly.end(pathAVX2, p.text[done:], len(p.job.AAD), len(text), &sum)
	} else {
		w.poly.add(pathAVX2, p.text[done:])
	}
	if w.open {
		p.crypt()
	}
	if !p.last {
		return
	}
	if !w.open {
		*tag = sum
		p.job.OK = true
		return
	}
	p.job.OK = sameTag(tag, &sum)
	if !p.job.OK {
		clear(text)
	}
}

// crypt adds the keystream to the text.
func (p *piece) crypt() {
	whole := len(p.text) &^ 31
	if whole > 0 {
		xor256(&p.text[0], &p.stream[0], whole)
	}
	subtle.XORBytes(p.text[whole:], p.text[whole:], p.stream[whole:])
}
