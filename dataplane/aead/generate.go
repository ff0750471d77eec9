package aead

// The generator is a module of its own, so that nothing it needs is needed by
// those who only build this package.
//go:generate go run -C internal/asm . -out ../../kernels_amd64.s
