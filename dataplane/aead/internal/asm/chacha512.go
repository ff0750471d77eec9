package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Keystream with AVX-512: six lanes (see chacha_amd64.go) of four blocks each,
// or two for a short packet that is alone. A lane is the four rows of the ChaCha state in four registers,
// and each register holds that row of four neighbouring blocks. A column round
// works on the registers as they stand; between column and diagonal rounds rows
// b, c and d turn within their blocks.
//
// Registers:
//
//	Z(4i)…Z(4i+3)  rows a, b, c, d of lane i, 0 ≤ i < 6
//	Z24–Z31        scratch when the rounds are done
//
//	DI keystream out, SI lanes in, R8–R13 keys of the six lanes, CX rounds
const chachaSkew = 2

// quarters are the four steps of a quarter round, rows numbered a = 0 to d = 3:
// sum += add, xor ^= sum, xor turns left.
var quarters = []struct{ sum, add, xor, turn int }{
	{0, 1, 3, 16}, {2, 3, 1, 12}, {0, 1, 3, 8}, {2, 3, 1, 7},
}

var (
	chachaConst Mem // "expand 32-byte k", four times
	chachaBlock Mem // adds 0, 1, 2, 3 to the counters of the four blocks
)

// Offsets into lane of chacha.go.
const (
	laneKey   = 0 // *[32]byte
	laneStart = 8 // counter and nonce, as row d has them
	laneBytes = 24
)

func chacha512() {
	chachaConst = table("chachaConst", repeat(4, 0x3320646e61707865, 0x6b20657479622d32)...)
	chachaBlock = table("chachaBlock", 0, 0, 1, 0, 2, 0, 3, 0)

	keystream512("keystream512", 6)
	keystream512("keystream512Short", 2)
	xor512()
}

// keystream512 emits the kernel for so many lanes. The time of few lanes is the
// latency of the rounds; six nearly fill the execution ports.
func keystream512(name string, n int) {
	TEXT(name, NOSPLIT, "func(stream, lanes *byte)")
	out, lanes := reg.RDI, reg.RSI
	Load(Param("stream"), out)
	Load(Param("lanes"), lanes)
	keys := []reg.GPPhysical{reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13}
	start := func(i, to int) {
		VMOVQ(at(lanes, laneBytes*i+laneStart), x(to))
		VPINSRQ(Imm(1), at(lanes, laneBytes*i+laneStart+8), x(to), x(to))
		VSHUFI64X2(Imm(0), z(to), z(to), z(to))
		VPADDD(chachaBlock, z(to), z(to))
	}
	for i := range n {
		MOVQ(at(lanes, laneBytes*i+laneKey), keys[i])
		VMOVDQU64(chachaConst, z(4*i))
		VBROADCASTI32X4(at(keys[i], 0), z(4*i+1))
		VBROADCASTI32X4(at(keys[i], 16), z(4*i+2))
		start(i, 4*i+3)
	}
	MOVQ(U32(10), reg.RCX)
	Label("rounds")
	skewed(n, chachaSkew, func(i int) []func() { return doubleRound512(4 * i) })
	DECQ(reg.RCX)
	JNZ(LabelRef("rounds"))

	for i := range n {
		a, b, c, d := 4*i, 4*i+1, 4*i+2, 4*i+3
		VPADDD(chachaConst, z(a), z(a))
		VBROADCASTI32X4(at(keys[i], 0), z(24))
		VPADDD(z(24), z(b), z(b))
		VBROADCASTI32X4(at(keys[i], 16), z(25))
		VPADDD(z(25), z(c), z(c))
		start(i, 26)
		VPADDD(z(26), z(d), z(d))
		Comment("from four rows of four blocks to four blocks of four rows")
		VSHUFI64X2(Imm(0x44), z(b), z(a), z(28)) // a0 a1 b0 b1
		VSHUFI64X2(Imm(0x44), z(d), z(c), z(29)) // c0 c1 d0 d1
		VSHUFI64X2(Imm(0xee), z(b), z(a), z(30)) // a2 a3 b2 b3
		VSHUFI64X2(Imm(0xee), z(d), z(c), z(31)) // c2 c3 d2 d3
		VSHUFI64X2(Imm(0x88), z(29), z(28), z(a))
		VSHUFI64X2(Imm(0xdd), z(29), z(28), z(b))
		VSHUFI64X2(Imm(0x88), z(31), z(30), z(c))
		VSHUFI64X2(Imm(0xdd), z(31), z(30), z(d))
		for j := range 4 {
			VMOVDQU64(z(4*i+j), at(out, 256*i+64*j))
		}
	}
	VZEROUPPER()
	RET()
}

// doubleRound512 returns the instructions of a column and a diagonal round on
// the lane whose rows begin at register a.
func doubleRound512(a int) []func() {
	var steps []func()
	for _, turns := range [][3]uint64{{0x39, 0x4e, 0x93}, {0x93, 0x4e, 0x39}} {
		for _, q := range quarters {
			steps = append(steps,
				func() { VPADDD(z(a+q.add), z(a+q.sum), z(a+q.sum)) },
				func() { VPXORD(z(a+q.sum), z(a+q.xor), z(a+q.xor)) },
				func() { VPROLD(Imm(uint64(q.turn)), z(a+q.xor), z(a+q.xor)) })
		}
		steps = append(steps, func() {
			for row := range 3 {
				VPSHUFD(Imm(turns[row]), z(a+1+row), z(a+1+row))
			}
		})
	}
	return steps
}

// xor512 is the way from keystream to text.
func xor512() {
	TEXT("xor512", NOSPLIT, "func(p, stream *byte, n int)")
	p, s, n := reg.RDI, reg.RSI, reg.RDX
	Load(Param("p"), p)
	Load(Param("stream"), s)
	Load(Param("n"), n)
	Label("loop")
	CMPQ(n, Imm(64))
	JB(LabelRef("last"))
	VMOVDQU64(at(p, 0), reg.Z0)
	VPXORQ(at(s, 0), reg.Z0, reg.Z0)
	VMOVDQU64(reg.Z0, at(p, 0))
	ADDQ(Imm(64), p)
	ADDQ(Imm(64), s)
	SUBQ(Imm(64), n)
	JMP(LabelRef("loop"))
	Label("last")
	MOVQ(I32(-1), reg.RAX)
	MOVQ(n, reg.RCX)
	SHLQ(reg.CL, reg.RAX)
	NOTQ(reg.RAX)
	KMOVQ(reg.RAX, reg.K1)
	VMOVDQU8_Z(at(p, 0), reg.K1, reg.Z0)
	VMOVDQU8_Z(at(s, 0), reg.K1, reg.Z1)
	VPXORQ(reg.Z1, reg.Z0, reg.Z0)
	VMOVDQU8(reg.Z0, reg.K1, at(p, 0))
	VZEROUPPER()
	RET()
}
