package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"dssn"
	"dssn/content"
	"dssn/controller/southbound"
)

// desk is a controller as far as joining, attaching and renewing go.
type desk struct {
	t      *testing.T
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey
	server *httptest.Server
	life   time.Duration
	spoil  func(*southbound.JoinResponse)
	hellos chan southbound.Hello
	ups    chan *southbound.Up
	downs  chan *southbound.Down
	drop   chan struct{} // ends the stream in progress
	renews atomic.Int32
	// taken refuses records with a lower salt: their identifiers are other
	// content's, or, with sameContent, the same content's under another name.
	taken       uint32
	sameContent bool
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, life: time.Hour, hellos: make(chan southbound.Hello, 10), ups: make(chan *southbound.Up, 100), downs: make(chan *southbound.Down, 10), drop: make(chan struct{})}
	var err error
	if d.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "desk"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, d.key.Public(), d.key)
	if err != nil {
		t.Fatal(err)
	}
	if d.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	_, serverKey, _ := ed25519.GenerateKey(rand.Reader)
	serverDER := d.sign(&x509.Certificate{DNSNames: []string{southbound.ServerName}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, serverKey.Public())
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+southbound.JoinPath, d.join)
	mux.HandleFunc("POST "+southbound.RenewPath, d.renew)
	mux.HandleFunc("POST /v1/datasets", d.register)
	mux.HandleFunc("GET /v1/datasets/{id}", d.dataset)
	mux.Handle(southbound.Procedure, connect.NewBidiStreamHandler(southbound.Procedure, d.attach, connect.WithCodec(southbound.Codec{})))
	d.server = httptest.NewUnstartedServer(mux)
	d.server.EnableHTTP2 = true
	pool := x509.NewCertPool()
	pool.AddCert(d.ca)
	d.server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{serverDER, d.ca.Raw}, PrivateKey: serverKey}}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}
	d.server.StartTLS()
	t.Cleanup(d.server.Close)
	return d
}

func (d *desk) sign(c *x509.Certificate, key any) []byte {
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Second), time.Now().Add(d.life)
	der, err := x509.CreateCertificate(rand.Reader, c, d.ca, key, d.key)
	if err != nil {
		d.t.Error(err)
	}
	return der
}

func (d *desk) token() string {
	sum := sha256.Sum256(d.ca.RawSubjectPublicKeyInfo)
	return "dssn1.id.secret." + base64.RawURLEncoding.EncodeToString(sum[:])
}

func (d *desk) certificate(csrDER []byte) (dssn.NodeID, []byte) {
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		d.t.Error(err)
		return dssn.NodeID{}, nil
	}
	key := csr.PublicKey.(ed25519.PublicKey)
	id, err := content.MintNode(netip.MustParsePrefix("3fff:d55:1:1::/64"), key, 0)
	if err != nil {
		d.t.Error(err)
	}
	u, _ := url.Parse("spiffe://dssn/node/" + id.String())
	return id, d.sign(&x509.Certificate{URIs: []*url.URL{u}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, key)
}

func (d *desk) join(w http.ResponseWriter, r *http.Request) {
	var req southbound.JoinRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || req.Token != d.token() {
		writeProblem(w, http.StatusForbidden, "the token was used already: ask for a new one")
		return
	}
	id, cert := d.certificate(req.CSR)
	resp := &southbound.JoinResponse{Certificate: cert, CA: d.ca.Raw, Node: id, Name: "west", Role: southbound.RoleTerminal, SID: 0x100, Block: dssn.LabBlock,
		Institution: "west-institute", Registrant: netip.MustParsePrefix("3fff:d55:1:1::/64"), Controllers: []string{d.server.URL},
		Assignment: &southbound.Assignment{Generation: 1, Node: id, SID: 0x100, Block: dssn.LabBlock}}
	if d.spoil != nil {
		d.spoil(resp)
	}
	writeJSON(w, resp)
}

func (d *desk) renew(w http.ResponseWriter, r *http.Request) {
	var req southbound.RenewRequest
	if len(r.TLS.VerifiedChains) == 0 || json.NewDecoder(r.Body).Decode(&req) != nil {
		writeProblem(w, http.StatusForbidden, "who are you")
		return
	}
	d.renews.Add(1)
	d.life = time.Hour
	_, cert := d.certificate(req.CSR)
	writeJSON(w, southbound.RenewResponse{Certificate: cert, CA: d.ca.Raw})
}

func (d *desk) attach(ctx context.Context, s *connect.BidiStream[southbound.Up, southbound.Down]) error {
	first, err := s.Receive()
	if err != nil || first.Hello == nil {
		return errors.New("no hello")
	}
	d.hellos <- *first.Hello
	go func() {
		for {
			m, err := s.Receive()
			if err != nil {
				return
			}
			d.ups <- m
		}
	}()
	for {
		select {
		case m := <-d.downs:
			if err := s.Send(m); err != nil {
				return err
			}
		case <-d.drop:
			return errors.New("dropped")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestJoinKeepsWhatItGot(t *testing.T) {
	d := newDesk(t)
	dir := filepath.Join(t.TempDir(), "state")
	id, err := Join(t.Context(), JoinOptions{URL: d.server.URL, Token: d.token(), State: dir, Links: []string{"eth*"}})
	if err != nil {
		t.Fatal(err)
	}
	if id.Name != "west" || id.SID != 0x100 || id.Links[0] != "eth*" {
		t.Errorf("joined as %+v", id)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if fi, _ := e.Info(); fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v", e.Name(), fi.Mode())
		}
	}
	if _, err := Join(t.Context(), JoinOptions{URL: d.server.URL, Token: d.token(), State: dir}); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("joining twice: %v", err)
	}
}

func TestAHostSaysWhatItIsToldToDoWithout(t *testing.T) {
	t.Setenv(EnvWithout, "steering,next-csid")
	f := Probe()
	if f.NextCSID || f.CarrierEgress {
		t.Errorf("it was told to do without, and has %+v", f)
	}
	if want := "next-csid is left out by DSSN_WITHOUT; steering is left out by DSSN_WITHOUT"; f.Why != want {
		t.Errorf("it says %q, want %q", f.Why, want)
	}
}

func TestJoinRefusesWhatItCannotTrust(t *testing.T) {
	d, other := newDesk(t), newDesk(t)
	_, foreign, _ := ed25519.GenerateKey(rand.Reader)
	for name, c := range map[string]struct {
		url, token string
		spoil      func(*southbound.JoinResponse)
		want       string
	}{
		"another server than the token's":   {d.server.URL, other.token(), nil, errPin.Error()},
		"no token at all":                   {d.server.URL, "hello", nil, "copy the whole line"},
		"a damaged token":                   {d.server.URL, d.token()[:len(d.token())-4], nil, "damaged"},
		"an address without a scheme":       {"host:8443", d.token(), nil, "https://"},
		"a used token":                      {d.server.URL, strings.Replace(d.token(), "secret", "used", 1), nil, "used already"},
		"nobody at the address":             {"https://[::1]:1", d.token(), nil, "does not answer"},
		"a certificate for another key":     {d.server.URL, d.token(), func(r *southbound.JoinResponse) { r.Certificate = d.sign(&x509.Certificate{}, foreign.Public()) }, "another key"},
		"a certificate for another name":    {d.server.URL, d.token(), func(r *southbound.JoinResponse) { r.Node = scriptNode(9) }, "another name"},
		"another CA than the token's":       {d.server.URL, d.token(), func(r *southbound.JoinResponse) { r.CA = other.ca.Raw }, "its CA"},
		"an answer that does not say who":   {d.server.URL, d.token(), func(r *southbound.JoinResponse) { r.SID = 0 }, "who this node is"},
		"a certificate that cannot be read": {d.server.URL, d.token(), func(r *southbound.JoinResponse) { r.Certificate = []byte{1} }, "cannot be read"},
	} {
		d.spoil = c.spoil
		dir := t.TempDir()
		_, err := Join(t.Context(), JoinOptions{URL: c.url, Token: c.token, State: dir})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; want one line with %q", name, err, c.want)
		}
		if _, err := os.Stat(filepath.Join(dir, fileIdentity)); err == nil {
			t.Errorf("%s: an identity was kept", name)
		}
	}
}

func TestControlTrafficNeedsThePostQuantumExchange(t *testing.T) {
	d := newDesk(t)
	d.server.TLS.CurvePreferences = []tls.CurveID{tls.X25519}
	_, err := Join(t.Context(), JoinOptions{URL: d.server.URL, Token: d.token(), State: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "handshake failure") {
		t.Errorf("with a server that only has X25519: %v; want no agreement", err)
	}
}

// joined returns the uplink of a node that has joined, not running.
func joined(t *testing.T, d *desk) (*uplink, *running) {
	t.Helper()
	dir := t.TempDir()
	if _, err := Join(t.Context(), JoinOptions{URL: d.server.URL, Token: d.token(), State: dir}); err != nil {
		t.Fatal(err)
	}
	s, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	n, err := prepare(s, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.client.CloseIdleConnections)
	u := newUplink(n.log, n.client, n.identity.Controllers)
	u.generation = func() uint64 { return 7 }
	return u, n
}

func TestTheStreamComesBackAndSaysEverythingAgain(t *testing.T) {
	d := newDesk(t)
	u, _ := joined(t, d)
	got := make(chan *southbound.Down, 10)
	u.down = func(m *southbound.Down) { got <- m }
	u.attached = func() {
		u.send(southbound.Up{Adjacencies: &southbound.Adjacencies{Links: []southbound.Adjacency{{Interface: "eth0"}}}})
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { u.run(ctx); close(done) }()
	for range 3 {
		if h := receive(t, d.hellos); h.Generation != 7 {
			t.Errorf("the hello says generation %d", h.Generation)
		}
		if m := receive(t, d.ups); m.Adjacencies == nil {
			t.Errorf("the first message is %+v, want the links", m)
		}
		d.downs <- &southbound.Down{Assignment: &southbound.Assignment{Generation: 8}}
		if m := receive(t, got); m.Assignment == nil || m.Assignment.Generation != 8 {
			t.Errorf("received %+v", m)
		}
		if !u.state().Connected {
			t.Error("connected, and the status does not say so")
		}
		d.drop <- struct{}{}
	}
	cancel()
	<-done
}

func receive[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("no %T came", v)
	}
	return v
}

func TestTheNewestMessageOfAKindIsSent(t *testing.T) {
	u := newUplink(slog.New(slog.DiscardHandler), nil, []string{"https://[::1]:1"})
	for g := range uint64(3) {
		u.send(southbound.Up{Applied: &southbound.Applied{Generation: g}})
		u.send(southbound.Up{Usage: &southbound.Usage{Sequence: g}})
	}
	out := u.take()
	if len(out) != 2 || out[0].Applied.Generation != 2 || out[1].Usage.Sequence != 2 {
		t.Errorf("the outbox held %d messages", len(out))
	}
	if len(u.take()) != 0 {
		t.Error("the outbox is not empty afterwards")
	}
}

func TestACertificateIsRenewedBeforeItEnds(t *testing.T) {
	d := newDesk(t)
	d.life = 3 * time.Second
	_, n := joined(t, d)
	old := n.certificate.Load().Leaf.NotAfter
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &renewal{log: n.log, client: n.client, url: func() string { return d.server.URL }, key: n.keys.identity, certificate: &n.certificate, save: n.saveCertificate}
	done := make(chan struct{})
	go func() { r.run(ctx); close(done) }()
	eventually(t, "a new certificate", func() bool { return n.certificate.Load().Leaf.NotAfter.After(old.Add(time.Minute)) })
	cancel()
	<-done
	if d.renews.Load() != 1 {
		t.Errorf("%d renewals, want one", d.renews.Load())
	}
	id, err := n.state.identity()
	if err != nil || string(id.Certificate) != string(n.certificate.Load().Certificate[0]) {
		t.Errorf("the new certificate is not on disk: %v", err)
	}
}

func (d *desk) register(w http.ResponseWriter, r *http.Request) {
	var in registration
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Record.Verify() != nil {
		writeProblem(w, http.StatusBadRequest, "no record")
		return
	}
	if in.Record.Salt < d.taken {
		writeProblem(w, http.StatusConflict, "taken")
		return
	}
	writeJSON(w, in)
}

func (d *desk) dataset(w http.ResponseWriter, r *http.Request) {
	id, err := dssn.ParseDataID(r.PathValue("id"))
	if err != nil {
		writeProblem(w, http.StatusBadRequest, err.Error())
		return
	}
	known := registration{&content.Record{ID: id, Root: content.Digest{1}}}
	if d.sameContent {
		known.Record.Root = content.Digest{2}
	}
	writeJSON(w, known)
}

func TestATakenIdentifierIsMintedAgain(t *testing.T) {
	d := newDesk(t)
	u, n := joined(t, d)
	n.uplink = u
	record := func() *content.Record {
		return &content.Record{Name: "forecast", Registrant: n.identity.Registrant, Grade: 2, Root: content.Digest{2}, Length: 1, Files: 1, Created: time.Now()}
	}
	d.taken = 2
	r := record()
	if err := n.register(t.Context(), r); err != nil || r.Salt != 2 {
		t.Errorf("registered with salt %d, %v; want salt 2", r.Salt, err)
	}
	d.sameContent = true // no collision: another salt would only hide the refusal
	r = record()
	if err := n.register(t.Context(), r); err == nil || err.Error() != "taken" || r.Salt != 0 {
		t.Errorf("salt %d, %v; want the refusal", r.Salt, err)
	}
}
