package aead

import (
	"crypto/aes"
	"crypto/cipher"

	"golang.org/x/crypto/chacha20poly1305"
)

// generic is the fallback: the standard library's AES-GCM and x/crypto's
// ChaCha20-Poly1305, one packet after the other.
type generic struct{ aead cipher.AEAD }

func newGeneric(suite Suite, key []byte) *generic {
	if suite == ChaCha20Poly1305 {
		a, err := chacha20poly1305.New(key)
		if err != nil {
			panic("aead: " + err.Error()) // the length was checked by New
		}
		return &generic{a}
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		panic("aead: " + err.Error()) // the length was checked by New
	}
	a, err := cipher.NewGCM(b)
	if err != nil {
		panic("aead: " + err.Error()) // AES has 16-byte blocks
	}
	return &generic{a}
}

// alone returns what treats single packets: implementations that have it are
// not put behind std.
func (g *generic) alone() cipher.AEAD { return g.aead }

func (g *generic) joins(keyImpl) bool { return false }

func (g *generic) wipe() { g.aead = nil }

func (g *generic) seal(run []Job) {
	for i := range run {
		j := &run[i]
		text := j.Buf[:len(j.Buf)-TagSize]
		g.aead.Seal(text[:0], j.Nonce[:], text, j.AAD)
		j.OK = true
	}
}

func (g *generic) open(run []Job) {
	for i := range run {
		j := &run[i]
		_, err := g.aead.Open(j.Buf[:0], j.Nonce[:], j.Buf, j.AAD)
		j.OK = err == nil
		if err != nil {
			clear(j.Buf[:len(j.Buf)-TagSize])
		}
	}
}
