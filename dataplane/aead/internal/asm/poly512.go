package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Poly1305 with AVX-512 IFMA: sixteen blocks (a group, 256 bytes) a turn, each
// 64-bit lane of two registers working on one block of it. Numbers are three
// limbs of 44, 44 and 42 bits.
//
// Groups are aligned at the text's end: the first group may be partial, with
// zeros (and no 2^128) in place of its missing first blocks, so that the powers
// of r at the end are always r^16 … r^1.
//
// Loading four blocks to a register and unpacking the halves leaves the blocks
// 0…7 of half a group in lane order 0 4 1 5 2 6 3 7. All that follows is done
// lane by lane, so only the powers must stand in the same order: laneExponents.
//
// Registers:
//
//	Z0–Z2    A: sums for blocks 0–7 of a group     Z3–Z5  B: for blocks 8–15
//	Z6–Z10   the multiplier r0 r1 r2 20r1 20r2
//	Z11–Z13  r^8 … r^1      Z14–Z16  r^16 … r^9, in lane order
//	Z17–Z19  low halves of a product, Z20–Z22 high halves
//	Z23–Z27  scratch     Z28  2^44-1     Z29  2^42-1     Z30  2^40
//
//	DI state, SI text, DX blocks left
const (
	pA, pB     = 0, 3
	pMul       = 6
	pLow8      = 11
	pHigh8     = 14
	pLo, pHi   = 17, 20
	pMask44    = 28
	pMask42    = 29
	pTop       = 30
	pT0, pT1   = 23, 24
	pT2, pT3   = 25, 26
	pGroup     = 256
	evenPowers = 0x33 // lanes whose exponent is even
	highOfFour = 0x0f // lanes whose exponent is 3, 4, 7 or 8
	highHalf   = 0x55 // lanes whose exponent is 5 to 8
)

func poly512() {
	TEXT("polyBlocks512", NOSPLIT, "func(st, p *byte, blocks int)")
	st, p, n := reg.RDI, reg.RSI, reg.RDX
	Load(Param("st"), st)
	Load(Param("p"), p)
	Load(Param("blocks"), n)
	constant := func(v uint64, r int) {
		MOVQ(U64(v), reg.RAX)
		VPBROADCASTQ(reg.RAX, z(r))
	}
	constant(1<<44-1, pMask44)
	constant(1<<42-1, pMask42)
	constant(1<<40, pTop)

	Comment("r in limbs, in every lane")
	VPBROADCASTQ(at(st, polyR), z(pT0))
	VPBROADCASTQ(at(st, polyR+8), z(pT1))
	limbs(pT0, pT1, pMul)
	times20()

	Comment("its powers: exponents 1 2, then 1 2 3 4, then 1 to 8, then 9 to 16")
	for i := range 3 {
		VMOVDQA64(z(pMul+i), z(pLow8+i))
	}
	for _, step := range []uint64{evenPowers, highOfFour, highHalf, 0} {
		product(pLow8, true)
		if step != 0 {
			carry(pHigh8)
			MOVL(U32(step), reg.EAX)
			KMOVW(reg.EAX, reg.K1)
			for i := range 3 {
				VMOVDQA64(z(pHigh8+i), reg.K1, z(pLow8+i))
				VPBROADCASTQ(x(pLow8+i), z(pMul+i))
			}
		} else {
			carry(pHigh8)
			for i := range 3 {
				VPBROADCASTQ(x(pHigh8+i), z(pMul+i))
			}
		}
		times20()
	}

	Comment("the first group: 1 to 16 blocks at the end of it")
	first, mask := reg.R9, reg.R8L
	MOVQ(p, first)
	MOVQ(n, reg.RCX)
	NEGQ(reg.RCX)
	ANDQ(Imm(15), reg.RCX) // blocks missing
	ADDQ(reg.RCX, n)       // now whole groups
	MOVQ(reg.RCX, reg.RBX)
	SHLQ(Imm(4), reg.RCX)
	SUBQ(reg.RCX, p) // where the group would begin; not read there
	SHRQ(Imm(3), reg.RCX)
	MOVL(U32(1<<32-1), mask)
	SHLL(reg.CL, mask) // a bit for each 64-bit word that is there
	masks := []reg.OpmaskPhysical{reg.K1, reg.K2, reg.K3, reg.K4}
	for i, k := range masks {
		KMOVW(mask, k)
		if i < 3 {
			SHRL(Imm(8), mask)
		}
	}
	Comment("Each register is loaded from its place or, if that is before the text, from the text's beginning; expanding puts the words that are there at its end")
	for i, acc := range []int{pA, pB} {
		for half := range 2 {
			LEAQ(at(p, 128*i+64*half), reg.RAX)
			CMPQ(reg.RAX, first)
			CMOVQCS(first, reg.RAX)
			VMOVDQU64(at(reg.RAX, 0), z(pLo+half))
			VPEXPANDQ_Z(z(pLo+half), masks[2*i+half], z(pLo+half))
			VMOVDQA64_Z(z(pTop), masks[2*i+half], z(pHi+half))
		}
		unpack(pLo, pLo+1)
		VPUNPCKLQDQ(z(pHi+1), z(pHi), z(pHi))
		limbs(pT0, pT1, acc)
		VPADDQ(z(pHi), z(acc+2), z(acc+2))
	}

	Comment("the state so far belongs to the first block that is there")
	// Missing blocks number BX: block BX is in lane laneOfBlock of A (BX < 8)
	// or B. Lane order 0 4 1 5 2 6 3 7: block b is in lane 2(b mod 4) + b div 4.
	MOVQ(reg.RBX, reg.RCX)
	ANDQ(Imm(3), reg.RCX)
	ADDQ(reg.RCX, reg.RCX)
	MOVQ(reg.RBX, reg.RAX)
	SHRQ(Imm(2), reg.RAX)
	ANDQ(Imm(1), reg.RAX)
	ADDQ(reg.RAX, reg.RCX)
	SHRQ(Imm(3), reg.RBX)
	SHLQ(Imm(3), reg.RBX)
	ADDQ(reg.RBX, reg.RCX) // A's lanes are 0–7, B's 8–15
	MOVL(U32(1), reg.EAX)
	SHLL(reg.CL, reg.EAX)
	KMOVW(reg.EAX, reg.K1)
	SHRL(Imm(8), reg.EAX)
	KMOVW(reg.EAX, reg.K2)
	VPBROADCASTQ(at(st, polyH), z(pT0))
	VPBROADCASTQ(at(st, polyH+8), z(pT1))
	VPBROADCASTQ(at(st, polyH+16), z(pT3+1))
	limbs(pT0, pT1, pLo)
	VPSLLQ(Imm(40), z(pT3+1), z(pT3+1))
	VPADDQ(z(pT3+1), z(pLo+2), z(pLo+2))
	for i := range 3 {
		VPADDQ(z(pLo+i), z(pA+i), reg.K1, z(pA+i))
		VPADDQ(z(pLo+i), z(pB+i), reg.K2, z(pB+i))
	}

	Label("loop")
	SUBQ(Imm(16), n)
	JZ(LabelRef("end"))
	ADDQ(U32(pGroup), p)
	for i, acc := range []int{pA, pB} {
		product(acc, true)
		VMOVDQU64(at(p, 128*i), z(pT2))
		VMOVDQU64(at(p, 128*i+64), z(pT3))
		unpack(pT2, pT3)
		carry(acc)
		limbs(pT0, pT1, pHi)
		VPADDQ(z(pHi), z(acc), z(acc))
		VPADDQ(z(pHi+1), z(acc+1), z(acc+1))
		VPADDQ(z(pTop), z(acc+2), z(acc+2))
		VPADDQ(z(pHi+2), z(acc+2), z(acc+2))
	}
	JMP(LabelRef("loop"))

	Label("end")
	Comment("A times r^16 … r^9, B times r^8 … r^1, all lanes together")
	for i := range 3 {
		VMOVDQA64(z(pHigh8+i), z(pMul+i))
	}
	times20()
	product(pA, true)
	for i := range 3 {
		VMOVDQA64(z(pLow8+i), z(pMul+i))
	}
	times20()
	product(pB, false)
	carry(pA)
	for i := range 3 {
		VEXTRACTI64X4(Imm(1), z(pA+i), y(pT0+i))
		VPADDQ(y(pT0+i), y(pA+i), y(pA+i))
	}
	for i := range 3 {
		VEXTRACTI64X2(Imm(1), y(pA+i), x(pT0+i))
		VPADDQ(x(pT0+i), x(pA+i), x(pA+i))
	}
	for i := range 3 {
		VPSRLDQ(Imm(8), x(pA+i), x(pT0+i))
		VPADDQ(x(pT0+i), x(pA+i), x(pA+i))
	}
	Comment("back to words of 64 bits: l0 + 2^44 l1 + 2^88 l2")
	l0, l1, l2 := reg.R8, reg.R9, reg.R10
	VMOVQ(x(pA), l0)
	VMOVQ(x(pA+1), l1)
	VMOVQ(x(pA+2), l2)
	MOVQ(l1, reg.R11)
	SHLQ(Imm(44), l1)
	SHRQ(Imm(20), reg.R11)
	MOVQ(l2, reg.R12)
	SHLQ(Imm(24), l2)
	SHRQ(Imm(40), reg.R12)
	ADDQ(l1, l0)
	ADCQ(l2, reg.R11)
	ADCQ(Imm(0), reg.R12)
	MOVQ(reg.R12, reg.R13)
	ANDQ(Imm(3), reg.R12)
	SHRQ(Imm(2), reg.R13)
	LEAQ(Mem{Base: reg.R13, Index: reg.R13, Scale: 4}, reg.R13)
	ADDQ(reg.R13, l0)
	ADCQ(Imm(0), reg.R11)
	ADCQ(Imm(0), reg.R12)
	MOVQ(l0, at(st, polyH))
	MOVQ(reg.R11, at(st, polyH+8))
	MOVQ(reg.R12, at(st, polyH+16))
	VZEROUPPER()
	RET()
}

// unpack takes eight blocks in two registers apart into low words (Z23) and
// high words (Z24).
func unpack(a, b int) {
	VPUNPCKLQDQ(z(b), z(a), z(pT0))
	VPUNPCKHQDQ(z(b), z(a), z(pT1))
}

// limbs cuts the 128-bit numbers lo, hi into to, to+1, to+2. It spends nothing.
func limbs(lo, hi, to int) {
	VPANDQ(z(pMask44), z(lo), z(to))
	VPSRLQ(Imm(44), z(lo), z(to+1))
	VPSLLQ(Imm(20), z(hi), z(to+2))
	VPTERNLOGQ(Imm(0xa8), z(pMask44), z(to+2), z(to+1)) // (a|b)&c
	VPSRLQ(Imm(24), z(hi), z(to+2))
}

// times20 makes 20 r1 and 20 r2 of the multiplier: 2^132 is 20 mod 2^130-5.
func times20() {
	for i := range 2 {
		VPSLLQ(Imm(2), z(pMul+1+i), z(pMul+3+i))
		VPADDQ(z(pMul+1+i), z(pMul+3+i), z(pMul+3+i))
		VPSLLQ(Imm(2), z(pMul+3+i), z(pMul+3+i))
	}
}

// product multiplies the three limbs at a by the multiplier into the double
// limbs at pLo and pHi, or adds the product to them:
//
//	d0 = a0 r0 + a1 s2 + a2 s1    where s = 20 r
//	d1 = a0 r1 + a1 r0 + a2 s2
//	d2 = a0 r2 + a1 r1 + a2 r0
func product(a int, first bool) {
	if first {
		for i := range 6 {
			VPXORQ(z(pLo+i), z(pLo+i), z(pLo+i))
		}
	}
	terms := [3][3]int{{0, 1, 2}, {4, 0, 1}, {3, 4, 0}} // a_j times which multiplier, for d_i
	for j := range 3 {
		for i := range 3 {
			VPMADD52LUQ(z(pMul+terms[j][i]), z(a+j), z(pLo+i))
			VPMADD52HUQ(z(pMul+terms[j][i]), z(a+j), z(pHi+i))
		}
	}
}

// carry brings a product back to limbs that may be multiplied again. A high
// half stands 52 bits above its limb: 8 above the next limb, and 10 above 2^130
// for the last, where 2^130 is 5.
func carry(to int) {
	a, b := pT2+2, pHi // Z27, and the high halves as they are spent
	VPSRLQ(Imm(44), z(pLo), z(a))
	VPSLLQ(Imm(8), z(pHi), z(b))
	VPADDQ(z(a), z(pLo+1), z(pLo+1))
	VPADDQ(z(b), z(pLo+1), z(pLo+1))
	VPANDQ(z(pMask44), z(pLo), z(to))

	VPSRLQ(Imm(44), z(pLo+1), z(a))
	VPSLLQ(Imm(8), z(pHi+1), z(b))
	VPADDQ(z(a), z(pLo+2), z(pLo+2))
	VPADDQ(z(b), z(pLo+2), z(pLo+2))
	VPANDQ(z(pMask44), z(pLo+1), z(to+1))

	VPSRLQ(Imm(42), z(pLo+2), z(a))
	VPSLLQ(Imm(10), z(pHi+2), z(b))
	VPADDQ(z(b), z(a), z(a))
	VPANDQ(z(pMask42), z(pLo+2), z(to+2))

	VPSLLQ(Imm(2), z(a), z(b))
	VPADDQ(z(a), z(b), z(b))
	VPADDQ(z(b), z(to), z(to))
	VPSRLQ(Imm(44), z(to), z(a))
	VPANDQ(z(pMask44), z(to), z(to))
	VPADDQ(z(a), z(to+1), z(to+1))
}
