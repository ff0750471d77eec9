//go:build !amd64 || purego

package aead

// available is generic: there are kernels for amd64 only.
func available() path { return pathGeneric }

func newImpl(_ path, suite Suite, key []byte) keyImpl { return newGeneric(suite, key) }
