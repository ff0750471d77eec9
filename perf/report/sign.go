package report

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Signature is one party's statement that the result is as it stands. What is
// signed (Ed25519, RFC 8032) is the concatenation of
//
//	"dssn-perf-result/1 signature\n"
//	SHA-256 of the canonical form (RFC 8785) of the result without "signatures"
//	the canonical form of this object without "signature"
//
// so that nobody can move a signature to another result, role, name or time.
type Signature struct {
	Role string    `json:"role"`           // that of one of the result's Ends, or another party's
	Name string    `json:"name,omitempty"` // for people; who it is, the key says
	Node string    `json:"node,omitempty"` // the DataID of a node, which binds its key
	At   time.Time `json:"at"`
	Key  []byte    `json:"key"` // Ed25519 public key, base64 in JSON
	// Signature is 64 bytes, base64 in JSON.
	Signature []byte `json:"signature,omitempty"`
}

// Signer is who signs.
type Signer struct {
	Role string
	Name string
	Node string
	At   time.Time // zero means now
	Key  ed25519.PrivateKey
}

const signaturePrefix = Format + " signature\n"

// ErrUnsigned is returned by Verify for a result without signatures.
var ErrUnsigned = errors.New("nobody has signed it")

// ErrForged is wrapped by Verify's error when a signature does not fit.
var ErrForged = errors.New("a signature does not fit")

// Sign adds the signer's signature. The result must not change afterwards, apart
// from further signatures. One role signs once.
func (r *Result) Sign(s Signer) error {
	if len(s.Key) != ed25519.PrivateKeySize {
		return fmt.Errorf("sign the result: the key has %d bytes: an Ed25519 private key is needed", len(s.Key))
	}
	if s.At.IsZero() {
		s.At = time.Now()
	}
	sig := Signature{Role: s.Role, Name: s.Name, Node: s.Node, At: s.At.UTC().Truncate(time.Second), Key: s.Key.Public().(ed25519.PublicKey)}
	m, err := r.message(sig)
	if err != nil {
		return err
	}
	sig.Signature = ed25519.Sign(s.Key, m)
	return r.AddSignature(sig)
}

// AddSignature adds a signature that another party made over this very result:
// the other end calls Sign on its copy and sends back the Signature. It is
// refused if it does not fit, or if its role has signed already.
func (r *Result) AddSignature(sig Signature) error {
	if slices.ContainsFunc(r.Signatures, func(s Signature) bool { return s.Role == sig.Role }) {
		return fmt.Errorf("sign the result: the role %q has signed already", sig.Role)
	}
	if err := r.verify(sig); err != nil {
		return fmt.Errorf("sign the result: %w", err)
	}
	r.Signatures = append(r.Signatures, sig)
	return nil
}

// Verify checks every signature. Nil means that there is at least one and that
// all fit; whose keys they are is for the caller to judge.
func (r *Result) Verify() error {
	if len(r.Signatures) == 0 {
		return ErrUnsigned
	}
	roles := map[string]bool{}
	for _, s := range r.Signatures {
		if roles[s.Role] {
			return fmt.Errorf("%w: the role %q has signed twice", ErrForged, s.Role)
		}
		roles[s.Role] = true
		if err := r.verify(s); err != nil {
			return err
		}
	}
	return nil
}

func (r *Result) verify(s Signature) error {
	if s.Role == "" || len(s.Key) != ed25519.PublicKeySize || len(s.Signature) != ed25519.SignatureSize {
		return fmt.Errorf("%w: that of the %q lacks its role, or its key or signature has the wrong length", ErrForged, s.Role)
	}
	m, err := r.message(s)
	if err != nil {
		return err
	}
	if !ed25519.Verify(s.Key, m, s.Signature) {
		return fmt.Errorf("%w: that of the %s is not over this result, which was changed after signing or belongs to another", ErrForged, s.Role)
	}
	return nil
}

// message is what s signs.
func (r *Result) message(s Signature) ([]byte, error) {
	body := *r
	body.Signatures = nil
	sum, err := canonicalOf(body)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(sum)
	s.Signature = nil
	claims, err := canonicalOf(s)
	if err != nil {
		return nil, err
	}
	return append(append([]byte(signaturePrefix), digest[:]...), claims...), nil
}

func canonicalOf(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err == nil {
		text, err = Canonical(text)
	}
	if err != nil {
		return nil, fmt.Errorf("sign the result: %w", err)
	}
	return text, nil
}
