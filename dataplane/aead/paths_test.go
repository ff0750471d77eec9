package aead

import (
	"bytes"
	"crypto/cipher"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// twin is the slow, obvious one: the standard library's and x/crypto's.
func twin(s Suite, key []byte) cipher.AEAD { return newGeneric(s, key).aead }

var suites = []Suite{AES128GCM, aes192GCM, AES256GCM, ChaCha20Poly1305}

// onEveryPath runs f for every suite on every path that this machine has, each
// forced in turn.
func onEveryPath(t *testing.T, f func(t *testing.T, p path, s Suite)) {
	for p := pathGeneric; p <= available(); p++ {
		for _, s := range suites {
			t.Run(fmt.Sprintf("%v/%v", p, s), func(t *testing.T) { f(t, p, s) })
		}
	}
}

func mustKey(t testing.TB, p path, s Suite, key []byte) *Key {
	t.Helper()
	k, err := newOn(p, s, key)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// random fills n bytes from a seeded source.
func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestEveryLengthEqualsTheTwin(t *testing.T) {
	onEveryPath(t, func(t *testing.T, p path, s Suite) {
		r := rand.New(rand.NewPCG(1, uint64(s)))
		key := random(r, s.KeySize())
		k, ref := mustKey(t, p, s, key), twin(s, key)
		text := random(r, 9000)
		aad := random(r, 9000)
		buf := make([]byte, 9000+TagSize)
		want := make([]byte, 0, 9000+TagSize)
		for n := 0; n <= 9000; n++ {
			jobs := []Job{{Key: k, Buf: buf[:n+TagSize], Nonce: [12]byte(random(r, 12))}}
			if n%3 == 0 {
				jobs[0].AAD = aad[:r.IntN(1+r.IntN(300))]
			}
			copy(buf, text[:n])
			want = ref.Seal(want[:0], jobs[0].Nonce[:], text[:n], jobs[0].AAD)
			Seal(jobs)
			if !jobs[0].OK || !bytes.Equal(want, buf[:n+TagSize]) {
				t.Fatalf("seal of %d bytes with %d of AAD: differs from the twin at byte %d", n, len(jobs[0].AAD), differAt(want, buf))
			}
			Open(jobs)
			if !jobs[0].OK || !bytes.Equal(text[:n], buf[:n]) {
				t.Fatalf("open of %d bytes with %d of AAD: OK %v, differs at byte %d", n, len(jobs[0].AAD), jobs[0].OK, differAt(text[:n], buf))
			}
		}
	})
}

func differAt(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

func addr(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
