//go:build !purego

package aead

import (
	"fmt"
	"testing"
)

// BenchmarkSingle measures one packet at a time: nothing to batch.
func BenchmarkSingle(b *testing.B) {
	for _, s := range []Suite{AES256GCM, ChaCha20Poly1305} {
		for _, n := range []int{0, 16, 64, 128, 192, 256, 320, 448, 570, 1024, 1420} {
			for p := pathGeneric; p <= available(); p++ {
				b.Run(fmt.Sprintf("%v/%d/%v", s, n, p), func(b *testing.B) {
					jobs := []Job{{Key: mustKey(b, p, s, make([]byte, 32)), Buf: make([]byte, n+TagSize)}}
					for b.Loop() {
						Seal(jobs)
					}
				})
			}
		}
	}
}
