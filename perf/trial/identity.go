package trial

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Identity is who an end is. A node shows the certificate of its network; any
// other host makes a key for the occasion and proves a shared secret instead.
type Identity struct {
	Name        string
	Node        string // the DataID of a node, or ""
	Key         ed25519.PrivateKey
	Certificate []byte // DER, over Key; nil for a host that is no node
	CA          []byte // DER: whose certificates are believed; nil for none
	Secret      string // shared with the other end; "" for none
}

// NewIdentity makes an identity for a host that is no node.
func NewIdentity(name, secret string) (Identity, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("make a key: %w", err)
	}
	return Identity{Name: name, Key: key, Secret: secret}, nil
}

// MinSecret is the least length of a shared secret.
const MinSecret = 8

// Check says whether the other end can be believed at all.
func (id *Identity) Check() error {
	switch {
	case id.Secret != "" && len(id.Secret) < MinSecret:
		return fmt.Errorf("the secret has %d characters: use at least %d", len(id.Secret), MinSecret)
	case id.Secret == "" && (id.CA == nil || id.Certificate == nil):
		return errors.New("nothing tells this host whom to trust: run it on a node (--state names its directory), or give both ends the same --secret")
	case len(id.Key) != ed25519.PrivateKeySize:
		return errors.New("this host has no key to sign with")
	}
	return nil
}

func (id *Identity) config() (*tls.Config, error) {
	der := id.Certificate
	if der == nil {
		var err error
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: id.Name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
		if der, err = x509.CreateCertificate(rand.Reader, template, template, id.Key.Public(), id.Key); err != nil {
			return nil, fmt.Errorf("make a certificate: %w", err)
		}
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: id.Key}},
		// Who it is, is decided by convinced, when both have shown their keys.
		ClientAuth: tls.RequireAnyClientCert, InsecureSkipVerify: true,
		NextProtos: []string{"dssn-trial/1"},
	}, nil
}

// Peer is the other end, believed.
type Peer struct {
	Name string
	Key  ed25519.PublicKey
	Node bool // by certificate of the network
}

// errStranger is returned for an end that proves nothing.
var errStranger = errors.New("the other end is neither a node of this network nor does it know the secret: give both the same --secret, or run both on nodes")

// peer judges the other end of an established connection: by its certificate, or
// by its proof in hello, made in its role.
func (id *Identity) peer(s tls.ConnectionState, hello *Hello, role string) (Peer, error) {
	if len(s.PeerCertificates) == 0 {
		return Peer{}, errStranger
	}
	leaf := s.PeerCertificates[0]
	key, ok := leaf.PublicKey.(ed25519.PublicKey)
	if !ok {
		return Peer{}, errors.New("the other end's key is not Ed25519: it cannot sign reports")
	}
	if id.CA != nil {
		if ca, err := x509.ParseCertificate(id.CA); err == nil {
			roots := x509.NewCertPool()
			roots.AddCert(ca)
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil && len(leaf.URIs) == 1 {
				return Peer{leaf.Subject.CommonName, key, true}, nil
			}
		}
	}
	if id.Secret != "" {
		if want, err := proof(s, id.Secret, role); err == nil && hmac.Equal(want, hello.Proof) {
			return Peer{hello.Name, key, false}, nil
		}
	}
	return Peer{}, errStranger
}

// proof binds the secret to this very TLS session, so it cannot be passed on.
func proof(s tls.ConnectionState, secret, role string) ([]byte, error) {
	exported, err := s.ExportKeyingMaterial("EXPORTER-dssn-trial", []byte(role), 32)
	if err != nil {
		return nil, err
	}
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(exported)
	return m.Sum(nil), nil
}
