//go:build !purego

package aead

// cpuid executes CPUID with the given leaf in EAX and sub-leaf in ECX.
//
//go:noescape
func cpuid(leaf, sub uint32) (a, b, c, d uint32)

// xgetbv reads extended control register 0: what state the operating system
// saves and restores.
//
//go:noescape
func xgetbv() (a, d uint32)

// available asks the CPU for its instructions and the operating system for its
// willingness to keep the registers they use. A path needs all of its
// instructions: a machine with AVX-512 and without IFMA takes AVX2.
// Intel SDM volume 2A, CPUID, and volume 1, 13.3.
func available() path {
	const (
		osxsave = 1 << 27 // leaf 1, ECX
		avx     = 1 << 28
		ssse3   = 1 << 9
		aes     = 1 << 25
		clmul   = 1 << 1

		avx2     = 1 << 5 // leaf 7, EBX
		bmi1     = 1 << 3
		bmi2     = 1 << 8
		avx512   = 1<<16 | 1<<17 | 1<<30 | 1<<31 // F, DQ, BW, VL
		ifma     = 1 << 21
		vaes     = 1 << 9 // leaf 7, ECX
		vpclmul  = 1 << 10
		ymmState = 1<<1 | 1<<2
		zmmState = ymmState | 1<<5 | 1<<6 | 1<<7
	)
	has := func(word, bits uint32) bool { return word&bits == bits }

	top, _, _, _ := cpuid(0, 0)
	if top < 7 {
		return pathGeneric
	}
	_, _, c1, _ := cpuid(1, 0)
	if !has(c1, osxsave|avx|ssse3|aes|clmul) {
		return pathGeneric
	}
	state, _ := xgetbv()
	_, b7, c7, _ := cpuid(7, 0)
	if !has(state, ymmState) || !has(b7, avx2|bmi1|bmi2) || !has(c7, vaes|vpclmul) {
		return pathGeneric
	}
	if !has(state, zmmState) || !has(b7, avx512|ifma) {
		return pathAVX2
	}
	return pathAVX512
}

func newImpl(p path, suite Suite, key []byte) keyImpl {
	switch {
	case p == pathGeneric:
		return newGeneric(suite, key)
	case suite == ChaCha20Poly1305 && p == pathAVX512:
		return newChaCha512(key)
	case suite == ChaCha20Poly1305:
		return newChaCha256(key)
	case p == pathAVX512:
		return newGCM512(key)
	default:
		return newGCM256(key)
	}
}
