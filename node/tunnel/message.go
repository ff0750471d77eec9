package tunnel

import (
	"crypto/subtle"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/blake2s"
)

// The handshake messages, little-endian, lengths in bytes:
//
//	initiation (148)           response (92)              cookie reply (64)
//	  0 type 1                   0 type 2                   0 type 3
//	  1 zeros                    1 zeros                    1 zeros
//	  4 sender's index           4 sender's index           4 receiver's index
//	  8 ephemeral key 32         8 receiver's index         8 nonce 24
//	 40 static key 32+16        12 ephemeral key 32        32 cookie 16+16
//	 88 timestamp 12+16         44 nothing 0+16
//	116 mac1 16                 60 mac1 16
//	132 mac2 16                 76 mac2 16
const (
	typeInitiation = 1
	typeResponse   = 2
	typeCookie     = 3

	initiationLen = 148
	responseLen   = 92
	cookieLen     = 64
	macLen        = 16
)

// wellFormed reports whether b has the length that its type wants.
func wellFormed(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	switch binary.LittleEndian.Uint32(b) {
	case typeInitiation:
		return len(b) == initiationLen
	case typeResponse:
		return len(b) == responseLen
	case typeCookie:
		return len(b) == cookieLen
	}
	return false
}

// Gate is the first thing an unauthenticated message meets: it tells those that
// know this node's public key from noise, at the price of one short hash and
// without allocating. A Gate belongs to one goroutine.
type Gate struct {
	mac hash.Hash
	sum [blake2s.Size128]byte
}

// NewGate returns a gate for messages to the holder of public.
func NewGate(public Key) *Gate {
	key := labelled("mac1----", public)
	h, err := blake2s.New128(key[:])
	if err != nil {
		panic("tunnel: " + err.Error()) // the key has a fixed, right length
	}
	return &Gate{mac: h}
}

// Admits reports whether b is a handshake message of the right length, and, if
// its type has one, with the right first MAC. A cookie reply has none: it is
// checked by what it answers.
func (g *Gate) Admits(b []byte) bool {
	if !wellFormed(b) {
		return false
	}
	if len(b) == cookieLen {
		return true
	}
	covered := len(b) - 2*macLen
	return subtle.ConstantTimeCompare(g.compute(b[:covered]), b[covered:covered+macLen]) == 1
}

// compute returns the MAC of b, valid until the next call.
func (g *Gate) compute(b []byte) []byte {
	g.mac.Reset()
	g.mac.Write(b)
	return g.mac.Sum(g.sum[:0])
}

func labelled(label string, public Key) [32]byte {
	return blake2s.Sum256(append([]byte(label), public[:]...))
}

// mac128 is BLAKE2s with a key and 16 bytes of output.
func mac128(key, b []byte) (sum [16]byte) {
	h, err := blake2s.New128(key)
	if err != nil {
		panic("tunnel: " + err.Error()) // keys are 16 or 32 bytes long
	}
	h.Write(b)
	h.Sum(sum[:0])
	return sum
}
