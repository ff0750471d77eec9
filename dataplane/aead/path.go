package aead

import (
	"os"
	"runtime"
)

// path is one way of computing, ordered from the plainest to the fastest.
type path uint8

const (
	pathGeneric path = iota
	pathAVX2
	pathAVX512
)

func (p path) String() string {
	switch p {
	case pathAVX512:
		return "avx512"
	case pathAVX2:
		return "avx2"
	}
	return "generic"
}

// best is the path that New uses, fixed when the program starts.
var best = choose(available(), os.Getenv("DSSN_CPU"))

// choose lowers what the machine has to what was asked for. An empty or
// unknown wish leaves it as it is.
func choose(have path, wish string) path {
	for p := pathGeneric; p < have; p++ {
		if p.String() == wish {
			return p
		}
	}
	return have
}

// Path reports what was obtained on this machine: "avx512", "avx2"
// or "generic", and on architectures without kernels of ours their name, as in
// "generic (no kernels for arm64)".
func Path() string {
	if runtime.GOARCH != "amd64" {
		return "generic (no kernels for " + runtime.GOARCH + ")"
	}
	return best.String()
}
