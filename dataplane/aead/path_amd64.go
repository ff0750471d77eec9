//go:build !purego

package aead

func available() path { return pathGeneric }

func newImpl(_ path, suite Suite, key []byte) keyImpl { return newGeneric(suite, key) }
