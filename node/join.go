package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"dssn/controller/southbound"
	"dssn/dataplane/aead"
	"dssn/node/kernel"
	"dssn/xdp"
)

// JoinOptions say how a host becomes a node.
type JoinOptions struct {
	URL   string // of the controller: https://HOST:PORT
	Token string
	State string // directory
	// Links are the interfaces, by name or pattern ("to-*"), on which the node
	// meets its neighbours. They are kept for Run.
	Links []string
	// Transit is who forwards others' packets, kept for Run; empty: the kernel.
	Transit Transit
	Version string
	Logger  *slog.Logger
}

// joinTimeout bounds one join.
const joinTimeout = 30 * time.Second

// Join makes this host a node: it finds out what the host can do, makes keys,
// checks the controller by the token's pin, and keeps the certificate and the
// first Assignment in the state directory. After an error nothing but the keys
// is kept, and the same call may be tried again while the token is good.
func Join(ctx context.Context, o JoinOptions) (*Identity, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if err := o.Transit.check(); err != nil {
		return nil, err
	}
	pin, err := parsePin(o.Token)
	if err != nil {
		return nil, err
	}
	base, err := controllerURL(o.URL)
	if err != nil {
		return nil, err
	}
	s, err := openState(o.State)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if id, err := s.identity(); err == nil {
		return nil, fmt.Errorf("this host is already node %q (%s): use `dssn node run`, or another --state directory", id.Name, id.Node)
	}
	k, err := s.loadKeys()
	if err != nil {
		return nil, err
	}
	csr, err := certificateRequest(k.identity)
	if err != nil {
		return nil, err
	}
	features := Probe()
	if features.Why != "" {
		o.Logger.Warn("this host cannot choose paths and falls back to the shortest", "why", features.Why)
	}
	req := southbound.JoinRequest{
		Token:         o.Token,
		CSR:           csr,
		TunnelKey:     k.tunnel.PublicKey().Bytes(),
		RegistrantKey: k.registrant.Public().(ed25519.PublicKey),
		Features:      features,
		Version:       o.Version,
	}
	var resp southbound.JoinResponse
	client := &http.Client{Transport: transport(pinnedTLS(pin))}
	defer client.CloseIdleConnections()
	if err := postJSON(ctx, client, base+southbound.JoinPath, req, &resp); err != nil {
		if errors.Is(err, errPin) {
			return nil, errPin
		}
		return nil, err
	}
	id, err := accept(&resp, k, pin)
	if err != nil {
		return nil, err
	}
	id.Links, id.Transit = o.Links, o.Transit
	if len(id.Controllers) == 0 {
		id.Controllers = []string{base}
	}
	if resp.Assignment != nil {
		if err := s.saveJSON(fileAssignment, resp.Assignment); err != nil {
			return nil, err
		}
	}
	if err := s.saveJSON(fileIdentity, id); err != nil { // last: it makes the join valid
		return nil, err
	}
	o.Logger.Info("joined", "node", id.Name, "id", id.Node, "sid", id.SID, "role", string(id.Role))
	return id, nil
}

// accept checks that the answer is one that this node can live with.
func accept(r *southbound.JoinResponse, k keys, pin []byte) (*Identity, error) {
	fail := func(what string) (*Identity, error) {
		return nil, fmt.Errorf("the controller's answer cannot be used: %s; tell its operator", what)
	}
	ca, err := x509.ParseCertificate(r.CA)
	if err != nil || !pinMatches(ca, pin) {
		return fail("its CA is not the one that the token names")
	}
	cert, err := x509.ParseCertificate(r.Certificate)
	if err != nil {
		return fail("the certificate cannot be read")
	}
	if pub, ok := cert.PublicKey.(ed25519.PublicKey); !ok || !pub.Equal(k.identity.Public()) {
		return fail("the certificate is for another key")
	}
	if err := cert.CheckSignatureFrom(ca); err != nil {
		return fail("the certificate is not by its CA")
	}
	if want := "spiffe://dssn/node/" + r.Node.String(); len(cert.URIs) != 1 || cert.URIs[0].String() != want {
		return fail("the certificate is for another name")
	}
	if r.Node.IsZero() || r.Name == "" || r.SID == 0 || !r.Block.IsValid() || r.Role != southbound.RoleBackbone && r.Role != southbound.RoleTerminal {
		return fail("it does not say who this node is")
	}
	return &Identity{Name: r.Name, Node: r.Node, Role: r.Role, SID: r.SID, Block: r.Block, Institution: r.Institution, Registrant: r.Registrant,
		LogKey: r.LogKey, Controllers: r.Controllers, Certificate: r.Certificate, CA: r.CA}, nil
}

// EnvWithout names an environment variable: a list, separated by commas, of
// features that a node shall do without as if its kernel lacked them
// ("next-csid", "steering", "aes"). It is for trying the fall-back to shortest
// paths, or to ChaCha20-Poly1305, on a host that has everything.
const EnvWithout = "DSSN_WITHOUT"

// Probe finds out what this host can do. It needs root; without, the features
// are absent and Why says so. What EnvWithout names is not tried.
func Probe() southbound.Features {
	var why []string
	without := strings.Split(os.Getenv(EnvWithout), ",")
	has := func(feature string, try func() error) bool {
		if slices.Contains(without, feature) {
			why = append(why, fmt.Sprintf("%s is left out by %s", feature, EnvWithout))
			return false
		}
		err := try()
		if err != nil {
			why = append(why, err.Error())
		}
		return err == nil
	}
	f := southbound.Features{
		NextCSID: has("next-csid", func() error {
			h, err := kernel.Open("")
			if err != nil {
				return err
			}
			defer h.Close()
			return h.ProbeNextCSID()
		}),
		CarrierEgress: has("steering", func() error {
			steer, err := xdp.NewSteer(xdp.SteerOptions{})
			if err != nil {
				return err
			}
			return steer.Close()
		}),
	}
	f.Why = strings.Join(why, "; ")
	f.Workers, _ = (&Options{}).workers()
	f.AES256GCM = aead.HardwareAES() && !slices.Contains(without, "aes")
	return f
}

func certificateRequest(key ed25519.PrivateKey) ([]byte, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "dssn node"}}, key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate request: %w", err)
	}
	return csr, nil
}

// controllerURL returns scheme and host of what a person typed.
func controllerURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("%q is not a controller's address: write https://HOST:PORT", s)
	}
	return u.Scheme + "://" + u.Host, nil
}

// problem is an RFC 9457 document.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Next   string `json:"next,omitempty"`
}

// Error returns the sentence for a person.
func (p *problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return fmt.Sprintf("the controller refused with status %d %s", p.Status, p.Title)
}

// unanswered says why a request had no answer. Clocks that are hours apart are told
// from everything else, because nothing at the URL is wrong then.
func unanswered(err error, now time.Time) error {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return fmt.Errorf("the controller's certificate is good from %s to %s, and this host's clock says %s: set the clock that is wrong and try again",
			invalid.Cert.NotBefore.UTC().Format(time.RFC3339), invalid.Cert.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return fmt.Errorf("the controller does not answer: %w; check the URL and that it runs", err)
}

// maxAnswer bounds what a controller may answer to one request.
const maxAnswer = southbound.MaxMessageBytes

// postJSON sends in and reads the answer into out; a refusal is a *problem.
func postJSON(ctx context.Context, c *http.Client, url string, in, out any) error {
	text, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("write the request to %s: %w", url, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("make the request to %s: %w", url, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return unanswered(err, time.Now())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the controller's answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		p := &problem{}
		if json.Unmarshal(body, p) != nil || p.Detail == "" {
			p.Title = resp.Status
		}
		p.Status = resp.StatusCode
		return p
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("read the controller's answer: %w", err)
	}
	return nil
}
