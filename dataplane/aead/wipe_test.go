package aead

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestNewRefusesWrongKeysAndSuites(t *testing.T) {
	for _, s := range suites {
		for n := range 70 {
			_, err := New(s, make([]byte, n))
			if (err == nil) != (n == s.KeySize()) {
				t.Errorf("%v with %d bytes: %v", s, n, err)
			}
		}
	}
	for _, s := range []Suite{0, 5, 255} {
		if _, err := New(s, make([]byte, 32)); err == nil {
			t.Errorf("%v: no error", s)
		}
	}
	for _, n := range []int{0, 15, 17, 31, 33} {
		if _, err := NewAESGCM(make([]byte, n)); err == nil {
			t.Errorf("NewAESGCM with %d bytes: no error", n)
		}
		if _, err := NewChaCha20Poly1305(make([]byte, n)); err == nil {
			t.Errorf("NewChaCha20Poly1305 with %d bytes: no error", n)
		}
	}
}

func TestKeysAreCopied(t *testing.T) {
	onEveryPath(t, func(t *testing.T, p path, s Suite) {
		key := random(rand.New(rand.NewPCG(17, 17)), s.KeySize())
		want := twin(s, bytes.Clone(key)).Seal(nil, make([]byte, 12), []byte("text"), nil)
		k := mustKey(t, p, s, key)
		clear(key)
		jobs := []Job{{Key: k, Buf: append([]byte("text"), make([]byte, 16)...)}}
		Seal(jobs)
		if !bytes.Equal(jobs[0].Buf, want) {
			t.Error("the key changed with the caller's slice")
		}
	})
}

func TestWipedKeysRefuse(t *testing.T) {
	onEveryPath(t, func(t *testing.T, p path, s Suite) {
		k := mustKey(t, p, s, make([]byte, s.KeySize()))
		k.Wipe()
		k.Wipe() // twice is once
		jobs := []Job{{Key: k, Buf: make([]byte, 99), OK: true}}
		Seal(jobs)
		if jobs[0].OK || !bytes.Equal(jobs[0].Buf, make([]byte, 99)) {
			t.Error("sealed with a wiped key")
		}
		if k.Suite() != s {
			t.Error("a wiped key forgot its suite")
		}
	})
}

func TestDSSNCPULowersAndNeverRaises(t *testing.T) {
	for _, c := range []struct {
		have path
		wish string
		want path
	}{
		{pathAVX512, "", pathAVX512}, {pathAVX512, "avx512", pathAVX512}, {pathAVX512, "avx2", pathAVX2},
		{pathAVX512, "generic", pathGeneric}, {pathAVX2, "avx512", pathAVX2}, {pathAVX2, "avx2", pathAVX2},
		{pathAVX2, "generic", pathGeneric}, {pathGeneric, "avx512", pathGeneric}, {pathAVX512, "sse9", pathAVX512},
	} {
		if got := choose(c.have, c.wish); got != c.want {
			t.Errorf("on %v with DSSN_CPU=%s: %v, want %v", c.have, c.wish, got, c.want)
		}
	}
}
