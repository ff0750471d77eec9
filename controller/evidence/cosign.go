package evidence

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// A witness cosigns a checkpoint after it has checked that the log only grew. Its
// signature is a line of the same note, of type 4 (C2SP tlog-cosignature v1):
//
//	key ID     4 bytes   SHA-256(name, newline, 4, public key), its first bytes
//	timestamp  8 bytes   big-endian Unix seconds
//	signature  64 bytes  Ed25519 of "cosignature/v1\ntime <seconds>\n" and the note's text
const (
	cosignatureType   = 4
	cosignatureHeader = "cosignature/v1\n"
)

// cosigner verifies the cosignatures of one witness.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

// Name is the witness's.
func (c *cosigner) Name() string { return c.name }

// KeyHash is the key ID.
func (c *cosigner) KeyHash() uint32 { return c.hash }

// Verify checks a cosignature of a note's text.
func (c *cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	seconds := binary.BigEndian.Uint64(sig)
	if seconds > 1<<63-1 {
		return false
	}
	signed := append([]byte(cosignatureHeader+"time "+strconv.FormatUint(seconds, 10)+"\n"), msg...)
	return ed25519.Verify(c.key, signed, sig[8:])
}

func cosignatureHash(name string, key ed25519.PublicKey) uint32 {
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write([]byte{cosignatureType})
	h.Write(key)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// NewCosigner reads a witness's verifier key, "<name>+<hash>+<base64 of 4 and the
// public key>", as witnesses print it.
func NewCosigner(vkey string) (note.Verifier, error) {
	name, rest, ok := strings.Cut(vkey, "+")
	hash, key, ok2 := strings.Cut(rest, "+")
	id, err := strconv.ParseUint(hash, 16, 32)
	b, err2 := base64.StdEncoding.DecodeString(key)
	if !ok || !ok2 || err != nil || err2 != nil || len(hash) != 8 || len(b) != 1+ed25519.PublicKeySize || b[0] != cosignatureType || !validName(name) {
		return nil, fmt.Errorf("%.100q is not a witness's key: it begins with the witness's name, as the witness prints it", vkey)
	}
	c := &cosigner{name: name, hash: uint32(id), key: ed25519.PublicKey(b[1:])}
	if c.hash != cosignatureHash(name, c.key) {
		return nil, fmt.Errorf("the witness's key %.100q does not fit its hash: copy it whole", vkey)
	}
	return c, nil
}

func validName(s string) bool { return s != "" && !strings.ContainsAny(s, " \t\r\n+") }

// Cosign signs a checkpoint as a witness of that name at a time in Unix seconds,
// and returns the signature line: for tests, and for an operator who witnesses
// another's log.
func Cosign(name string, key ed25519.PrivateKey, checkpointText string, seconds int64) string {
	b := binary.BigEndian.AppendUint32(nil, cosignatureHash(name, key.Public().(ed25519.PublicKey)))
	b = binary.BigEndian.AppendUint64(b, uint64(seconds))
	b = append(b, ed25519.Sign(key, []byte(cosignatureHeader+"time "+strconv.FormatInt(seconds, 10)+"\n"+checkpointText))...)
	return "— " + name + " " + base64.StdEncoding.EncodeToString(b) + "\n"
}

// CosignerKey is the verifier key of a witness, as NewCosigner reads it.
func CosignerKey(name string, key ed25519.PublicKey) string {
	return fmt.Sprintf("%s+%08x+%s", name, cosignatureHash(name, key), base64.StdEncoding.EncodeToString(append([]byte{cosignatureType}, key...)))
}
