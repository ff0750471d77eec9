// Command asm writes the kernels of package aead: kernels_amd64.s and its Go
// declarations. It runs under go generate; the result is committed, and a test
// holds that running it again changes nothing.
//
// Registers are named by hand and never allocated by avo, so that a reader can
// follow one register through a kernel; the register plan stands at the top of
// each file. ../../DESIGN.md draws the data layouts.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!purego")
	cpu()
	gcmShared()
	gcm512()
	gcm256()
	chacha512()
	polyScalar()
	poly512()
	chacha256()
	Generate()
}

// label makes names that are unique in the whole output: avo's labels are per
// function, and the same generator code runs many times in one function.
func label(name string) string {
	labels++
	return fmt.Sprintf("%s%d", name, labels)
}

var labels int

// z, y and x name the i-th vector register in its three widths.
func z(i int) reg.VecPhysical { return zs[i] }
func y(i int) reg.VecPhysical { return zs[i].AsY().(reg.VecPhysical) }
func x(i int) reg.VecPhysical { return zs[i].AsX().(reg.VecPhysical) }

var zs = [32]reg.VecPhysical{
	reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
	reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
	reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
	reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
}

// at is a place in memory.
func at(base reg.Register, disp int) Mem { return Mem{Base: base, Disp: disp} }

// table declares read-only data of 64-bit words.
func table(name string, words ...uint64) Mem {
	m := GLOBL(name, 8|16) // RODATA|NOPTR
	for i, w := range words {
		DATA(8*i, U64(w))
	}
	return m
}

// repeat returns words n times over.
func repeat(n int, words ...uint64) []uint64 {
	var out []uint64
	for range n {
		out = append(out, words...)
	}
	return out
}

// weave emits the steps of a with those of b spread evenly between them; all
// of b comes before the last step of a.
func weave(a, b []func()) {
	done := 0
	for i, f := range a {
		for upto := (i + 1) * len(b) / len(a); done < upto; done++ {
			b[done]()
		}
		f()
	}
}

// skewed interleaves n equal chains, each skew steps behind the one before, so
// that they do not all want the same execution port at once.
func skewed(n, skew int, chain func(i int) []func()) {
	chains := make([][]func(), n)
	for i := range chains {
		chains[i] = chain(i)
	}
	for t := 0; t < len(chains[0])+skew*(n-1); t++ {
		for i, c := range chains {
			if s := t - skew*i; s >= 0 && s < len(c) {
				c[s]()
			}
		}
	}
}
