//go:build !purego

package aead

import "unsafe"

//go:noescape
func gcmHash512(k *gcmKey, m *gcmMsg, p *byte, n int)

//go:noescape
func gcmBodySeal512(k *gcmKey, m *gcmMsg, p *byte, n int)

//go:noescape
func gcmBodyOpen512(k *gcmKey, m *gcmMsg, p *byte, n int)

//go:noescape
func gcmLastSeal512(k *gcmKey, m *gcmMsg, p *byte, n int)

//go:noescape
func gcmLastOpen512(k *gcmKey, m *gcmMsg, p *byte, n int)

// gcm512 is AES-GCM on AVX-512, VAES and VPCLMULQDQ.
type gcm512 struct{ key *gcmKey }

func newGCM512(key []byte) *gcm512 { return &gcm512{newGCMKey(key)} }

func (g *gcm512) wipe() { *g.key = gcmKey{} }

func (g *gcm512) joins(other keyImpl) bool {
	_, same := other.(*gcm512)
	return same
}

func (g *gcm512) seal(run []Job) {
	var m gcmMsg
	for i := range run {
		j := &run[i]
		k := j.Key.impl.(*gcm512).key
		text, tag := j.parts()
		p := unsafe.SliceData(text)
		n := len(text)
		m.start(j, n)
		if len(j.AAD) > 0 {
			hashAAD512(k, &m, j.AAD)
		}
		for ; n > callBytes; n -= callBytes {
			gcmBodySeal512(k, &m, p, callBytes)
			p = (*byte)(unsafe.Add(unsafe.Pointer(p), callBytes))
		}
		gcmLastSeal512(k, &m, p, n)
		*tag = m.hash
		j.OK = true
	}
	m = gcmMsg{}
}

func (g *gcm512) open(run []Job) {
	var m gcmMsg
	for i := range run {
		j := &run[i]
		k := j.Key.impl.(*gcm512).key
		text, tag := j.parts()
		p := unsafe.SliceData(text)
		n := len(text)
		m.start(j, n)
		if len(j.AAD) > 0 {
			hashAAD512(k, &m, j.AAD)
		}
		for ; n > callBytes; n -= callBytes {
			gcmBodyOpen512(k, &m, p, callBytes)
			p = (*byte)(unsafe.Add(unsafe.Pointer(p), callBytes))
		}
		gcmLastOpen512(k, &m, p, n)
		j.OK = sameTag(tag, &m.hash)
		if !j.OK {
			clear(text)
		}
	}
	m = gcmMsg{} // the tag that a forged packet should have had
}

// start makes m ready for a job with n bytes of text.
func (m *gcmMsg) start(j *Job, n int) {
	m.nonce = j.Nonce
	m.counter = 2
	m.hash = [16]byte{}
	m.bits = [2]uint64{8 * uint64(n), 8 * uint64(len(j.AAD))}
}

func hashAAD512(k *gcmKey, m *gcmMsg, aad []byte) {
	for len(aad) > callBytes {
		gcmHash512(k, m, &aad[0], callBytes)
		aad = aad[callBytes:]
	}
	gcmHash512(k, m, &aad[0], len(aad))
}
