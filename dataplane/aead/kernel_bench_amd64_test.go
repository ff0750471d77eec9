//go:build !purego

package aead

import (
	"testing"

	"dssn/internal/need"
)

// BenchmarkKernel measures the kernels alone, for the cycle account.
func BenchmarkKernel(b *testing.B) {
	need.CPU(b, "AVX-512 and IFMA", available() == pathAVX512)
	buf := make([]byte, 16384)
	st := new(polyState)
	st.start(buf[:32])
	b.Run("polyBlocks/5", func(b *testing.B) {
		for b.Loop() {
			polyBlocks(st, &buf[0], 5)
		}
	})
	for _, n := range []struct {
		name   string
		blocks int
	}{{"16", 16}, {"35", 35}, {"88", 88}, {"556", 556}} {
		b.Run("polyBlocks512/"+n.name, func(b *testing.B) {
			for b.Loop() {
				polyBlocks512(st, &buf[0], n.blocks)
			}
		})
		b.Run("polyBlocks/"+n.name, func(b *testing.B) {
			for b.Loop() {
				polyBlocks(st, &buf[0], n.blocks)
			}
		})
	}
	var lanes [passLanes]lane
	for i := range lanes {
		lanes[i].key = (*[32]byte)(buf)
	}
	b.Run("keystream512", func(b *testing.B) {
		for b.Loop() {
			keystream512(&buf[0], &lanes[0])
		}
	})
	b.Run("xor512", func(b *testing.B) {
		for b.Loop() {
			xor512(&buf[0], &buf[2000], 1420)
		}
	})
}

// BenchmarkKeystream256 shows what hashing costs beside making keystream.
func BenchmarkKeystream256(b *testing.B) {
	need.CPU(b, "AVX2 and VAES", available() >= pathAVX2)
	buf := make([]byte, 4096)
	st := new(polyState)
	st.start(buf[:32])
	var lanes [passLanes256]lane
	for i := range lanes {
		lanes[i].key = (*[32]byte)(buf)
	}
	for fours := range 11 {
		b.Run(string(rune('0'+fours/10))+string(rune('0'+fours%10)), func(b *testing.B) {
			for b.Loop() {
				keystream256(&buf[0], &lanes[0], st, &buf[1024], fours)
			}
		})
	}
}
