package controller

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// A node that was away while its certificate ran out keeps its key, and that key
// is its identity. Within the grace that the operator sets it may come back with the
// certificate that has ended, for one thing only: a new one. Revocation is not
// touched by it: who was removed is nobody, with whatever certificate.

// DefaultRenewGrace is how long after its end a certificate may still be renewed.
const DefaultRenewGrace = 30 * 24 * time.Hour

// verifyNode checks a client's certificate, if it shows one: by our authority,
// and in force or ended within the grace.
func (c *Controller) verifyNode(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return nil
	}
	leaf, now := s.PeerCertificates[0], c.clock()
	o := x509.VerifyOptions{Roots: c.ca.pool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	_, err := leaf.Verify(o)
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired || !now.After(leaf.NotAfter) {
		return err
	}
	if now.After(leaf.NotAfter.Add(c.renewGrace)) {
		return fmt.Errorf("the certificate ended at %s, more than the grace of %s ago: join again with a new token", leaf.NotAfter.Format(time.RFC3339), c.renewGrace)
	}
	o.CurrentTime = leaf.NotAfter
	_, err = leaf.Verify(o)
	return err
}

type beganKey struct{}

// began notes when a connection began: whether its certificate had ended is asked
// of that moment, for a stream may live longer than what it was begun with.
func (c *Controller) began(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, beganKey{}, c.clock())
}

// expired refuses everything but a renewal to a connection whose certificate had
// ended before it began.
func expired(r *http.Request) error {
	at, ok := r.Context().Value(beganKey{}).(time.Time)
	leaf := r.TLS.PeerCertificates[0]
	if !ok || !at.After(leaf.NotAfter) || r.URL.Path == southbound.RenewPath {
		return nil
	}
	return northbound.NewProblem("denied", http.StatusForbidden, "the certificate of %s ended at %s: renew it first, which a running node does by itself", leaf.Subject.CommonName, leaf.NotAfter.Format(time.RFC3339))
}
