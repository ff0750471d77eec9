package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"dssn"
	"dssn/controller/southbound"
	"dssn/dataplane"
	"dssn/node/kernel"
	"dssn/node/liveness"
	"dssn/node/softport"
	"dssn/node/transfer"
	"dssn/xdp"
)

// Options say how to run a node that has joined.
type Options struct {
	State string // directory
	// Links overrides what joining kept: names or patterns of interfaces.
	Links   []string
	Version string
	Logger  *slog.Logger
	// Transit overrides what joining kept: who forwards others' packets.
	Transit Transit
	// Workers is how many threads carry packets at a terminal: zero for one a
	// core, at most DefaultWorkers.
	Workers int
	// Timing is of path probes; the zero value is good.
	Timing liveness.Timing
	// Ready is called once, when the local API answers.
	Ready func()
}

// DefaultWorkers bounds how many threads carry packets unless an operator says
// otherwise.
const DefaultWorkers = 8

// workers is how many threads carry packets.
func (o *Options) workers() (int, error) {
	if o.Workers < 0 || o.Workers > southbound.MaxWorkers {
		return 0, fmt.Errorf("a node carries packets with 1 to %d workers, not %d", southbound.MaxWorkers, o.Workers)
	}
	if o.Workers > 0 {
		return o.Workers, nil
	}
	return min(runtime.NumCPU(), DefaultWorkers), nil
}

// InsideInterface is the name of the interface into tunnels.
const InsideInterface = "dssn0"

// tickEvery is the resolution of the core's timers.
const (
	edgeTick     = 5 * time.Millisecond
	backboneTick = 20 * time.Millisecond
)

// queueLength bounds what waits for the core. Tens of hellos, probes and link
// changes can come at once; what is over it waits in its socket.
const queueLength = 256

// running is the shell: it owns the core and everything that the core's effects
// touch.
type running struct {
	ctx      context.Context // of run
	log      *slog.Logger
	version  string
	state    *state
	identity *Identity
	keys     keys
	now      func() time.Time
	links    []string // patterns
	killed   bool     // the process before this one was

	core     *Core // owned by loop
	inputs   chan Input
	queries  chan func(*Core)
	features southbound.Features

	engine *softport.Engine // nil on a backbone node
	server *transfer.Server // nil on a backbone node
	steer  *xdp.Steer       // nil if the host cannot
	driver *driver          // nil if the kernel forwards
	// withoutDriver is why it does although the driver was wanted.
	withoutDriver string
	hellos        *liveness.HelloConn
	probes        *liveness.ProbeConn

	admission   admission
	probePeers  atomic.Pointer[SetProbePeers]
	generation  atomic.Uint64
	plans       latest[SetKernel]
	assignments latest[*southbound.Assignment]
	usage       *usage
	client      *http.Client
	certificate atomic.Pointer[tls.Certificate]
	uplink      *uplink

	mu       sync.Mutex // guards the fields below
	switches map[dssn.NodeID][]PathSwitch
	names    map[int]string // of watched links, by index
	applied  southbound.Applied
}

// latest hands the newest value to one consumer; older ones that were not taken
// are forgotten.
type latest[T any] struct{ c chan T }

func newLatest[T any]() latest[T] { return latest[T]{make(chan T, 1)} }

// put is called by one goroutine.
func (l latest[T]) put(v T) {
	for {
		select {
		case l.c <- v:
			return
		default:
		}
		select {
		case <-l.c:
		default:
		}
	}
}

// Run runs the node of a state directory until ctx ends, and then removes what
// it made in the kernel. It begins with the last Assignment on disk, so that a
// node needs no controller to work. An error says why it could not begin.
func Run(ctx context.Context, o Options) (err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := openState(o.State)
	if err != nil {
		return err
	}
	defer s.close()
	n, err := prepare(s, o)
	if err != nil {
		return err
	}
	defer n.usage.counters.close()
	return n.run(ctx, o)
}

// prepare reads the state directory.
func prepare(s *state, o Options) (*running, error) {
	id, err := s.identity()
	if err != nil {
		return nil, err
	}
	k, err := s.loadKeys()
	if err != nil {
		return nil, err
	}
	n := &running{
		log: o.Logger.With("node", id.Name), version: o.Version, state: s, identity: id, keys: k, now: time.Now,
		links:  id.Links,
		inputs: make(chan Input, queueLength), queries: make(chan func(*Core)),
		plans: newLatest[SetKernel](), assignments: newLatest[*southbound.Assignment](),
		switches: map[dssn.NodeID][]PathSwitch{}, names: map[int]string{},
	}
	n.admission.now = time.Now
	_, err = os.Stat(s.path(fileSocket)) // a clean end removes it
	n.killed = err == nil
	if len(o.Links) > 0 {
		n.links = o.Links
	}
	for _, pattern := range n.links {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("%q is not the name or pattern of a link: write for example eth1 or to-*", pattern)
		}
	}
	cert, err := tlsCertificate(id.Certificate, k.identity)
	if err != nil {
		return nil, err
	}
	n.certificate.Store(cert)
	ca, err := x509.ParseCertificate(id.CA)
	if err != nil {
		return nil, fmt.Errorf("read the network's CA: %w", err)
	}
	n.client = &http.Client{Transport: transport(nodeTLS(ca, n.certificate.Load))}
	if n.usage, err = newUsage(s); err != nil {
		return nil, err
	}
	return n, nil
}

// run opens everything, loops, and closes everything in the opposite order.
func (n *running) run(ctx context.Context, o Options) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n.ctx = ctx
	host, err := kernel.Open(n.state.path(fileSettings))
	if err != nil {
		return err
	}
	defer host.Close()
	defer func() {
		if e := host.Remove(); e != nil {
			n.log.Error("something of ours is left in the kernel", "err", e)
			if err == nil {
				err = e
			}
		}
	}()
	if err := n.openHost(o); err != nil {
		return err
	}
	defer n.closeHost()
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel(nil)

	n.uplink = newUplink(n.log, n.client, n.identity.Controllers)
	n.uplink.version, n.uplink.features = n.version, n.features
	n.uplink.generation = n.generation.Load
	n.uplink.attached = func() { n.feed(Attached{}); n.reportUsage() }
	n.uplink.down = n.heard

	n.core = NewCore(n.now(), Self{
		Node: n.identity.Node, Name: n.identity.Name, Role: n.identity.Role, SID: n.identity.SID, Block: n.identity.Block,
		Shifts: n.features.NextCSID, Steers: n.steer != nil, Drives: n.driver != nil, Inside: n.insideName(), Workers: max(n.features.Workers, 1), Killed: n.killed, Timing: o.Timing,
	})
	start := func(f func(context.Context)) { wait.Go(func() { f(ctx) }) }
	watch, err := n.watchLinks(ctx)
	if err != nil {
		return err
	}
	start(watch)
	if err := n.remembered(); err != nil {
		return err
	}
	local, err := n.listenLocal()
	if err != nil {
		return err
	}
	start(func(ctx context.Context) { n.serveLocal(ctx, local) })
	start(n.hearHellos)
	start(n.hearProbes)
	start(func(ctx context.Context) { n.realiseAll(ctx, host) })
	if n.driver != nil {
		start(n.driver.run)
		start(n.reportTransit)
	}
	start(n.persistAll)
	start(n.reportAll)
	start(n.uplink.run)
	start((&renewal{log: n.log, client: n.client, url: n.uplink.url, key: n.keys.identity, certificate: &n.certificate, save: n.saveCertificate}).run)
	if n.engine != nil {
		start(func(ctx context.Context) { n.serveIdentifiers(ctx, cancel) })
		start(func(ctx context.Context) { n.watchEngine(ctx, cancel) })
	}
	n.log.Info("running", "role", string(n.identity.Role), "sid", n.identity.SID, "features", fmt.Sprintf("%+v", n.features))
	if o.Ready != nil {
		o.Ready()
	}
	n.loop(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// openHost opens what the node needs from its host besides routes.
func (n *running) openHost(o Options) (err error) {
	n.features = Probe()
	if n.features.CarrierEgress {
		if n.steer, err = xdp.NewSteer(xdp.SteerOptions{}); err != nil {
			return err
		}
	}
	if n.hellos, err = liveness.ListenHello(); err != nil {
		n.closeHost()
		return err
	}
	if n.probes, err = liveness.ListenProbes(); err != nil {
		n.closeHost()
		return err
	}
	if n.identity.Role != southbound.RoleTerminal {
		return n.openTransit(o.Transit)
	}
	e, err := n.openEngine(o)
	if err != nil {
		n.closeHost()
		return err
	}
	n.engine = e
	n.server = transfer.NewServer(transfer.ServerOptions{Holder: n.identity.Node, Admit: n.admission.admit, Keep: n.reportUsage, Logger: n.log})
	n.usage.server = n.server
	n.usage.restore()
	offerings, problems := n.state.loadOfferings()
	for _, o := range offerings {
		if err := n.server.Offer(o); err != nil {
			problems = append(problems, err)
		}
	}
	for _, p := range problems {
		n.log.Warn("a dataset is not offered any more", "err", p)
	}
	return nil
}

// openEngine opens an engine with a worker for each port.
func (n *running) openEngine(o Options) (*softport.Engine, error) {
	workers, err := o.workers()
	if err != nil {
		return nil, err
	}
	n.features.Workers = workers
	engine := softport.Options{Interface: InsideInterface, MTU: n.insideMTU(), PrivateKey: dataplane.Key(n.keys.tunnel.Bytes()),
		ListenPort: TunnelPort, Counters: n.usage.counters.place, Logger: n.log}
	for w := 1; w < workers; w++ {
		engine.Ports = append(engine.Ports, southbound.WorkerPort(TunnelPort, w))
	}
	return softport.Open(engine)
}

// watchEngine ends the node if its engine ends: without one it carries nothing,
// and what supervises it will begin it anew.
func (n *running) watchEngine(ctx context.Context, cancel context.CancelCauseFunc) {
	select {
	case <-ctx.Done():
	case <-n.engine.Done():
		if err := n.engine.Err(); err != nil {
			cancel(fmt.Errorf("the tunnel engine has ended, start the node again: %w", err))
		}
	}
}

// TunnelPort is the UDP port of tunnels.
const TunnelPort = 51820

// insideMTU leaves room for the outer headers (40 bytes of IPv6, 8 of UDP, 32 of
// WireGuard) on the smallest watched link.
func (n *running) insideMTU() int {
	const outer, least, usual = 80, 1280, 1500
	mtu := usual
	found := false
	links, err := kernel.Links()
	if err == nil {
		for _, l := range links {
			if n.watches(l.Name) && (!found || l.MTU < mtu) {
				mtu, found = l.MTU, true
			}
		}
	}
	return max(mtu-outer, least)
}

func (n *running) insideName() string {
	if n.engine == nil {
		return ""
	}
	return InsideInterface
}

func (n *running) closeHost() {
	if n.server != nil {
		n.server.Close()
	}
	if n.engine != nil {
		n.engine.Close()
	}
	if n.probes != nil {
		n.probes.Close()
	}
	if n.hellos != nil {
		n.hellos.Close()
	}
	if n.steer != nil {
		n.steer.Close()
	}
	if n.driver != nil {
		n.driver.close()
	}
	n.client.CloseIdleConnections()
}

// remembered feeds what the disk knows: the last Assignment and the datasets.
func (n *running) remembered() error {
	if n.server != nil {
		n.step(DataHeld{n.heldData()})
	}
	a := &southbound.Assignment{}
	err := n.state.loadJSON(fileAssignment, a)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		n.log.Warn("the last assignment cannot be read; waiting for the controller", "err", err)
		return nil
	}
	n.step(Assigned{a, true})
	return nil
}

func (n *running) watches(link string) bool {
	for _, pattern := range n.links {
		if ok, _ := path.Match(pattern, link); ok {
			return true
		}
	}
	return false
}

// feed gives the core an input; it waits while the queue is full and the loop
// runs.
func (n *running) feed(in Input) { n.feedUntil(n.ctx, in) }

func (n *running) feedUntil(ctx context.Context, in Input) {
	select {
	case n.inputs <- in:
	case <-ctx.Done():
	}
}

// loop is the only user of the core until ctx ends.
func (n *running) loop(ctx context.Context) {
	every := backboneTick
	if n.engine != nil {
		every = edgeTick
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case in := <-n.inputs:
			n.step(in)
		case <-tick.C:
			n.step(Tick{})
		case q := <-n.queries:
			q(n.core)
		}
	}
}

func (n *running) step(in Input) {
	for _, e := range n.core.Step(n.now(), in) {
		n.carryOut(e)
	}
}

// ask runs f with the core, between two inputs.
func (n *running) ask(ctx context.Context, f func(*Core)) error {
	done := make(chan struct{})
	select {
	case n.queries <- func(c *Core) { f(c); close(done) }:
		<-done
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
