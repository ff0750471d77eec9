package node

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"dssn/controller/southbound"
)

// Control traffic is TLS 1.3 with the hybrid post-quantum key exchange and
// nothing else: what is recorded today stays secret.
const controlGroup = tls.X25519MLKEM768

func controlTLS() *tls.Config {
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{controlGroup},
		ServerName:       southbound.ServerName,
		VerifyConnection: func(s tls.ConnectionState) error {
			if s.CurveID != controlGroup {
				return fmt.Errorf("the controller agreed on key exchange %v, not %v", s.CurveID, controlGroup)
			}
			return nil
		},
	}
}

// parsePin takes the pin out of a token: dssn1.<id>.<secret>.<pin>. The pin is
// the SHA-256 of the CA's SubjectPublicKeyInfo, in base64url.
func parsePin(token string) ([]byte, error) {
	part := strings.Split(token, ".")
	if len(part) != 4 || part[0] != "dssn1" {
		return nil, errors.New("the token is not one: copy the whole line that `dssn token create` printed")
	}
	pin, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part[3], "="))
	if err != nil || len(pin) != sha256.Size {
		return nil, errors.New("the token is damaged at its end: copy the whole line that `dssn token create` printed")
	}
	return pin, nil
}

// pinnedTLS trusts the server whose chain holds a CA with this pin.
func pinnedTLS(pin []byte) *tls.Config {
	c := controlTLS()
	c.InsecureSkipVerify = true // VerifyConnection verifies, by the pin
	group := c.VerifyConnection
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if err := group(s); err != nil {
			return err
		}
		roots := x509.NewCertPool()
		found := false
		for _, cert := range s.PeerCertificates {
			if cert.IsCA && pinMatches(cert, pin) {
				roots.AddCert(cert)
				found = true
			}
		}
		if !found {
			return errPin
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: southbound.ServerName, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		return err
	}
	return c
}

func pinMatches(cert *x509.Certificate, pin []byte) bool {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return subtle.ConstantTimeCompare(sum[:], pin) == 1
}

// errPin means that somebody else answers at the controller's address.
var errPin = errors.New("the server is not the controller that made this token: check the URL, or ask for a new token")

// nodeTLS trusts the network's CA and shows this node's certificate, whichever
// is the newest at each handshake.
func nodeTLS(ca *x509.Certificate, certificate func() *tls.Certificate) *tls.Config {
	c := controlTLS()
	c.RootCAs = x509.NewCertPool()
	c.RootCAs.AddCert(ca)
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate(), nil }
	return c
}

func tlsCertificate(der []byte, key ed25519.PrivateKey) (*tls.Certificate, error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the node's certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// transport speaks HTTP/2 over config; a controller that falls silent is
// noticed by pings.
func transport(config *tls.Config) *http.Transport {
	t := &http.Transport{
		TLSClientConfig:       config,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   5 * time.Second,
		IdleConnTimeout:       time.Minute,
		ResponseHeaderTimeout: 0, // streams answer when they like
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 3 * time.Second, PingTimeout: 4 * time.Second},
	}
	return t
}
