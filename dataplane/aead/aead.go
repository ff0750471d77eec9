package aead

import (
	"fmt"
	"sync/atomic"
)

// Sizes in bytes, the same for every suite.
const (
	TagSize   = 16
	NonceSize = 12
)

// Suite names an algorithm together with its key size. The zero Suite is
// invalid.
type Suite uint8

// The suites.
const (
	AES128GCM        Suite = 1 + iota // NIST SP 800-38D, 16-byte key
	AES256GCM                         // NIST SP 800-38D, 32-byte key
	ChaCha20Poly1305                  // RFC 8439, 32-byte key
	aes192GCM                         // 24-byte key, through NewAESGCM only
)

// KeySize returns the length of the suite's keys in bytes, 0 if the suite is
// unknown.
func (s Suite) KeySize() int {
	switch s {
	case AES128GCM:
		return 16
	case aes192GCM:
		return 24
	case AES256GCM, ChaCha20Poly1305:
		return 32
	}
	return 0
}

// String returns the suite's usual name.
func (s Suite) String() string {
	switch s {
	case AES128GCM:
		return "AES-128-GCM"
	case aes192GCM:
		return "AES-192-GCM"
	case AES256GCM:
		return "AES-256-GCM"
	case ChaCha20Poly1305:
		return "ChaCha20-Poly1305"
	}
	return fmt.Sprintf("Suite(%d)", uint8(s))
}

// Key is a key made ready for use: the AES key schedule and the powers of the
// hash key are computed once, by New. It is immutable, and safe for concurrent
// use, until Wipe.
type Key struct {
	suite Suite
	live  atomic.Bool // false before New and after Wipe
	impl  keyImpl
}

// keyImpl is one implementation of one suite with one key in it.
type keyImpl interface {
	// seal and open treat jobs[i:j], all of which hold this very
	// implementation's type, each with its own key: a run. No job is one to be
	// refused. They set OK.
	seal(run []Job)
	open(run []Job)
	// wipe overwrites everything secret.
	wipe()
	// joins reports whether a job with other's key may be in one run with
	// this one's.
	joins(other keyImpl) bool
}

// New makes key ready for suite on the best path of this machine. It copies
// what it needs of key. The error says that the suite is unknown or the key
// has the wrong length.
func New(suite Suite, key []byte) (*Key, error) {
	return newOn(best, suite, key)
}

func newOn(p path, suite Suite, key []byte) (*Key, error) {
	if suite.KeySize() == 0 {
		return nil, fmt.Errorf("make an AEAD key: unknown suite %d", uint8(suite))
	}
	if len(key) != suite.KeySize() {
		return nil, fmt.Errorf("make an AEAD key for %v: got %d bytes, want %d", suite, len(key), suite.KeySize())
	}
	k := &Key{suite: suite, impl: newImpl(p, suite, key)}
	k.live.Store(true)
	return k, nil
}

// Suite returns the suite the key was made for.
func (k *Key) Suite() Suite { return k.suite }

// Wipe overwrites the key and all that was derived from it. Jobs that carry a
// wiped Key are refused (OK is false, the buffer is untouched). No Seal or
// Open that uses the key may be running. The standard library and
// x/crypto have no way to clear the keys they hold: of those (every suite on the
// generic path, ChaCha20-Poly1305 on AVX2) Wipe drops the only reference and
// leaves the memory to the garbage collector.
func (k *Key) Wipe() {
	if k.live.Swap(false) {
		k.impl.wipe()
		k.impl = nil
	}
}

// Job is one packet to seal or to open in place.
type Job struct {
	// Key may differ from job to job. A job whose Key is nil or wiped is
	// refused.
	Key *Key
	// Buf is the text followed by TagSize bytes for the tag. Seal reads the
	// plaintext and writes ciphertext and tag over it; Open reads ciphertext
	// and tag and writes the plaintext over the ciphertext. A job whose Buf is
	// shorter than TagSize is refused. Bufs of one batch must not overlap.
	Buf []byte
	// AAD is authenticated and not encrypted; it may be nil. It must not
	// overlap any Buf of the batch.
	AAD []byte
	// Nonce must never repeat under one key. WireGuard's is four zero bytes,
	// then the counter as 64 bits, little-endian.
	Nonce [NonceSize]byte
	// OK is the result. After Seal: whether the job was sealed. After Open:
	// whether the tag was right. Where Open found a wrong tag the text part of
	// Buf is all zeros (the tag is left as it came); where a job was refused
	// Buf is untouched.
	OK bool

	// apart is where the tag is when Buf is the text alone: set by std, whose
	// callers' buffers may end with the text. Never seen by generic or
	// chacha256.
	apart *[TagSize]byte
}

// parts returns the text and the tag of a job that is not refused.
func (j *Job) parts() (text []byte, tag *[TagSize]byte) {
	if j.apart != nil {
		return j.Buf, j.apart
	}
	n := len(j.Buf) - TagSize
	return j.Buf[:n], (*[TagSize]byte)(j.Buf[n:])
}

// Seal encrypts and authenticates every job in place and sets its OK.
// It does not allocate (on the generic path, x/crypto's portable code may).
func Seal(jobs []Job) { each(jobs, false) }

// Open authenticates and decrypts every job in place and sets its OK. Each job
// stands for itself: a forged packet does not disturb its neighbours.
// It does not allocate, as Seal.
func Open(jobs []Job) { each(jobs, true) }

// each cuts jobs into runs of neighbours that one implementation can treat
// together, skipping refused jobs.
func each(jobs []Job, open bool) {
	for i := 0; i < len(jobs); {
		impl := jobs[i].impl()
		if impl == nil {
			jobs[i].OK = false
			i++
			continue
		}
		j := i + 1
		for j < len(jobs) {
			if next := jobs[j].impl(); next == nil || !impl.joins(next) {
				break
			}
			j++
		}
		if open {
			impl.open(jobs[i:j])
		} else {
			impl.seal(jobs[i:j])
		}
		i = j
	}
}

// impl returns the implementation behind the job's key, nil if the job is to be
// refused.
func (j *Job) impl() keyImpl {
	if j.Key == nil || (len(j.Buf) < TagSize && j.apart == nil) || !j.Key.live.Load() {
		return nil
	}
	return j.Key.impl
}
