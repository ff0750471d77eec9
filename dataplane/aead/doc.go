// Package aead seals and opens packets with AES-GCM (NIST SP 800-38D) and
// ChaCha20-Poly1305 (RFC 8439), many packets in one call.
//
// The batch interface is what a packet worker wants: a slice of Jobs, each
// with its own Key, nonce, associated data and buffer, all sealed or opened in
// place, with no allocation:
//
//	k, err := aead.New(aead.ChaCha20Poly1305, key) // once per key
//	jobs[i] = aead.Job{Key: k, Buf: packet, Nonce: nonce} // Buf = plaintext, then TagSize bytes of room
//	aead.Seal(jobs)  // Buf = ciphertext, then tag
//	aead.Open(jobs)  // jobs[i].OK tells whether the tag was right
//
// NewAESGCM and NewChaCha20Poly1305 put the plain cipher.AEAD interface on top
// of the same code, for everyone else.
//
// What runs underneath is chosen once, when the program starts, from what the
// CPU and the operating system offer: AVX-512 (with VAES and VPCLMULQDQ for
// AES, with IFMA for Poly1305), AVX2 (with VAES and VPCLMULQDQ for AES;
// ChaCha20-Poly1305 of long packets stays with golang.org/x/crypto), or the
// standard library and golang.org/x/crypto for all. The environment variable
// DSSN_CPU (avx512, avx2 or generic) lowers the choice, never raises it; Path
// reports what was obtained. On other architectures than amd64 the path is
// always generic.
//
// The kernels take a time that depends on lengths and never on keys, nonces,
// data or tags: they have no branch and no address that depends on a secret.
// Whether an Open succeeded is not a secret.
//
// The package does not choose nonces, does not detect replays and does not
// know what a packet is.
//
// Keys are immutable: any number of goroutines may use one at the same time,
// until one of them calls Wipe. A Job belongs to one call at a time.
package aead
