package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets into gcmKey and gcmMsg of gcm_amd64.go.
const (
	keySlots  = 0   // [15][16]byte: whitening key, four extra rounds, last ten
	keyRounds = 240 // uint64: 10, 12 or 14
	keyPowers = 256 // [36][16]byte: H^33, H^32, …, H^1, then anything

	msgCounter = 0  // nonce, then the next counter as a little-endian uint32
	msgHash    = 16 // GHASH state in, tag out
	msgLengths = 32 // text bits, AAD bits: the length block byte-reversed
	msgLast    = 48 // [32]byte: the last piece of text (AVX2 only)
	msgMask    = 80 // [16]byte: the tag's mask (AVX2 only)
)

// The constants of both GCM kernels. Each is wide enough for 512 bits.
var (
	ctrSwap  Mem // per 16-byte lane: reverse the bytes of the last dword
	byteSwap Mem // per 16-byte lane: reverse all bytes
	poly     Mem // x^63+x^62+x^57: the middle of the reflected polynomial
	laneCtr  Mem // nine vectors; vector j adds 4j, 4j+1, 4j+2, 4j+3
	chunkCtr Mem // adds 32 to every lane
)

func gcmShared() {
	ctrSwap = table("gcmCtrSwap", repeat(4, 0x0706050403020100, 0x0c0d0e0f0b0a0908)...)
	byteSwap = table("gcmByteSwap", repeat(4, 0x08090a0b0c0d0e0f, 0x0001020304050607)...)
	poly = table("gcmPoly", repeat(8, 0xc200000000000000)...)
	var words []uint64
	for i := range uint64(36) {
		words = append(words, 0, i<<32)
	}
	laneCtr = table("gcmLaneCtr", words...)
	chunkCtr = table("gcmChunkCtr", repeat(4, 0, 32<<32)...)

	subWord()
	gcmInit()
}

// subWord puts one word through the S-box. With four equal columns ShiftRows
// changes nothing, so the last AES round with a zero key is the S-box alone.
func subWord() {
	TEXT("aesSubWord", NOSPLIT, "func(w uint32) uint32")
	Doc("aesSubWord applies the AES S-box to each byte of w, in constant time.")
	Load(Param("w"), reg.EAX)
	VMOVD(reg.EAX, reg.X0)
	VPBROADCASTD(reg.X0, reg.X0)
	VPXOR(reg.X1, reg.X1, reg.X1)
	VAESENCLAST(reg.X1, reg.X0, reg.X0)
	VMOVD(reg.X0, reg.EAX)
	Store(reg.EAX, ReturnIndex(0))
	RET()
}

// gcmInit computes the powers of the hash key. H itself is E(0), which is the
// whitening key put through the rounds.
func gcmInit() {
	TEXT("gcmInit", NOSPLIT, "func(k *byte)")
	Doc("gcmInit fills k's powers of the hash key from k's round keys.")
	k := Load(Param("k"), reg.RAX).(reg.Register)
	MOVQ(at(k, keyRounds), reg.R8)

	Comment("H = E(0), byte-reversed")
	VMOVDQU(at(k, keySlots), reg.X0)
	skip := label("init")
	CMPQ(reg.R8, Imm(10))
	JE(LabelRef(skip + "ten"))
	CMPQ(reg.R8, Imm(12))
	JE(LabelRef(skip + "twelve"))
	VAESENC(at(k, 16), reg.X0, reg.X0)
	VAESENC(at(k, 32), reg.X0, reg.X0)
	Label(skip + "twelve")
	VAESENC(at(k, 48), reg.X0, reg.X0)
	VAESENC(at(k, 64), reg.X0, reg.X0)
	Label(skip + "ten")
	for i := 5; i < 14; i++ {
		VAESENC(at(k, 16*i), reg.X0, reg.X0)
	}
	VAESENCLAST(at(k, 16*14), reg.X0, reg.X0)
	VPSHUFB(byteSwap, reg.X0, reg.X0)

	Comment("times x: shift left by one bit, fold the bit that falls off")
	VPSRAD(Imm(31), reg.X0, reg.X1)       // the top bit of every dword, spread
	VPSHUFD(Imm(0xff), reg.X1, reg.X1)    // that of the top dword everywhere
	VPSRLQ(Imm(63), reg.X0, reg.X2)       // bits that cross from low to high
	VPSLLDQ(Imm(8), reg.X2, reg.X2)       //
	VPADDQ(reg.X0, reg.X0, reg.X0)        // shift each half
	VPOR(reg.X2, reg.X0, reg.X0)          //
	VPAND(foldBit(), reg.X1, reg.X1)      // x^127+x^126+x^121+1, if it fell off
	VPXOR(reg.X1, reg.X0, reg.X0)         //
	VMOVDQU(reg.X0, at(k, keyPowers+512)) // H^1

	Comment("H^2, H^3, …: each from the one before")
	VMOVDQA(reg.X0, reg.X5)
	LEAQ(at(k, keyPowers+496), reg.RDI)
	MOVL(U32(32), reg.ECX)
	Label("power")
	VPCLMULQDQ(Imm(0x00), reg.X0, reg.X5, reg.X1)
	VPCLMULQDQ(Imm(0x10), reg.X0, reg.X5, reg.X2)
	VPCLMULQDQ(Imm(0x01), reg.X0, reg.X5, reg.X3)
	VPCLMULQDQ(Imm(0x11), reg.X0, reg.X5, reg.X4)
	VPXOR(reg.X3, reg.X2, reg.X2)
	foldVEX(reg.X1, reg.X2, reg.X3)
	foldVEX(reg.X2, reg.X4, reg.X3)
	VMOVDQA(reg.X4, reg.X5)
	VMOVDQU(reg.X5, at(reg.RDI, 0))
	SUBQ(Imm(16), reg.RDI)
	DECL(reg.ECX)
	JNZ(LabelRef("power"))
	VZEROALL()
	RET()
}

func foldBit() Mem {
	return table("gcmFoldBit", 1, 0xc200000000000000)
}

// foldVEX removes the low 64 bits of lo by adding a multiple of the polynomial
// and moves the rest up into hi, which stands 64 bits higher: half of a
// Montgomery reduction. tmp and lo are spent. Without AVX-512.
func foldVEX(lo, hi, tmp reg.VecPhysical) {
	VPXOR(pickSwap(lo, tmp), hi, hi)
	VPCLMULQDQ(Imm(0), poly, lo, tmp)
	VPXOR(tmp, hi, hi)
}

// pickSwap puts v with its 64-bit halves exchanged (in each lane) into tmp.
func pickSwap(v, tmp reg.VecPhysical) reg.VecPhysical {
	VPSHUFD(Imm(0x4e), v, tmp)
	return tmp
}
