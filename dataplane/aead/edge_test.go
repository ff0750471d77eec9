package aead

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"math/big"
	"math/rand/v2"
	"testing"

	"golang.org/x/crypto/chacha20"
)

// The cases of this file are of Wycheproof's "edge case" classes, but made and
// not copied: they solve for the ciphertext that has a wanted tag.

var edgeTags = []string{
	"00000000000000000000000000000000",
	"ffffffffffffffffffffffffffffffff",
	"00000000000000000000000000000080",
	"ffffffffffffffffffffffffffffff7f",
	"00000080000000800000008000000080",
	"ffffff7fffffff7fffffff7fffffff7f",
	"01000000010000000100000001000000",
	"ffffffff00000000ffffffff00000000",
	"00000000ffffffff00000000ffffffff",
}

// checkForged opens ciphertext c, whose tag was solved for, and seals what came
// out again.
func checkForged(t *testing.T, k *Key, nonce [12]byte, c []byte, tag []byte) {
	t.Helper()
	want := append(bytes.Clone(c), tag...)
	jobs := []Job{{Key: k, Nonce: nonce, Buf: bytes.Clone(want)}}
	Open(jobs)
	if !jobs[0].OK {
		t.Errorf("tag %x: refused", tag)
		return
	}
	Seal(jobs)
	if !bytes.Equal(jobs[0].Buf, want) {
		t.Errorf("tag %x: sealed to %x, want %x", tag, jobs[0].Buf, want)
	}
	jobs[0].Buf[len(c)+9] ^= 4
	Open(jobs)
	if jobs[0].OK {
		t.Errorf("tag %x: also accepted with a bit changed", tag)
	}
}

func TestEdgeTagsOfGCM(t *testing.T) {
	onEveryPath(t, func(t *testing.T, p path, s Suite) {
		if s == ChaCha20Poly1305 {
			return
		}
		r := rand.New(rand.NewPCG(2, uint64(s)))
		key := random(r, s.KeySize())
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		var h, mask [16]byte
		block.Encrypt(h[:], h[:])
		for _, edge := range edgeTags {
			tag := unhex(t, edge)
			nonce := [12]byte(random(r, 12))
			copy(mask[:], nonce[:])
			binary.BigEndian.PutUint32(mask[12:], 1)
			block.Encrypt(mask[:], mask[:])
			// One block c: tag = (c H + lengths) H + mask.
			lengths := [16]byte{15: 128} // bits
			inverse := gfInvert(h)
			c := gfMul(xor16([16]byte(tag), mask), inverse)
			c = gfMul(xor16(c, lengths), inverse)
			checkForged(t, mustKey(t, p, s, key), nonce, c[:], tag)
		}
	})
}

func TestEdgeTagsOfPoly1305(t *testing.T) {
	prime := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 130), big.NewInt(5))
	top := new(big.Int).Lsh(big.NewInt(1), 128)
	onEveryPath(t, func(t *testing.T, p path, s Suite) {
		if s != ChaCha20Poly1305 {
			return
		}
		rnd := rand.New(rand.NewPCG(3, 0))
		key := random(rnd, 32)
		for _, edge := range edgeTags {
			tag := unhex(t, edge)
			solved := 0
			for try := 0; solved < 4; try++ {
				if try == 1000 {
					t.Fatal("no nonce has a solution")
				}
				nonce := [12]byte(random(rnd, 12))
				r, sum := oneTimeKey(t, key, nonce[:])
				inverse := new(big.Int).ModInverse(r, prime)
				// One block c: h = ((c + 2^128) r + lengths + 2^128) r mod p, and the
				// tag is h + s mod 2^128; h has up to four values for one tag.
				for high := range int64(4) {
					h := little(tag)
					h.Sub(h, sum).Mod(h, top)
					h.Add(h, new(big.Int).Mul(big.NewInt(high), top))
					if h.Cmp(prime) >= 0 {
						continue
					}
					c := h.Mul(h, inverse)
					c.Sub(c, new(big.Int).Lsh(big.NewInt(16), 64)).Sub(c, top)
					c.Mul(c, inverse).Sub(c, top).Mod(c, prime)
					if c.BitLen() > 128 {
						continue
					}
					text := make([]byte, 16)
					c.FillBytes(text)
					reverse(text)
					checkForged(t, mustKey(t, p, s, key), nonce, text, tag)
					solved++
				}
			}
		}
	})
}

// oneTimeKey is RFC 8439 section 2.6.
func oneTimeKey(t *testing.T, key, nonce []byte) (r, s *big.Int) {
	c, err := chacha20.NewUnauthenticatedCipher(key, nonce)
	if err != nil {
		t.Fatal(err)
	}
	var b [32]byte
	c.XORKeyStream(b[:], b[:])
	for _, i := range []int{3, 7, 11, 15} {
		b[i] &= 15
	}
	for _, i := range []int{4, 8, 12} {
		b[i] &= 252
	}
	return little(b[:16]), little(b[16:])
}

func little(b []byte) *big.Int {
	b = bytes.Clone(b)
	reverse(b)
	return new(big.Int).SetBytes(b)
}

func reverse(b []byte) {
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
}

// gfMul is SP 800-38D algorithm 1, bit by bit.
func gfMul(x, y [16]byte) (z [16]byte) {
	v := y
	for i := range 128 {
		if x[i/8]>>(7-i%8)&1 == 1 {
			z = xor16(z, v)
		}
		low := v[15] & 1
		for j := 15; j > 0; j-- {
			v[j] = v[j]>>1 | v[j-1]<<7
		}
		v[0] >>= 1
		if low == 1 {
			v[0] ^= 0xe1
		}
	}
	return z
}

// gfInvert raises x to 2^128 - 2.
func gfInvert(x [16]byte) [16]byte {
	out := [16]byte{0x80} // one
	for range 127 {
		x = gfMul(x, x)
		out = gfMul(out, x)
	}
	return out
}

func xor16(a, b [16]byte) [16]byte {
	for i := range a {
		a[i] ^= b[i]
	}
	return a
}
