package controller_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dssn/controller"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

func TestANodeThatMissedItsRenewalComesBackWithItsOldKey(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	w := newWorld(t, ctx, func(o *controller.Options) { o.Clock, o.RenewGrace = clock, 72*time.Hour })
	n := w.consumer
	csr := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, n.Key))(t)
	// as shakes hands anew with a certificate.
	as := func(der []byte) *northbound.Client {
		config := n.TLS.Clone()
		config.Time, config.Certificates = clock, []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: n.Key}}
		c := northbound.NewClient(w.url, config)
		t.Cleanup(c.Close)
		return c
	}
	ahead.Store(int64(48 * time.Hour)) // its certificate ended a day ago
	p := status(t, second(as(n.Certificate).Grants(ctx)), 403)
	if !strings.Contains(p.Detail, "renew it first") {
		t.Errorf("an ended certificate is told %q", p.Detail)
	}
	r := must(as(n.Certificate).Renew(ctx, southbound.RenewRequest{CSR: csr}))(t)
	must(as(r.Certificate).Grants(ctx))(t)
	if fresh := must(x509.ParseCertificate(r.Certificate))(t); fresh.NotAfter.Sub(clock()) > 24*time.Hour {
		t.Errorf("the new certificate lives until %v", fresh.NotAfter)
	}

	// A node that was removed stays out, grace or not.
	ahead.Store(int64(80 * time.Hour))
	if err := w.op.RemoveNode(ctx, n.Name); err != nil {
		t.Fatal(err)
	}
	status(t, second(as(r.Certificate).Renew(ctx, southbound.RenewRequest{CSR: csr})), 403)
	ahead.Store(int64(200 * time.Hour)) // the other terminal's ended more than three days ago
	config := w.holder.TLS.Clone()
	config.Time = clock
	c := northbound.NewClient(w.url, config)
	defer c.Close()
	csr = must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, w.holder.Key))(t)
	if _, err := c.Renew(ctx, southbound.RenewRequest{CSR: csr}); err == nil {
		t.Error("a certificate was renewed after the grace")
	}
}

func TestAStrangersCertificateIsNone(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w := newWorld(t, ctx)
	other := newWorld(t, ctx) // another operator's network, with the same names
	config := w.holder.TLS.Clone()
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{other.holder.Certificate}, PrivateKey: other.holder.Key}}
	c := northbound.NewClient(w.url, config)
	defer c.Close()
	if _, err := c.Grants(ctx); err == nil {
		t.Error("a node of another authority was let in")
	}
	// Another node's certificate with one's own key is no handshake at all.
	config = w.holder.TLS.Clone()
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{w.consumer.Certificate}, PrivateKey: w.holder.Key}}
	c2 := northbound.NewClient(w.url, config)
	defer c2.Close()
	if _, err := c2.Grants(ctx); err == nil {
		t.Error("a node was let in as another")
	}
}

// token is a key that signs and does not show itself, as one in hardware.
type token struct{ crypto.Signer }

func TestTheAuthoritysKeyNeedNotShowItself(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	state := t.TempDir()
	r := start(t, state, "[::1]:0", func(o *controller.Options) {
		o.Signer = func() (crypto.Signer, error) { return token{key}, nil }
	})
	n := r.join(ctx, "a", southbound.RoleBackbone, "")
	if ca := must(x509.ParseCertificate(n.CA))(t); !key.PublicKey.Equal(ca.PublicKey) {
		t.Error("the authority has another key than its signer")
	}
	if _, err := os.Stat(filepath.Join(state, "ca.key")); err == nil {
		t.Error("a key was written beside the signer")
	}
}

func TestAnAuthorityThatHasEndedSaysSo(t *testing.T) {
	state := t.TempDir()
	start(t, state, "[::1]:0").stop()
	err := controller.Run(t.Context(), controller.Options{State: state, Listen: []string{"[::1]:0"}, Logger: slog.New(slog.DiscardHandler),
		Clock: func() time.Time { return time.Now().AddDate(11, 0, 0) }})
	if err == nil || !strings.Contains(err.Error(), "ended at") || !strings.Contains(err.Error(), "join again") {
		t.Errorf("an authority that has ended gives %v", err)
	}
}
