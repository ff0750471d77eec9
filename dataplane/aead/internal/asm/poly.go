package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets into polyState of poly_amd64.go.
const (
	polyH = 0  // [3]uint64, base 2^64
	polyR = 24 // [2]uint64, clamped
	polyS = 40 // [2]uint64
)

// Poly1305 on 64-bit integers, one block after the other: for short texts, for
// the ends of long ones, and between the vector instructions of chacha256.
//
//	h = (h + block + 2^128) r mod 2^130-5, h in three words, the third small
//
// Clamping makes r1 a multiple of 4, so h1 r1 2^128 = h1 (r1/4) 2^130 is
// h1 (5 r1/4): the word rs.
//
// Registers: SI blocks; R8 R9 R10 h; R11 R12 R13 r0 r1 rs; AX BX DX DI R14 R15
// scratch.
var (
	polyP               = reg.RSI
	polyH0, polyH1      = reg.R8, reg.R9
	polyH2              = reg.R10
	polyR0, polyR1      = reg.R11, reg.R12
	polyRS              = reg.R13
	polyD0, polyD0h     = reg.RAX, reg.RBX
	polyD1, polyD1h     = reg.R15, reg.RDI
	polyScratch, polyDX = reg.R14, reg.RDX
)

func polyScalar() {
	TEXT("polyBlocks", NOSPLIT, "func(st, p *byte, blocks int)")
	Load(Param("st"), reg.RDI)
	Load(Param("p"), polyP)
	Load(Param("blocks"), reg.RCX)
	polyLoad(reg.RDI)
	TESTQ(reg.RCX, reg.RCX)
	JZ(LabelRef("done"))
	Label("loop")
	run(polyBlock())
	DECQ(reg.RCX)
	JNZ(LabelRef("loop"))
	Label("done")
	Load(Param("st"), reg.RDI)
	polyStore(reg.RDI)
	RET()
}

func polyLoad(st reg.Register) {
	MOVQ(at(st, polyH), polyH0)
	MOVQ(at(st, polyH+8), polyH1)
	MOVQ(at(st, polyH+16), polyH2)
	MOVQ(at(st, polyR), polyR0)
	MOVQ(at(st, polyR+8), polyR1)
	MOVQ(polyR1, polyRS)
	SHRQ(Imm(2), polyRS)
	ADDQ(polyR1, polyRS)
}

func polyStore(st reg.Register) {
	MOVQ(polyH0, at(st, polyH))
	MOVQ(polyH1, at(st, polyH+8))
	MOVQ(polyH2, at(st, polyH+16))
}

// polyBlock returns the instructions of one block. Vector instructions may
// stand between them: they leave the flags alone.
func polyBlock() []func() {
	h0, h1, h2, t := polyH0, polyH1, polyH2, polyScratch
	return []func(){
		func() { ADDQ(at(polyP, 0), h0) },
		func() { ADCQ(at(polyP, 8), h1) },
		func() { ADCQ(Imm(1), h2) },
		func() { ADDQ(Imm(16), polyP) },

		// d0 = h0 r0 + h1 rs;  d1 = h1 r0 + h2 rs + h0 r1;  d2 = h2 r0
		func() { MOVQ(polyR0, polyDX) },
		func() { MULXQ(h0, polyD0, polyD0h) },
		func() { MULXQ(h1, polyD1, polyD1h) },
		func() { MOVQ(polyRS, t) },
		func() { IMULQ(h2, t) },
		func() { IMULQ(polyR0, h2) },
		func() { ADDQ(t, polyD1) },
		func() { ADCQ(Imm(0), polyD1h) },
		func() { MOVQ(polyRS, polyDX) },
		func() { MULXQ(h1, t, h1) },
		func() { ADDQ(t, polyD0) },
		func() { ADCQ(h1, polyD0h) },
		func() { MOVQ(polyR1, polyDX) },
		func() { MULXQ(h0, t, h0) },
		func() { ADDQ(t, polyD1) },
		func() { ADCQ(h0, polyD1h) },

		// carry, and fold what is above 2^130: five times its quarter
		func() { ADDQ(polyD0h, polyD1) },
		func() { ADCQ(polyD1h, h2) },
		func() { MOVQ(polyD0, h0) },
		func() { MOVQ(polyD1, h1) },
		func() { MOVQ(h2, polyDX) },
		func() { SHRQ(Imm(2), polyDX) },
		func() { MOVQ(h2, t) },
		func() { ANDQ(I32(-4), t) },
		func() { ADDQ(t, polyDX) },
		func() { ANDQ(Imm(3), h2) },
		func() { ADDQ(polyDX, h0) },
		func() { ADCQ(Imm(0), h1) },
		func() { ADCQ(Imm(0), h2) },
	}
}
