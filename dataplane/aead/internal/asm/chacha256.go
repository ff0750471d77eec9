package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Keystream with AVX2: four lanes of two blocks, laid out as in chacha512.go,
// in all sixteen registers; and, between its instructions, Poly1305 of an
// earlier pass's text on the integer units, which would otherwise be idle:
// four blocks for each double round, as many double rounds as asked for.
//
// There is no rotate: turns by 16 and 8 are byte shuffles, turns by 12 and 7
// two shifts, for which row c of the last lane makes room on the stack.
//
// Registers:
//
//	Y(4i)…Y(4i+3)  rows a, b, c, d of lane i, 0 ≤ i < 4
//	CX             double rounds left; the others as in poly.go
const (
	lanes256 = 4
	laneSize = 128 // bytes of keystream
)

var (
	turn16       Mem
	turn8        Mem
	chachaBlocks Mem // adds 0, 1 to the counters of the two blocks
)

func chacha256() {
	turn16 = table("chachaTurn16", repeat(2, 0x0504070601000302, 0x0d0c0f0e09080b0a)...)
	turn8 = table("chachaTurn8", repeat(2, 0x0605040702010003, 0x0e0d0c0f0a09080b)...)
	chachaBlocks = table("chachaBlocks256", 0, 0, 1, 0)

	TEXT("keystream256", NOSPLIT, "func(stream, lanes, st, p *byte, fours int)")
	spill := AllocLocal(32)
	rest := AllocLocal(8)
	lanes := reg.RDI
	Load(Param("lanes"), lanes)
	key := reg.RAX
	for i := range lanes256 {
		MOVQ(at(lanes, laneBytes*i+laneKey), key)
		VMOVDQU(chachaConst, y(4*i))
		VBROADCASTI128(at(key, 0), y(4*i+1))
		VBROADCASTI128(at(key, 16), y(4*i+2))
		start256(lanes, i, 4*i+3)
	}
	Load(Param("st"), reg.RDI)
	polyLoad(reg.RDI)
	Load(Param("p"), polyP)
	Load(Param("fours"), reg.RCX)
	MOVQ(U32(10), reg.RAX)
	SUBQ(reg.RCX, reg.RAX)
	MOVQ(reg.RAX, rest)
	TESTQ(reg.RCX, reg.RCX)
	JZ(LabelRef("alone"))

	Label("together")
	var poly []func()
	for range 4 {
		poly = append(poly, polyBlock()...)
	}
	weave(doubleRound256(spill), poly)
	DECQ(reg.RCX)
	JNZ(LabelRef("together"))
	Load(Param("st"), reg.RDI)
	polyStore(reg.RDI)

	Label("alone")
	MOVQ(rest, reg.RCX)
	TESTQ(reg.RCX, reg.RCX)
	JZ(LabelRef("done"))
	Label("round")
	run(doubleRound256(spill))
	DECQ(reg.RCX)
	JNZ(LabelRef("round"))
	Label("done")

	Comment("The last lane waits in its place of the stream while the others use its registers")
	out := reg.RSI
	Load(Param("stream"), out)
	Load(Param("lanes"), lanes)
	for row := range 4 {
		VMOVDQU(y(12+row), at(out, 3*laneSize+32*row))
	}
	for i := range lanes256 {
		a, t := 4*i, 12
		if i == 3 {
			a, t = 0, 8
			for row := range 4 {
				VMOVDQU(at(out, 3*laneSize+32*row), y(row))
			}
		}
		MOVQ(at(lanes, laneBytes*i+laneKey), key)
		VPADDD(chachaConst, y(a), y(a))
		VBROADCASTI128(at(key, 0), y(t))
		VPADDD(y(t), y(a+1), y(a+1))
		VBROADCASTI128(at(key, 16), y(t+1))
		VPADDD(y(t+1), y(a+2), y(a+2))
		start256(lanes, i, t+2)
		VPADDD(y(t+2), y(a+3), y(a+3))
		Comment("from four rows of two blocks to two blocks of four rows")
		VPERM2I128(Imm(0x20), y(a+1), y(a), y(t))
		VPERM2I128(Imm(0x20), y(a+3), y(a+2), y(t+1))
		VPERM2I128(Imm(0x31), y(a+1), y(a), y(t+2))
		VPERM2I128(Imm(0x31), y(a+3), y(a+2), y(t+3))
		for j := range 4 {
			VMOVDQU(y(t+j), at(out, laneSize*i+32*j))
		}
	}
	Comment("the spilled row is secret")
	VPXOR(reg.Y0, reg.Y0, reg.Y0)
	VMOVDQU(reg.Y0, spill)
	VZEROUPPER()
	RET()

	xor256()
}

// start256 builds row d of lane i in register to.
func start256(lanes reg.Register, i, to int) {
	VMOVQ(at(lanes, laneBytes*i+laneStart), x(to))
	VPINSRQ(Imm(1), at(lanes, laneBytes*i+laneStart+8), x(to), x(to))
	VINSERTI128(Imm(1), x(to), y(to), y(to))
	VPADDD(chachaBlocks, y(to), y(to))
}

// doubleRound256 returns the instructions of a column and a diagonal round on
// all four lanes.
func doubleRound256(spill Mem) []func() {
	var steps []func()
	each := func(f func(a int)) {
		for i := range lanes256 {
			steps = append(steps, func() { f(4 * i) })
		}
	}
	const room = 14 // row c of the last lane
	for _, turns := range [][3]uint64{{0x39, 0x4e, 0x93}, {0x93, 0x4e, 0x39}} {
		for _, q := range quarters {
			each(func(a int) { VPADDD(y(a+q.add), y(a+q.sum), y(a+q.sum)) })
			each(func(a int) { VPXOR(y(a+q.sum), y(a+q.xor), y(a+q.xor)) })
			switch q.turn {
			case 16:
				each(func(a int) { VPSHUFB(turn16, y(a+q.xor), y(a+q.xor)) })
			case 8:
				each(func(a int) { VPSHUFB(turn8, y(a+q.xor), y(a+q.xor)) })
			default:
				steps = append(steps, func() { VMOVDQU(y(room), spill) })
				for i := range lanes256 {
					b := 4*i + q.xor
					steps = append(steps,
						func() { VPSLLD(Imm(uint64(q.turn)), y(b), y(room)) },
						func() { VPSRLD(Imm(uint64(32-q.turn)), y(b), y(b)) },
						func() { VPXOR(y(room), y(b), y(b)) })
				}
				steps = append(steps, func() { VMOVDQU(spill, y(room)) })
			}
		}
		for row := range 3 {
			each(func(a int) { VPSHUFD(Imm(turns[row]), y(a+1+row), y(a+1+row)) })
		}
	}
	return steps
}

// xor256 adds keystream to whole pieces of 32 bytes.
func xor256() {
	TEXT("xor256", NOSPLIT, "func(p, stream *byte, n int)")
	p, s, n := reg.RDI, reg.RSI, reg.RDX
	Load(Param("p"), p)
	Load(Param("stream"), s)
	Load(Param("n"), n)
	Label("loop")
	VMOVDQU(at(p, 0), reg.Y0)
	VPXOR(at(s, 0), reg.Y0, reg.Y0)
	VMOVDQU(reg.Y0, at(p, 0))
	ADDQ(Imm(32), p)
	ADDQ(Imm(32), s)
	SUBQ(Imm(32), n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
