package controller

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dssn"
	"dssn/controller/southbound"
)

// Lifetimes of certificates. backdate forgives clocks that are behind ours.
const (
	nodeLife = 24 * time.Hour
	caLife   = 10 * 365 * 24 * time.Hour
	backdate = 10 * time.Minute
)

// nodeURI is what a node's certificate names, before its identifier.
const nodeURI = "spiffe://dssn/node/"

// authority signs certificates: ECDSA P-256, because every TLS client has it.
type authority struct {
	key   crypto.Signer
	cert  *x509.Certificate
	clock func() time.Time
}

// openAuthority opens the authority whose certificate is ca.pem in dir, or makes
// that certificate. Its key is where open says; nil means ca.key in dir.
func openAuthority(dir string, open OpenSigner, clock func() time.Time) (*authority, error) {
	if open == nil {
		open = func() (crypto.Signer, error) { return fileSigner(filepath.Join(dir, "ca.key")) }
	}
	key, err := open()
	if err != nil {
		return nil, err
	}
	a := &authority{key: key, clock: clock}
	certFile := filepath.Join(dir, "ca.pem")
	text, err := os.ReadFile(certFile)
	if err == nil {
		if block, _ := pem.Decode(text); block != nil {
			if a.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
				return nil, fmt.Errorf("read %s: %w", certFile, err)
			}
			if pub, ok := a.cert.PublicKey.(*ecdsa.PublicKey); ok && pub.Equal(a.key.Public()) {
				return a, a.inForce(certFile)
			}
		}
		return nil, fmt.Errorf("%s does not fit the authority's key: remove it to have it made again", certFile)
	}
	return a, a.selfSign(certFile)
}

// inForce refuses an authority whose certificate has ended: nothing that it signs
// would be believed.
func (a *authority) inForce(certFile string) error {
	if end := a.cert.NotAfter; a.clock().After(end) {
		return fmt.Errorf("the authority's certificate %s ended at %s, and nodes believe nothing that it signs: check this host's clock; if it is right, move the file away and start again, which makes one with the same key, and let nodes join again with new tokens", certFile, end.Format(time.RFC3339))
	}
	return nil
}

func (a *authority) selfSign(certFile string) error {
	serial, err := newSerial()
	if err != nil {
		return err
	}
	now := a.clock()
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "DSSN authority"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, a.key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("make the authority's certificate: %w", err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	return writeFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// writeFile writes a file that is there whole or not at all.
func writeFile(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
}

// pin is what tokens carry: base64url of SHA-256 of the authority's public key.
func (a *authority) pin() string {
	sum := sha256.Sum256(a.cert.RawSubjectPublicKeyInfo)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// readCSR returns the Ed25519 key that signed a request.
func readCSR(der []byte) (ed25519.PublicKey, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("the certificate request is not one: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request is not signed by its own key: %w", err)
	}
	key, ok := csr.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the certificate request has a %T: use an Ed25519 key", csr.PublicKey)
	}
	return key, nil
}

// node signs a node's certificate.
func (a *authority) node(id dssn.NodeID, name string, key ed25519.PublicKey) ([]byte, error) {
	u, err := url.Parse(nodeURI + id.String())
	if err != nil {
		return nil, fmt.Errorf("name the node %s: %w", id, err)
	}
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, URIs: []*url.URL{u}, IPAddresses: []net.IP{id.Addr().AsSlice()},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	return a.sign(t, key)
}

func (a *authority) sign(t *x509.Certificate, key any) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := a.clock()
	t.SerialNumber, t.NotBefore, t.NotAfter = serial, now.Add(-backdate), now.Add(nodeLife)
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %s: %w", t.Subject.CommonName, err)
	}
	return der, nil
}

// server makes the controller's own certificate for the names and addresses
// that it listens on, with the authority's behind it so that a joining node can
// compare the pin.
func (a *authority) server(hosts []string) (*tls.Certificate, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: southbound.ServerName}, DNSNames: []string{southbound.ServerName, "localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if h != "" {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := a.sign(t, key.Public())
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}, nil
}

// nodeOf reads the identity in a verified client certificate.
func nodeOf(c *x509.Certificate) (id dssn.NodeID, key ed25519.PublicKey, err error) {
	key, ok := c.PublicKey.(ed25519.PublicKey)
	if !ok || len(c.URIs) != 1 {
		return id, nil, fmt.Errorf("the certificate names no node")
	}
	text, ok := strings.CutPrefix(c.URIs[0].String(), nodeURI)
	if !ok {
		return id, nil, fmt.Errorf("the certificate names %s, which is no node", c.URIs[0])
	}
	id, err = dssn.ParseNodeID(text)
	return id, key, err
}
