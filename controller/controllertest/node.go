// Package controllertest makes nodes that speak the real southbound protocol
// and do nothing else, for tests and benchmarks of the controller.
//
// A Node belongs to one goroutine but for its Assignment channel.
package controllertest

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"dssn"
	"dssn/content"
	"dssn/controller/northbound"
	"dssn/controller/southbound"
)

// Node is a node without a host.
type Node struct {
	southbound.JoinResponse
	Key    ed25519.PrivateKey
	Signer ed25519.PrivateKey // registrant key
	URL    string
	TLS    *tls.Config
	V1     *northbound.Client

	stream *connect.BidiStreamForClient[southbound.Up, southbound.Down]
	http   *http.Client
	cancel context.CancelFunc
	down   chan *southbound.Down
	ended  chan error
}

// Join enrols a new node.
func Join(ctx context.Context, url, token string) (*Node, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	_, reg, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	tunnel, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	n := &Node{Key: key, Signer: reg, URL: url}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	q := southbound.JoinRequest{Token: token, CSR: csr, TunnelKey: tunnel.PublicKey().Bytes(),
		RegistrantKey: reg.Public().(ed25519.PublicKey), Features: southbound.Features{NextCSID: true, CarrierEgress: true}}
	c := northbound.NewClient(url, Pinned(token))
	defer c.Close()
	if n.JoinResponse, err = c.Join(ctx, q); err != nil {
		return nil, err
	}
	ca, err := x509.ParseCertificate(n.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	n.TLS = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: southbound.ServerName,
		Certificates: []tls.Certificate{{Certificate: [][]byte{n.Certificate}, PrivateKey: key}}}
	n.V1 = northbound.NewClient(url, n.TLS.Clone())
	return n, nil
}

// Pinned trusts the authority that a token names, and nobody else.
func Pinned(token string) *tls.Config {
	pin := token[strings.LastIndexByte(token, '.')+1:]
	return &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		ca := s.PeerCertificates[len(s.PeerCertificates)-1]
		sum := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
		if base64.RawURLEncoding.EncodeToString(sum[:]) != pin {
			return errors.New("the server is not the one that the token names")
		}
		return s.PeerCertificates[0].CheckSignatureFrom(ca)
	}}
}

// Attach opens the stream and says hello.
func (n *Node) Attach(ctx context.Context) error {
	ctx, n.cancel = context.WithCancel(ctx)
	n.http = &http.Client{Transport: &http.Transport{TLSClientConfig: n.TLS.Clone(), ForceAttemptHTTP2: true}}
	c := connect.NewClient[southbound.Up, southbound.Down](n.http, n.URL+southbound.Procedure,
		connect.WithCodec(southbound.Codec{}), connect.WithReadMaxBytes(southbound.MaxMessageBytes))
	n.stream = c.CallBidiStream(ctx)
	if err := n.stream.Send(&southbound.Up{Hello: &southbound.Hello{Deltas: true, Features: southbound.Features{NextCSID: true, CarrierEgress: true}}}); err != nil {
		return err
	}
	down, ended := make(chan *southbound.Down, 1024), make(chan error, 1)
	n.down, n.ended = down, ended
	stream := n.stream
	go func() {
		var held *southbound.Assignment
		for {
			d, err := stream.Receive()
			if err == nil && d.Delta != nil {
				d.Assignment, err = d.Delta.Apply(held)
			}
			if err == nil && d.Assignment != nil {
				held = d.Assignment
			}
			if err != nil {
				ended <- err
				close(down)
				return
			}
			down <- d
		}
	}()
	return nil
}

// Close ends the stream and waits for its reader.
func (n *Node) Close() {
	if n.cancel != nil {
		// HTTP/2 does not look at the context while it waits for more of a request.
		_ = n.stream.CloseRequest()
		n.cancel()
		_ = n.stream.CloseRequest() // or the transport waits for its next message
		for range n.down {
		}
		n.http.CloseIdleConnections()
		n.cancel = nil
	}
	n.V1.Close()
}

// Send sends one message.
func (n *Node) Send(up *southbound.Up) error { return n.stream.Send(up) }

// Obey says of every assignment that it is applied, until the stream ends. The
// stream belongs to Obey from then on.
func (n *Node) Obey() {
	down, stream := n.down, n.stream
	go func() {
		for d := range down {
			if d.Assignment != nil {
				// An error means that the stream has ended, and so does down.
				_ = stream.Send(&southbound.Up{Applied: &southbound.Applied{Generation: d.Assignment.Generation}})
			}
		}
	}()
}

// Sees reports the named neighbours as up.
func (n *Node) Sees(names ...string) error {
	a := &southbound.Adjacencies{}
	for _, s := range names {
		a.Links = append(a.Links, southbound.Adjacency{Interface: "to-" + s, Neighbour: s, Up: true})
	}
	return n.Send(&southbound.Up{Adjacencies: a})
}

// Until reads messages until ok says so, or ctx ends.
func (n *Node) Until(ctx context.Context, ok func(*southbound.Down) bool) (*southbound.Down, error) {
	for {
		select {
		case d, open := <-n.down:
			if !open {
				return nil, fmt.Errorf("the stream of %s ended: %w", n.Name, <-n.ended)
			}
			if ok(d) {
				return d, nil
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("%s waits: %w", n.Name, ctx.Err())
		}
	}
}

// Assigned reads messages until an assignment satisfies ok, and remembers it.
func (n *Node) Assigned(ctx context.Context, ok func(*southbound.Assignment) bool) (*southbound.Assignment, error) {
	d, err := n.Until(ctx, func(d *southbound.Down) bool { return d.Assignment != nil && ok(d.Assignment) })
	if err != nil {
		return nil, err
	}
	n.Assignment = d.Assignment
	return d.Assignment, nil
}

// Record signs a record of a dataset that exists nowhere.
func (n *Node) Record(name string, length dssn.ByteCount) (*content.Record, error) {
	r := &content.Record{Name: name, Registrant: n.Registrant, Grade: dssn.GradeGeneral2, Category: dssn.CategoryMeteorology,
		Root: content.Hash([]byte(name)), Length: length, Files: 1, Created: time.Unix(1_790_000_000, 0)}
	return r, r.Sign(n.Signer)
}
