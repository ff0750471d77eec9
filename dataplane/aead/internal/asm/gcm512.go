package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// AES-GCM with AVX-512, VAES and VPCLMULQDQ: four blocks a register, 512 bytes
// (a chunk) a turn.
//
// Registers:
//
//	Z0–Z7    AES states, one per 64 bytes of the chunk
//	Z8–Z22   round keys, each four times: whitening, four extra, last ten
//	Z24      nonce and counter of the chunk's first block, four times
//	X25      the encrypted first counter block, which masks the tag
//	Z26–Z28  GHASH product: low, middle, high; between chunks X26 is the state
//	Z23, Z29–Z31  scratch
//
//	AX key, BX message, SI text, DX bytes left, R8 rounds, R10 powers for the tail
var (
	gk, gm, gp, gn = reg.RAX, reg.RBX, reg.RSI, reg.RDX
	gRounds, gPow  = reg.R8, reg.R10
)

const (
	chunk    = 512
	zKeys    = 8
	zLast    = 22
	zCounter = 24
	zMask    = 25
	zLo      = 26
	zMi      = 27
	zHi      = 28
)

func gcm512() {
	gcmHash512()
	for _, open := range []bool{false, true} {
		gcmBody512(open)
		gcmLast512(open)
	}
}

func name(stem string, open bool) string {
	if open {
		return stem + "Open512"
	}
	return stem + "Seal512"
}

// gcmBody512 treats whole chunks and keeps the state for the next call: it is
// how long texts are cut into calls of bounded time.
func gcmBody512(open bool) {
	TEXT(name("gcmBody", open), NOSPLIT, "func(k, m, p *byte, n int)")
	Doc(name("gcmBody", open) + " crypts and hashes p[:n] in place; n is a multiple of 512 and not 0.")
	load512()
	Label("loop")
	if open {
		weave(aes512(8, nil), hashChunk512(0))
	} else {
		run(aes512(8, nil))
		run(hashChunk512(0))
	}
	VPADDD(chunkCtr, z(zCounter), z(zCounter))
	ADDQ(U32(chunk), gp)
	SUBQ(U32(chunk), gn)
	JNZ(LabelRef("loop"))
	VMOVDQU64(x(zCounter), at(gm, msgCounter))
	VPSHUFB(byteSwap, x(zLo), x(zLo))
	VMOVDQU64(x(zLo), at(gm, msgHash))
	VZEROUPPER()
	RET()
}

// gcmLast512 treats a text's last (usually only) part and makes the tag.
func gcmLast512(open bool) {
	TEXT(name("gcmLast", open), NOSPLIT, "func(k, m, p *byte, n int)")
	Doc(name("gcmLast", open) + " crypts and hashes p[:n], the end of the text, in place and leaves the tag in m.hash.")
	load512()
	Comment("The first counter block masks the tag")
	MOVL(U32(1<<24), reg.R9L)
	VPINSRD(Imm(3), reg.R9L, x(zCounter), x(zMask))
	VPXORQ(x(zKeys), x(zMask), x(zMask))
	extraRounds512([]int{zMask}, x)
	for r := 5; r < 14; r++ {
		VAESENC(x(zKeys+r), x(zMask), x(zMask))
	}
	VAESENCLAST(x(zLast), x(zMask), x(zMask))

	TESTQ(gn, gn)
	JZ(LabelRef("empty"))
	CMPQ(gn, U32(chunk))
	JLE(LabelRef("tail"))

	if !open {
		Comment("Sealing hashes one chunk behind: the first has nothing to hash")
		run(aes512(8, nil))
		next512()
	}
	Label("loop")
	if open {
		weave(aes512(8, nil), hashChunk512(0))
		next512()
		CMPQ(gn, U32(chunk))
		JG(LabelRef("loop"))
	} else {
		CMPQ(gn, U32(chunk))
		JLE(LabelRef("behind"))
		weave(aes512(8, nil), hashChunk512(-chunk))
		next512()
		JMP(LabelRef("loop"))
		Label("behind")
		run(hashChunk512(-chunk))
	}

	Label("tail")
	Comment("1 to 512 bytes: the mask of the last register, the powers from H^(blocks+1) on")
	MOVQ(gn, reg.RCX)
	NEGQ(reg.RCX)
	MOVQ(I32(-1), reg.R9)
	SHRQ(reg.CL, reg.R9)
	KMOVQ(reg.R9, reg.K1)
	LEAQ(at(gn, 15), reg.RCX)
	ANDQ(I32(-16), reg.RCX)
	LEAQ(at(gk, keyPowers+512), gPow)
	SUBQ(reg.RCX, gPow)
	pickTail(1, 8, 64)
	for k := 1; k <= 8; k++ {
		Label(tailName(k))
		tail512(k, open)
		if k < 8 {
			JMP(LabelRef("done"))
		}
	}
	Label("done")
	reduce512()
	Label("tag")
	VPSHUFB(byteSwap, x(zLo), x(zLo))
	VPXORQ(x(zMask), x(zLo), x(zLo))
	VMOVDQU64(x(zLo), at(gm, msgHash))
	VZEROUPPER()
	RET()

	Label("empty")
	Comment("No text: (state + lengths) times H")
	VPXORQ(at(gm, msgLengths), x(zLo), x(31))
	mul512(x, x(31), at(gk, keyPowers+512), true)
	JMP(LabelRef("done"))
}

// gcmHash512 hashes associated data.
func gcmHash512() {
	TEXT("gcmHash512", NOSPLIT, "func(k, m, p *byte, n int)")
	Doc("gcmHash512 hashes p[:n], padded with zeros to whole blocks, into m.hash; n is not 0.")
	args512()
	VMOVDQU64(at(gm, msgHash), x(zLo))
	VPSHUFB(byteSwap, x(zLo), x(zLo))
	Label("loop")
	CMPQ(gn, U32(64))
	JLE(LabelRef("last"))
	VMOVDQU64(at(gp, 0), z(31))
	VPSHUFB(byteSwap, z(31), z(31))
	VPXORQ(z(zLo), z(31), z(31))
	mul512(z, z(31), at(gk, keyPowers+16*29), true)
	reduce512()
	ADDQ(Imm(64), gp)
	SUBQ(Imm(64), gn)
	JMP(LabelRef("loop"))
	Label("last")
	MOVQ(gn, reg.RCX)
	NEGQ(reg.RCX)
	MOVQ(I32(-1), reg.R9)
	SHRQ(reg.CL, reg.R9)
	KMOVQ(reg.R9, reg.K1)
	LEAQ(at(gn, 15), reg.RCX)
	ANDQ(I32(-16), reg.RCX)
	LEAQ(at(gk, keyPowers+528), gPow)
	SUBQ(reg.RCX, gPow)
	VMOVDQU8_Z(at(gp, 0), reg.K1, z(31))
	VPSHUFB(byteSwap, z(31), z(31))
	VPXORQ(z(zLo), z(31), z(31))
	mul512(z, z(31), at(gPow, 0), true)
	reduce512()
	VPSHUFB(byteSwap, x(zLo), x(zLo))
	VMOVDQU64(x(zLo), at(gm, msgHash))
	VZEROUPPER()
	RET()
}

func args512() {
	Load(Param("k"), gk)
	Load(Param("m"), gm)
	Load(Param("p"), gp)
	Load(Param("n"), gn)
}

// load512 fills the registers that stay.
func load512() {
	args512()
	MOVQ(at(gk, keyRounds), gRounds)
	Comment("The message was written in words just now: load it in the same words, so that the stores forward")
	VMOVQ(at(gm, msgCounter), x(zCounter))
	VPINSRD(Imm(2), at(gm, msgCounter+8), x(zCounter), x(zCounter))
	VPINSRD(Imm(3), at(gm, msgCounter+12), x(zCounter), x(zCounter))
	VSHUFI64X2(Imm(0), z(zCounter), z(zCounter), z(zCounter))
	for i := range 15 {
		VBROADCASTI32X4(at(gk, keySlots+16*i), z(zKeys+i))
	}
	VMOVDQU64(at(gm, msgHash), x(zLo))
	VPSHUFB(byteSwap, x(zLo), x(zLo))
}

func next512() {
	VPADDD(chunkCtr, z(zCounter), z(zCounter))
	ADDQ(U32(chunk), gp)
	SUBQ(U32(chunk), gn)
}

// extraRounds512 does the rounds that AES-192 and AES-256 have more than
// AES-128. Branching on the number of rounds reveals only the key's length.
func extraRounds512(states []int, width func(int) reg.VecPhysical) {
	l := label("rounds")
	CMPQ(gRounds, Imm(12))
	JB(LabelRef(l + "ten"))
	JE(LabelRef(l + "twelve"))
	for r := 1; r <= 4; r++ {
		if r == 3 {
			Label(l + "twelve")
		}
		for _, s := range states {
			VAESENC(width(zKeys+r), width(s), width(s))
		}
	}
	Label(l + "ten")
}

// aes512 returns the steps that crypt the next k registers of text in place.
// The steps until the text is touched come first; load, if not nil, emits the
// load of piece j into register Z29 and masks it.
func aes512(k int, last func(j int)) []func() {
	states := make([]int, k)
	for j := range states {
		states[j] = j
	}
	steps := []func(){func() {
		for j := range k {
			VPADDD(laneCtr.Offset(64*j), z(zCounter), z(j))
		}
		for j := range k {
			VPSHUFB(ctrSwap, z(j), z(j))
		}
		for j := range k {
			VPXORQ(z(zKeys), z(j), z(j))
		}
		extraRounds512(states, z)
	}}
	for r := 5; r < 14; r++ {
		steps = append(steps, func() {
			for j := range k {
				VAESENC(z(zKeys+r), z(j), z(j))
			}
		})
	}
	return append(steps, func() {
		for j := range k {
			if last != nil {
				last(j)
				continue
			}
			VPXORQ(at(gp, 64*j), z(zLast), z(29))
			VAESENCLAST(z(29), z(j), z(j))
		}
		if last == nil {
			for j := range k {
				VMOVDQU64(z(j), at(gp, 64*j))
			}
		}
	})
}

// mul512 adds v times the powers at p to the product, or begins a new product.
func mul512(width func(int) reg.VecPhysical, v Op, p Mem, first bool) {
	if first {
		VPCLMULQDQ(Imm(0x00), p, v, width(zLo))
		VPCLMULQDQ(Imm(0x11), p, v, width(zHi))
		VPCLMULQDQ(Imm(0x10), p, v, width(zMi))
		VPCLMULQDQ(Imm(0x01), p, v, width(30))
		VPXORQ(width(30), width(zMi), width(zMi))
		return
	}
	VPCLMULQDQ(Imm(0x00), p, v, width(30))
	VPXORQ(width(30), width(zLo), width(zLo))
	VPCLMULQDQ(Imm(0x11), p, v, width(30))
	VPXORQ(width(30), width(zHi), width(zHi))
	VPCLMULQDQ(Imm(0x10), p, v, width(30))
	VPCLMULQDQ(Imm(0x01), p, v, width(23))
	VPTERNLOGQ(Imm(0x96), width(30), width(23), width(zMi))
}

// fold512 is foldVEX with AVX-512's three-way xor.
func fold512(lo, hi int) {
	VPCLMULQDQ(Imm(0), poly, z(lo), z(30))
	VPSHUFD(Imm(0x4e), z(lo), z(lo))
	VPTERNLOGQ(Imm(0x96), z(30), z(lo), z(hi))
}

// reduce512 turns the product into the state: reduce each lane, then add the
// lanes together.
func reduce512() { run(reduceSteps512()) }

func reduceSteps512() []func() {
	return []func(){
		func() { fold512(zLo, zMi) },
		func() { fold512(zMi, zHi) },
		func() {
			VEXTRACTI64X4(Imm(1), z(zHi), y(30))
			VPXORQ(y(30), y(zHi), y(zHi))
			VEXTRACTI32X4(Imm(1), y(zHi), x(30))
			VPXORQ(x(30), x(zHi), x(zLo))
		},
	}
}

// hashChunk512 returns the steps that hash the 512 bytes at disp from SI.
func hashChunk512(disp int) []func() {
	var steps []func()
	for j := range 8 {
		steps = append(steps, func() {
			VMOVDQU64(at(gp, disp+64*j), z(31))
			VPSHUFB(byteSwap, z(31), z(31))
			if j == 0 {
				VPXORQ(z(zLo), z(31), z(31))
			}
			mul512(z, z(31), at(gk, keyPowers+16+64*j), j == 0)
		})
	}
	return append(steps, reduceSteps512()...)
}

// tail512 crypts and hashes the last k registers, the last of them partly.
func tail512(k int, open bool) {
	hash := func(j int) { // Z31 holds the ciphertext
		VPSHUFB(byteSwap, z(31), z(31))
		if j == 0 {
			VPXORQ(z(zLo), z(31), z(31))
		}
		mul512(z, z(31), at(gPow, 64*j), j == 0)
	}
	var hashes []func()
	for j := range k {
		hashes = append(hashes, func() {
			if open && j == k-1 {
				VMOVDQU8_Z(at(gp, 64*j), reg.K1, z(31))
			} else if open {
				VMOVDQU64(at(gp, 64*j), z(31))
			} else {
				VMOVDQA64(z(j), z(31))
			}
			hash(j)
		})
	}
	crypt := aes512(k, func(j int) {
		if j == k-1 {
			VMOVDQU8_Z(at(gp, 64*j), reg.K1, z(29))
			VPXORQ(z(29), z(zLast), z(29))
			VAESENCLAST(z(29), z(j), z(j))
			VMOVDQU8(z(j), reg.K1, at(gp, 64*j))
			if !open {
				VMOVDQU8_Z(z(j), reg.K1, z(j))
			}
			return
		}
		VPXORQ(at(gp, 64*j), z(zLast), z(29))
		VAESENCLAST(z(29), z(j), z(j))
		VMOVDQU64(z(j), at(gp, 64*j))
	})
	if open {
		weave(crypt, hashes)
	} else {
		run(crypt)
		run(hashes)
	}
	Comment("the length block")
	VMOVQ(at(gm, msgLengths), x(31))
	VPINSRQ(Imm(1), at(gm, msgLengths+8), x(31), x(31))
	mul512Low()
}

// mul512Low adds X31 times H to the lowest lane of the product.
func mul512Low() {
	p := at(gk, keyPowers+512)
	VPCLMULQDQ(Imm(0x00), p, x(31), x(30))
	VPXORQ(z(30), z(zLo), z(zLo))
	VPCLMULQDQ(Imm(0x11), p, x(31), x(30))
	VPXORQ(z(30), z(zHi), z(zHi))
	VPCLMULQDQ(Imm(0x10), p, x(31), x(30))
	VPCLMULQDQ(Imm(0x01), p, x(31), x(23))
	VPTERNLOGQ(Imm(0x96), z(30), z(23), z(zMi))
}

func run(steps []func()) {
	for _, f := range steps {
		f()
	}
}

// pickTail branches to the tail for ceil(DX/width), known to be in lo..hi.
func pickTail(lo, hi, width int) {
	if lo == hi {
		JMP(LabelRef(tailName(lo)))
		return
	}
	mid := (lo + hi) / 2
	above := label("above")
	CMPQ(gn, U32(width*mid))
	JG(LabelRef(above))
	pickTail(lo, mid, width)
	Label(above)
	pickTail(mid+1, hi, width)
}

func tailName(k int) string { return "tail" + string(rune('0'+k)) }
