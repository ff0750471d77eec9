package aead

import (
	"bytes"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
)

// guarded returns at least size writable bytes between two pages that must not
// be touched: a single byte read or written beyond either end crashes the test.
func guarded(t testing.TB, size int) (region []byte) {
	t.Helper()
	page := os.Getpagesize()
	pages := (size + page - 1) / page
	m, err := syscall.Mmap(-1, 0, (pages+2)*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatalf("map guard pages: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(m); err != nil {
			t.Errorf("unmap guard pages: %v", err)
		}
	})
	for _, edge := range [][]byte{m[:page], m[(pages+1)*page:]} {
		if err := syscall.Mprotect(edge, syscall.PROT_NONE); err != nil {
			t.Fatalf("protect guard page: %v", err)
		}
	}
	return m[page : (pages+1)*page]
}

func TestNoByteOutsideIsTouched(t *testing.T) {
	bufs, aads, keys := guarded(t, 12288), guarded(t, 4096), guarded(t, 4096)
	onEveryPath(t, func(t *testing.T, p path, s Suite) {
		r := rand.New(rand.NewPCG(16, uint64(s)))
		key := keys[len(keys)-s.KeySize():]
		copy(key, random(r, len(key)))
		k, ref := mustKey(t, p, s, key), twin(s, key)
		a, err := newStd(p, s, key)
		if err != nil {
			t.Fatal(err)
		}
		nonces := keys[:12]
		for n := 0; n <= 2100; n++ {
			for _, atEnd := range []bool{false, true} {
				m := r.IntN(70)
				buf, aad := bufs[:n+TagSize], aads[:m]
				if atEnd {
					buf, aad = bufs[len(bufs)-n-TagSize:], aads[len(aads)-m:]
				}
				copy(nonces, random(r, 12))
				text := random(r, n)
				copy(buf, text)
				jobs := []Job{{Key: k, Nonce: [12]byte(nonces), Buf: buf, AAD: aad}}
				want := ref.Seal(nil, nonces, text, aad)
				Seal(jobs)
				if !bytes.Equal(buf, want) {
					t.Fatalf("seal of %d bytes: wrong", n)
				}
				Open(jobs)
				if !jobs[0].OK || !bytes.Equal(buf[:n], text) {
					t.Fatalf("open of %d bytes: wrong", n)
				}
				// Through cipher.AEAD the plaintext's buffer has no room for a tag.
				exact := bufs[:n]
				if atEnd {
					exact = bufs[len(bufs)-n:]
				}
				if got, err := a.Open(exact[:0:n], nonces, want, aad); err != nil || !bytes.Equal(got, text) {
					t.Fatalf("open of %d bytes into exactly its room: wrong (%v)", n, err)
				}
			}
		}
	})
}

// Short packets of one batch share passes; each here has guard pages of its own.
func TestNoByteOutsideIsTouchedInBatches(t *testing.T) {
	regions := [3][]byte{guarded(t, 4096), guarded(t, 4096), guarded(t, 4096)}
	onEveryPath(t, func(t *testing.T, p path, s Suite) {
		r := rand.New(rand.NewPCG(21, uint64(s)))
		key := random(r, s.KeySize())
		k, ref := mustKey(t, p, s, key), twin(s, key)
		for n := 0; n <= 600; n++ {
			var jobs []Job
			var want, plain [][]byte
			for i, region := range regions {
				length := n
				if i > 0 {
					length = r.IntN(260)
				}
				buf := region[:length+TagSize]
				if r.IntN(2) == 0 {
					buf = region[len(region)-length-TagSize:]
				}
				text := random(r, length)
				copy(buf, text)
				j := Job{Key: k, Nonce: [12]byte(random(r, 12)), Buf: buf}
				jobs = append(jobs, j)
				plain = append(plain, text)
				want = append(want, ref.Seal(nil, j.Nonce[:], text, nil))
			}
			checkBatch(t, r, jobs, want, plain)
		}
	})
}
