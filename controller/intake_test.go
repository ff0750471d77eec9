package controller

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"testing"
)

func someSignatures(n int) []signature {
	list := make([]signature, n)
	for i := range list {
		key := ed25519.NewKeyFromSeed(fmt.Appendf(make([]byte, 0, 32), "%032d", i))
		m := fmt.Appendf(nil, "report %d of a node with a few hundred bytes: %0256d", i, i)
		list[i] = signature{key.Public().(ed25519.PublicKey), m, ed25519.Sign(key, m)}
	}
	return list
}

// The slow twin is crypto/ed25519, one by one.
func TestSignaturesCheckedTogetherAreThoseGoodAlone(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	all := someSignatures(150)
	for _, n := range []int{0, 1, 3, 4, 9, 64, 150} {
		for bad := range 4 {
			list := append([]signature(nil), all[:n]...)
			for range min(bad, n) {
				i := random.IntN(n)
				s := &list[i]
				switch random.IntN(5) {
				case 0:
					s.sig = append([]byte(nil), s.sig...)
					if len(s.sig) > 0 {
						s.sig[random.IntN(len(s.sig))] ^= 1 << random.IntN(8)
					}
				case 1:
					s.message = append([]byte("x"), s.message...)
				case 2:
					s.key = all[(i+1)%len(all)].key
				case 3:
					s.sig = s.sig[:random.IntN(64)]
				case 4:
					s.key = nil // a node that is no longer known
				}
			}
			for i, got := range verifyAll(list) {
				s := list[i]
				if want := len(s.key) == ed25519.PublicKeySize && ed25519.Verify(s.key, s.message, s.sig); got != want {
					t.Errorf("signature %d of %d with %d bad ones: together %v, alone %v", i, n, bad, got, want)
				}
			}
		}
	}
}

func BenchmarkVerifyReports(b *testing.B) {
	list := someSignatures(maxReports)
	per := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(list)), "ns/report")
	}
	b.Run("together", func(b *testing.B) {
		for b.Loop() {
			verifyAll(list)
		}
		per(b)
	})
	b.Run("together-one-bad", func(b *testing.B) {
		list := append([]signature(nil), list...)
		list[77].message = []byte("another")
		for b.Loop() {
			verifyAll(list)
		}
		per(b)
	})
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			for _, s := range list {
				ed25519.Verify(s.key, s.message, s.sig)
			}
		}
		per(b)
	})
}
