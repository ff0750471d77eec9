package controller

import (
	"crypto/tls"
	"sync"
	"time"
)

// certificateKeeper holds the controller's own certificate and makes a new one
// when half of its life is over.
type certificateKeeper struct {
	ca    *authority
	hosts []string
	clock func() time.Time

	mu   sync.Mutex // guards what follows
	cert *tls.Certificate
	next time.Time
}

// get returns the certificate to present; it fits tls.Config.GetCertificate.
func (k *certificateKeeper) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.clock(); k.cert == nil || !now.Before(k.next) {
		c, err := k.ca.server(k.hosts)
		if err != nil {
			return nil, err
		}
		k.cert, k.next = c, now.Add(nodeLife/2)
	}
	return k.cert, nil
}
