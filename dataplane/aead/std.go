package aead

import (
	"crypto/cipher"
	"errors"
	"fmt"
	"sync"
	"unsafe"
)

// errOpen says no more than that, on purpose.
var errOpen = errors.New("aead: message authentication failed")

// NewAESGCM returns AES-GCM with 12-byte nonces and 16-byte tags as a
// cipher.AEAD. The key has 16, 24 or 32 bytes.
func NewAESGCM(key []byte) (cipher.AEAD, error) {
	suite := AES256GCM
	switch len(key) {
	case 16:
		suite = AES128GCM
	case 24:
		suite = aes192GCM
	}
	return newStd(best, suite, key)
}

// NewChaCha20Poly1305 returns RFC 8439's AEAD as a cipher.AEAD. The key has 32
// bytes.
func NewChaCha20Poly1305(key []byte) (cipher.AEAD, error) {
	return newStd(best, ChaCha20Poly1305, key)
}

func newStd(p path, suite Suite, key []byte) (cipher.AEAD, error) {
	k, err := newOn(p, suite, key)
	if err != nil {
		return nil, err
	}
	if one, ok := k.impl.(interface{ alone() cipher.AEAD }); ok {
		return one.alone(), nil
	}
	return &std{key: k}, nil
}

// std is a Key behind the cipher.AEAD interface. Like the standard library's
// it panics on a nonce of the wrong length and on forbidden overlaps, because
// both are errors of the program and not of its input.
type std struct{ key *Key }

func (s *std) NonceSize() int { return NonceSize }

func (s *std) Overhead() int { return TagSize }

// single is a batch of one with a place for its tag.
type single struct {
	job [1]Job
	tag [TagSize]byte
}

// singles keeps them between calls, so that no call allocates.
var singles = sync.Pool{New: func() any { return new(single) }}

func (s *single) release() {
	*s = single{}
	singles.Put(s)
}

// Seal appends the ciphertext and tag of plaintext to dst. See cipher.AEAD.
func (s *std) Seal(dst, nonce, plaintext, aad []byte) []byte {
	s.check(nonce)
	if uint64(len(plaintext)) > s.key.suite.maxText() {
		panic("aead: message too large")
	}
	ret, out := grow(dst, len(plaintext)+TagSize)
	checkOverlap(out, plaintext, aad)
	copy(out, plaintext)
	one := singles.Get().(*single)
	one.job[0] = Job{Key: s.key, Buf: out, AAD: aad, Nonce: [NonceSize]byte(nonce)}
	Seal(one.job[:])
	one.release()
	return ret
}

// Open appends the plaintext of ciphertext (with its tag) to dst. See
// cipher.AEAD. Where it fails it returns errOpen, and the room in dst where
// the plaintext would have been is zeros.
func (s *std) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	s.check(nonce)
	if len(ciphertext) < TagSize || uint64(len(ciphertext)-TagSize) > s.key.suite.maxText() {
		return nil, errOpen
	}
	n := len(ciphertext) - TagSize
	ret, out := grow(dst, n)
	checkOverlap(out, ciphertext, aad)
	copy(out, ciphertext[:n])
	one := singles.Get().(*single)
	one.tag = [TagSize]byte(ciphertext[n:])
	one.job[0] = Job{Key: s.key, Buf: out, AAD: aad, Nonce: [NonceSize]byte(nonce), apart: &one.tag}
	Open(one.job[:])
	ok := one.job[0].OK
	one.release()
	if !ok {
		return nil, errOpen
	}
	return ret, nil
}

func (s *std) check(nonce []byte) {
	if len(nonce) != NonceSize {
		panic(fmt.Sprintf("aead: nonce of %d bytes, want %d", len(nonce), NonceSize))
	}
	if !s.key.live.Load() {
		panic("aead: use of a wiped key")
	}
}

// maxText is the longest text in bytes: SP 800-38D section 5.2.1.1 and RFC
// 8439 section 2.8.
func (s Suite) maxText() uint64 {
	if s == ChaCha20Poly1305 {
		return 1<<38 - 64
	}
	return 1<<36 - 32
}

// grow appends n bytes to dst, in place if there is room, and returns the
// whole and the new part. The new part's content is undefined.
func grow(dst []byte, n int) (whole, tail []byte) {
	total := len(dst) + n
	if cap(dst) >= total {
		whole = dst[:total]
	} else {
		whole = make([]byte, total)
		copy(whole, dst)
	}
	return whole, whole[len(dst):]
}

// checkOverlap panics unless out and text are either apart or start at the
// same byte, and out and aad are apart.
func checkOverlap(out, text, aad []byte) {
	if overlap(out, text) && &out[0] != &text[0] {
		panic("aead: invalid buffer overlap of output and input")
	}
	if overlap(out, aad) {
		panic("aead: invalid buffer overlap of output and additional data")
	}
}

// overlap reports whether a and b share a byte.
func overlap(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	a0, b0 := uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&b[0]))
	return a0 < b0+uintptr(len(b)) && b0 < a0+uintptr(len(a))
}
