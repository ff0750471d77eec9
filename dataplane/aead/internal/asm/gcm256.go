package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// AES-GCM with AVX2, VAES and VPCLMULQDQ: the same plan as gcm512.go with two
// blocks a register and 256 bytes a turn. What does not fit in sixteen
// registers is in memory: round keys are broadcast when a round needs them, and
// the tag's mask waits in the message. There are no masked loads: the last
// piece of text, if it is not a whole register, comes from and goes to
// m.last, zero-padded.
//
// Registers:
//
//	Y0–Y7   AES states
//	Y8      round key
//	Y9–Y11  GHASH product: low, middle, high; between chunks X9 is the state
//	Y12–Y14 scratch
//	Y15     nonce and counter of the chunk's first block, twice
//
//	AX key, BX message, SI text, DX bytes left, R8 rounds, R10 powers for the
//	tail, R11 the last piece, R12 the mask of its bytes
const (
	chunk256 = 256
	yKey     = 8
	yLo      = 9
	yMi      = 10
	yHi      = 11
	yData    = 12
	yT0      = 13
	yT1      = 14
	yCounter = 15
)

var (
	gLast, gMask = reg.R11, reg.R12
	bytesMask    Mem // 32 bytes of ones, then 32 of zeros
	chunkCtr256  Mem // adds 16 to both lanes
)

func gcm256() {
	bytesMask = table("gcmBytesMask", append(repeat(4, 1<<64-1), repeat(4, 0)...)...)
	chunkCtr256 = table("gcmChunkCtr256", repeat(2, 0, 16<<32)...)
	gcmHash256()
	for _, open := range []bool{false, true} {
		gcmBody256(open)
		gcmLast256(open)
	}
}

func name256(stem string, open bool) string {
	if open {
		return stem + "Open256"
	}
	return stem + "Seal256"
}

func gcmBody256(open bool) {
	TEXT(name256("gcmBody", open), NOSPLIT, "func(k, m, p *byte, n int)")
	Doc(name256("gcmBody", open) + " crypts and hashes p[:n] in place; n is a multiple of 256 and not 0.")
	load256()
	Label("loop")
	if open {
		weave(aes256(8, nil), hashChunk256(0))
	} else {
		run(aes256(8, nil))
		run(hashChunk256(0))
	}
	next256()
	JNZ(LabelRef("loop"))
	VMOVDQU(x(yCounter), at(gm, msgCounter))
	VPSHUFB(byteSwap, x(yLo), x(yLo))
	VMOVDQU(x(yLo), at(gm, msgHash))
	VZEROALL()
	RET()
}

func gcmLast256(open bool) {
	TEXT(name256("gcmLast", open), NOSPLIT, "func(k, m, p *byte, n int)")
	Doc(name256("gcmLast", open) + " crypts and hashes p[:n], the end of the text, in place and leaves the tag in m.hash.")
	load256()
	Comment("The first counter block masks the tag")
	MOVL(U32(1<<24), reg.R9L)
	VPINSRD(Imm(3), reg.R9L, x(yCounter), x(0))
	VPXOR(at(gk, keySlots), x(0), x(0))
	l := label("mask")
	CMPQ(gRounds, Imm(12))
	JB(LabelRef(l + "ten"))
	JE(LabelRef(l + "twelve"))
	for r := 1; r < 14; r++ {
		if r == 3 {
			Label(l + "twelve")
		}
		if r == 5 {
			Label(l + "ten")
		}
		VAESENC(at(gk, keySlots+16*r), x(0), x(0))
	}
	VAESENCLAST(at(gk, keySlots+16*14), x(0), x(0))
	VMOVDQU(x(0), at(gm, msgMask))

	TESTQ(gn, gn)
	JZ(LabelRef("empty"))
	CMPQ(gn, U32(chunk256))
	JLE(LabelRef("tail"))

	if !open {
		Comment("Sealing hashes one chunk behind: the first has nothing to hash")
		run(aes256(8, nil))
		next256()
	}
	Label("loop")
	if open {
		weave(aes256(8, nil), hashChunk256(0))
		next256()
		CMPQ(gn, U32(chunk256))
		JG(LabelRef("loop"))
	} else {
		CMPQ(gn, U32(chunk256))
		JLE(LabelRef("behind"))
		weave(aes256(8, nil), hashChunk256(-chunk256))
		next256()
		JMP(LabelRef("loop"))
		Label("behind")
		run(hashChunk256(-chunk256))
	}

	Label("tail")
	Comment("1 to 256 bytes: powers from H^(blocks+1) on; where the last register is, and which of its bytes count")
	LEAQ(at(gn, 15), reg.RCX)
	ANDQ(I32(-16), reg.RCX)
	LEAQ(at(gk, keyPowers+512), gPow)
	SUBQ(reg.RCX, gPow)
	LEAQ(at(gn, -1), reg.RCX)
	ANDQ(I32(-32), reg.RCX)
	LEAQ(Mem{Base: gp, Index: reg.RCX, Scale: 1}, gLast)
	LEAQ(bytesMask, gMask)
	MOVQ(gn, reg.RCX)
	ANDQ(Imm(31), reg.RCX)
	JZ(LabelRef("whole"))
	LEAQ(at(gm, msgLast), gLast)
	ADDQ(Imm(32), gMask)
	SUBQ(reg.RCX, gMask)
	Label("whole")
	pickTail(1, 8, 32)
	for k := 1; k <= 8; k++ {
		Label(tailName(k))
		tail256(k, open)
		if k < 8 {
			JMP(LabelRef("done"))
		}
	}
	Label("done")
	run(reduceSteps256())
	VPSHUFB(byteSwap, x(yLo), x(yLo))
	VPXOR(at(gm, msgMask), x(yLo), x(yLo))
	VMOVDQU(x(yLo), at(gm, msgHash))
	VZEROALL()
	RET()

	Label("empty")
	Comment("No text: (state + lengths) times H")
	lengths256()
	VPXOR(x(yData), x(yLo), x(yData))
	mul256(x, at(gk, keyPowers+512), true)
	JMP(LabelRef("done"))
}

func gcmHash256() {
	TEXT("gcmHash256", NOSPLIT, "func(k, m, p *byte, n int)")
	Doc("gcmHash256 hashes p[:n] into m.hash; n is a multiple of 16 and not 0.")
	args512()
	VMOVDQU(at(gm, msgHash), x(yLo))
	VPSHUFB(byteSwap, x(yLo), x(yLo))
	Label("loop")
	VMOVDQU(at(gp, 0), x(yData))
	VPSHUFB(byteSwap, x(yData), x(yData))
	VPXOR(x(yLo), x(yData), x(yData))
	mul256(x, at(gk, keyPowers+512), true)
	run(reduceSteps256())
	ADDQ(Imm(16), gp)
	SUBQ(Imm(16), gn)
	JNZ(LabelRef("loop"))
	VPSHUFB(byteSwap, x(yLo), x(yLo))
	VMOVDQU(x(yLo), at(gm, msgHash))
	VZEROALL()
	RET()
}

func load256() {
	args512()
	MOVQ(at(gk, keyRounds), gRounds)
	Comment("The message was written in words just now: load it in the same words, so that the stores forward")
	VMOVQ(at(gm, msgCounter), x(yCounter))
	VPINSRD(Imm(2), at(gm, msgCounter+8), x(yCounter), x(yCounter))
	VPINSRD(Imm(3), at(gm, msgCounter+12), x(yCounter), x(yCounter))
	VINSERTI128(Imm(1), x(yCounter), y(yCounter), y(yCounter))
	VMOVDQU(at(gm, msgHash), x(yLo))
	VPSHUFB(byteSwap, x(yLo), x(yLo))
}

// next256 goes on by a chunk and sets the zero flag at the text's end.
func next256() {
	VPADDD(chunkCtr256, y(yCounter), y(yCounter))
	ADDQ(U32(chunk256), gp)
	SUBQ(U32(chunk256), gn)
}

// aes256 is aes512 with broadcast keys. If last is not nil it emits what is
// done with piece j after nine common rounds; Y8 holds the last round key.
func aes256(k int, last func(j int)) []func() {
	round := func(r int) {
		VBROADCASTI128(at(gk, keySlots+16*r), y(yKey))
		for j := range k {
			VAESENC(y(yKey), y(j), y(j))
		}
	}
	steps := []func(){func() {
		VBROADCASTI128(at(gk, keySlots), y(yKey))
		for j := range k {
			VPADDD(laneCtr.Offset(32*j), y(yCounter), y(j))
		}
		for j := range k {
			VPSHUFB(ctrSwap, y(j), y(j))
		}
		for j := range k {
			VPXOR(y(yKey), y(j), y(j))
		}
		l := label("rounds")
		CMPQ(gRounds, Imm(12))
		JB(LabelRef(l + "ten"))
		JE(LabelRef(l + "twelve"))
		round(1)
		round(2)
		Label(l + "twelve")
		round(3)
		round(4)
		Label(l + "ten")
	}}
	for r := 5; r < 14; r++ {
		steps = append(steps, func() { round(r) })
	}
	return append(steps, func() {
		VBROADCASTI128(at(gk, keySlots+16*14), y(yKey))
		for j := range k {
			if last != nil {
				last(j)
				continue
			}
			VPXOR(at(gp, 32*j), y(yKey), y(yT0))
			VAESENCLAST(y(yT0), y(j), y(j))
			VMOVDQU(y(j), at(gp, 32*j))
		}
	})
}

// mul256 adds Y12 times the powers at p to the product, or begins a new one.
func mul256(width func(int) reg.VecPhysical, p Mem, first bool) {
	if first {
		VPCLMULQDQ(Imm(0x00), p, width(yData), width(yLo))
		VPCLMULQDQ(Imm(0x11), p, width(yData), width(yHi))
		VPCLMULQDQ(Imm(0x10), p, width(yData), width(yMi))
		VPCLMULQDQ(Imm(0x01), p, width(yData), width(yT0))
		VPXOR(width(yT0), width(yMi), width(yMi))
		return
	}
	// Whole registers are added: a product of 128 bits has zeros above.
	VPCLMULQDQ(Imm(0x00), p, width(yData), width(yT0))
	VPCLMULQDQ(Imm(0x11), p, width(yData), width(yT1))
	VPXOR(y(yT0), y(yLo), y(yLo))
	VPXOR(y(yT1), y(yHi), y(yHi))
	VPCLMULQDQ(Imm(0x10), p, width(yData), width(yT0))
	VPCLMULQDQ(Imm(0x01), p, width(yData), width(yT1))
	VPXOR(y(yT0), y(yMi), y(yMi))
	VPXOR(y(yT1), y(yMi), y(yMi))
}

func reduceSteps256() []func() {
	return []func(){
		func() { foldVEX(y(yLo), y(yMi), y(yT0)) },
		func() { foldVEX(y(yMi), y(yHi), y(yT0)) },
		func() {
			VEXTRACTI128(Imm(1), y(yHi), x(yT0))
			VPXOR(x(yT0), x(yHi), x(yLo))
		},
	}
}

// hashChunk256 returns the steps that hash the 256 bytes at disp from SI.
func hashChunk256(disp int) []func() {
	var steps []func()
	for j := range 8 {
		steps = append(steps, func() {
			VMOVDQU(at(gp, disp+32*j), y(yData))
			VPSHUFB(byteSwap, y(yData), y(yData))
			if j == 0 {
				VPXOR(y(yLo), y(yData), y(yData))
			}
			mul256(y, at(gk, keyPowers+16*17+32*j), j == 0)
		})
	}
	return append(steps, reduceSteps256()...)
}

// tail256 crypts and hashes the last k registers, the last of them at R11.
func tail256(k int, open bool) {
	piece := func(j int) Mem {
		if j == k-1 {
			return at(gLast, 0)
		}
		return at(gp, 32*j)
	}
	var hashes []func()
	for j := range k {
		hashes = append(hashes, func() {
			if open {
				VMOVDQU(piece(j), y(yData))
				VPSHUFB(byteSwap, y(yData), y(yData))
			} else {
				VPSHUFB(byteSwap, y(j), y(yData))
			}
			if j == 0 {
				VPXOR(y(yLo), y(yData), y(yData))
			}
			mul256(y, at(gPow, 32*j), j == 0)
		})
	}
	crypt := aes256(k, func(j int) {
		VPXOR(piece(j), y(yKey), y(yT0))
		VAESENCLAST(y(yT0), y(j), y(j))
		if j == k-1 {
			VPAND(at(gMask, 0), y(j), y(j))
		}
		VMOVDQU(y(j), piece(j))
	})
	if open {
		weave(crypt, hashes)
	} else {
		run(crypt)
		run(hashes)
	}
	lengths256()
	mul256(x, at(gk, keyPowers+512), false)
}

// lengths256 loads the length block into X12.
func lengths256() {
	VMOVQ(at(gm, msgLengths), x(yData))
	VPINSRQ(Imm(1), at(gm, msgLengths+8), x(yData), x(yData))
}
