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

// polyScalar is Poly1305 on 64-bit integers, one block after the other, for
// short texts and for the ends of long ones.
//
//	h = (h + block + 2^128) r mod 2^130-5, h in three words, the third small
//
// Clamping makes r1 a multiple of 4, so h1 r1 2^128 = h1 (r1/4) 2^130 is
// h1 (5 r1/4): the word rs.
func polyScalar() {
	TEXT("polyBlocks", NOSPLIT, "func(st, p *byte, blocks int)")
	st, p, n := reg.RDI, reg.RSI, reg.RCX
	Load(Param("st"), st)
	Load(Param("p"), p)
	Load(Param("blocks"), n)
	h0, h1, h2 := reg.R8, reg.R9, reg.R10
	r0, r1, rs := reg.R11, reg.R12, reg.R13
	MOVQ(at(st, polyH), h0)
	MOVQ(at(st, polyH+8), h1)
	MOVQ(at(st, polyH+16), h2)
	MOVQ(at(st, polyR), r0)
	MOVQ(at(st, polyR+8), r1)
	MOVQ(r1, rs)
	SHRQ(Imm(2), rs)
	ADDQ(r1, rs)
	TESTQ(n, n)
	JZ(LabelRef("done"))

	d0l, d0h, d1l, d1h := reg.RAX, reg.RBX, reg.R15, reg.RDI
	Label("loop")
	ADDQ(at(p, 0), h0)
	ADCQ(at(p, 8), h1)
	ADCQ(Imm(1), h2)
	ADDQ(Imm(16), p)

	Comment("d0 = h0 r0 + h1 rs")
	MOVQ(r0, reg.RDX)
	MULXQ(h0, d0l, d0h)
	MULXQ(h1, d1l, d1h) // h1 r0, the second term of d1
	IMULQ(h2, reg.RDX)  // d2 = h2 r0
	t0, t1, d2 := reg.R14, h0, h2
	MOVQ(reg.RDX, reg.R14)
	MOVQ(rs, reg.RDX)
	IMULQ(h2, reg.RDX) // h2 rs, the third term of d1
	MOVQ(reg.R14, d2)
	ADDQ(reg.RDX, d1l)
	ADCQ(Imm(0), d1h)
	MOVQ(rs, reg.RDX)
	MULXQ(h1, t0, h1)
	ADDQ(t0, d0l)
	ADCQ(h1, d0h)
	Comment("d1 = h0 r1 + h1 r0 + h2 rs")
	MOVQ(r1, reg.RDX)
	MULXQ(h0, t0, t1)
	ADDQ(t0, d1l)
	ADCQ(t1, d1h)
	Comment("carry, and fold what is above 2^130")
	ADDQ(d0h, d1l)
	ADCQ(d1h, d2)
	MOVQ(d0l, h0)
	MOVQ(d1l, h1)
	MOVQ(d2, reg.RDX)
	SHRQ(Imm(2), reg.RDX)
	MOVQ(d2, reg.R14)
	ANDQ(I32(-4), reg.R14)
	ADDQ(reg.R14, reg.RDX)
	ANDQ(Imm(3), h2)
	ADDQ(reg.RDX, h0)
	ADCQ(Imm(0), h1)
	ADCQ(Imm(0), h2)
	DECQ(n)
	JNZ(LabelRef("loop"))

	Label("done")
	Load(Param("st"), st)
	MOVQ(h0, at(st, polyH))
	MOVQ(h1, at(st, polyH+8))
	MOVQ(h2, at(st, polyH+16))
	RET()
}
