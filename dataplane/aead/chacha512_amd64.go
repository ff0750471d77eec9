//go:build !purego

package aead

// keystream512 makes the keystream of six lanes of four blocks.
//
//go:noescape
func keystream512(stream *byte, lanes *lane)

// keystream512Short makes two lanes, in less time.
//
//go:noescape
func keystream512Short(stream *byte, lanes *lane)

// xor512 adds n bytes of keystream to p.
//
//go:noescape
func xor512(p, stream *byte, n int)

const (
	passLanes  = 6
	shortLanes = 2
	laneBytes  = 4 * blockBytes
)

// chacha512 is ChaCha20-Poly1305 on AVX-512 with IFMA. A packet is hashed in
// one piece: after its last lane when sealing, before the first byte is
// decrypted when opening. A forged packet is never decrypted.
type chacha512 struct{ key [32]byte }

func newChaCha512(key []byte) *chacha512 { return &chacha512{[32]byte(key)} }

func (c *chacha512) wipe() { c.key = [32]byte{} }

func (c *chacha512) joins(other keyImpl) bool {
	_, same := other.(*chacha512)
	return same
}

func (c *chacha512) seal(run []Job) { c.treat(run, false) }

func (c *chacha512) open(run []Job) { c.treat(run, true) }

func (c *chacha512) treat(run []Job, open bool) {
	if text, _ := run[0].parts(); len(run) == 1 && len(text) <= shortLanes*laneBytes-blockBytes {
		c.treatShort(run, open)
		return
	}
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
			key := &run[next.job].Key.impl.(*chacha512).key
			next = lanes[n].take(run, key, next, laneBytes/blockBytes)
		}
		if n <= shortLanes {
			lanes[1] = lanes[n-1]
			keystream512Short(&stream[0], &lanes[0])
		} else {
			for i := n; i < passLanes; i++ {
				lanes[i] = lanes[0]
			}
			keystream512(&stream[0], &lanes[0])
		}
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

// treatShort is treat for one short packet: one pass of two lanes.
func (c *chacha512) treatShort(run []Job, open bool) {
	var (
		stream [shortLanes * laneBytes]byte
		lanes  [shortLanes]lane
		poly   polyState
	)
	key := &run[0].Key.impl.(*chacha512).key
	next := lanes[0].take(run, key, place{}, laneBytes/blockBytes)
	lanes[1] = lanes[0]
	if next.job == 0 {
		lanes[1].take(run, key, next, laneBytes/blockBytes)
	}
	keystream512Short(&stream[0], &lanes[0])
	c.use(&run[0], &poly, 0, stream[:], open)
	clear(stream[:])
	poly = polyState{}
}

// use spends the keystream of j's blocks from block on.
func (c *chacha512) use(j *Job, poly *polyState, block int, stream []byte, open bool) {
	text, tag := j.parts()
	at := (block - 1) * blockBytes
	if block == 0 {
		poly.start(stream)
		poly.add(pathAVX512, j.AAD)
		if open {
			var want [TagSize]byte
			poly.end(pathAVX512, text, len(j.AAD), len(text), &want)
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
		poly.end(pathAVX512, text, len(j.AAD), len(text), tag)
		j.OK = true
	}
}
