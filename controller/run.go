package controller

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"

	"dssn"
	"dssn/controller/bgp"
	"dssn/controller/core"
	"dssn/controller/evidence"
	"dssn/controller/journal"
	"dssn/controller/ledger"
	"dssn/controller/northbound"
	"dssn/controller/northbound/camara"
	"dssn/controller/southbound"
)

// LabOperator is the operator's /32 of the lab, the examples and the tests.
var LabOperator = netip.MustParsePrefix("3fff:d55::/32")

// SocketName is the controller's local socket in its state directory, with the
// operator's full rights for whoever may open it.
const SocketName = "controller.sock"

// Options say what a controller is run with.
type Options struct {
	// State is the directory of everything that is kept: controller.db, ca.key,
	// ca.pem, controller.sock. It is made if it is missing.
	State string
	// Store is the postgres:// URL of the database that keeps the journal instead
	// of controller.db; empty means the file.
	Store string
	// Listen are the TLS addresses, host:port; none means [::]:8443.
	Listen []string
	// Topology is the path of a te-topology/1 file; it may be empty once the
	// state knows one.
	Topology string
	Block    netip.Prefix // locators; zero means dssn.LabBlock
	Operator netip.Prefix // identifiers; zero means LabOperator
	// Tariff is the path of a tariff file; empty means the standard one.
	Tariff string
	// Profiles is the path of a dssn-qos-profiles/1 file; empty means the standard ones.
	Profiles string
	// SinkCA is the path of PEM certificates; servers that they vouch for are sinks
	// of notifications too, beside those that the system trusts.
	SinkCA string
	// Witnesses is the path of a policy file (evidence.ReadPolicy) that names who
	// cosigns the evidence log; empty means nobody does.
	Witnesses string
	// BGP is the path of a dssn-bgp/1 file; empty means that the domain speaks to
	// no other. BGPCommand makes the speaker's process, which calls bgp.Serve.
	BGP        string
	BGPCommand func() *exec.Cmd
	// DNS is the address of a name server, ADDR:PORT, and DNSDomain the domain below
	// which its names are (package names); both empty means none.
	DNS, DNSDomain string
	// DNSReady, if set, is called with the address at which names are answered.
	DNSReady func(netip.AddrPort)
	Version  string
	Logger   *slog.Logger // nil means slog.Default
	// Ready, if set, is called once everything answers, with the URLs that nodes
	// can join at.
	Ready func(urls []string)
	// Signer opens the authority's key; nil means the file ca.key in State.
	Signer OpenSigner
	// RenewGrace is how long after its end a node's certificate may still be renewed
	// with its old key; 0 means DefaultRenewGrace, less than that no grace.
	RenewGrace time.Duration
	// Clock is time.Now unless a test says otherwise.
	Clock func() time.Time
}

// Controller is a running controller.
type Controller struct {
	engine   *engine
	intake   *intake
	witness  *witnesses // nil where nobody cosigns
	ca       *authority
	sessions *sessions
	logger   *slog.Logger
	clock    func() time.Time
	tariff   ledger.Tariff
	version  string
	urls     []string
	domain   *bgp.Supervisor // nil where no BGP is spoken
	stopping chan struct{}   // closed when shutdown begins

	renewGrace time.Duration // see grace.go
	profiles   []camara.Profile
	sinks      *sinks
	changed    bell // rings when the state or what nodes act on may have changed

	strangers strangers
}

// Core is the controller's decisions.
type Core = core.Core

// Run runs a controller until ctx ends. It returns nil then, and an error where
// it could not start or can no longer make anything durable.
func Run(ctx context.Context, o Options) (err error) {
	o.defaults()
	if err := o.checkNames(); err != nil {
		return err
	}
	neighbours, err := o.neighbours()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.State, 0o700); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	j, err := o.openJournal(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // it ended while it waited
		}
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-j.Lost():
			cancel()
		case <-ctx.Done():
		}
	}()
	defer func() {
		select {
		case <-j.Lost():
			err = errors.Join(journal.ErrDeposed, err)
		default:
		}
	}()
	c, err := newController(j, &o)
	if err != nil {
		return err
	}
	c.domain = neighbours
	return c.serve(ctx, &o)
}

func (o *Options) defaults() {
	if len(o.Listen) == 0 {
		o.Listen = []string{"[::]:8443"}
	}
	if !o.Block.IsValid() {
		o.Block = dssn.LabBlock
	}
	if !o.Operator.IsValid() {
		o.Operator = LabOperator
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.RenewGrace == 0 {
		o.RenewGrace = DefaultRenewGrace
	}
}

func newController(j *journal.Journal, o *Options) (*Controller, error) {
	c := &Controller{renewGrace: max(o.RenewGrace, 0), sessions: newSessions(), logger: o.Logger, clock: o.Clock, version: o.Version, stopping: make(chan struct{})}
	var err error
	if c.ca, err = openAuthority(o.State, o.Signer, o.Clock); err != nil {
		return nil, err
	}
	log, err := openLog(j)
	if err != nil {
		return nil, err
	}
	var text []byte
	if o.Tariff != "" {
		if text, err = os.ReadFile(o.Tariff); err != nil {
			return nil, fmt.Errorf("read the tariff: %w", err)
		}
	}
	if c.tariff, err = standardTariff(text); err != nil {
		return nil, err
	}
	c.engine = &engine{journal: j, log: log, logger: o.Logger, clock: o.Clock,
		inbox: make(chan *submission, maxBatch), done: make(chan struct{})}
	c.intake = newIntake(c.engine)
	c.engine.deliver = func(effects []core.Effect) {
		c.sessions.deliver(effects)
		c.changed.ring()
	}
	if c.profiles, err = readProfiles(o.Profiles); err != nil {
		return nil, err
	}
	if c.sinks, err = newSinks(o.SinkCA); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := c.engine.recover(); err != nil {
		return nil, fmt.Errorf("recover from the journal: %w", err)
	}
	if c.witness, err = o.witnesses(log, j); err != nil {
		return nil, err
	}
	n, _ := j.Head()
	o.Logger.Info("recovered", "entries", n, "took", time.Since(began).Round(time.Millisecond))
	return c, nil
}

// witnesses reads the policy, if there is one.
func (o *Options) witnesses(log *evidence.Log, j *journal.Journal) (*witnesses, error) {
	var policy evidence.Policy
	if o.Witnesses != "" {
		text, err := os.ReadFile(o.Witnesses)
		if err != nil {
			return nil, fmt.Errorf("read the witnesses: %w", err)
		}
		if policy, err = evidence.ReadPolicy(text); err != nil {
			return nil, fmt.Errorf("read the witnesses: %s: %w", o.Witnesses, err)
		}
	}
	return newWitnesses(log, j, policy, o.Logger)
}

// openLog opens the evidence log with the key that the journal keeps.
func openLog(j *journal.Journal) (*evidence.Log, error) {
	const signer, verifier = "evidence-signer", "evidence-verifier"
	s, err := j.Setting(signer)
	if err != nil {
		return nil, fmt.Errorf("read the evidence log's key: %w", err)
	}
	v, err := j.Setting(verifier)
	if err != nil {
		return nil, fmt.Errorf("read the evidence log's key: %w", err)
	}
	if s == nil || v == nil {
		sk, vk, err := evidence.NewKey("dssn-evidence-" + randomHex(6))
		if err != nil {
			return nil, err
		}
		s, v = []byte(sk), []byte(vk)
		if err := errors.Join(j.SetSetting(verifier, v), j.SetSetting(signer, s)); err != nil {
			return nil, fmt.Errorf("keep the evidence log's key: %w", err)
		}
	}
	return evidence.Open(j, string(s), string(v))
}

// configure gives the core its network, if the file says something new.
func (c *Controller) configure(ctx context.Context, o *Options) error {
	st := northbound.Status{}
	c.engine.query(func(k *core.Core) { st = k.Status(northbound.WhoAmI{Operator: true}) })
	if o.Topology == "" {
		if st.Network == "" {
			return fmt.Errorf("the controller has no network yet: start it with --topology FILE")
		}
		return nil
	}
	text, err := os.ReadFile(o.Topology)
	if err != nil {
		return fmt.Errorf("read the topology: %w", err)
	}
	in := core.Configure{Topology: string(text), Block: o.Block, Operator: o.Operator}
	same := false
	c.engine.query(func(k *core.Core) { same = k.Configured(in) })
	if same {
		return nil
	}
	if st.Network == "" {
		in.Secret = make([]byte, 32)
		rand.Read(in.Secret) // never fails
	}
	_, err = c.engine.submit(ctx, core.Input{Configure: &in})
	return err
}

// serve opens the listeners and answers until ctx ends.
func (c *Controller) serve(ctx context.Context, o *Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running := make(chan error, 1)
	// The engine outlives ctx until the servers are down: a request that was
	// taken is answered.
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	go func() { running <- c.engine.run(engineCtx) }()
	go c.intake.run(engineCtx)
	if c.witness != nil {
		go c.witness.run(engineCtx)
		defer func() { stopEngine(); <-c.witness.done }()
	}
	defer func() { stopEngine(); <-c.engine.done; <-c.intake.done }()
	if err := c.configure(ctx, o); err != nil {
		return err
	}
	listeners, err := c.listen(o.Listen)
	if err != nil {
		return err
	}
	local, err := listenLocal(filepath.Join(o.State, SocketName))
	if err != nil {
		closeAll(listeners)
		return err
	}
	stopNames, err := c.serveNames(ctx, o)
	if err != nil {
		closeAll(append(listeners, local))
		return err
	}
	defer stopNames()
	if c.domain != nil {
		stopSpeaking := c.speak(ctx)
		defer stopSpeaking()
	}
	go c.solve(ctx)
	stopKeeping := c.keepSessions(ctx)
	defer stopKeeping()
	remote := c.server(c.remoteHandler())
	operator := c.server(c.localHandler())
	failed := make(chan error, len(listeners)+1)
	for _, l := range listeners {
		go func() { failed <- remote.Serve(l) }()
	}
	go func() { failed <- operator.Serve(local) }()
	c.logger.Info("controller ready", "urls", c.urls, "socket", local.Addr().String())
	if o.Ready != nil {
		o.Ready(c.urls)
	}
	select {
	case <-ctx.Done():
	case err = <-running:
		err = fmt.Errorf("nothing can be made durable any more: %w", err)
	case err = <-failed:
		err = fmt.Errorf("answer on a listener: %w", err)
	}
	close(c.stopping)
	down, cancelDown := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancelDown()
	if remote.Shutdown(down) != nil {
		remote.Close()
	}
	if operator.Shutdown(down) != nil {
		operator.Close()
	}
	return err
}

func closeAll(ls []net.Listener) {
	for _, l := range ls {
		l.Close()
	}
}

func (c *Controller) server(h http.Handler) *http.Server {
	return &http.Server{
		ConnContext: c.began,
		Handler:     h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: 10 * time.Second, PingTimeout: 10 * time.Second, MaxConcurrentStreams: 64,
		},
		ErrorLog: log.New(slogWriter{c.logger}, "", 0),
	}
}

// slogWriter takes what net/http has to say about single connections.
type slogWriter struct{ l *slog.Logger }

func (w slogWriter) Write(b []byte) (int, error) {
	w.l.Debug("connection", "detail", string(b))
	return len(b), nil
}

func (c *Controller) trouble(r *http.Request, err error) {
	if r.Context().Err() == nil { // nobody cares about the errors of a caller that went away
		c.logger.Error("request failed", "path", r.URL.Path, "correlator", northbound.CorrelatorOf(r.Context()), "error", err)
	}
}

// listen opens the TLS listeners. Only TLS 1.3 with the hybrid post-quantum key
// exchange is spoken: pre-shared keys travel over it.
func (c *Controller) listen(addresses []string) (out []net.Listener, err error) {
	var hosts []string
	var plain []net.Listener
	for _, a := range addresses {
		l, err := net.Listen("tcp", a)
		if err != nil {
			closeAll(plain)
			return nil, fmt.Errorf("listen on %s: %w", a, err)
		}
		plain = append(plain, l)
		named, _, err := net.SplitHostPort(a)
		if err != nil {
			named = ""
		}
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			closeAll(plain)
			return nil, fmt.Errorf("listen on %s: %w", a, err)
		}
		hs := []string{named}
		if ip := net.ParseIP(named); named == "" || ip != nil && ip.IsUnspecified() {
			hs = ownAddresses()
		}
		hosts = append(hosts, hs...)
		for _, h := range hs {
			c.urls = append(c.urls, "https://"+net.JoinHostPort(h, port))
		}
	}
	keep := &certificateKeeper{ca: c.ca, hosts: hosts, clock: c.clock}
	if _, err := keep.get(nil); err != nil {
		closeAll(plain)
		return nil, err
	}
	config := &tls.Config{
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768},
		GetCertificate:   keep.get,
		ClientAuth:       tls.RequestClientCert, // verified below
		ClientCAs:        c.ca.pool(),
		VerifyConnection: c.verifyNode,
		Time:             c.clock,
		NextProtos:       []string{"h2", "http/1.1"},
	}
	for _, l := range plain {
		out = append(out, tls.NewListener(l, config))
	}
	return out, nil
}

// ownAddresses are this host's addresses that others can reach, loopback last.
func ownAddresses() (out []string) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return []string{"::1"}
	}
	var loop []string
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		switch {
		case !ok || n.IP.IsLinkLocalUnicast() || n.IP.IsMulticast():
		case n.IP.IsLoopback():
			loop = append(loop, n.IP.String())
		default:
			out = append(out, n.IP.String())
		}
	}
	return append(out, loop...)
}

// listenLocal opens the operator's socket, readable by its owner only. The
// journal's lock says that nobody else uses one left behind.
func listenLocal(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("protect %s: %w", path, err)
	}
	return l, nil
}

func identifyOperator(*http.Request) (northbound.WhoAmI, error) {
	return northbound.WhoAmI{Operator: true, Institution: northbound.OperatorInstitution}, nil
}

// peer is who stands behind a TLS connection, or why nobody does.
type peer struct {
	by  northbound.WhoAmI
	id  dssn.NodeID
	err error
}

type peerKey struct{}

// remoteHandler answers on TLS: the node streams, and /v1 for nodes.
func (c *Controller) remoteHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(southbound.Procedure, connect.NewBidiStreamHandler(southbound.Procedure, c.attach,
		connect.WithCodec(southbound.Codec{}), connect.WithReadMaxBytes(southbound.MaxMessageBytes)))
	v1 := c.northbound(c.identifyPeer)
	mux.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A slow sender does not hold a request open for ever; an error only means
		// that this connection has no deadlines.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(30 * time.Second))
		v1.ServeHTTP(w, r)
	}))
	guarded := c.guard(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			p := c.identify(r.TLS)
			if err := expired(r); p.err == nil && err != nil {
				p = peer{err: err}
			}
			r = r.WithContext(context.WithValue(r.Context(), peerKey{}, p))
		}
		guarded.ServeHTTP(w, r)
	})
}

// identify finds the node whose key the handshake proved.
func (c *Controller) identify(s *tls.ConnectionState) peer {
	id, key, err := nodeOf(s.PeerCertificates[0])
	if err != nil {
		return peer{err: northbound.NewProblem("denied", http.StatusForbidden, "%v: join with `dssn node join`", err)}
	}
	p := peer{id: id}
	c.engine.query(func(k *core.Core) { p.by, p.err = k.Authenticate(id, ed25519.PublicKey(key)) })
	p.err = problem(p.err)
	return p
}

// identifyPeer knows a node by its certificate and a person by their token. A
// node that passes a person's request on does so as itself.
func (c *Controller) identifyPeer(r *http.Request) (northbound.WhoAmI, error) {
	p, ok := r.Context().Value(peerKey{}).(peer)
	if !ok {
		if bearer, has := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); has {
			by, err := c.person(bearer)
			if known, ok := r.Context().Value(knownKey{}).(*bool); ok && err == nil {
				*known = true
			}
			return by, err
		}
		return northbound.WhoAmI{}, northbound.NewProblem("unauthenticated", http.StatusUnauthorized, "this needs a node's certificate or a person's token: ask through a node that has joined")
	}
	return p.by, p.err
}
