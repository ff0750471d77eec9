package aead

import (
	"bytes"
	"crypto/cipher"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// The behaviour that cipher.AEAD promises, checked on every path and suite:
// what Go's own suite for AEADs asks of its implementations.

func onEveryAEAD(t *testing.T, f func(t *testing.T, a cipher.AEAD)) {
	onEveryPath(t, func(t *testing.T, p path, s Suite) {
		key := random(rand.New(rand.NewPCG(7, 7)), s.KeySize())
		a, err := newStd(p, s, key)
		if err != nil {
			t.Fatal(err)
		}
		f(t, a)
	})
}

var stdLengths = []int{0, 1, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 192, 193, 255, 257, 300, 511, 512, 513, 1024, 1420, 1472, 1473, 4097}

func TestAEADSizes(t *testing.T) {
	onEveryAEAD(t, func(t *testing.T, a cipher.AEAD) {
		if a.NonceSize() != 12 || a.Overhead() != 16 {
			t.Errorf("nonce %d, overhead %d; want 12, 16", a.NonceSize(), a.Overhead())
		}
	})
}

func TestAEADRoundTripTouchesNothingElse(t *testing.T) {
	onEveryAEAD(t, func(t *testing.T, a cipher.AEAD) {
		r := rand.New(rand.NewPCG(8, 8))
		for _, n := range stdLengths {
			for _, m := range []int{0, 1, 16, 20, 100} {
				nonce, text, aad := random(r, 12), random(r, n), random(r, m)
				nonce0, text0, aad0 := bytes.Clone(nonce), bytes.Clone(text), bytes.Clone(aad)
				sealed := a.Seal(nil, nonce, text, aad)
				if len(sealed) != n+16 {
					t.Fatalf("%d bytes sealed to %d", n, len(sealed))
				}
				sealed0 := bytes.Clone(sealed)
				back, err := a.Open(nil, nonce, sealed, aad)
				if err != nil || !bytes.Equal(back, text) {
					t.Fatalf("%d bytes, %d of AAD: %v, equal %v", n, m, err, bytes.Equal(back, text))
				}
				for _, c := range [][2][]byte{{nonce, nonce0}, {text, text0}, {aad, aad0}, {sealed, sealed0}} {
					if !bytes.Equal(c[0], c[1]) {
						t.Fatalf("%d bytes: an input was changed", n)
					}
				}
			}
		}
	})
}

func TestAEADAppendsToDst(t *testing.T) {
	onEveryAEAD(t, func(t *testing.T, a cipher.AEAD) {
		r := rand.New(rand.NewPCG(9, 9))
		for _, n := range stdLengths {
			for _, room := range []int{0, 5, n, n + 15, n + 16, n + 100} {
				nonce, text := random(r, 12), random(r, n)
				plainSeal := a.Seal(nil, nonce, text, nil)

				dst := make([]byte, 7, 7+room)
				copy(dst, "prefix.")
				got := a.Seal(dst, nonce, text, nil)
				if string(got[:7]) != "prefix." || !bytes.Equal(got[7:], plainSeal) {
					t.Fatalf("seal of %d bytes into room for %d: wrong", n, room)
				}
				if room >= n+16 && &got[0] != &dst[0] {
					t.Fatalf("seal of %d bytes into room for %d: allocated", n, room)
				}
				dst = append(make([]byte, 0, 7+room), "prefix."...)
				got, err := a.Open(dst, nonce, plainSeal, nil)
				if err != nil || string(got[:7]) != "prefix." || !bytes.Equal(got[7:], text) {
					t.Fatalf("open of %d bytes into room for %d: wrong (%v)", n, room, err)
				}
			}
		}
	})
}

func TestAEADLeavesCapacityBeyondTheResult(t *testing.T) {
	onEveryAEAD(t, func(t *testing.T, a cipher.AEAD) {
		r := rand.New(rand.NewPCG(10, 10))
		for _, n := range stdLengths {
			nonce, text := random(r, 12), random(r, n)
			back := bytes.Repeat([]byte{0xa5}, n+16+64)
			sealed := bytes.Clone(a.Seal(back[:0], nonce, text, nil))
			if !bytes.Equal(back[n+16:], bytes.Repeat([]byte{0xa5}, 64)) {
				t.Fatalf("seal of %d bytes wrote past its end", n)
			}
			back = bytes.Repeat([]byte{0xa5}, n+16+64)
			if _, err := a.Open(back[:0], nonce, sealed, nil); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(back[n+16:], bytes.Repeat([]byte{0xa5}, 64)) {
				t.Fatalf("open of %d bytes wrote past its end", n)
			}
		}
	})
}

func TestAEADWorksInPlace(t *testing.T) {
	onEveryAEAD(t, func(t *testing.T, a cipher.AEAD) {
		r := rand.New(rand.NewPCG(11, 11))
		for _, n := range stdLengths {
			nonce, text, aad := random(r, 12), random(r, n), random(r, 13)
			want := a.Seal(nil, nonce, text, aad)
			buf := append(bytes.Clone(text), make([]byte, 16)...)
			got := a.Seal(buf[:0], nonce, buf[:n], aad)
			if !bytes.Equal(got, want) {
				t.Fatalf("in-place seal of %d bytes: wrong", n)
			}
			back, err := a.Open(got[:0], nonce, got, aad)
			if err != nil || !bytes.Equal(back, text) {
				t.Fatalf("in-place open of %d bytes: wrong (%v)", n, err)
			}
		}
	})
}

func TestAEADPanicsOnForbiddenOverlap(t *testing.T) {
	onEveryAEAD(t, func(t *testing.T, a cipher.AEAD) {
		nonce := make([]byte, 12)
		for _, n := range []int{64, 100, 600} {
			buf := make([]byte, 3*n+200)
			for _, shift := range []int{1, 15, 16, n - 1} {
				mustPanic(t, "overlap", func() { a.Seal(buf[:0], nonce, buf[shift:shift+n], nil) })
				mustPanic(t, "overlap", func() { a.Seal(buf[shift:shift], nonce, buf[:n], nil) })
				mustPanic(t, "overlap", func() { a.Open(buf[shift:shift], nonce, buf[:n+16], nil) })
				mustPanic(t, "overlap", func() { a.Open(buf[:0], nonce, buf[shift:shift+n+16], nil) })
				// Apart, and just apart, is allowed.
				if got := a.Seal(buf[:0], nonce, buf[n+16:2*n+16], nil); len(got) != n+16 {
					t.Errorf("sealed to %d bytes", len(got))
				}
			}
			mustPanic(t, "overlap", func() { a.Seal(buf[:0], nonce, make([]byte, n), buf[n:n+8]) })
			mustPanic(t, "overlap", func() { a.Open(buf[:0], nonce, make([]byte, n+16), buf[:8]) })
		}
	})
}

func mustPanic(t *testing.T, about string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := recover(); got == nil || !strings.Contains(fmt.Sprint(got), about) {
			t.Errorf("panicked with %v, want one about %q", got, about)
		}
	}()
	f()
}

func TestAEADPanicsOnWrongNonceLength(t *testing.T) {
	onEveryAEAD(t, func(t *testing.T, a cipher.AEAD) {
		for _, n := range []int{0, 1, 8, 11, 13, 16, 24} {
			mustPanic(t, "nonce", func() { a.Seal(nil, make([]byte, n), make([]byte, 5), nil) })
			mustPanic(t, "nonce", func() { _, _ = a.Open(nil, make([]byte, n), make([]byte, 21), nil) })
		}
	})
}

func TestAEADRefusesWhatWasChanged(t *testing.T) {
	onEveryAEAD(t, func(t *testing.T, a cipher.AEAD) {
		r := rand.New(rand.NewPCG(12, 12))
		for _, n := range stdLengths {
			nonce, text, aad := random(r, 12), random(r, n), random(r, 21)
			sealed := a.Seal(nil, nonce, text, aad)
			flip := func(b []byte) []byte {
				b = bytes.Clone(b)
				b[r.IntN(len(b))] ^= 1 << r.IntN(8)
				return b
			}
			for range 20 {
				refuse(t, a, n, "a changed ciphertext", nonce, flip(sealed), aad)
				refuse(t, a, n, "changed associated data", nonce, sealed, flip(aad))
				refuse(t, a, n, "a changed nonce", flip(nonce), sealed, aad)
			}
			refuse(t, a, n, "shorter associated data", nonce, sealed, aad[:20])
			refuse(t, a, n, "longer associated data", nonce, sealed, append(bytes.Clone(aad), 0))
			refuse(t, a, n, "no associated data", nonce, sealed, nil)
			refuse(t, a, n, "a longer ciphertext", nonce, append(bytes.Clone(sealed), 0), aad)
			for cut := range min(len(sealed), 40) {
				refuse(t, a, n, "a shorter ciphertext", nonce, sealed[:len(sealed)-1-cut], aad)
			}
		}
	})
}

func refuse(t *testing.T, a cipher.AEAD, n int, what string, nonce, sealed, aad []byte) {
	t.Helper()
	buf := bytes.Repeat([]byte{0x5a}, len(sealed))
	got, err := a.Open(buf[:0], nonce, sealed, aad)
	if err == nil || got != nil {
		t.Fatalf("%d bytes: accepted %s", n, what)
	}
	if len(sealed) > 16 && !bytes.Equal(buf[:len(sealed)-16], make([]byte, len(sealed)-16)) &&
		!bytes.Equal(buf, bytes.Repeat([]byte{0x5a}, len(sealed))) {
		t.Fatalf("%d bytes: refusing %s left something in dst", n, what)
	}
}

func TestAEADDoesNotAllocate(t *testing.T) {
	onEveryAEAD(t, func(t *testing.T, a cipher.AEAD) {
		if _, ours := a.(*std); !ours { // x/crypto's portable code allocates
			return
		}
		nonce, aad := make([]byte, 12), make([]byte, 20)
		buf := make([]byte, 1420, 1436)
		allocs := testing.AllocsPerRun(100, func() {
			sealed := a.Seal(buf[:0], nonce, buf, aad)
			if _, err := a.Open(sealed[:0], nonce, sealed, aad); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%v allocations", allocs)
		}
	})
}
