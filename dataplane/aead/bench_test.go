package aead

import (
	"crypto/cipher"
	"fmt"
	"testing"
)

// BenchmarkSeal and BenchmarkOpen measure one path, one length, in batches of
// 64 packets under one key; make bench-aead sets the paths beside their peers.
func BenchmarkSeal(b *testing.B) { benchmark(b, Seal) }

func BenchmarkOpen(b *testing.B) { benchmark(b, Open) }

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
