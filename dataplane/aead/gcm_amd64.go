//go:build !purego

package aead

import (
	"encoding/binary"
	"unsafe"
)

// gcmKey is what the AES-GCM kernels need of a key. The kernels know its
// layout: the offsets are in internal/asm/gcm.go.
type gcmKey struct {
	// rounds keys: slot 0 whitens, slots 1–4 are the rounds that only longer
	// keys have (3 and 4 for AES-192, all for AES-256), slots 5–14 the ten
	// rounds that every key has.
	schedule [15][16]byte
	rounds   uint64 // 10, 12 or 14
	_        uint64
	// powers of the hash key, highest first: H^33, …, H^1, each times x and
	// byte-reflected (DESIGN.md, "GHASH"). The last three are read and
	// multiplied by zero.
	powers [36][16]byte
}

// gcmMsg is the state of one message between the kernels' calls.
type gcmMsg struct {
	nonce   [NonceSize]byte
	counter uint32 // of the next block of text; the first is 2
	hash    [16]byte
	bits    [2]uint64 // of text, of associated data
	last    [32]byte  // the last piece of text (AVX2 only)
	mask    [16]byte  // of the tag (AVX2 only)
}

// The kernels assume these sizes.
var (
	_ [832]byte = [unsafe.Sizeof(gcmKey{})]byte{}
	_ [96]byte  = [unsafe.Sizeof(gcmMsg{})]byte{}
)

// callBytes bounds the text of one call to a kernel, because a goroutine cannot
// be preempted inside one: about 4 µs of AES-GCM, 15 µs of ChaCha20-Poly1305.
// It is a multiple of every kernel's chunk.
const callBytes = 64 << 10

//go:noescape
func aesSubWord(w uint32) uint32

//go:noescape
func gcmInit(k *gcmKey)

// newGCMKey expands key (16, 24 or 32 bytes) as FIPS 197 section 5.2 says and
// computes the powers of its hash key. No step depends on the key's value in
// time or address.
func newGCMKey(key []byte) *gcmKey {
	nk := len(key) / 4
	rounds := nk + 6
	var w [60]uint32
	for i := range nk {
		w[i] = binary.LittleEndian.Uint32(key[4*i:])
	}
	rcon := uint32(1)
	for i := nk; i < 4*(rounds+1); i++ {
		t := w[i-1]
		switch {
		case i%nk == 0:
			t = aesSubWord(t>>8|t<<24) ^ rcon
			rcon = rcon<<1 ^ rcon>>7*0x11b
		case nk == 8 && i%nk == 4:
			t = aesSubWord(t)
		}
		w[i] = w[i-nk] ^ t
	}
	k := &gcmKey{rounds: uint64(rounds)}
	for r := 0; r <= rounds; r++ {
		slot := r
		if r > 0 {
			slot = r + 14 - rounds
		}
		for c := range 4 {
			binary.LittleEndian.PutUint32(k.schedule[slot][4*c:], w[4*r+c])
		}
	}
	clear(w[:])
	gcmInit(k)
	return k
}

// sameTag compares in constant time.
func sameTag(a, b *[TagSize]byte) bool {
	x := binary.LittleEndian.Uint64(a[:8]) ^ binary.LittleEndian.Uint64(b[:8])
	y := binary.LittleEndian.Uint64(a[8:]) ^ binary.LittleEndian.Uint64(b[8:])
	return x|y == 0
}
