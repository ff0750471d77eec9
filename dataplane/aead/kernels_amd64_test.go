//go:build !purego

package aead

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"testing"

	"dssn/internal/need"
)

// These tests reach values that no key or nonce leads to in reasonable time.

// slowPoly is Poly1305 by the book on whole blocks, with the sum so far.
func slowPoly(h, r, s *big.Int, blocks []byte) [16]byte {
	prime := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 130), big.NewInt(5))
	h = new(big.Int).Set(h)
	for ; len(blocks) > 0; blocks = blocks[16:] {
		h.Add(h, little(blocks[:16])).Add(h, new(big.Int).Lsh(big.NewInt(1), 128))
		h.Mul(h, r).Mod(h, prime)
	}
	h.Mod(h, prime).Add(h, s).Mod(h, new(big.Int).Lsh(big.NewInt(1), 128))
	var out [16]byte
	h.FillBytes(out[:])
	reverse(out[:])
	return out
}

func TestPoly1305OfSpecialValuesEqualsBigIntegers(t *testing.T) {
	full := []uint64{0, 1, 2, 4, 1<<64 - 1, 1<<64 - 5, 1<<63 - 1, 1 << 63, 0xfffffffffffffffb}
	rs := [][2]uint64{
		{0, 0}, {1, 0}, {2, 0}, {4, 0}, {0, 4},
		{0x0ffffffc0fffffff, 0x0ffffffc0ffffffc}, // all that clamping leaves
		{0x0ffffffc0fffffff, 0}, {0, 0x0ffffffc0ffffffc},
		{0x0000000400000000, 0x0000000400000000},
		{0x00000ffc0fffffff, 0x0f00000000000004},
		{1 << 44 & 0x0ffffffc0fffffff, 1 << 24 & 0x0ffffffc0ffffffc}, // limb borders
		{1<<44 - 1&0x0ffffffc0fffffff, 0x0ffffffc0f000000},
	}
	hs := [][3]uint64{
		{0, 0, 0},
		{1<<64 - 1, 1<<64 - 1, 3}, {1<<64 - 5, 1<<64 - 1, 3}, {1<<64 - 6, 1<<64 - 1, 3}, // around 2^130-5
		{0, 0, 4}, {1<<64 - 1, 1<<64 - 1, 4}, {1<<64 - 5, 1<<64 - 1, 0}, {0, 1 << 63, 2},
	}
	fills := []byte{0x00, 0xff, 0x80, 0x01, 0xfb}
	lengths := []int{0, 1, 2, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 100}
	rnd := rand.New(rand.NewPCG(4, 4))
	for _, r := range rs {
		for _, h := range hs {
			for _, fill := range fills {
				for _, n := range lengths {
					st := polyState{h: h, r: r, s: [2]uint64{full[rnd.IntN(len(full))], full[rnd.IntN(len(full))]}}
					data := bytes.Repeat([]byte{fill}, 16*n)
					if n > 2 && fill == 0xfb {
						copy(data[16*rnd.IntN(n):], random(rnd, 16))
					}
					want := slowPoly(words(h[:]), words(r[:]), words(st.s[:]), data)
					checkPoly(t, "polyBlocks", polyBlocks, st, data, want)
					if available() == pathAVX512 && n >= 4 {
						checkPoly(t, "polyBlocks512", polyBlocks512, st, data, want)
					}
				}
			}
		}
	}
}

func checkPoly(t *testing.T, name string, kernel func(*polyState, *byte, int), st polyState, data []byte, want [16]byte) {
	t.Helper()
	start := st
	var p *byte
	if len(data) > 0 {
		p = &data[0]
	}
	kernel(&st, p, len(data)/16)
	if st.h[2] > 4 {
		t.Fatalf("%s: h %x, r %x, %d blocks of %x: the sum %x is not below 5·2^128", name, start.h, start.r, len(data)/16, data[:min(1, len(data))], st.h)
	}
	var got [16]byte
	st.sum(&got)
	if got != want {
		t.Fatalf("%s: h %x, r %x, s %x, %d blocks of %x: got %x, want %x", name, start.h, start.r, start.s, len(data)/16, data[:min(1, len(data))], got, want)
	}
}

// words joins words of 64 bits, the lowest first.
func words(w []uint64) *big.Int {
	v := new(big.Int)
	for i := len(w) - 1; i >= 0; i-- {
		v.Lsh(v, 64).Or(v, new(big.Int).SetUint64(w[i]))
	}
	return v
}

// RFC 8439 appendix A.3, test vectors 7 to 11: sums at the edge of 2^130-5.
func TestPoly1305VectorsOfRFC8439(t *testing.T) {
	for _, v := range []struct{ r, s, data, tag string }{
		{"02000000000000000000000000000000", "00000000000000000000000000000000", "ffffffffffffffffffffffffffffffff", "03000000000000000000000000000000"},
		{"02000000000000000000000000000000", "ffffffffffffffffffffffffffffffff", "02000000000000000000000000000000", "03000000000000000000000000000000"},
		{"01000000000000000000000000000000", "00000000000000000000000000000000", "fffffffffffffffffffffffffffffffff0ffffffffffffffffffffffffffffff11000000000000000000000000000000", "05000000000000000000000000000000"},
		{"01000000000000000000000000000000", "00000000000000000000000000000000", "fffffffffffffffffffffffffffffffffbfefefefefefefefefefefefefefefe01010101010101010101010101010101", "00000000000000000000000000000000"},
		{"02000000000000000000000000000000", "00000000000000000000000000000000", "fdffffffffffffffffffffffffffffff", "faffffffffffffffffffffffffffffff"},
	} {
		var st polyState
		st.start(append(unhex(t, v.r), unhex(t, v.s)...))
		data := unhex(t, v.data)
		checkPoly(t, "polyBlocks", polyBlocks, st, data, [16]byte(unhex(t, v.tag)))
	}
}

// TestGCMCounterWraps starts just below 2^32: the counter wraps within its 32
// bits and leaves the nonce alone (SP 800-38D section 6.2, inc32).
func TestGCMCounterWraps(t *testing.T) {
	type body func(*gcmKey, *gcmMsg, *byte, int)
	kernels := map[path][4]body{
		pathAVX2:   {gcmBodySeal256, gcmLastSeal256, gcmBodyOpen256, gcmLastOpen256},
		pathAVX512: {gcmBodySeal512, gcmLastSeal512, gcmBodyOpen512, gcmLastOpen512},
	}
	r := rand.New(rand.NewPCG(5, 5))
	key := random(r, 32)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	for p := pathAVX2; p <= available(); p++ {
		k := newGCMKey(key)
		for i, f := range kernels[p] {
			for below := range uint32(40) {
				nonce := [12]byte(random(r, 12))
				text := random(r, 1024)
				want := bytes.Clone(text)
				counter := -below
				for at := 0; at < len(want); at += 16 {
					var b [16]byte
					copy(b[:], nonce[:])
					binary.BigEndian.PutUint32(b[12:], counter)
					counter++
					block.Encrypt(b[:], b[:])
					for j := range b {
						want[at+j] ^= b[j]
					}
				}
				m := gcmMsg{nonce: nonce, counter: -below}
				f(k, &m, &text[0], len(text))
				if !bytes.Equal(text, want) {
					t.Fatalf("%v, kernel %d, counter from %#x: differs at byte %d", p, i, -below, differAt(want, text))
				}
				if i%2 == 0 && (m.nonce != nonce || m.counter != counter) {
					t.Fatalf("%v, kernel %d: left nonce %x counter %#x, want %x %#x", p, i, m.nonce, m.counter, nonce, counter)
				}
			}
		}
	}
}

// slowChaCha is the block function of RFC 8439 section 2.3.
func slowChaCha(key *[32]byte, counter uint32, nonce [3]uint32) (out [64]byte) {
	s := [16]uint32{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, 12: counter, 13: nonce[0], 14: nonce[1], 15: nonce[2]}
	for i := range 8 {
		s[4+i] = binary.LittleEndian.Uint32(key[4*i:])
	}
	x := s
	quarter := func(a, b, c, d int) {
		x[a] += x[b]
		x[d] = bits.RotateLeft32(x[d]^x[a], 16)
		x[c] += x[d]
		x[b] = bits.RotateLeft32(x[b]^x[c], 12)
		x[a] += x[b]
		x[d] = bits.RotateLeft32(x[d]^x[a], 8)
		x[c] += x[d]
		x[b] = bits.RotateLeft32(x[b]^x[c], 7)
	}
	for range 10 {
		for i := range 4 {
			quarter(i, 4+i, 8+i, 12+i)
		}
		for i := range 4 {
			quarter(i, 4+(i+1)%4, 8+(i+2)%4, 12+(i+3)%4)
		}
	}
	for i := range x {
		binary.LittleEndian.PutUint32(out[4*i:], x[i]+s[i])
	}
	return out
}

// TestChaChaLanesAreIndependent gives every lane its own key, nonce and
// counter, some of which wrap.
func TestChaChaLanesAreIndependent(t *testing.T) {
	need.CPU(t, "AVX-512 and IFMA", available() == pathAVX512)
	r := rand.New(rand.NewPCG(6, 6))
	for range 200 {
		var lanes [passLanes]lane
		var stream, want [passLanes * laneBytes]byte
		for i := range lanes {
			key := [32]byte(random(r, 32))
			counter := r.Uint32()
			if r.IntN(3) == 0 {
				counter = -r.Uint32N(5)
			}
			n := [3]uint32{r.Uint32(), r.Uint32(), r.Uint32()}
			lanes[i] = lane{key: &key, start: [2]uint64{uint64(counter) | uint64(n[0])<<32, uint64(n[1]) | uint64(n[2])<<32}}
			for b := range uint32(4) {
				block := slowChaCha(&key, counter+b, n)
				copy(want[i*laneBytes+64*int(b):], block[:])
			}
		}
		keystream512(&stream[0], &lanes[0])
		if stream != want {
			t.Fatalf("differs at byte %d", differAt(want[:], stream[:]))
		}
	}
}

func TestWipeClearsWhatTheKernelsHold(t *testing.T) {
	for p := pathAVX2; p <= available(); p++ {
		for _, s := range suites {
			k := mustKey(t, p, s, random(rand.New(rand.NewPCG(20, 20)), s.KeySize()))
			switch impl := k.impl.(type) {
			case *gcm512:
				k.Wipe()
				if *impl.key != (gcmKey{}) {
					t.Errorf("%v on %v: the key is still in memory", s, p)
				}
			case *gcm256:
				k.Wipe()
				if *impl.key != (gcmKey{}) {
					t.Errorf("%v on %v: the key is still in memory", s, p)
				}
			case *chacha512:
				k.Wipe()
				if impl.key != ([32]byte{}) {
					t.Errorf("%v on %v: the key is still in memory", s, p)
				}
			case *chacha256:
				k.Wipe()
				if impl.key != ([32]byte{}) {
					t.Errorf("%v on %v: the key is still in memory", s, p)
				}
			}
		}
	}
}
