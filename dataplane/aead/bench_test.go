package aead

import (
	"crypto/cipher"
	"fmt"
	"testing"
)

// BenchmarkSeal and BenchmarkSealOpen measure one path, one length, in batches
// of 64 packets under one key; make bench-aead sets the paths beside their
// peers, and opening apart from sealing.
func BenchmarkSeal(b *testing.B) { benchmark(b, Seal) }

func BenchmarkSealOpen(b *testing.B) {
	benchmark(b, func(jobs []Job) {
		Seal(jobs)
		Open(jobs) // only what was sealed opens
	})
}

func benchmark(b *testing.B, verb func([]Job)) {
	for p := pathGeneric; p <= available(); p++ {
		for _, s := range []Suite{AES256GCM, ChaCha20Poly1305} {
			for _, n := range []int{64, 570, 1420, 8900} {
				b.Run(fmt.Sprintf("%v/%v/%d", s, p, n), func(b *testing.B) {
					k := mustKey(b, p, s, make([]byte, 32))
					jobs := make([]Job, 64)
					for i := range jobs {
						jobs[i] = Job{Key: k, Buf: make([]byte, n+TagSize)}
					}
					b.SetBytes(int64(n * len(jobs)))
					b.ReportAllocs()
					for b.Loop() {
						verb(jobs)
					}
				})
			}
		}
	}
}

var _ cipher.AEAD = (*std)(nil)
