package content

import (
	"encoding/hex"
	"fmt"

	"lukechampine.com/blake3"
)

// Digest is a BLAKE3 hash of 32 bytes: the root of a file, or the content root
// of a dataset. It prints as 64 hexadecimal digits, in JSON too.
type Digest [32]byte

// Hash returns BLAKE3 over the concatenation of parts. It is the hash function
// of identifier suite 1, in the form that dssn.Mint takes.
func Hash(parts ...[]byte) [32]byte {
	if len(parts) == 1 {
		return blake3.Sum256(parts[0])
	}
	h := blake3.New(32, nil)
	for _, p := range parts {
		h.Write(p)
	}
	var out [32]byte
	h.Sum(out[:0])
	return out
}

// ParseDigest reads 64 hexadecimal digits.
func ParseDigest(s string) (d Digest, err error) {
	if len(s) != 2*len(d) {
		return Digest{}, fmt.Errorf("%q is not a digest: write 64 hexadecimal digits", s)
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return Digest{}, fmt.Errorf("%q is not a digest: write 64 hexadecimal digits", s)
	}
	return d, nil
}

// String returns 64 hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// IsZero reports whether d is the zero value, which is no digest.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(b []byte) error {
	v, err := ParseDigest(string(b))
	if err == nil {
		*d = v
	}
	return err
}
