//go:build !purego

package aead

import "unsafe"

//go:noescape
func gcmHash256(k *gcmKey, m *gcmMsg, p *byte, n int)

//go:noescape
func gcmBodySeal256(k *gcmKey, m *gcmMsg, p *byte, n int)

//go:noescape
func gcmBodyOpen256(k *gcmKey, m *gcmMsg, p *byte, n int)

//go:noescape
func gcmLastSeal256(k *gcmKey, m *gcmMsg, p *byte, n int)

//go:noescape
func gcmLastOpen256(k *gcmKey, m *gcmMsg, p *byte, n int)

// gcm256 is AES-GCM on AVX2, VAES and VPCLMULQDQ.
type gcm256 struct{ key *gcmKey }

func newGCM256(key []byte) *gcm256 { return &gcm256{newGCMKey(key)} }

func (g *gcm256) wipe() { *g.key = gcmKey{} }

func (g *gcm256) joins(other keyImpl) bool {
	_, same := other.(*gcm256)
	return same
}

func (g *gcm256) seal(run []Job) {
	var m gcmMsg
	for i := range run {
		j := &run[i]
		k := j.Key.impl.(*gcm256).key
		text, tag := j.parts()
		m.start(j, len(text))
		hashAAD256(k, &m, j.AAD)
		for ; len(text) > callBytes; text = text[callBytes:] {
			gcmBodySeal256(k, &m, &text[0], callBytes)
		}
		end := m.borrow(text)
		gcmLastSeal256(k, &m, unsafe.SliceData(text), len(text))
		copy(end, m.last[:])
		*tag = m.hash
		j.OK = true
	}
	m = gcmMsg{}
}

func (g *gcm256) open(run []Job) {
	var m gcmMsg
	for i := range run {
		j := &run[i]
		k := j.Key.impl.(*gcm256).key
		whole, tag := j.parts()
		text := whole
		m.start(j, len(text))
		hashAAD256(k, &m, j.AAD)
		for ; len(text) > callBytes; text = text[callBytes:] {
			gcmBodyOpen256(k, &m, &text[0], callBytes)
		}
		end := m.borrow(text)
		gcmLastOpen256(k, &m, unsafe.SliceData(text), len(text))
		j.OK = sameTag(tag, &m.hash)
		if j.OK {
			copy(end, m.last[:])
		} else {
			clear(whole)
		}
	}
	m = gcmMsg{}
}

// borrow copies the end of text that does not fill a register into m.last and
// returns where it came from.
func (m *gcmMsg) borrow(text []byte) []byte {
	end := text[len(text)&^(len(m.last)-1):]
	if len(end) > 0 {
		m.last = [32]byte{}
		copy(m.last[:], end)
	}
	return end
}

func hashAAD256(k *gcmKey, m *gcmMsg, aad []byte) {
	for len(aad) >= 16 {
		n := min(len(aad), callBytes) &^ 15
		gcmHash256(k, m, &aad[0], n)
		aad = aad[n:]
	}
	if len(aad) > 0 {
		var last [16]byte
		copy(last[:], aad)
		gcmHash256(k, m, &last[0], 16)
	}
}
