package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestClocksThatAreHoursApartAreNamed(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		off  time.Duration // of the controller's clock
	}{{"behind", -5 * time.Hour}, {"ahead", 5 * time.Hour}} {
		begin := time.Now().Add(c.off)
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: begin.Add(-time.Hour), NotAfter: begin.Add(time.Hour), DNSNames: []string{"controller"},
			IsCA: true, BasicConstraintsValid: true}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
		s.StartTLS()
		pool := x509.NewCertPool()
		pool.AddCert(ca)
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "controller"}}}
		err = postJSON(context.Background(), client, s.URL+"/v1/join", struct{}{}, nil)
		if err == nil || !strings.Contains(err.Error(), "this host's clock says") {
			t.Errorf("a controller whose clock is five hours %s gives %v", c.name, err)
		}
		client.CloseIdleConnections()
		s.Close()
	}
}
