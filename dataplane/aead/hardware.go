package aead

import "golang.org/x/sys/cpu"

// HardwareAES reports whether this machine's CPU has instructions for AES and for
// GCM's multiplication. Without them AES-GCM is slow, and its tables tell a
// neighbour on the same core something about the key; with them it is the
// fastest suite here, whatever Path says.
func HardwareAES() bool {
	return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL || cpu.S390X.HasAES && cpu.S390X.HasAESGCM
}
