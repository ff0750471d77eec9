package wire

// held are the frames on their way, ordered by when they come out and, at equal
// times, by when they went in. Frames mostly come out in the order in which they
// went in: those wait in a ring; those that do not fit the ring's order wait in a
// binary heap. The next one is the earlier of both heads.
type held struct {
	ring       []item // a power of two long
	head, size int
	heap       []item
	seq        uint64
}

type item struct {
	at     int64
	seq    uint64
	slot   uint32
	length int32
}

func (a item) before(b item) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (h *held) len() int { return h.size + len(h.heap) }

func (h *held) push(at int64, slot uint32, length int) {
	it := item{at, h.seq, slot, int32(length)}
	h.seq++
	if h.size > 0 && at < h.ring[(h.head+h.size-1)&(len(h.ring)-1)].at {
		h.pushHeap(it)
		return
	}
	if h.size == len(h.ring) {
		bigger := make([]item, max(64, 2*len(h.ring)))
		for i := range h.size {
			bigger[i] = h.ring[(h.head+i)&(len(h.ring)-1)]
		}
		h.ring, h.head = bigger, 0
	}
	h.ring[(h.head+h.size)&(len(h.ring)-1)] = it
	h.size++
}

// next returns the frame that comes out first.
func (h *held) next() (it item, ok bool) {
	switch {
	case h.size == 0 && len(h.heap) == 0:
		return item{}, false
	case h.size == 0:
		return h.heap[0], true
	case len(h.heap) == 0 || h.ring[h.head].before(h.heap[0]):
		return h.ring[h.head], true
	}
	return h.heap[0], true
}

// pop removes what next returned.
func (h *held) pop() {
	if h.size > 0 && (len(h.heap) == 0 || h.ring[h.head].before(h.heap[0])) {
		h.head = (h.head + 1) & (len(h.ring) - 1)
		h.size--
		return
	}
	h.popHeap()
}

func (h *held) pushHeap(it item) {
	h.heap = append(h.heap, it)
	for i := len(h.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.heap[i].before(h.heap[up]) {
			break
		}
		h.heap[i], h.heap[up] = h.heap[up], h.heap[i]
		i = up
	}
}

func (h *held) popHeap() {
	last := len(h.heap) - 1
	h.heap[0] = h.heap[last]
	h.heap = h.heap[:last]
	for i := 0; ; {
		least := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < last && h.heap[c].before(h.heap[least]) {
				least = c
			}
		}
		if least == i {
			return
		}
		h.heap[i], h.heap[least] = h.heap[least], h.heap[i]
		i = least
	}
}
